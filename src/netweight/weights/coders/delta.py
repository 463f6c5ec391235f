"""A tensor against its base: the difference of the numbers as ordered integers, given the base value.

Floats are mapped to integers of the same order (sign and magnitude to two's complement), so that neighbours differ by one. The
zigzag of the difference is coded as its bit length and two bits below the leading one (a symbol), then the other bits as they
are. An update of about the same size everywhere moves a small float by many steps and a large one by few, so the symbol's
context is the exponent of the base value; row and column scales are the alternative, and the shorter one is taken.

    body := kind of contexts (1: 0 base exponents, 1 scales) | symbols | extra bits
    symbols, kind 0 := contexts - 1 (1) | first level of each but the first (1 each) | tables | rANS blob
    symbols, kind 1 := as in scaled.py
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import rans, tables
from ...errors import BaseMismatchError, FormatError
from ...ggml import BLOCK_TYPES
from ...spec import DType, Spec, dtype
from ...wire import Reader, Writer
from . import scaled
from .symbols import float_fields, is_float

Bytes = NDArray[np.uint8]
Words = NDArray[np.unsignedinteger[Any]]

_SYMBOLS: Final = 256
_LEVELS: Final = 64
_MOST_CONTEXTS: Final = 32
_LEAST: Final = 64


@njit(nogil=True, cache=True)
def _symbol(z):  # type: ignore[no-untyped-def]
    """(symbol, number of extra bits) of a zigzag difference: 0..3 as they are, then four symbols an octave."""
    length = 0
    y = z
    for step in (32, 16, 8, 4, 2, 1):
        if y >> np.uint64(step):
            length += step
            y >>= np.uint64(step)
    if z < np.uint64(4):
        return np.int64(z), 0
    extra = length - 2
    return 4 * (length - 1) + np.int64((z >> np.uint64(extra)) & np.uint64(3)), extra


@njit(nogil=True, cache=True)
def _ordered(w, ordered, top, mask):  # type: ignore[no-untyped-def]
    """Sign and magnitude to an unsigned integer of the same order; `_restore` undoes it."""
    if not ordered:
        return w
    return (~w & mask) if w & top else (w | top)


@njit(nogil=True, cache=True)
def _difference(words, base, ordered, symbols, bits):  # type: ignore[no-untyped-def]
    """Symbols and the extra bits, low bit first; the number of bits."""
    width = words.itemsize * 8
    top, mask = np.uint64(1) << np.uint64(width - 1), ~np.uint64(0) >> np.uint64(64 - width)
    used = 0
    for i in range(words.size):
        a = _ordered(np.uint64(words[i]), ordered, top, mask)
        b = _ordered(np.uint64(base[i]), ordered, top, mask)
        d = (a - b) & mask
        z = ((~d & mask) << np.uint64(1) | np.uint64(1)) & mask if d & top else d << np.uint64(1)
        s, extra = _symbol(z)
        symbols[i] = s
        for k in range(extra):
            if (z >> np.uint64(k)) & np.uint64(1):
                bits[used >> 3] |= np.uint8(1 << (used & 7))
            used += 1
    return used


@njit(nogil=True, cache=True)
def _extra_total(symbols):  # type: ignore[no-untyped-def]
    total = 0
    for s in symbols:
        if s >= 4:
            total += np.int64(s) // 4 - 1
    return total


@njit(nogil=True, cache=True)
def _restore(symbols, base, ordered, bits, out):  # type: ignore[no-untyped-def]
    """The inverse of `_difference`; the caller checks that `bits` is long enough. False for an impossible symbol."""
    width = out.itemsize * 8
    top, mask = np.uint64(1) << np.uint64(width - 1), ~np.uint64(0) >> np.uint64(64 - width)
    used = 0
    for i in range(out.size):
        s = np.uint64(symbols[i])
        z = s
        if s >= np.uint64(4):
            extra = np.int64(s) // 4 - 1
            if extra + 3 > width:
                return False
            z = (np.uint64(4) | (s & np.uint64(3))) << np.uint64(extra)
            for k in range(extra):
                z |= np.uint64((bits[used >> 3] >> (used & 7)) & 1) << np.uint64(k)
                used += 1
        d = (~(z >> np.uint64(1))) & mask if z & np.uint64(1) else z >> np.uint64(1)
        u = (_ordered(np.uint64(base[i]), ordered, top, mask) + d) & mask
        if ordered:
            u = (u & ~top) if u & top else (~u & mask)
        out[i] = out.dtype.type(u)
    return True


def _levels(base: Words, kind: DType) -> Bytes:
    """Level (uint8 under 64) of each base value: its exponent below the block's largest; 0 for integers."""
    if not is_float(kind.name):
        return np.zeros(base.size, np.uint8)
    fields = float_fields(kind, 0, 0, 1)
    exponents = (base >> base.dtype.type(fields.key_shift)) & base.dtype.type((1 << fields.exponent) - 1)
    largest = int(exponents.max()) if exponents.size else 0
    return np.clip(exponents.astype(np.int64) - largest + _LEVELS - 1, 0, _LEVELS - 1).astype(np.uint8)


