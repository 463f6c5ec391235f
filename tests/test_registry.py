"""Names of codecs, and codecs of other packages."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from netweight import frame, weigh
from netweight.codec import Codec
from netweight.errors import FormatError, NotFoundError, UnsupportedError
from netweight.registry import create, names
from netweight.spec import Spec

BUILTIN = [
    "raw",
    "zip",
    "gzip",
    "bzip2",
    "xz",
    "zstd",
    "brotli",
    "png",
    "netweight.fast",
    "netweight.balanced",
    "netweight.max",
    "netweight.lossy.trellis",
    "netweight.lossy.rtn",
    "netweight.lossy.uniform",
    "netweight.lossy.kmeans",
    "netweight.lossy.product",
    "netweight.lossy.residual",
    "netweight.lossy.pruned",
    "netweight.lossy.prior",
    "netweight.lossy.structure",
    "netweight.text.lm",
]
PLUGIN = """
from netweight.codec import LOSSLESS, ConfigCodec
from netweight.entropy.general import Raw

class Xor(Raw):
    id = "plug.xor"
    def __init__(self, key=1):
        if key == 0:
            raise ValueError("a key of 0 hides nothing")
        self.key = key
    def config(self):
        return {"key": self.key}
    def encode(self, data, spec):
        return bytes(data ^ self.key)
    def decode(self, payload, spec):
        return super().decode(payload, spec) ^ self.key
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with entry points: a good codec, two that can't be loaded, one that takes a name of ours."""
    (tmp_path / "netweight_plug.py").write_text(PLUGIN)
    info = tmp_path / "netweight_plug-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: netweight-plug\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[netweight.codecs]\n"
        "plug.xor = netweight_plug:Xor\n"
        "plug.gone = netweight_plug_gone:Xor\n"
        "plug.lacks = netweight_plug:Nothing\n"
        "raw = netweight_plug:Xor\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "netweight_plug", raising=False)


def test_names() -> None:
    assert names()[: len(BUILTIN)] == BUILTIN
    assert len(set(names())) == len(names())


@pytest.mark.parametrize("name", ["raw", "zip", "gzip", "bzip2", "xz", "zstd", "brotli", "png"])
def test_create(name: str) -> None:
    codec = create(name)
    assert isinstance(codec, Codec)
    assert codec.id == name


def test_unknown_codec_names_the_known_ones() -> None:
    with pytest.raises(NotFoundError, match=r"'zstandard'.*zstd"):
        create("zstandard")


@pytest.mark.parametrize("config", [{"level": 99}, {"speed": 1}, {"level": None, "x": 1}, {"self": 1}])
def test_bad_config(config: dict[str, object]) -> None:
    with pytest.raises(FormatError, match="zstd"):
        create("zstd", config)


@pytest.mark.usefixtures("plugin")
class TestPlugin:
    def test_is_listed_after_ours_once(self) -> None:
        assert names() == [*BUILTIN, "plug.gone", "plug.lacks", "plug.xor"]

    def test_weighs_and_travels_in_frames(self) -> None:
        codec = create("plug.xor", {"key": 7})
        data = np.arange(10, dtype=np.uint8)
        assert weigh(codec, data).error.identical
        blob = frame.pack(codec, data, Spec.raw(10))
        assert np.array_equal(frame.unpack(blob)[0], data)

    def test_its_refusal_of_a_config_is_ours(self) -> None:
        with pytest.raises(FormatError, match="hides nothing"):
            create("plug.xor", {"key": 0})

    def test_cannot_take_the_place_of_a_builtin(self) -> None:
        assert type(create("raw")).__name__ == "Raw"

    @pytest.mark.parametrize("name", ["plug.gone", "plug.lacks"])
    def test_that_cannot_be_loaded_is_named(self, name: str) -> None:
        with pytest.raises(UnsupportedError, match=f"{name}.*netweight_plug"):
            create(name)
