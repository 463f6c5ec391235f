"""Symbols in contexts of row scale x column scale: the part that balanced, palette and delta blocks share.

symbols := scale flags(1) | contexts - 1 (1) | first level of each context but the first (1 each) | scales | tables | rANS blob
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy import rans, tables
from ...spec import Spec
from ...wire import Reader, Writer
from . import scales
from .scales import Estimator, Scales, Shape

Bytes = NDArray[np.uint8]

MOST_CONTEXTS: Final = 24
_SAMPLE: Final = 1 << 16
_LEAST_SCALED: Final = 1024  # under this many symbols scales can't pay
_LEAST_ROWS: Final = 4


@dataclass(frozen=True, slots=True)
class Grouped:
    """Symbols (uint8 [n]), the context of each (uint8 [n]) and the first level of each context (int64)."""

    symbols: Bytes
    contexts: Bytes
    first_levels: NDArray[np.int64]


def _candidates(estimator: Estimator, shapes: list[Shape]) -> Iterator[Scales]:
    """Combinations of row and column scales worth pricing."""
    yield scales.NONE
    if sum(s.rows for s in shapes) > 1:
        yield Scales(estimator.rows, scales.NO_COLUMNS, None)
    modes = [scales.COLUMNS] if any(s.rows >= _LEAST_ROWS for s in shapes) else []
    if modes and any(s.kernel > 1 for s in shapes):
        modes.append(scales.CHANNELS)
    for mode in modes:
        columns = estimator.columns(mode)
        yield Scales(None, mode, columns)
        yield Scales(estimator.rows, mode, columns)


def _price(candidate: Scales, symbols: Bytes, shapes: list[Shape], alphabet: int) -> float:
    """Bits of the symbols and of what the candidate sends, from a sample."""
    levels = scales.levels_of(candidate, shapes, max(1, symbols.size // _SAMPLE))
    histograms = scales.count_levels(symbols, levels, shapes, alphabet)
    return tables.merge_contexts(histograms, MOST_CONTEXTS)[2] + scales.sent_bits(candidate)


def choose_scales(symbols: Bytes, alphabet: int, energy: NDArray[np.float64], shapes: list[Shape]) -> Scales:
    """The scales in whose contexts `symbols` (uint8 [n] below `alphabet`) are shortest.

    `energy` (float64 [256]) is how large each symbol's numbers are, squared.
    """
    if symbols.size < _LEAST_SCALED:
        return scales.NONE
    estimator = Estimator(symbols, energy, shapes)
    return min(_candidates(estimator, shapes), key=lambda c: _price(c, symbols, shapes, alphabet))


def write_symbols(out: Writer, symbols: Bytes, alphabet: int, energy: NDArray[np.float64], spec: Spec) -> Grouped:
    """`symbols` of the tensors of `spec`, in the contexts that make them shortest; arguments as for `choose_scales`."""
    shapes = scales.shapes_of(spec)
    best = choose_scales(symbols, alphabet, energy, shapes)
    contexts = scales.all_levels(best, shapes)
    histograms = np.zeros((scales.LEVELS, rans.SYMBOLS), np.uint32)
    tables.count_pairs(contexts, symbols, histograms.reshape(-1))
    group_of, merged, _ = tables.merge_contexts(np.ascontiguousarray(histograms[:, :alphabet]), MOST_CONTEXTS)
    scales.regroup(contexts, group_of)
    table, scale = tables.levels_of(merged.astype(np.int64)), tables.scale_for(symbols.size)
    out.raw(bytes([best.flags]))
    first_levels = tables.write_borders(out, group_of, "u1")
    scales.write_scales(out, best)
    tables.write_tables(out, table)
    out.blob(rans.encode(symbols, contexts, tables.frequencies_of(table, scale), scale))
    return Grouped(symbols, contexts, first_levels)


def read_symbols(source: Reader, count: int, alphabet: int, spec: Spec) -> Grouped:
    """The inverse of `write_symbols`. Raises FormatError."""
    shapes = scales.shapes_of(spec)
    flags = source.byte()
    group_of, first_levels = tables.read_borders(source, scales.LEVELS, MOST_CONTEXTS, "u1")
    best = scales.read_scales(source, flags, shapes)
    scale = tables.scale_for(count)
    frequencies = tables.frequencies_of(tables.read_tables(source, first_levels.size, alphabet), scale)
    contexts = scales.all_levels(best, shapes)
    scales.regroup(contexts, group_of)
    return Grouped(rans.decode(source.blob(), contexts, frequencies, scale), contexts, first_levels)
