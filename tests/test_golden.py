"""Golden archives: what was written decodes for ever, and what is written doesn't change by accident.

`make golden` writes them; nothing here does.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from scripts.write_golden import (
    BASES,
    CASES,
    EFFORTS,
    GOLDEN,
    QUANTISED,
    UNORDERED,
    archive_name,
    compress,
    decoded_name,
    digest,
)

import netweight as nw

PAIRS = [(case, effort) for case in CASES for effort in EFFORTS]


def sums() -> dict[str, str]:
    lines = (GOLDEN / "SHA256SUMS").read_text().splitlines()
    return {name: value for value, _, name in (line.partition("  ") for line in lines)}


def test_every_file_is_there_and_no_other() -> None:
    expected = {archive_name(*pair) for pair in PAIRS} | {QUANTISED, *UNORDERED, "SHA256SUMS", "written-with.json"}
    assert {p.name for p in GOLDEN.iterdir()} == expected


@pytest.mark.parametrize("case", CASES)
def test_inputs_are_the_same_everywhere(case: str) -> None:
    assert digest(CASES[case]()) == sums()[case]


@pytest.mark.parametrize(("case", "effort"), PAIRS)
def test_decodes_to_the_input(case: str, effort: str, tmp_path: Path) -> None:
    archive = GOLDEN / archive_name(case, effort)
    assert digest(archive.read_bytes()) == sums()[archive.name]
    base = BASES.get(case)
    if base:
        (tmp_path / base).write_bytes(CASES[base]())
    nw.decompress_file(archive, tmp_path / case, base=tmp_path / base if base else None)
    assert (tmp_path / case).read_bytes() == CASES[case]()


@pytest.mark.parametrize(("name", "codec"), [(QUANTISED, "trellis"), *((name, "symmetry") for name in UNORDERED)])
def test_what_is_no_input_decodes_for_ever(name: str, codec: str, tmp_path: Path) -> None:
    archive = GOLDEN / name
    assert digest(archive.read_bytes()) == sums()[name]
    nw.decompress_file(archive, tmp_path / "back")
    assert digest((tmp_path / "back").read_bytes()) == sums()[decoded_name(name)]
    with nw.open(archive) as opened:
        assert any(t.codec.startswith(codec) for t in opened.tensors())


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("case", "effort"), PAIRS)
def test_encodes_to_the_same_bytes(case: str, effort: str, threads: int, tmp_path: Path) -> None:
    written = json.loads((GOLDEN / "written-with.json").read_text())
    if written != (here := {name: version(name) for name in written}):
        pytest.skip(f"written with {written}, here are {here}: their output may differ")
    assert compress(case, effort, tmp_path, threads) == (GOLDEN / archive_name(case, effort)).read_bytes()
