"""The bits that aren't modelled: byte planes, and what is left over packed tightly.

low   := whole bytes from the low end, then parts of 4, 2 and 1 bits, then the sign
byte  := method(1: 0 raw, 1 rANS, 2 constant) | [table] | blob
part  := ceil(n * width / 8) bytes; byte j holds the values j, j + size, j + 2 size, ... from its low bits up
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import rans, tables
from ...errors import FormatError
from ...wire import Reader, Writer
from .symbols import Fields

_RAW, _RANS, _CONSTANT = 0, 1, 2
_WORTH: Final = 0.995  # of the raw size; less isn't worth the time of decoding


@njit(nogil=True, cache=True)
def _take(words, shift, width, out):  # type: ignore[no-untyped-def]
    """Bits [shift, shift + width) of each word, 8 / width words a byte: word k * out.size + j in byte j. `out` starts at 0."""
    mask, s = words.dtype.type((1 << width) - 1), words.dtype.type(shift)
    for k in range(8 // width):
        part, up = words[k * out.size : (k + 1) * out.size], np.uint8(k * width)
        for j in range(part.size):
            out[j] |= np.uint8((part[j] >> s) & mask) << up


@njit(nogil=True, cache=True)
def _put(data, shift, width, out):  # type: ignore[no-untyped-def]
    """The inverse of `_take`: OR the bits into the words of `out`."""
    mask, s = np.uint8((1 << width) - 1), out.dtype.type(shift)
    for k in range(8 // width):
        part, down = out[k * data.size : (k + 1) * data.size], np.uint8(k * width)
        for j in range(part.size):
            part[j] |= out.dtype.type((data[j] >> down) & mask) << s


def _parts(fields: Fields) -> list[tuple[int, int]]:
    """(shift, width) of each part of the rest: whole bytes from the low end, then 4, 2 and 1 bits, then the sign."""
    out, at = [], 0
    for width in (8, 4, 2, 1):
        while fields.low - at >= width:
            out.append((fields.clean + at, width))
            at += width
    return out + [(fields.word - 1, 1)] * fields.sign


def pack_bits(values: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """`values` (uint8 [n], each under 2^width), two 4-, four 2- or eight 1-bit parts a byte."""
    out = []
    for shift, part in _parts(Fields(8, 0, 0, width, 0, 0)):
        out.append(np.zeros(-(-values.size * part // 8), np.uint8))
        _take(values, shift, part, out[-1])
    return np.concatenate(out) if out else np.empty(0, np.uint8)


def unpack_bits(source: Reader, width: int, count: int) -> NDArray[np.uint8]:
    """The inverse. Raises FormatError."""
    out = np.zeros(count, np.uint8)
    for shift, part in _parts(Fields(8, 0, 0, width, 0, 0)):
        _put(np.frombuffer(source.raw(-(-count * part // 8)), np.uint8), shift, part, out)
    return out


def write_plane(out: Writer, plane: NDArray[np.uint8]) -> None:
    """A byte plane by the cheapest of constant, rANS and raw."""
    counts = np.bincount(plane, minlength=256)
    used = counts[counts > 0].astype(np.float64)
    if used.size == 1:
        out.raw(bytes([_CONSTANT])).blob(plane[:1])
        return
    bits = float((used * np.log2(plane.size / used)).sum()) + 4 * used.size
    if bits < _WORTH * 8 * plane.size:
        levels = tables.levels_of(counts[None, :].astype(np.int64))
        scale = tables.scale_for(plane.size)
        contexts = np.zeros(plane.size, np.uint8)
        stream = rans.encode(plane, contexts, tables.frequencies_of(levels, scale), scale)
        coded = Writer().raw(bytes([_RANS]))
        tables.write_tables(coded, levels)
        coded.blob(stream)
        if len(coded) < plane.size:
            out.raw(coded.bytes())
            return
    out.raw(bytes([_RAW])).blob(plane)


def read_plane(source: Reader, count: int) -> NDArray[np.uint8]:
    """The inverse of `write_plane`. Raises FormatError."""
    method = source.byte()
    if method == _RANS:
        frequencies = tables.frequencies_of(tables.read_tables(source, 1, 256), tables.scale_for(count))
        return rans.decode(source.blob(), np.zeros(count, np.uint8), frequencies, tables.scale_for(count))
    body = np.frombuffer(source.blob(), np.uint8)
    if method == _CONSTANT and body.size == 1:
        return np.full(count, body[0], np.uint8)
    if method != _RAW or body.size != count:
        raise FormatError("byte plane: unknown method or wrong length")
    return body


def write_low(out: Writer, words: NDArray[np.unsignedinteger[Any]], fields: Fields) -> None:
    """The `fields.rest` raw bits of each word."""
    for shift, width in _parts(fields):
        part = np.zeros(-(-words.size * width // 8), np.uint8)
        _take(words, shift, width, part)
        if width == 8:
            write_plane(out, part)
        else:
            out.raw(part)


def read_low(source: Reader, fields: Fields, words: NDArray[np.unsignedinteger[Any]]) -> None:
    """OR the rest into `words`. Raises FormatError."""
    for shift, width in _parts(fields):
        _put(_read_part(source, width, words.size), shift, width, words)


def _read_part(source: Reader, width: int, count: int) -> NDArray[np.uint8]:
    if width == 8:
        return read_plane(source, count)
    return np.frombuffer(source.raw(-(-count * width // 8)), np.uint8)
