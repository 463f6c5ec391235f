"""The frame of an image: what anyone needs to turn bytes back into pixels.

    file     := "NWI" version(1) | method(1) | flags(1) | height varint | width varint
                | [ICC profile blob] | [EXIF blob] | [alpha blob] | payload | pixels' checksum(4) | checksum(4)
    blob     := length varint, bytes
    flags    := 1: grey (one channel, else three) | 2: ICC profile | 4: EXIF | 8: alpha
    alpha    := codec of the alpha plane (a text), then its payload
    checksum := low 4 bytes of XXH3-64, little endian: of the decoded pixels (rows, columns, channels, alpha last), and of all
                bytes that precede

The payload runs to the checksums. Its grammar is the method's own (METHODS).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import BombError, ChecksumError, FormatError, TruncatedError, VersionError
from ..frame import checksum
from ..wire import Reader, Writer
from . import methods

Pixels = NDArray[np.uint8]

MAGIC: Final = b"NWI"
VERSION: Final = 1
LONGEST: Final = 1 << 14
"""Rows or columns, at most."""
MOST_PIXELS: Final = 1 << 26
_GREY, _ICC, _EXIF, _ALPHA = 1, 2, 4, 8
_CHECKS: Final = 8


@dataclass(frozen=True)
class Header:
    """What a file says before its payload; `method` is a name of METHODS, `channels` 1 or 3, `alpha` coded or None."""

    method: str
    height: int
    width: int
    channels: int
    icc: bytes | None = None
    exif: bytes | None = None
    alpha: bytes | None = None


@dataclass(frozen=True)
class File:
    """A parsed file: nothing is decoded yet."""

    header: Header
    payload: memoryview
    pixels_check: bytes


def begins_as_image(head: bytes | memoryview) -> bool:
    """Whether bytes begin as a compressed image does."""
    return bytes(head[: len(MAGIC)]) == MAGIC


def check_size(height: int, width: int) -> None:
    """Raises BombError for more pixels than any decoder should allocate, FormatError for none."""
    if height < 1 or width < 1:
        raise FormatError(f"image: {height} x {width} pixels")
    if max(height, width) > LONGEST or height * width > MOST_PIXELS:
        raise BombError(
            f"image: {height} x {width} pixels are announced; at most {LONGEST} a side, {MOST_PIXELS} in all"
        )


def write(header: Header, payload: bytes, pixels_check: bytes) -> bytes:
    """The file around a payload."""
    optional = ((_ICC, header.icc), (_EXIF, header.exif), (_ALPHA, header.alpha))
    flags = (_GREY if header.channels == 1 else 0) + sum(bit for bit, part in optional if part is not None)
    out = Writer().raw(MAGIC + bytes([VERSION, methods.number_of(header.method), flags]))
    out.varint(header.height).varint(header.width)
    for _, part in optional:
        if part is not None:
            out.blob(part)
    out.raw(payload).raw(pixels_check)
    return out.raw(checksum(out.bytes())).bytes()


def parse(data: bytes | memoryview) -> File:
    """Check and take apart. Raises FormatError and its kin; nothing is allocated by what the file announces."""
    view = memoryview(data)
    if len(view) < len(MAGIC) + 5 + _CHECKS:
        raise TruncatedError(f"image: only {len(view)} bytes")
    if not begins_as_image(view):
        raise FormatError("image: this isn't a compressed image of netweight (bad magic)")
    if view[len(MAGIC)] != VERSION:
        raise VersionError(f"image: version {view[len(MAGIC)]}, this build reads {VERSION}; update netweight")
    if checksum(view[:-4]) != view[-4:]:
        raise ChecksumError("image: checksum differs: the bytes were altered or cut")
    source = Reader(view[len(MAGIC) + 1 : -_CHECKS], "image")
    method, flags = methods.name_of(source.byte()), source.byte()
    if flags > _GREY + _ICC + _EXIF + _ALPHA:
        raise FormatError(f"image: unknown flags {flags}")
    height, width = source.varint(), source.varint()
    check_size(height, width)
    icc, exif, alpha = (bytes(source.blob()) if flags & bit else None for bit in (_ICC, _EXIF, _ALPHA))
    header = Header(method, height, width, 1 if flags & _GREY else 3, icc, exif, alpha)
    return File(header, source.raw(source.remaining), bytes(view[-_CHECKS:-4]))
