"""The language-model codec against the one contract, with a small model that a config names by its path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tiny_models
from contract import CodecContract
from netweight import frame
from netweight.codec import Codec, receiver_of, weigh
from netweight.errors import BaseMismatchError
from netweight.registry import create
from netweight.spec import Spec
from netweight.text.codec import LanguageModelCodec
from netweight.text.model import load
from text_stand_in import StandIn, story


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_models.llama(tmp_path_factory.mktemp("models") / "tiny"))


class TestLanguageModel(CodecContract):
    @pytest.fixture
    def codec(self, path: str) -> Codec:
        return create("netweight.text.lm", {"model": path, "effort": "fast", "threads": 1})

    def test_a_receiver_needs_nothing_else(self, codec: Codec) -> None:
        """But the model, by name and hash."""
        assert receiver_of(codec) == {"language model": f"model {codec.config()['digest']}"}

    # to this codec bytes are bytes, and it is slow: a few dtypes do

    @pytest.mark.parametrize("name", ["U8", "F8_E4M3", "F32"])
    def test_every_bit_pattern_of_every_dtype(self, codec: Codec, name: str) -> None:
        super().test_every_bit_pattern_of_every_dtype(codec, name)

    @pytest.mark.parametrize("name", ["U8", "BF16", "F64"])
    def test_odd_shapes(self, codec: Codec, name: str) -> None:
        super().test_odd_shapes(codec, name)

    @pytest.mark.parametrize("kind", [np.float16])
    def test_weights(self, codec: Codec, kind: Any) -> None:
        super().test_weights(codec, kind)


def test_a_text_in_a_frame_needs_the_model() -> None:
    codec, text = LanguageModelCodec(StandIn()), np.frombuffer(story(2000), np.uint8)
    blob = frame.pack(codec, text, Spec.raw(text.size))
    assert len(blob) < text.size // 3
    assert np.array_equal(frame.unpack_with(codec, blob)[0], text)
    receipt = weigh(codec, text.tobytes())
    assert receipt.receiver == {"language model": f"stand-in {StandIn().digest.hex()}"}
    assert receipt.bytes == len(blob)


def test_another_model_than_the_configs_is_refused(path: str) -> None:
    codec = LanguageModelCodec(path, digest=StandIn().digest.hex())
    with pytest.raises(BaseMismatchError, match=load(path, threads=1).digest.hex()):
        codec.config()
