"""Quantised blocks position by position: what a block has shown so far tells what is still to come.

Blocks are scaled so that their extreme weight hits the end of the range, so in each block an extreme value must occur and, once
it has, hardly occurs again. The context of a value is (which extremes have occurred | how many positions are left, while one
is missing), times the running mean magnitude of the block, times a prior given with it. All blocks take a step together, so the
symbols of one position go through rANS in bulk, and the contexts of the next follow from them: integers only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import rans, tables
from ...errors import FormatError
from ...wire import Reader, Writer

Bytes = NDArray[np.uint8]

_STATES: Final = 19  # both extremes seen, or one of three sets of them times six buckets of positions left


@dataclass(frozen=True, slots=True)
class Steps:
    """How the values of a block behave: `size` of the alphabet, its `low` and `high` extremes, the value of `zero`,
    the number of magnitude classes `widths` and of `priors`, which way magnitudes are measured.
    """

    size: int
    low: int
    high: int
    zero: int
    widths: int
    priors: int

    @property
    def contexts(self) -> int:
        return _STATES * self.widths * self.priors

    @property
    def scale(self) -> int:
        """Precision of the frequencies; large alphabets need more, small ones leave room for more contexts."""
        return 14 if self.size > 16 else 12

    @property
    def most_contexts(self) -> int:
        return 32 if self.size > 16 else 128


@njit(nogil=True, cache=True)
def _contexts(seen, total, prior, step, steps, widths, base, out):  # type: ignore[no-untyped-def]
    """out[b] = (prior, state, width) of block b before position `step` of `steps`."""
    left = steps - step
    bucket = (
        0
        if left * 8 > steps * 5
        else 1
        if left * 8 > steps * 3
        else 2
        if left * 8 > steps
        else 3
        if left > 2
        else 6 - left
    )
    for b in range(out.size):
        state = 0 if seen[b] == 3 else 1 + np.int64(seen[b]) * 6 + bucket
        width = 0
        if widths > 1:
            # Magnitude of the values so far against `base`, in thirds of the mean, a prior of three values added.
            width = min(widths - 1, (np.int64(total[b]) + 3 * base) * widths // (2 * base * (step + 3)))
        out[b] = np.uint16((np.int64(prior[b]) * 19 + state) * widths + width)


@njit(nogil=True, cache=True)
def _advance(symbols, low, high, zero, seen, total):  # type: ignore[no-untyped-def]
    for b in range(symbols.size):
        v = np.int64(symbols[b])
        if v == low:
            seen[b] |= np.uint8(1)
        if v == high:
            seen[b] |= np.uint8(2)
        total[b] += np.uint32(abs(v - zero))


def _walk(values: Bytes, prior: Bytes, model: Steps, base: int) -> NDArray[np.uint16]:
    """Contexts (uint16 [steps, blocks]) of known values (uint8 [steps, blocks])."""
    steps, blocks = values.shape
    out = np.empty((steps, blocks), np.uint16)
    seen, total = np.zeros(blocks, np.uint8), np.zeros(blocks, np.uint32)
    for k in range(steps):
        _contexts(seen, total, prior, k, steps, model.widths, base, out[k])
        _advance(values[k], model.low, model.high, model.zero, seen, total)
    return out


def write_steps(out: Writer, values: Bytes, prior: Bytes, model: Steps) -> None:
    """`values` (uint8 [steps, blocks] below `model.size`) given a `prior` (uint8 [blocks] below `model.priors`)."""
    base = max(1, round(float(np.abs(values[:, ::7].astype(np.int64) - model.zero).mean()))) if values.size else 1
    contexts = _walk(values, prior, model, base)
    counts = np.zeros(model.contexts << 8, np.uint32)
    tables.count_pairs(contexts.reshape(-1), values.reshape(-1), counts)
    histograms = np.ascontiguousarray(counts.reshape(-1, rans.SYMBOLS)[:, : model.size])
    group_of, merged, _ = tables.merge_contexts(histograms, model.most_contexts)
    levels = tables.levels_of(merged.astype(np.int64))
    out.raw(bytes([base]))
    tables.write_borders(out, group_of, "<u2")
    tables.write_tables(out, levels)
    out.blob(
        rans.encode(values, tables.grouped(contexts, group_of), tables.frequencies_of(levels, model.scale), model.scale)
    )


def read_steps(source: Reader, steps: int, prior: Bytes, model: Steps) -> Bytes:
    """The inverse of `write_steps`: uint8 [steps, blocks]. Raises FormatError."""
    base = source.byte()
    if not base:
        raise FormatError("quantised blocks: a mean magnitude of 0")
    group_of, firsts = tables.read_borders(source, model.contexts, model.most_contexts, "<u2")
    frequencies = tables.frequencies_of(tables.read_tables(source, firsts.size, model.size), model.scale)
    out, contexts = np.empty((steps, prior.size), np.uint8), np.empty(prior.size, np.uint16)
    decoder = rans.Decoder(source.blob(), out.size, frequencies, model.scale)
    seen, total = np.zeros(prior.size, np.uint8), np.zeros(prior.size, np.uint32)
    for k in range(steps):
        _contexts(seen, total, prior, k, steps, model.widths, base, contexts)
        out[k] = decoder.step(tables.grouped(contexts, group_of))
        _advance(out[k], model.low, model.high, model.zero, seen, total)
    decoder.end()
    return out
