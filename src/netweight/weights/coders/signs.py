"""Signs where a column or a row leans to one side: embeddings, position encodings, whatever has a mean.

The logarithm of the odds of a minus is modelled as (its row's) + (its column's), in steps of a quarter, exactly as scales are; and a
weight that is large for its row and column is surer of its sign than a small one. So the context is the sum of the steps and the
magnitude's class, merged like those of scales. Where this wins too little, signs are stored as they are, a bit each.

    signs := scale flags(1) | scales | offset(2) | contexts - 1 (1) | first of each but the first (2 each) | tables | rANS blob
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import rans, tables
from ...wire import Reader, Writer
from . import scales
from .scaled import Grouped
from .scales import Scales, Shape
from .symbols import Alphabet

Bytes = NDArray[np.uint8]
Words = NDArray[np.unsignedinteger[Any]]

_CLASSES: Final = 6
_MOST_CONTEXTS: Final = 64
_PER_LOGIT: Final = 4
_WORTH: Final = 0.006  # bits a weight; less isn't worth the time
_SAMPLE: Final = 1 << 16
_SCALE: Final = 12


@njit(nogil=True, cache=True)
def _count_signs(words, columns, by_row, by_column):  # type: ignore[no-untyped-def]
    """Minus signs in each row and column of one tensor."""
    top = words.dtype.type(words.itemsize * 8 - 1)
    at = np.uint64(0)
    for r in range(by_row.size):
        total = np.uint32(0)
        for j in range(columns):
            minus = np.uint32(words[at + np.uint64(j)] >> top)
            total += minus
            by_column[j] += minus
        by_row[r] = total
        at += np.uint64(columns)


@njit(nogil=True, cache=True)
def _contexts(groups, symbols, class_of, levels, out):  # type: ignore[no-untyped-def]
    """out[i] = class of the magnitude << 6 | level."""
    for i in range(symbols.size):
        kind = class_of[(np.uint64(groups[i]) << np.uint64(8)) | np.uint64(symbols[i])]
        out[i] = (np.uint16(kind) << np.uint16(6)) | np.uint16(levels[i])


@njit(nogil=True, cache=True)
def _apply(signs, words):  # type: ignore[no-untyped-def]
    top = words.dtype.type(words.itemsize * 8 - 1)
    for i in range(words.size):
        words[i] |= words.dtype.type(signs[i]) << top


@njit(nogil=True, cache=True)
def _take(words, out):  # type: ignore[no-untyped-def]
    top = words.dtype.type(words.itemsize * 8 - 1)
    for i in range(words.size):
        out[i] = np.uint8(words[i] >> top)


def _signs(words: Words) -> Bytes:
    """1 for each minus (uint8 [n])."""
    out = np.empty(words.size, np.uint8)
    _take(words, out)
    return out


def _steps(minus: NDArray[np.uint32], size: NDArray[np.int64], reference: float) -> NDArray[np.int8]:
    """Log odds of a minus against `reference` log odds, in steps; counts are drawn a little to the middle."""
    odds = np.log((minus + 0.4) / (size - minus + 0.4)) - reference
    return np.clip(np.rint(_PER_LOGIT * odds), -28, 28).astype(np.int8)


def _gain(minus: NDArray[np.uint32], size: NDArray[np.int64]) -> float:
    """Bits that knowing each row's (column's) share of minus signs saves, less about what telling the shares costs."""
    p = np.clip(minus / np.maximum(size, 1), 1e-12, 1 - 1e-12)
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    return float((size * (1 - entropy)).sum()) - 3.0 * minus.size


def _candidates(words: Words, shapes: list[Shape]) -> list[Scales]:
    """The models whose first estimate says that they are worth trying."""
    rows, columns, row_sizes, column_sizes, at = [], [], [], [], 0
    for s in shapes:
        rows.append(np.zeros(s.rows, np.uint32))
        columns.append(np.zeros(s.columns, np.uint32))
        _count_signs(words[at : at + s.rows * s.columns], s.columns, rows[-1], columns[-1])
        row_sizes.append(np.full(s.rows, s.columns))
        column_sizes.append(np.full(s.columns, s.rows))
        at += s.rows * s.columns
    minus_r, minus_c = np.concatenate(rows), np.concatenate(columns)
    size_r, size_c = np.concatenate(row_sizes), np.concatenate(column_sizes)
    share = float(minus_r.sum() + 0.5) / (words.size + 1)
    all_odds = float(np.log(share / (1 - share)))
    least = _WORTH * words.size
    out = []
    by_column, by_row = _gain(minus_c, size_c) > least, _gain(minus_r, size_r) > least
    if by_column:
        out.append(Scales(None, scales.COLUMNS, _steps(minus_c, size_c, 0.0)))
    if by_row:
        out.append(Scales(_steps(minus_r, size_r, 0.0), scales.NO_COLUMNS, None))
    if by_column or by_row:
        out.append(Scales(_steps(minus_r, size_r, all_odds), scales.COLUMNS, _steps(minus_c, size_c, 0.0)))
    return out


def _price(candidate: Scales, signs: Bytes, shapes: list[Shape]) -> float:
    levels = scales.levels_of(candidate, shapes, max(1, signs.size // _SAMPLE))
    histograms = scales.count_levels(signs, levels, shapes, 2)
    return tables.merge_contexts(histograms, _MOST_CONTEXTS)[2] + scales.sent_bits(candidate)


def choose(words: Words, shapes: list[Shape]) -> Scales | None:
    """The model to code signs with; None if they are best stored."""
    candidates = _candidates(words, shapes)
    if not candidates:
        return None
    signs = _signs(words)
    priced = [(_price(c, signs, shapes), k) for k, c in enumerate(candidates)]
    bits, best = min(priced)
    return candidates[best] if bits < (1 - _WORTH) * words.size else None


@dataclass(frozen=True, slots=True)
class Magnitudes:
    """What is known of a weight before its sign: its symbol and the context that it was coded in."""

    grouped: Grouped
    alphabet: Alphabet
    key_bits: int

    def exponents(self) -> NDArray[np.int64]:
        """The exponent of each symbol (int64 [256])."""
        return self.alphabet.tables(self.key_bits)[1].astype(np.int64) >> self.alphabet.top

    def offset(self) -> int:
        """The median of exponent less level, in octaves."""
        some = slice(None, None, max(1, self.grouped.symbols.size // 4096))
        usual = self.grouped.first_levels[self.grouped.contexts[some]] >> 2
        return int(np.median(self.exponents()[self.grouped.symbols[some]] - usual))

    def contexts(self, offset: int, levels: Bytes) -> NDArray[np.uint16]:
        """The sign's context (uint16 [n]): octaves of the weight above what is usual, and its level of odds."""
        usual = (self.grouped.first_levels[:, None] >> 2) + offset
        classes = np.clip(self.exponents()[None, :] - usual + _CLASSES // 2, 0, _CLASSES - 1).astype(np.uint8)
        out = np.empty(levels.size, np.uint16)
        _contexts(self.grouped.contexts, self.grouped.symbols, classes.reshape(-1), levels, out)
        return out


def write_signs(out: Writer, words: Words, model: Scales, shapes: list[Shape], magnitudes: Magnitudes) -> None:
    """The signs of `words` under `model`."""
    offset = magnitudes.offset()
    contexts = magnitudes.contexts(offset, scales.all_levels(model, shapes))
    signs = _signs(words)
    counts = np.zeros((_CLASSES << 6) << 8, np.uint32)
    tables.count_pairs(contexts, signs, counts)
    histograms = np.ascontiguousarray(counts.reshape(-1, rans.SYMBOLS)[:, :2])
    group_of, merged, _ = tables.merge_contexts(histograms, _MOST_CONTEXTS)
    table = tables.levels_of(merged.astype(np.int64))
    out.raw(bytes([model.flags]))
    scales.write_scales(out, model)
    out.raw(np.array([offset], "<i2").view(np.uint8))
    tables.write_borders(out, group_of, "<u2")
    tables.write_tables(out, table)
    out.blob(rans.encode(signs, tables.grouped(contexts, group_of), tables.frequencies_of(table, _SCALE), _SCALE))


def read_signs(source: Reader, words: Words, shapes: list[Shape], magnitudes: Magnitudes) -> None:
    """OR the signs into `words`: the inverse of `write_signs`. Raises FormatError."""
    model = scales.read_scales(source, source.byte(), shapes)
    offset = int(source.array(1, "<i2")[0])
    group_of, firsts = tables.read_borders(source, _CLASSES << 6, _MOST_CONTEXTS, "<u2")
    frequencies = tables.frequencies_of(tables.read_tables(source, firsts.size, 2), _SCALE)
    contexts = magnitudes.contexts(offset, scales.all_levels(model, shapes))
    _apply(rans.decode(source.blob(), tables.grouped(contexts, group_of), frequencies, _SCALE), words)
