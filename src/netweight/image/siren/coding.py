"""The multiples k that a quantised network is, coded under one fitted prior whose width follows from what came before.

A weight's neighbours say how wide the prior is there: the mean magnitude of those of its row that are coded already, times
that of its column's, over the tensor's, moves it in steps of an eighth of an octave. The prior is one of
entropy/priors.py, fitted to the whole network.

weights := prior | for each tensor: mean magnitude in sixteenths (1 byte: 0, or 1 + 8 log2 of it) | range coded, to the end:
         of each k of the tensors whose magnitude isn't 0, row by row: its symbol (priors.py) | its raw bits, sign last
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import prior_fit, priors, range_coder, tables
from ...entropy.fixedpoint import RECIPROCAL
from ...entropy.mixing import log2
from ...entropy.range_coder import code_bit, narrow, target
from ...errors import FormatError, TruncatedError
from ...wire import Reader, Writer

Multiples = NDArray[np.int32]

FAMILY: Final = "spike-generalised-gaussian"
LEVELS: Final = 81
"""Widths: -40 to 40 eighths of an octave from that of a mean magnitude of 1."""
_PER_OCTAVE: Final = 8
_CENTRE: Final = 40
_OWN_WEIGHT: Final = 6  # what the tensor's own mean counts for, in neighbours
_MAGNITUDE_BITS: Final = 4
_MOST: Final = 1 + 8 * 16
_RAW_ROOM: Final = 16  # bytes that a multiple takes at most
_CAP: Final = 1 << 12  # magnitudes count up to here
_HALF: Final = 1 << 15

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def _mean(own, total, count):  # type: ignore[no-untyped-def]
    """log2 in Q8 of the mean magnitude in Q10 of `count` neighbours and some that are as the tensor is."""
    whole = _OWN_WEIGHT * own + (total << _MAGNITUDE_BITS)
    return log2(max((whole * RECIPROCAL[min(count + _OWN_WEIGHT, 2047)]) >> 10, 1))


@_kernel
def _level(own, by_row, by_column, i, j):  # type: ignore[no-untyped-def]
    """The width's number at row i, column j. own: Q4 mean magnitude; sums of magnitudes so far of rows and columns."""
    octaves = _mean(own, by_row[i], j) + _mean(own, by_column[j], i) - log2(own << 6)
    level = ((octaves * _PER_OCTAVE) >> 8) - _PER_OCTAVE * 10  # eighths of an octave from 1
    return min(max(level, -_CENTRE), _CENTRE) + _CENTRE


@_kernel
def _levels(multiples, own, out):  # type: ignore[no-untyped-def]
    """The level of each multiple (int32 [rows, columns])."""
    rows, columns = multiples.shape
    by_row, by_column = np.zeros(rows, np.int64), np.zeros(columns, np.int64)
    for i in range(rows):
        for j in range(columns):
            out[i, j] = _level(own, by_row, by_column, i, j)
            size = min(abs(np.int64(multiples[i, j])), _CAP)
            by_row[i] += size
            by_column[j] += size


@_kernel
def _find(starts, level, at):  # type: ignore[no-untyped-def]
    """The symbol whose part of [0, 2^40) holds `at`."""
    low, high = 0, 256
    while high - low > 1:
        middle = (low + high) >> 1
        if starts[level, middle] <= at:
            low = middle
        else:
            high = middle
    return low


@_kernel
def _code(multiples, own, starts, bounds, widths, coder, buffer):  # type: ignore[no-untyped-def]
    """Code one tensor, or decode it into `multiples` (int32 [rows, columns])."""
    rows, columns = multiples.shape
    by_row, by_column = np.zeros(rows, np.int64), np.zeros(columns, np.int64)
    decoding = coder[range_coder.DECODING]
    for i in range(rows):
        for j in range(columns):
            level = _level(own, by_row, by_column, i, j)
            k = np.int64(multiples[i, j])
            size = abs(k)
            s = _find(starts, level, target(coder, 1 << 40)) if decoding else _symbol(bounds, size)
            narrow(coder, buffer, starts[level, s], starts[level, s + 1] - starts[level, s], 1 << 40)
            if s:
                raw = (size - bounds[s]) << 1 | (k < 0)
                value = np.int64(0)
                for b in range(widths[s] - 1, -1, -1):
                    value = value << 1 | code_bit(coder, buffer, _HALF, (raw >> b) & 1)
                size = bounds[s] + (value >> 1)
                k = -size if value & 1 else size
            else:
                size = k = np.int64(0)
            multiples[i, j] = k
            size = min(size, _CAP)
            by_row[i] += size
            by_column[j] += size


