"""Protocol buffers' wire format: the fields of a message, without reading what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ...errors import BombError, FormatError
from ...source import Source
from .cursor import Cursor

MAX_FIELDS: Final = 5_000_000
_VARINT, _FIXED64, BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}


class Span(NamedTuple):
    """`nbytes` bytes at `offset` in the file."""

    offset: int
    nbytes: int


class Value(NamedTuple):
    """One field: its number, wire type, and its integer (a varint) or else where its bytes lie."""

    number: int
    wire: int
    integer: int
    span: Span


class Messages:
    """Reads messages that lie in one source. Raises FormatError, and BombError past `MAX_FIELDS` fields in all."""

    def __init__(self, source: Source) -> None:
        self._cursor = Cursor(source)
        self._fields = 0

    def fields(self, span: Span) -> Iterator[Value]:
        """The fields of the message in `span`. Other messages may be read in between."""
        cursor, at, end = self._cursor, span.offset, span.offset + span.nbytes
        while at < end:
            cursor.seek(at)
            field = self._field()
            at = cursor.at
            if at > end:
                raise FormatError(f"a field ends at byte {at}, behind its message's end at {end}")
            yield field

    def _field(self) -> Value:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise BombError(f"more than {MAX_FIELDS} fields")
        cursor = self._cursor
        tag = cursor.varint()
        number, wire = tag >> 3, tag & 7
        if number == 0 or number >= 1 << 29:
            raise FormatError(f"impossible field number {number} before byte {cursor.at}")
        if wire == _VARINT:
            return Value(number, wire, cursor.varint(), Span(cursor.at, 0))
        if wire not in _FIXED and wire != BYTES:
            raise FormatError(f"unknown wire type {wire} before byte {cursor.at}")
        length = cursor.varint() if wire == BYTES else _FIXED[wire]
        span = Span(cursor.at, length)
        cursor.skip(length)
        return Value(number, wire, 0, span)

    def varints(self, span: Span) -> Iterator[int]:
        """Packed varints."""
        cursor, at, end = self._cursor, span.offset, span.offset + span.nbytes
        while at < end:
            cursor.seek(at)
            value = cursor.varint()
            at = cursor.at
            yield value

    def text(self, span: Span) -> str:
        """A string field, at most 1 MiB."""
        self._cursor.seek(span.offset)
        return self._cursor.raw(span.nbytes).decode("utf-8", "surrogateescape")
