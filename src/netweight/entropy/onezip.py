"""A ZIP file with one deflated member, written and read in one pass, so that it needs no seeking and little memory.

    file := local header | raw deflate | data descriptor | central directory | end of central directory

Layout after PKWARE's APPNOTE 6.3 with general-purpose bit 3 (sizes follow the data). The date is fixed and no field is
free, so a file has one right form: the reader compares all but the deflate stream with what the writer would write.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from ..errors import FormatError

MEMBER: Final = b"data"
_STREAMED: Final = 1 << 3
_DEFLATED: Final = 8
_FIRST_OF_1980: Final = 0x0021
_REGULAR_FILE: Final = 0o100644 << 16
_FULL: Final = 0xFFFFFFFF  # "look in the ZIP64 record"
_UNIX: Final = 3 << 8

HEADER: Final = (
    struct.pack("<4s5H3I2H", b"PK\3\4", 20, _STREAMED, _DEFLATED, 0, _FIRST_OF_1980, 0, 0, 0, len(MEMBER), 0) + MEMBER
)


def tail(crc: int, packed: int, size: int) -> bytes:
    """All that follows the deflate stream of `packed` bytes which holds `size` bytes with CRC-32 `crc`."""
    start = len(HEADER) + packed
    large = max(start + 24, size) >= _FULL
    descriptor = struct.pack("<4sI2Q" if large else "<4s3I", b"PK\7\x08", crc, packed, size)
    start += len(descriptor)
    extra = struct.pack("<2H2Q", 1, 16, size, packed) if large else b""
    version = 45 if large else 20
    sizes = (_FULL, _FULL) if large else (packed, size)
    entry = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", _UNIX | version, version, _STREAMED, _DEFLATED, 0, _FIRST_OF_1980, crc, *sizes,
        len(MEMBER), len(extra), 0, 0, 0, _REGULAR_FILE, 0,
    )  # fmt: skip
    directory = entry + MEMBER + extra
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(directory), _FULL if large else start, 0)
    if large:
        record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, _UNIX | 45, 45, 0, 0, 1, 1, len(directory), start)
        end = record + struct.pack("<4sIQI", b"PK\6\7", 0, start + len(directory), 1) + end
    return descriptor + directory + end


class ZipCompressor:
    """`compress` and `flush` like a `zlib.compressobj`, but the bytes are a ZIP file."""

    def __init__(self, level: int) -> None:
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._crc = self._packed = self._size = 0
        self._started = False

    def _emit(self, packed: bytes) -> bytes:
        self._packed += len(packed)
        header = b"" if self._started else HEADER
        self._started = True
        return header + packed

    def compress(self, data: bytes | memoryview) -> bytes:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        return self._emit(self._deflate.compress(data))

    def flush(self) -> bytes:
        return self._emit(self._deflate.flush()) + tail(self._crc, self._packed, self._size)


class ZipDecompressor:
    """The inverse of ZipCompressor, with the interface of `bz2.BZ2Decompressor`."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._crc = self._packed = self._size = 0
        self._pending = b""
        self._started = False
        self.eof = False
        self.needs_input = True
        self.unused_data = b""

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        """At most `max_length` more bytes. Raises zlib.error, FormatError."""
        self._pending += bytes(data)
        if not self._started and not self._start():
            return b""
        out = b"" if self._inflate.eof else self._advance(max_length)
        if self._inflate.eof:
            self._finish()
        return out

    def _start(self) -> bool:
        if not HEADER.startswith(self._pending[: len(HEADER)]):
            raise FormatError("zip: not the header of a file with one member")
        self._started = len(self._pending) >= len(HEADER)
        if self._started:
            self._pending = self._pending[len(HEADER) :]
        return self._started

    def _advance(self, max_length: int) -> bytes:
        before = len(self._pending)
        out = self._inflate.decompress(self._pending, max_length)
        self._pending = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        self._packed += before - len(self._pending)
        self._crc = zlib.crc32(out, self._crc)
        self._size += len(out)
        self.needs_input = self._inflate.eof or len(out) < max_length
        return out

    def _finish(self) -> None:
        expected = tail(self._crc, self._packed, self._size)
        if not expected.startswith(self._pending[: len(expected)]):
            raise FormatError("zip: the directory doesn't fit the member: altered or damaged")
        if len(self._pending) >= len(expected):
            self.eof, self.unused_data = True, self._pending[len(expected) :]
