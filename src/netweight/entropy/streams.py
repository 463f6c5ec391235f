"""Compressor and decompressor objects of several libraries behind the interface of Python's `bz2` module."""

from __future__ import annotations

import zlib
from typing import Final, Protocol

import brotli
import zstandard


class Compressor(Protocol):
    """What `bz2.BZ2Compressor` does."""

    def compress(self, data: memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Decompressor(Protocol):
    """What `bz2.BZ2Decompressor` does: about `max_length` bytes a call, the rest for b"" unless `needs_input`."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes: ...


class GzipDecompressor:
    """zlib's object reading one gzip member."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)  # 16: the gzip container
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        # while input is left over the caller passes b"", so the two never have to be joined
        out = self._inflate.decompress(self._inflate.unconsumed_tail or data, max_length)
        self.needs_input = len(out) < max_length
        return out


class ZstdDecompressor:
    """zstandard's object, which has no output limit, fed one block (at most 128 KiB of output) at a time.

    Where blocks end follows from RFC 8878, section 3.1.1. (`stream_reader` has a limit but can't tell a cut frame
    from a whole one.)
    """

    def __init__(self) -> None:
        self._object = zstandard.ZstdDecompressor().decompressobj()
        self._pending, self._at = b"", 0
        self._next = self._header
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._pending[self._at :] if self.eof else b""

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        self._pending, self._at = self._pending[self._at :] + bytes(data), 0
        parts, size = [], 0
        while size < max_length and not self.eof:
            end = self._at + self._next()
            self.needs_input = end == self._at or end > len(self._pending)
            if self.needs_input:
                break
            parts.append(self._object.decompress(self._pending[self._at : end]))
            size += len(parts[-1])
            self._advance(end)
        return b"".join(parts)

    def _header(self) -> int:
        """Length of the frame header, 0 if it can't be told yet."""
        start = self._pending[self._at : self._at + 5]
        if len(start) == 5 and start[:4] != b"\x28\xb5\x2f\xfd":
            raise zstandard.ZstdError("not a Zstandard frame")
        if len(start) < 5:
            return 0
        single = start[4] >> 5 & 1
        return 6 - single + (0, 1, 2, 4)[start[4] & 3] + (single, 2, 4, 8)[start[4] >> 6]

    def _block(self) -> int:
        """Length of the next block and its header, 0 if it can't be told yet."""
        head = int.from_bytes(self._pending[self._at : self._at + 3], "little")
        if len(self._pending) < self._at + 3:
            return 0
        return 3 + (1 if head >> 1 & 3 == 1 else head >> 3)

    @staticmethod
    def _checksum() -> int:
        return 4

    def _advance(self, end: int) -> None:
        last = self._next == self._block and self._pending[self._at] & 1
        self._next, self._at = self._checksum if last else self._block, end


class BrotliCompressor:
    """brotli's object; `window` is log2 of bytes."""

    def __init__(self, level: int, window: int) -> None:
        self._object = brotli.Compressor(quality=level, lgwin=window)

    def compress(self, data: memoryview, /) -> bytes:
        out: bytes = self._object.process(data)
        return out

    def flush(self) -> bytes:
        out: bytes = self._object.finish()
        return out


class BrotliDecompressor:
    """brotli's object; it refuses bytes after the end by itself."""

    unused_data: Final = b""

    def __init__(self) -> None:
        self._object = brotli.Decompressor()
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._object.is_finished())

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        out: bytes = self._object.process(data, output_buffer_limit=max_length)
        # output may wait inside after all input was taken, so ask until nothing comes
        self.needs_input = not out and bool(self._object.can_accept_more_data())
        return out
