"""Scales of quantised blocks against their minima: half-precision bit patterns are nearly logarithms, so their difference is
nearly the logarithm of the ratio, which varies far less than either.

    body := centre (2) | sign: 0 all positive, 1 all negative, 2 mixed (1) | [signs, packed] | table | rANS blob | escapes varint
              | their differences (2 each) | low bits: 5 a value, packed
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy import rans, tables
from ...errors import FormatError
from ...wire import Reader, Writer
from . import lowbits

Halves = NDArray[np.uint16]

_LOW: Final = 5
_ESCAPE: Final = 255
_MAGNITUDE: Final = 0x7FFF
_POSITIVE, _NEGATIVE, _MIXED = 0, 1, 2


def zero_class(scales: Halves, minima: Halves, classes: int) -> NDArray[np.uint8]:
    """-minimum / scale, the position of zero in a block, as a class from its logarithm: about eight classes an octave,
    the middle ones around 7.5. Bit patterns alone: integers on every machine.
    """
    ratio = (minima & _MAGNITUDE).astype(np.int64) - (scales & _MAGNITUDE).astype(np.int64)
    middle = 2982  # the difference of the bit patterns of 7.5 d and d, about 1024 * log2(7.5)
    return np.clip((ratio - middle) // 160 + classes // 2, 0, classes - 1).astype(np.uint8)


def _symbols(out: Writer, symbols: NDArray[np.uint8]) -> None:
    counts = np.bincount(symbols, minlength=256).astype(np.int64)[None, :]
    levels, scale = tables.levels_of(counts), tables.scale_for(symbols.size)
    tables.write_tables(out, levels)
    contexts = np.zeros(symbols.size, np.uint8)
    out.blob(rans.encode(symbols, contexts, tables.frequencies_of(levels, scale), scale))


def encode_ratios(values: Halves, known: Halves) -> bytes:
    """`values` (uint16 [n], half-precision patterns) given `known` (the same)."""
    difference = (values & _MAGNITUDE).astype(np.int64) - (known & _MAGNITUDE).astype(np.int64)
    centre = int(np.median(difference)) if difference.size else 0
    signs = (values >> 15).astype(np.uint8)
    kind = _MIXED if signs.any() and not signs.all() else _NEGATIVE if signs.any() else _POSITIVE
    out = Writer().raw(np.array([centre], "<i2").view(np.uint8)).raw(bytes([kind]))
    if kind == _MIXED:
        out.raw(lowbits.pack_bits(signs, 1))
    shifted = difference - centre + (127 << _LOW)
    escaped = (shifted < 0) | (shifted >= _ESCAPE << _LOW)
    _symbols(out, np.where(escaped, _ESCAPE, shifted >> _LOW).astype(np.uint8))
    out.varint(int(escaped.sum())).raw(difference[escaped].astype("<i2").view(np.uint8))
    out.raw(lowbits.pack_bits(np.where(escaped, 0, shifted & 31).astype(np.uint8), _LOW))
    return out.bytes()


def decode_ratios(body: memoryview, known: Halves) -> Halves:
    """The inverse. Raises FormatError."""
    source, count = Reader(body, "ratios"), known.size
    centre, kind = int(source.array(1, "<i2")[0]), source.byte()
    if kind > _MIXED:
        raise FormatError("ratios: unknown kind of signs")
    signs = lowbits.unpack_bits(source, 1, count) if kind == _MIXED else np.full(count, kind, np.uint8)
    scale = tables.scale_for(count)
    frequencies = tables.frequencies_of(tables.read_tables(source, 1, 256), scale)
    symbols = rans.decode(source.blob(), np.zeros(count, np.uint8), frequencies, scale)
    escaped = symbols == _ESCAPE
    escapes = source.array(source.varint(limit=count), "<i2").astype(np.int64)
    if escapes.size != int(escaped.sum()):
        raise FormatError("ratios: wrong number of escapes")
    difference = (symbols.astype(np.int64) << _LOW) + lowbits.unpack_bits(source, _LOW, count) + centre - (127 << _LOW)
    source.end()
    difference[escaped] = escapes
    magnitude = difference + (known & _MAGNITUDE)
    if count and (magnitude.min() < 0 or magnitude.max() > _MAGNITUDE):
        raise FormatError("ratios: a value out of range")
    return magnitude.astype(np.uint16) | (signs.astype(np.uint16) << np.uint16(15))
