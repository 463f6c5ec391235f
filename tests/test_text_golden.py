"""Golden texts: what was written decodes for ever, and what is written doesn't change by accident.

scripts/write_text_golden.py writes them; nothing here does.
"""

from __future__ import annotations

import pytest
from scripts.write_text_golden import CASES, GOLDEN, compress

from netweight.source import BytesSource
from netweight.text.codec import TextFile, compress_stream
from netweight.text.codec.container import KINDS
from text_stand_in import StandIn


def opened(case: str) -> TextFile:
    return TextFile(BytesSource((GOLDEN / f"{case}.nw").read_bytes()), StandIn)


def test_every_file_is_there_and_no_other() -> None:
    assert {p.stem for p in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_decodes_to_the_input(case: str) -> None:
    assert b"".join(opened(case).pieces()) == CASES[case]()


@pytest.mark.parametrize("case", CASES)
def test_encodes_to_the_same_bytes(case: str) -> None:
    assert compress(case) == (GOLDEN / f"{case}.nw").read_bytes()


def test_every_kind_of_block_is_pinned() -> None:
    found = {}
    for case in CASES:
        file = opened(case)
        found[case] = {KINDS[file.record(b).kind] for b in file.blocks}
    assert found["story"] == found["wrapped"] == found["literals"] == found["blocks"] == {"language model"}
    assert (found["bytes"], found["stored"]) == ({"byte model"}, {"stored"})
    assert len(opened("blocks").blocks) == 2


def test_the_worked_example_of_the_format_page_is_true() -> None:
    page = (GOLDEN.parents[1] / "docs" / "format-text.md").read_text()
    parts: list[bytes] = []
    compress_stream([b"netweight"], parts.append, model=None)
    assert f"\n{b''.join(parts).hex(' ')}\n" in page
