"""The oldest trick of the field: weights as grayscale PNG images.

    payload := tile*
    tile    := [lowest and highest element, as elements: mode "quantised" alone] | length varint | PNG

The spec says how many tiles there are and how large each image is, so nothing else is written. PNG's row filters
predict a pixel from its neighbours; where these say nothing, what is left is deflate.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from typing import Any, Final

import numpy as np
import oxipng
from numpy.typing import NDArray
from PIL import Image

from ..codec import LOSSLESS, ConfigCodec, Guarantee
from ..errors import FormatError, UnsupportedError
from ..spec import Spec, dtype, element_count
from ..tensors import numpy_dtype
from ..wire import Reader, Writer

Bytes = NDArray[np.uint8]
Pixels = NDArray[np.unsignedinteger[Any]]

TILE_BYTES: Final = 1 << 24
_WIDEST: Final = 1 << 16  # pixels in a row
_NARROWEST: Final = 256  # every row costs a filter byte
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE = 0, 3
# for pixel data, for palettes, and for chunks, which are checked here before
_PILLOW_ERRORS: Final = (OSError, ValueError, SyntaxError)


@dataclass(frozen=True, slots=True)
class Tile:
    """Pixels `start` to `stop` of a block as an image of `height` rows of `width`; the last row is padded with 0."""

    start: int
    stop: int
    width: int
    height: int


def _width(row: int, count: int) -> int:
    """Pixels in an image row: whole rows of the matrix if their length is sane, else what makes it about a square."""
    if 1 < row < _NARROWEST:
        row *= -(-_NARROWEST // row)
    elif not _NARROWEST <= row <= _WIDEST:
        row = min(isqrt(count - 1) + 1, _WIDEST)
    return min(row, count)


def _tiles(start: int, count: int, row: int, limit: int) -> Iterator[Tile]:
    """`count` pixels from `start` on as images of whole rows and at most `limit` pixels."""
    width = _width(row, count) if count else 1
    step = limit // width * width
    for first in range(start, start + count, step):
        size = min(step, start + count - first)
        yield Tile(first, first + size, width, -(-size // width))


class Png(ConfigCodec):
    """Grayscale images of `depth` (8 or 16) bits a pixel, made smaller by oxipng at `level` (0: not at all, up to 6).

    Mode "bytes" is lossless: the raw bytes are the pixels. Mode "quantised" takes floats alone: each tensor (in pieces
    of 16 MiB of pixels) is scaled linearly, its lowest value to 0 and its highest to 2^depth - 1, and rounded. This
    errs by about (highest - lowest) / 2^(depth + 1) at most; as no limit is known beforehand none is guaranteed, and
    the receipt tells what was measured. Signs of zeros are lost; NaN and infinity raise UnsupportedError.
    """

    id = "png"

    def __init__(self, depth: int = 8, mode: str = "bytes", level: int = 2) -> None:
        if type(depth) is not int or depth not in (8, 16):
            raise FormatError(f"png: depth must be 8 or 16, not {depth!r}")
        if mode not in ("bytes", "quantised"):
            raise FormatError(f"png: mode must be 'bytes' or 'quantised', not {mode!r}")
        if type(level) is not int or not 0 <= level <= 6:
            raise FormatError(f"png: level must be a whole number from 0 to 6, not {level!r}")
        self.depth, self.mode, self.level = depth, mode, level
        self.guarantee = LOSSLESS if mode == "bytes" else Guarantee("none")

    def config(self) -> dict[str, Any]:
        return {"depth": self.depth, "mode": self.mode, "level": self.level}

    def encode(self, data: Bytes, spec: Spec) -> bytes:
        out = Writer()
        if self.mode == "bytes":
            padded = np.pad(data, (0, -data.size % (self.depth // 8)))
            pixels = padded.view(f"<u{self.depth // 8}")
            for tile in self._byte_tiles(spec):
                out.blob(self._write(pixels[tile.start : tile.stop], tile))
            return out.bytes()
        values = data.view(_float_dtype(spec))
        for tile in self._value_tiles(spec):
            bounds, pixels = _quantise(values[tile.start : tile.stop], self.depth)
            out.raw(bounds).blob(self._write(pixels, tile))
        return out.bytes()

    def decode(self, payload: bytes | memoryview, spec: Spec) -> Bytes:
        source, out = Reader(payload, "png"), bytearray()
        if self.mode == "bytes":
            for tile in self._byte_tiles(spec):
                out += self._read(source.blob(), tile).tobytes()
            del out[spec.nbytes :]
        else:
            kind = _float_dtype(spec)
            for tile in self._value_tiles(spec):
                bounds = source.raw(2 * kind.itemsize)
                out += _restore(bounds, self._read(source.blob(), tile), self.depth, kind).tobytes()
        source.end()
        return np.frombuffer(out, np.uint8)

    def _byte_tiles(self, spec: Spec) -> Iterator[Tile]:
        """The whole block in one run of pixels, as wide as the rows of its first matrix."""
        size = self.depth // 8
        columns = spec.matrices()[0][1] if spec.shapes and len(spec.shapes[0]) > 1 else 0
        row = columns * dtype(spec.dtype).bits // self.depth
        return _tiles(0, -(-spec.nbytes // size), row, TILE_BYTES // size)

    def _value_tiles(self, spec: Spec) -> Iterator[Tile]:
        """Each tensor on its own, a pixel for each element."""
        start = 0
        for shape, (_, columns) in zip(spec.shapes, spec.matrices(), strict=True):
            count = element_count(shape)
            yield from _tiles(start, count, columns if len(shape) > 1 else 0, TILE_BYTES * 8 // self.depth)
            start += count

    def _write(self, pixels: Pixels, tile: Tile) -> bytes:
        padded = np.pad(pixels, (0, tile.width * tile.height - pixels.size))
        out = io.BytesIO()
        # oxipng chooses filters and deflates anew, so a quick first pass will do
        Image.fromarray(padded.reshape(tile.height, tile.width)).save(out, "png", compress_level=1 if self.level else 9)
        return oxipng.optimize_from_memory(out.getvalue(), level=self.level) if self.level else out.getvalue()

    def _read(self, png: memoryview, tile: Tile) -> Pixels:
        _check(png, tile, self.depth)
        try:
            with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
                # oxipng stores few values as a palette or in fewer bits a pixel
                pixels = np.asarray(image if image.mode == "I;16" else image.convert("L"))
        except _PILLOW_ERRORS as error:
            raise FormatError(f"png: damaged image: {error}") from None
        if self.depth == 16:
            pixels = pixels.astype("<u2") * np.uint16(1 if pixels.dtype.itemsize == 2 else 257)
        return pixels.reshape(-1)[: tile.stop - tile.start]


def _check(png: memoryview, tile: Tile, depth: int) -> None:
    """Raises FormatError unless `png` is whole, is of the size expected and has no chunk but those that encoders need.

    So Pillow never sees text, profiles, animations or a size that isn't the spec's.
    """
    source = Reader(png, "png image")
    if bytes(source.raw(len(_SIGNATURE))) != _SIGNATURE:
        raise FormatError("png: not a PNG image")
    order: list[bytes] = []
    while not order or order[-1] != b"IEND":
        length = int.from_bytes(source.raw(4), "big")
        chunk = source.raw(length + 4)
        if zlib.crc32(chunk) != int.from_bytes(source.raw(4), "big"):
            raise FormatError("png: a chunk's checksum differs: altered or damaged")
        kind = bytes(chunk[:4])
        if kind != b"IDAT" or order[-1:] != [kind]:
            order.append(kind)
        if order == [b"IHDR"]:
            _check_header(chunk[4:], tile, depth)
    source.end()
    if order not in ([b"IHDR", b"IDAT", b"IEND"], [b"IHDR", b"PLTE", b"IDAT", b"IEND"]):
        raise FormatError(f"png: unexpected chunks {order[:8]}")


def _check_header(header: memoryview, tile: Tile, depth: int) -> None:
    gray = [(n, _GRAY) for n in (1, 2, 4, 8, 16) if n <= depth]
    allowed = [*gray, *((n, _PALETTE) for n in (1, 2, 4, 8))]
    expected = (struct.pack(">2I2B3x", tile.width, tile.height, *kind) for kind in allowed)
    if bytes(header) not in expected:
        raise FormatError(f"png: not a gray image of {tile.width} x {tile.height} pixels of up to {depth} bits")


def _float_dtype(spec: Spec) -> np.dtype[Any]:
    if dtype(spec.dtype).kind != "float":
        raise UnsupportedError(f"png: only floats can be quantised, not {spec.dtype}; mode 'bytes' takes everything")
    return numpy_dtype(spec.dtype)


def _quantise(values: NDArray[Any], depth: int) -> tuple[bytes, Pixels]:
    """The lowest and the highest value as bytes, and for each value its step between them."""
    with np.errstate(invalid="ignore", over="ignore"):
        x = values.astype(np.float64)
        if not np.isfinite(x).all():
            raise UnsupportedError("png: NaN and infinity have no gray value between others; mode 'bytes' takes them")
        first, last = int(x.argmin()), int(x.argmax())
        x *= _scale(x[first], x[last])
        span = x[last] - x[first]
        steps = (x - x[first]) / span if span else np.zeros_like(x)
    pixels = np.rint(steps * ((1 << depth) - 1)).astype(f"<u{depth // 8}")
    return values[[first, last]].tobytes(), pixels


def _scale(lowest: float, highest: float) -> float:
    """A power of two that keeps products with the width of the range finite."""
    return 2.0**-20 if max(-lowest, highest) > 1e300 else 1.0


def _restore(bounds: memoryview, pixels: Pixels, depth: int, kind: np.dtype[Any]) -> NDArray[Any]:
    """The inverse of `_quantise`, but for the rounding: IEEE + - * / of float64 in a fixed order."""
    with np.errstate(invalid="ignore", over="ignore"):
        lowest, highest = np.frombuffer(bounds, np.uint8).view(kind).astype(np.float64)
        if not -np.inf < lowest <= highest < np.inf:
            raise FormatError(f"png: impossible range of values, {lowest} to {highest}")
        scale = _scale(lowest, highest)
        low, high = lowest * scale, highest * scale
        values = np.clip(low + pixels * (high - low) / ((1 << depth) - 1), low, high) / scale
        return np.asarray(values.astype(kind))