def _write_by_level(symbols: Bytes, levels: Bytes) -> bytes:
    counts = np.bincount(levels.astype(np.int64) << 8 | symbols, minlength=_LEVELS * _SYMBOLS)
    group_of, merged, _ = tables.merge_contexts(counts.reshape(_LEVELS, _SYMBOLS).astype(np.uint32), _MOST_CONTEXTS)
    table, scale = tables.levels_of(merged.astype(np.int64)), tables.scale_for(symbols.size)
    out = Writer()
    tables.write_borders(out, group_of, "u1")
    tables.write_tables(out, table)
    out.blob(rans.encode(symbols, group_of[levels], tables.frequencies_of(table, scale), scale))
    return out.bytes()


def _read_by_level(source: Reader, levels: Bytes) -> Bytes:
    scale = tables.scale_for(levels.size)
    group_of, firsts = tables.read_borders(source, _LEVELS, _MOST_CONTEXTS, "u1")
    frequencies = tables.frequencies_of(tables.read_tables(source, firsts.size, _SYMBOLS), scale)
    return rans.decode(source.blob(), group_of[levels], frequencies, scale)


def _words(data: Bytes, kind: DType) -> Words:
    return np.ascontiguousarray(data).view(f"<u{kind.word // 8}")


def _checked(spec: Spec, reference: Bytes) -> Spec:
    """The spec to work by: quantised blocks are bytes here. Raises BaseMismatchError for another length."""
    if reference.size != spec.nbytes:
        raise BaseMismatchError(f"delta block: the base has {reference.size} bytes where {spec.nbytes} are expected")
    return Spec.raw(spec.nbytes) if spec.dtype in BLOCK_TYPES else spec


def encode_block(data: Bytes, spec: Spec, reference: Bytes) -> bytes | None:
    """`data` given `reference` (both 1-D uint8 of `spec`); None if this would not be smaller.

    Raises BaseMismatchError for a reference of another length.
    """
    spec = _checked(spec, reference)
    kind = dtype(spec.dtype)
    words, base = _words(data, kind), _words(reference, kind)
    if words.size < _LEAST:
        return None
    ordered = is_float(kind.name)
    symbols, bits = np.empty(words.size, np.uint8), np.zeros(data.size + 8, np.uint8)
    used = _difference(words, base, ordered, symbols, bits)
    by_level = _write_by_level(symbols, _levels(base, kind))
    by_scale = Writer()
    scaled.write_symbols(by_scale, symbols, _SYMBOLS, np.exp2(np.arange(_SYMBOLS) / 2.0) - 1, spec)
    best = min((b"\0", by_level), (b"\1", by_scale.bytes()), key=lambda pair: len(pair[1]))
    out = Writer().raw(best[0]).raw(best[1]).raw(bits[: (used + 7) // 8])
    return out.bytes() if len(out) < data.size else None


def decode_block(body: bytes | memoryview, spec: Spec, reference: Bytes) -> Bytes:
    """The inverse: `spec.nbytes` bytes. Raises FormatError; BaseMismatchError as `encode_block`."""
    spec = _checked(spec, reference)
    kind, source = dtype(spec.dtype), Reader(body, "delta block")
    base, how = _words(reference, kind), source.byte()
    if how == 0:
        symbols = _read_by_level(source, _levels(base, kind))
    elif how == 1:
        symbols = scaled.read_symbols(source, base.size, _SYMBOLS, spec).symbols
    else:
        raise FormatError("delta block: unknown kind of contexts")
    bits = np.frombuffer(source.raw((_extra_total(symbols) + 7) // 8), np.uint8)
    source.end()
    out = np.empty(base.size, base.dtype)
    if not _restore(symbols, base, is_float(kind.name), bits, out):
        raise FormatError("delta block: a difference wider than the number")
    return out.view(np.uint8)