@_kernel
def _symbol(bounds, size):  # type: ignore[no-untyped-def]
    """The symbol of a magnitude."""
    low, high = 0, 256
    while high - low > 1:
        middle = (low + high) >> 1
        if bounds[middle] <= size:
            low = middle
        else:
            high = middle
    return low


def _starts(prior: priors.Prior) -> NDArray[np.int64]:
    """Where each symbol starts at each level (int64 [LEVELS, 257], Q40)."""
    out = np.zeros((LEVELS, 257), np.int64)
    for level in range(LEVELS):
        out[level, 1:] = np.cumsum(priors.masses(prior.moved(_moved(level))))
    return out


def _moved(level: int) -> int:
    """Of a level, in the sixteenths of an octave in which priors are as wide as they are."""
    return (level - _CENTRE) * 16 // _PER_OCTAVE


def _own(byte: int) -> int:
    """A tensor's mean magnitude in Q4."""
    return int(tables.weights_of(np.array([byte], np.int64))[0]) >> 8


def _byte(multiples: Multiples) -> int:
    """What tells a tensor's mean magnitude; 0 if all are 0."""
    sixteenths = float(np.abs(multiples.astype(np.float64)).mean()) * (1 << _MAGNITUDE_BITS)
    if sixteenths == 0:
        return 0
    return int(np.clip(np.rint(_PER_OCTAVE * np.log2(sixteenths)), 0, _MOST - 1)) + 1


def _fit(tensors: list[Multiples], means: bytes) -> priors.Prior:
    """The most likely prior."""
    counts = np.zeros((LEVELS, 256), np.int64)
    for multiples, mean in zip(tensors, means, strict=True):
        if mean:
            levels = np.empty(multiples.shape, np.int64)
            _levels(multiples, _own(mean), levels)
            np.add.at(counts, (levels.reshape(-1), priors.symbols_of(multiples.reshape(-1))), 1)
    offsets = np.array([_moved(level) for level in range(LEVELS)], np.int64)
    used = counts.any(axis=1)
    return prior_fit.fit(counts[used], offsets[used], prior_fit.FAMILIES[FAMILY])


def _run(tensors: list[Multiples], means: bytes, prior: priors.Prior, coder: Any, buffer: NDArray[np.uint8]) -> None:
    starts = _starts(prior)
    for multiples, mean in zip(tensors, means, strict=True):
        if mean:
            _code(multiples, _own(mean), starts, priors.BOUNDS, priors.RAW_BITS, coder, buffer)


def _coded(tensors: list[Multiples], means: bytes, prior: priors.Prior) -> bytes:
    """The range coded part."""
    coder = range_coder.make_encoder()
    buffer = np.zeros(64 + _RAW_ROOM * sum(t.size for t in tensors), np.uint8)
    _run([np.ascontiguousarray(t) for t in tensors], means, prior, coder, buffer)
    coded = range_coder.finish(coder, buffer)
    assert coded is not None
    return coded


def write_weights(out: Writer, tensors: list[Multiples]) -> None:
    """`tensors` (int32 [rows, columns] each, magnitudes below 2^30); the reader knows the sizes and the end."""
    means = bytes(_byte(t) for t in tensors)
    prior = _fit(tensors, means) if any(means) else priors.Prior(priors.LAPLACE, 0)
    prior.write(out)
    out.raw(means).raw(_coded(tensors, means, prior))


def read_weights(source: Reader, sizes: list[tuple[int, int]]) -> list[Multiples]:
    """The inverse of `write_weights`; takes all that is left. Raises FormatError."""
    prior, means = priors.Prior.read(source), bytes(source.raw(len(sizes)))
    if max(means, default=0) > _MOST:
        raise FormatError("network: an impossible mean magnitude")
    payload = np.frombuffer(source.raw(source.remaining), np.uint8).copy()  # kernels want one type
    tensors = [np.zeros(size, np.int32) for size in sizes]
    coder = range_coder.make_decoder(payload)
    _run(tensors, means, prior, coder, payload)
    if range_coder.overrun(coder, payload):
        raise TruncatedError("network: ends early")
    # a coder reads zeros past the end and ignores what is left over, so the end is checked by coding again
    if _coded(tensors, means, prior) != payload.tobytes():
        raise FormatError("network: doesn't end where it should")
    return tensors
