"""Every registered codec, and other configurations of some, against the one contract."""

from __future__ import annotations

from typing import Any

import pytest

from contract import CodecContract
from netweight.codec import Codec
from netweight.registry import create, names

VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("zip", {"level": 1}),
    ("xz", {"level": 0}),
    ("zstd", {"level": 1}),
    ("brotli", {"level": 0}),
    ("png", {"depth": 16}),
    ("png", {"mode": "quantised", "level": 0}),
    ("png", {"mode": "quantised", "depth": 16}),
)


NEEDS_A_MODEL = ("netweight.text.lm",)
"""Tested with a small one, in a file of its own."""


@pytest.mark.parametrize("codec_id", [name for name in names() if name not in NEEDS_A_MODEL])
class TestRegistered(CodecContract):
    @pytest.fixture
    def codec(self, codec_id: str) -> Codec:
        return create(codec_id)

    def test_id_is_its_name(self, codec: Codec, codec_id: str) -> None:
        assert codec.id == codec_id


@pytest.mark.parametrize(("codec_id", "config"), VARIANTS, ids=str)
class TestVariants(CodecContract):
    @pytest.fixture
    def codec(self, codec_id: str, config: dict[str, Any]) -> Codec:
        return create(codec_id, config)
