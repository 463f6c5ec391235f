"""Indices of any size as at most 255 symbols and raw bits, such that a symbol tells the parity of its index.

magnitude m < 32: symbol 0 for 0, else 2 m - 1 (positive) or 2 m (negative)
magnitude m >= 32: h = m >> 1 has e + 1 bits; symbol 63 + 8 (e - 4) + 4 (second bit of h) + 2 (m & 1) + (negative), and the
                   e - 1 low bits of h raw
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

EXACT: Final = 32
BUCKETS_FROM: Final = 2 * EXACT - 1
_LEAST_E: Final = 4
SYMBOLS: Final = BUCKETS_FROM + 8 * 24
LARGEST: Final = 1 << 28
"""Indices are below this in magnitude."""


def _raw_widths() -> NDArray[np.uint8]:
    out = np.zeros(256, np.uint8)
    for s in range(BUCKETS_FROM, SYMBOLS):
        out[s] = (s - BUCKETS_FROM) // 8 + _LEAST_E - 1
    return out


def _first_indices() -> NDArray[np.int32]:
    """The index of least magnitude that each symbol stands for."""
    out = np.zeros(256, np.int32)
    for s in range(1, BUCKETS_FROM):
        m = (s + 1) // 2
        out[s] = m if s & 1 else -m
    for s in range(BUCKETS_FROM, SYMBOLS):
        e, rest = divmod(s - BUCKETS_FROM, 8)
        e += _LEAST_E
        m = ((2 | rest >> 2) << (e - 1)) << 1 | (rest >> 1 & 1)
        out[s] = -m if rest & 1 else m
    return out


RAW_WIDTH: Final = _raw_widths()
FIRST_INDEX: Final = _first_indices()
PARITY: Final = (FIRST_INDEX & 1).astype(np.uint8)


@njit(nogil=True, cache=True)
def to_symbols(indices, out):  # type: ignore[no-untyped-def]
    """out[i] = symbol of indices[i] (int32, below LARGEST); the number of those that have raw bits."""
    large = 0
    for i in range(indices.size):
        k = np.int64(indices[i])
        m = abs(k)
        if m < EXACT:
            out[i] = 0 if m == 0 else 2 * m - (k > 0)
            continue
        large += 1
        h, e = m >> 1, 0
        while h >> (e + 1):
            e += 1
        second = (h >> (e - 1)) & 1
        out[i] = BUCKETS_FROM + 8 * (e - _LEAST_E) + 4 * second + 2 * (m & 1) + (k < 0)
    return large


@njit(nogil=True, cache=True)
def pack_raw(indices, symbols, widths, out):  # type: ignore[no-untyped-def]
    """The raw bits, in order, low bits first, into `out` (uint8, zero); the number of bytes."""
    at, filled, pending = 0, 0, np.uint64(0)
    for i in range(indices.size):
        width = np.int64(widths[symbols[i]])
        if not width:
            continue
        h = np.uint64(abs(np.int64(indices[i])) >> 1) & ((np.uint64(1) << np.uint64(width)) - np.uint64(1))
        pending |= h << np.uint64(filled)
        filled += width
        while filled >= 8:
            out[at] = np.uint8(pending & np.uint64(255))
            pending >>= np.uint64(8)
            at, filled = at + 1, filled - 8
    if filled:
        out[at] = np.uint8(pending & np.uint64(255))
        at += 1
    return at


@njit(nogil=True, cache=True)
def from_symbols(symbols, widths, first, raw, out):  # type: ignore[no-untyped-def]
    """out[i] = index of symbols[i]; the number of bytes of `raw` that were needed (more than there are, if they ran out)."""
    at, filled, pending = 0, 0, np.uint64(0)
    for i in range(symbols.size):
        k = np.int64(first[symbols[i]])
        width = np.int64(widths[symbols[i]])
        if width:
            while filled < width:
                if at < raw.size:
                    pending |= np.uint64(raw[at]) << np.uint64(filled)
                at, filled = at + 1, filled + 8
            low = np.int64(pending & ((np.uint64(1) << np.uint64(width)) - np.uint64(1))) << 1
            pending >>= np.uint64(width)
            filled -= width
            k = k + low if k > 0 else k - low
        out[i] = k
    return at
