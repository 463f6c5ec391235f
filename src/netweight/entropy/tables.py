"""Distributions as integer frequencies: counted, merged by description length, sent compactly.

A table isn't sent as frequencies but as levels, eight to an octave of the count: the relative error of 4 % that this leaves costs
about 0.0005 bit a symbol, and a level costs some three bits given the same symbol's level in the context before.
Both sides make the frequencies from the levels by the same integer arithmetic.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import FormatError
from ..wire import Reader, Writer
from . import adaptive
from .rans import SYMBOLS

PER_OCTAVE: Final = 8
MAX_LEVEL: Final = 26 * PER_OCTAVE  # counts up to 2^26, of blocks of at most 2^23 symbols
TABLE_BITS: Final = 3.5
"""What one present symbol costs in a table, roughly; used only to decide what to merge."""

# round(256 * 2^(k / 8)) for k in 0..7
_MANTISSA: Final = np.array([256, 279, 304, 332, 362, 395, 431, 470], np.int64)


def weights_of(levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Level -> relative weight, 0 for level 0 (absent), else about 256 * 2^((level - 1) / 8)."""
    steps = np.maximum(levels - 1, 0)
    return np.where(levels == 0, 0, _MANTISSA[steps % PER_OCTAVE] << (steps // PER_OCTAVE))


def levels_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nearest level of each count; 0 for 0. The encoder alone computes this."""
    with np.errstate(divide="ignore"):
        logs = np.rint(PER_OCTAVE * np.log2(np.maximum(counts, 1).astype(np.float64))).astype(np.int64)
    return np.where(counts == 0, 0, np.minimum(logs + 1, MAX_LEVEL))


def frequencies_of(levels: NDArray[np.int64], scale: int) -> NDArray[np.uint16]:
    """Levels (int64 [contexts, symbols <= 256]) as frequencies (uint16 [contexts * 256]) that sum to 2^scale a context.

    A present symbol has at least 1. A context with no symbol at all gets all on symbol 0. Integers only.
    """
    contexts, symbols = levels.shape
    out = np.zeros((contexts, SYMBOLS), np.int64)
    weights = weights_of(levels)
    weights[:, 0] += weights.sum(axis=1) == 0
    present = weights > 0
    spare = (1 << scale) - present.sum(axis=1, keepdims=True)
    total = weights.sum(axis=1, keepdims=True)
    out[:, :symbols] = present + weights * spare // total
    # What rounding down left over goes to the most frequent symbol.
    top = out.argmax(axis=1)
    out[np.arange(contexts), top] += (1 << scale) - out.sum(axis=1)
    return out.astype(np.uint16).reshape(-1)


def scale_for(count: int) -> int:
    """Precision of the frequencies: finer for more symbols."""
    return 14 if count >= 1 << 17 else 12 if count >= 1 << 13 else 11


def _unsigned(deltas: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(deltas >= 0, 2 * deltas, -2 * deltas - 1)


def _signed(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(values & 1 == 0, values >> 1, -(values >> 1) - 1)


def _table_contexts(contexts: int, symbols: int) -> NDArray[np.uint8]:
    out = np.ones((contexts, symbols), np.uint8)
    out[0] = 0
    return out.reshape(-1)


def _predict(levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each row from the one before; the first row from its own neighbour to the left."""
    before = np.zeros_like(levels)
    before[1:] = levels[:-1]
    before[0, 1:] = levels[0, :-1]
    return before


def write_tables(out: Writer, levels: NDArray[np.int64]) -> None:
    """Levels (int64 [contexts, symbols]); the reader knows the shape."""
    deltas = _unsigned(levels - _predict(levels)).reshape(-1)
    out.blob(adaptive.encode(deltas, _table_contexts(*levels.shape)))


def read_tables(source: Reader, contexts: int, symbols: int) -> NDArray[np.int64]:
    """The inverse of `write_tables`. Raises FormatError."""
    deltas = _signed(adaptive.decode(source.blob(), _table_contexts(contexts, symbols), 2 * MAX_LEVEL))
    levels = deltas.reshape(contexts, symbols)
    levels[0] = np.cumsum(levels[0])
    levels = np.cumsum(levels, axis=0)
    if levels.min() < 0 or levels.max() > MAX_LEVEL:
        raise FormatError("frequency table: a level out of range")
    return levels


@njit(nogil=True, cache=True)
def count_pairs(contexts, symbols, out):  # type: ignore[no-untyped-def]
    """out[context << 8 | symbol] += 1 for each symbol."""
    for i in range(symbols.size):
        out[(np.uint64(contexts[i]) << np.uint64(8)) | np.uint64(symbols[i])] += np.uint32(1)


@njit(nogil=True, cache=True)
def _description(counts, per_symbol):  # type: ignore[no-untyped-def]
    """n log n - sum c log c, plus the table."""
    total, bits = 0.0, 0.0
    for c in counts:
        if c:
            x = np.float64(c)
            total += x
            bits += per_symbol - x * np.log2(x)
    return bits + (total * np.log2(total) if total else 0.0)


@njit(nogil=True, cache=True)
def _merge(histograms, per_symbol, most, group_of):  # type: ignore[no-untyped-def]
    """Merge neighbouring rows of `histograms` in place while that shortens the description (or there are over `most`)."""
    rows, symbols = histograms.shape
    alive = np.empty(rows, np.int64)
    left = 0
    for r in range(rows):
        if histograms[r].any():
            alive[left] = r
            left += 1
    costs, pairs = np.empty(rows), np.empty(rows)
    for k in range(left):
        costs[k] = _description(histograms[alive[k]], per_symbol)
    for k in range(left - 1):
        pairs[k] = _description(histograms[alive[k]] + histograms[alive[k + 1]], per_symbol)
    while left > 1:
        best, gain = 0, -np.inf
        for k in range(left - 1):
            g = costs[k] + costs[k + 1] - pairs[k]
            if g > gain:
                best, gain = k, g
        if gain <= 0 and left <= most:
            break
        histograms[alive[best]] += histograms[alive[best + 1]]
        costs[best] = pairs[best]
        for k in range(best + 1, left - 1):
            alive[k], costs[k], pairs[k] = alive[k + 1], costs[k + 1], pairs[k + 1]
        left -= 1
        for k in (best - 1, best):
            if 0 <= k < left - 1:
                pairs[k] = _description(histograms[alive[k]] + histograms[alive[k + 1]], per_symbol)
    total, group = 0.0, 0
    for r in range(rows):
        if group + 1 < left and r >= alive[group + 1]:
            group += 1
        group_of[r] = group
    for k in range(left):
        total += costs[k]
        histograms[k] = histograms[alive[k]]
    return left, total


def merge_contexts(histograms: NDArray[np.uint32], most: int) -> tuple[NDArray[np.uint8], NDArray[np.uint32], float]:
    """Group neighbouring rows (uint32 [rows, symbols]) to the shortest description of table plus data.

    Returns the group of each row (uint8 [rows], non-decreasing from 0), the groups' histograms and the bits in all. The
    encoder alone runs this; what it decides is sent.
    """
    work = histograms.copy()
    groups = np.zeros(len(work), np.uint8)
    left, bits = _merge(work, TABLE_BITS, most, groups)
    together = histograms.sum(axis=0, dtype=np.uint32)
    alone = _description(together, TABLE_BITS)
    if alone < bits:  # neighbours that don't pay two by two may still pay all at once
        return np.zeros_like(groups), together[None, :], alone
    return groups, work[: max(left, 1)], bits
