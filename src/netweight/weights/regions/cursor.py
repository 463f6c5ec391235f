"""Walking over the headers of a file of any size: buffered, bounded, and never past a given end."""

from __future__ import annotations

from struct import Struct
from typing import Final

from ...errors import BombError, FormatError, TruncatedError
from ...source import Source

_FIRST_FILL: Final = 1 << 12
_LAST_FILL: Final = 1 << 20
MAX_RAW: Final = 1 << 20
_U64: Final = Struct("<Q")


class Cursor:
    """Little-endian reader over `source[start:end]`.

    Reads ahead by 4 KiB after a jump and by up to 1 MiB in a sequential run, so that skipping over tensors costs
    nothing and dense metadata comes in few reads. Raises TruncatedError past `end` and BombError for a single value
    longer than `MAX_RAW`.
    """

    def __init__(self, source: Source, start: int = 0, end: int | None = None) -> None:
        self._source = source
        self.end = source.size if end is None else min(end, source.size)
        self._base = start
        self._buffer = b""
        self._index = 0
        self._step = _FIRST_FILL

    @property
    def at(self) -> int:
        """Offset in the source of the next byte."""
        return self._base + self._index

    @property
    def remaining(self) -> int:
        return self.end - self.at

    def seek(self, at: int) -> None:
        """Go to the absolute offset `at`. Raises TruncatedError outside [0, end]."""
        if at < 0 or at > self.end:
            raise TruncatedError(f"byte {at} is announced, the data ends at {self.end}")
        index = at - self._base
        if 0 <= index <= len(self._buffer):
            self._index = index
            return
        self._base, self._buffer, self._index, self._step = at, b"", 0, _FIRST_FILL

    def skip(self, length: int) -> None:
        """Pass over `length` bytes without reading them."""
        if length < 0 or length > self.remaining:
            raise TruncatedError(f"{length} bytes announced at byte {self.at}, {self.remaining} are there")
        self.seek(self.at + length)

    def _fill(self, length: int) -> None:
        """Make `length` bytes available from the current offset on."""
        at = self.at
        if length > self.end - at:
            raise TruncatedError(f"{length} bytes announced at byte {at}, {max(self.end - at, 0)} are there")
        size = min(max(length, self._step), self.end - at)
        self._buffer, self._base, self._index = self._source.read(at, size).tobytes(), at, 0
        self._step = min(2 * self._step, _LAST_FILL)

    def raw(self, length: int) -> bytes:
        """The next `length` bytes."""
        if length > MAX_RAW:
            raise BombError(f"a value of {length} bytes at byte {self.at}, at most {MAX_RAW} are read")
        if self._index + length > len(self._buffer):
            self._fill(length)
        start = self._index
        self._index += length
        return self._buffer[start : self._index]

    def u16(self) -> int:
        return int.from_bytes(self.raw(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.raw(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.raw(8), "little")

    def varint(self) -> int:
        """A protobuf varint: at most ten bytes, modulo 2^64."""
        value = shift = 0
        while shift < 70:
            if self._index >= len(self._buffer):
                self._fill(1)
            byte = self._buffer[self._index]
            self._index += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF
            shift += 7
        raise FormatError(f"number too long before byte {self.at}")

    def skip_blobs(self, count: int) -> None:
        """Pass over `count` byte strings, each after its length as a u64."""
        for _ in range(count):
            if self._index + 8 > len(self._buffer):
                self._fill(8)
            length = _U64.unpack_from(self._buffer, self._index)[0]
            self._index += 8
            if self._index + length <= len(self._buffer):
                self._index += length
            else:
                self.skip(length)
