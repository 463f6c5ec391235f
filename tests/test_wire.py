"""Varints, strings and arrays: written once, read without trust."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netweight.errors import FormatError, TruncatedError
from netweight.wire import Reader, Writer, varint

LARGEST = (1 << 63) - 1


@pytest.mark.parametrize(
    ("value", "coded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (16384, "808001"), (LARGEST, "ff" * 8 + "7f")],
)
def test_varint_bytes(value: int, coded: str) -> None:
    assert varint(value).hex() == coded
    assert Reader(bytes.fromhex(coded)).varint() == value


@pytest.mark.parametrize("value", [-1, LARGEST + 1])
def test_varint_out_of_range(value: int) -> None:
    with pytest.raises(ValueError, match="range"):
        varint(value)


@pytest.mark.parametrize("coded", ["8000", "ff00", "80" * 9 + "01", "ff" * 9 + "01", "80" * 11, "ff" * 8 + "ff01"])
def test_varint_has_one_form_and_an_end(coded: str) -> None:
    with pytest.raises(FormatError):
        Reader(bytes.fromhex(coded)).varint()


def test_varint_limit() -> None:
    assert Reader(b"\x05").varint(limit=5) == 5
    with pytest.raises(FormatError, match="at most 5"):
        Reader(b"\x06").varint(limit=5)


@settings(deadline=None)
@given(st.lists(st.integers(0, LARGEST)), st.text(st.characters(exclude_categories=[])), st.binary(), st.binary())
def test_what_is_written_is_read(values: list[int], text: str, blob: bytes, rest: bytes) -> None:
    out = Writer().varint(len(values)).varints(values).text(text).blob(blob).raw(rest)
    reader = Reader(out.bytes(), "test")
    assert len(out) == len(out.bytes()) == reader.remaining
    assert reader.varints(reader.varint()) == values
    assert reader.text() == text
    assert reader.blob() == blob
    assert reader.raw(len(rest)) == rest
    reader.end()


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (Reader.varint, Reader.blob, Reader.text, Reader.byte, lambda r: r.varints(r.varint())):
        reader = Reader(data)
        try:
            read(reader)
        except FormatError:
            continue
        assert 0 <= reader.remaining < len(data)


def test_array_is_a_copy_of_the_right_type() -> None:
    data = np.arange(6, dtype="<u2")
    reader = Reader(data.tobytes())
    out = reader.array(4, "<u2")
    assert out.tolist() == [0, 1, 2, 3]
    assert out.flags.writeable
    assert reader.remaining == 4


@pytest.mark.parametrize("length", [-1, 4, 1 << 62])
def test_lying_lengths(length: int) -> None:
    with pytest.raises(TruncatedError, match=r"thing: .*3 are there"):
        Reader(b"abc", "thing").raw(length)
    with pytest.raises(TruncatedError):
        Reader(b"abc").array(abs(length), "<u8")
    with pytest.raises(TruncatedError):
        Reader(b"abc").varints(abs(length) + 3)


def test_bytes_left_over_and_text_that_is_none() -> None:
    with pytest.raises(FormatError, match="1 unexpected"):
        Reader(b"a").end()
    with pytest.raises(FormatError, match="UTF-8"):
        Reader(b"\x01\xff").text()
