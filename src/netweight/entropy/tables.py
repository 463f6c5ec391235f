"""Distributions as integer frequencies: counted, merged by description length, sent compactly.

A table isn't sent as frequencies but as levels, eight to an octave of the count: the relative error of 4 % that this leaves costs
about 0.0005 bit a symbol, and a level costs five to six bits given its neighbours'.
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
TABLE_BITS: Final = 6.0
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


def _table_contexts(contexts: int, symbols: int) -> NDArray[np.uint8]:
    out = np.ones((contexts, symbols), np.uint8)
    out[0] = 0
    return out.reshape(-1)


@njit(nogil=True, cache=True)
def _predict(levels, c, s):  # type: ignore[no-untyped-def]
    """What level (c, s) should be: as its neighbour in the context before, moved as the symbol to the left was moved."""
    left = levels[c, s - 1] if s else 0
    if c == 0:
        return left
    above = levels[c - 1, s]
    if s and above and left and levels[c - 1, s - 1]:
        return min(max(above + left - levels[c - 1, s - 1], 1), MAX_LEVEL)
    return above


@njit(nogil=True, cache=True)
def _residuals(levels, out):  # type: ignore[no-untyped-def]
    """Zigzag differences to the predictions."""
    for c in range(levels.shape[0]):
        for s in range(levels.shape[1]):
            d = levels[c, s] - _predict(levels, c, s)
            out[c, s] = 2 * d if d >= 0 else -2 * d - 1


@njit(nogil=True, cache=True)
def _from_residuals(residuals, levels):  # type: ignore[no-untyped-def]
    """The inverse; False for a level out of range."""
    for c in range(levels.shape[0]):
        for s in range(levels.shape[1]):
            r = residuals[c, s]
            level = _predict(levels, c, s) + (r >> 1 if r & 1 == 0 else -(r >> 1) - 1)
            if level < 0 or level > MAX_LEVEL:
                return False
            levels[c, s] = level
    return True


def write_tables(out: Writer, levels: NDArray[np.int64]) -> None:
    """Levels (int64 [contexts, symbols]); the reader knows the shape."""
    residuals = np.empty_like(levels)
    _residuals(levels, residuals)
    out.blob(adaptive.encode(residuals.reshape(-1), _table_contexts(*levels.shape)))


def read_tables(source: Reader, contexts: int, symbols: int) -> NDArray[np.int64]:
    """The inverse of `write_tables`. Raises FormatError."""
    residuals = adaptive.decode(source.blob(), _table_contexts(contexts, symbols), 2 * MAX_LEVEL)
    levels = np.zeros((contexts, symbols), np.int64)
    if not _from_residuals(residuals.reshape(contexts, symbols), levels):
        raise FormatError("frequency table: a level out of range")
    return levels


@njit(nogil=True, cache=True)
def count_pairs(contexts, symbols, out):  # type: ignore[no-untyped-def]
    """out[context << 8 | symbol] += 1 for each symbol."""
    for i in range(symbols.size):
        out[(np.uint64(contexts[i]) << np.uint64(8)) | np.uint64(symbols[i])] += np.uint32(1)


@njit(nogil=True, cache=True)
def _look_up(contexts, group_of, out):  # type: ignore[no-untyped-def]
    for i in range(contexts.size):
        out[i] = group_of[contexts[i]]


def grouped(contexts: NDArray[np.uint16], group_of: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """group_of[contexts], several times faster. The caller guarantees that contexts are below `group_of.size`."""
    out = np.empty(contexts.shape, np.uint8)
    _look_up(contexts.reshape(-1), group_of, out.reshape(-1))
    return out


@njit(nogil=True, cache=True)
def _description(counts, per_symbol):  # type: ignore[no-untyped-def]
    """N log n - sum c log c, plus the table."""
    total, bits = 0.0, 0.0
    for c in counts:
        if c:
            x = np.float64(c)
            total += x
            bits += per_symbol - x * np.log2(x)
    return bits + (total * np.log2(total) if total else 0.0)


@njit(nogil=True, cache=True)
def _merge(histograms, per_symbol, most, border_until):  # type: ignore[no-untyped-def]
    """Merge neighbouring rows of `histograms` (destroyed), always the pair that pays most, until one is left.

    border_until[r] is set to the number of groups down to which row r begins one. Returns the number of groups, at most
    `most`, at which the description was shortest.
    """
    rows = histograms.shape[0]
    alive = np.empty(rows, np.int64)
    left = 0
    for r in range(rows):
        if histograms[r].any():
            alive[left] = r
            left += 1
    costs, pairs = np.empty(rows), np.empty(rows)
    total = 0.0
    for k in range(left):
        costs[k] = _description(histograms[alive[k]], per_symbol)
        total += costs[k]
    for k in range(left - 1):
        pairs[k] = _description(histograms[alive[k]] + histograms[alive[k + 1]], per_symbol)
    border_until[:] = rows + 1
    shortest, groups = (total, left) if left <= most else (np.inf, left)
    while left > 1:
        best, gain = 0, -np.inf
        for k in range(left - 1):
            g = costs[k] + costs[k + 1] - pairs[k]
            if g > gain:
                best, gain = k, g
        border_until[alive[best + 1]] = left
        histograms[alive[best]] += histograms[alive[best + 1]]
        costs[best] = pairs[best]
        total -= gain
        for k in range(best + 1, left - 1):
            alive[k], costs[k], pairs[k] = alive[k + 1], costs[k + 1], pairs[k + 1]
        left -= 1
        for k in (best - 1, best):
            if 0 <= k < left - 1:
                pairs[k] = _description(histograms[alive[k]] + histograms[alive[k + 1]], per_symbol)
        if left <= most and total < shortest:
            shortest, groups = total, left
    return groups


def merge_contexts(histograms: NDArray[np.uint32], most: int) -> tuple[NDArray[np.uint8], NDArray[np.uint32], float]:
    """Group neighbouring rows (uint32 [rows, symbols]) to the shortest description of table plus data.

    Returns the group of each row (uint8 [rows], non-decreasing from 0), the groups' histograms and the bits in all. The
    encoder alone runs this; what it decides is sent.
    """
    border_until = np.empty(len(histograms), np.int64)
    groups = _merge(histograms.copy(), TABLE_BITS, most, border_until)
    borders = border_until <= groups
    group_of = np.cumsum(borders).astype(np.uint8)
    starts = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(borders)])
    merged = np.add.reduceat(histograms, starts, axis=0).astype(np.uint32)
    return group_of, merged, float(sum(_description(row, TABLE_BITS) for row in merged))


def write_borders(out: Writer, group_of: NDArray[np.uint8], code: str) -> NDArray[np.int64]:
    """Which rows begin a group, as numbers of numpy type `code` after their count; the first row of each group."""
    firsts = np.searchsorted(group_of, np.arange(int(group_of[-1]) + 1)).astype(np.int64)
    out.raw(bytes([firsts.size - 1])).raw(firsts[1:].astype(code).view(np.uint8))
    return firsts


def read_borders(source: Reader, rows: int, most: int, code: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The inverse: (group of each row, first row of each group). Raises FormatError for over `most` groups."""
    count = source.byte() + 1
    borders = source.array(count - 1, code).astype(np.int64)
    if count > most or bool((np.diff(borders) < 0).any()):
        raise FormatError("contexts: too many, or out of order")
    group_of = np.searchsorted(borders, np.arange(rows), side="right").astype(np.uint8)
    return group_of, np.concatenate([np.zeros(1, np.int64), borders])
