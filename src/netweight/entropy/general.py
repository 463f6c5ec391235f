"""Other people's coders behind the netweight protocol: raw, zip, gzip, bzip2, xz, zstd, brotli.

They know nothing of numbers: the spec only tells them how long the answer must be. Each is a row of one table (how to
make a compressor and a decompressor, what these raise); everything else is shared. Payloads are those of the well-known
tools, so `gzip -d`, `xz -d` and so on read them. Their bytes are the same for one version of a library, not for ever.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import brotli
import numpy as np
import zstandard
from numpy.typing import NDArray

from ..codec import LOSSLESS, ConfigCodec
from ..errors import FormatError, TruncatedError
from ..spec import Spec
from .onezip import ZipCompressor, ZipDecompressor
from .streams import (
    BrotliCompressor,
    BrotliDecompressor,
    Compressor,
    Decompressor,
    GzipDecompressor,
    ZstdDecompressor,
)

Bytes = NDArray[np.uint8]
Chunk = bytes | bytearray | memoryview | Bytes

_INPUT_SLICE: Final = 1 << 18
_OUTPUT_SLICE: Final = 1 << 20
_XZ_MEMORY: Final = 1 << 27  # bytes; level 9 decodes in 65 MiB, but a header may ask for 4 GiB
_BROTLI_WINDOW: Final = 24  # log2 of bytes, the largest of the standard format


class StreamCodec(ConfigCodec):
    """A lossless codec of byte streams: `encode` and `decode` are its streams, joined.

    Memory of the streams is bounded by the coder's own window and one slice, however long they are.
    """

    guarantee = LOSSLESS

    def encode_stream(self, chunks: Iterable[Chunk], size: int | None = None) -> Iterator[bytes]:
        """The payload of the joined `chunks`, in pieces; it doesn't depend on where the chunks were cut.

        `size` is the length of all chunks in bytes. zstd alone looks at it: told it, it writes what `encode` does.
        """
        raise NotImplementedError

    def decode_stream(self, chunks: Iterable[Chunk]) -> Iterator[bytes]:
        """The inverse, in pieces of bounded size. Raises FormatError, perhaps after pieces that were right."""
        raise NotImplementedError

    def encode(self, data: Bytes, spec: Spec) -> bytes:  # noqa: ARG002  a stream of bytes to it
        return b"".join(self.encode_stream([data], data.nbytes))

    def decode(self, payload: bytes | memoryview, spec: Spec) -> Bytes:
        out = bytearray()
        for piece in self.decode_stream([payload]):
            out += piece
            if len(out) > spec.nbytes:
                raise FormatError(f"{self.id}: the payload holds more than the {spec.nbytes} bytes expected")
        if len(out) < spec.nbytes:
            raise TruncatedError(f"{self.id}: the payload holds {len(out)} bytes, {spec.nbytes} were expected")
        return np.frombuffer(out, np.uint8)


class Raw(StreamCodec):
    """The bytes themselves: what the file weighs today."""

    id = "raw"

    def encode_stream(self, chunks: Iterable[Chunk], size: int | None = None) -> Iterator[bytes]:  # noqa: ARG002
        return map(bytes, _slices(chunks))

    def decode_stream(self, chunks: Iterable[Chunk]) -> Iterator[bytes]:
        return map(bytes, _slices(chunks))


@dataclass(frozen=True, slots=True)
class Coder:
    """One of the coders of this world. `compressor` takes a level and, where it is known, the size in bytes."""

    compressor: Callable[[int, int | None], Compressor]
    decompressor: Callable[[], Decompressor]
    errors: tuple[type[Exception], ...]
    levels: range
    default: int


class LevelCodec(StreamCodec):
    """A coder with a compression level. Raises FormatError for a level that it hasn't got."""

    coder: Coder

    def __init__(self, level: int | None = None) -> None:
        self.level = self.coder.default if level is None else level
        if type(self.level) is not int or self.level not in self.coder.levels:
            lowest, highest = self.coder.levels[0], self.coder.levels[-1]
            raise FormatError(f"{self.id}: level must be a whole number from {lowest} to {highest}, not {level!r}")

    def config(self) -> dict[str, Any]:
        return {"level": self.level}

    def encode_stream(self, chunks: Iterable[Chunk], size: int | None = None) -> Iterator[bytes]:
        compressor = self.coder.compressor(self.level, size)
        for piece in _slices(chunks):
            if out := compressor.compress(piece):
                yield out
        yield compressor.flush()

    def decode_stream(self, chunks: Iterable[Chunk]) -> Iterator[bytes]:
        decompressor = self.coder.decompressor()
        for piece in _slices(chunks):
            late = decompressor.eof
            if not late:
                yield from self._drain(decompressor, piece)
            if late or decompressor.unused_data:
                raise FormatError(f"{self.id}: unexpected bytes at the end")
        if not decompressor.eof:
            raise TruncatedError(f"{self.id}: the payload ends too early")

    def _drain(self, decompressor: Decompressor, piece: memoryview) -> Iterator[bytes]:
        out = self._step(decompressor, piece)
        while True:
            if out:
                yield out
            if decompressor.eof or decompressor.needs_input:
                return
            out = self._step(decompressor, b"")

    def _step(self, decompressor: Decompressor, data: bytes | memoryview) -> bytes:
        try:
            return decompressor.decompress(data, _OUTPUT_SLICE)
        except self.coder.errors as error:
            raise FormatError(f"{self.id}: not a valid payload: {error}") from None


def _slices(chunks: Iterable[Chunk]) -> Iterator[memoryview]:
    """The same bytes in non-empty pieces of bounded length."""
    for chunk in chunks:
        view = memoryview(chunk)
        flat = view.cast("B") if view.nbytes else memoryview(b"")
        for start in range(0, len(flat), _INPUT_SLICE):
            yield flat[start : start + _INPUT_SLICE]


def _gzip(level: int, _: int | None) -> Compressor:
    return zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS | 16)  # 16: the gzip container, with time 0


def _zstd(level: int, size: int | None) -> Compressor:
    return zstandard.ZstdCompressor(level=level).compressobj(size=-1 if size is None else size)


class Zip(LevelCodec):
    """A ZIP file with one deflated member."""

    id = "zip"
    coder = Coder(lambda level, _: ZipCompressor(level), ZipDecompressor, (zlib.error,), range(1, 10), 9)


class Gzip(LevelCodec):
    """One gzip member (RFC 1952)."""

    id = "gzip"
    coder = Coder(_gzip, GzipDecompressor, (zlib.error,), range(1, 10), 9)


class Bzip2(LevelCodec):
    """One bzip2 stream; the level is the block length in 100 kB."""

    id = "bzip2"
    coder = Coder(lambda level, _: bz2.BZ2Compressor(level), bz2.BZ2Decompressor, (OSError,), range(1, 10), 9)


class Xz(LevelCodec):
    """One .xz stream with LZMA2."""

    id = "xz"
    coder = Coder(
        lambda level, _: lzma.LZMACompressor(preset=level),
        lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY),
        (lzma.LZMAError,),
        range(10),
        6,
    )


class Zstd(LevelCodec):
    """One Zstandard frame (RFC 8878)."""

    id = "zstd"
    coder = Coder(_zstd, ZstdDecompressor, (zstandard.ZstdError,), range(1, 23), 19)


class Brotli(LevelCodec):
    """One Brotli stream (RFC 7932) with a window of 16 MiB."""

    id = "brotli"
    coder = Coder(
        lambda level, _: BrotliCompressor(level, _BROTLI_WINDOW), BrotliDecompressor, (brotli.error,), range(12), 9
    )
