"""The worked example of docs/format.md is an archive, and means what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import netweight as nw

PAGE = (Path(__file__).parents[1] / "docs" / "format.md").read_text()
ORIGINAL, ARCHIVE = (bytes.fromhex(block) for block in re.findall(r"```text\n([0-9a-f\s]+)```", PAGE))


def test_the_example_decodes_to_its_original(tmp_path: Path) -> None:
    (tmp_path / "tiny.nw").write_bytes(ARCHIVE)
    nw.decompress_file(tmp_path / "tiny.nw", tmp_path / "tiny.safetensors")
    assert (tmp_path / "tiny.safetensors").read_bytes() == ORIGINAL
    assert (len(ORIGINAL), len(ARCHIVE)) == (70, 171)
    assert "70 bytes" in PAGE
    assert "171 bytes" in PAGE


def test_its_original_makes_the_example(tmp_path: Path) -> None:
    (tmp_path / "tiny.safetensors").write_bytes(ORIGINAL)
    nw.compress_file(tmp_path / "tiny.safetensors", tmp_path / "tiny.nw")
    assert (tmp_path / "tiny.nw").read_bytes() == ARCHIVE


def test_the_example_holds_what_the_page_says() -> None:
    with nw.open(ARCHIVE) as archive:
        assert archive.keys() == ["w"]
        assert np.array_equal(archive.tensor("w"), np.array([1.5, -2.0], np.float32))
