"""Matrices of small integers (indices of a sorted codebook) in contexts of what a low-rank model expects of each.

Weights of trained layers hang together across the whole matrix: give each index its rank as a score, and a few dozen
singular vectors tell a part of every score. The score expected of element (r, c), an integer from integer factors, is
its context; the distribution of indices in each context is counted and sent.

body    := rank - 1 (1) | shift (1) | reach (1) | multipliers (rank, 1 each) | factors | contexts - 1 (1)
           | first level of each context but the first (1 each) | tables | rANS blob
factors := symbols of scaled.py: left [rank, rows], then right [rank, columns], each plus `reach`
level    = 32 + sum over k of left[k, r] * multiplier[k] * right[k, c] / 2^shift, rounded, clipped to 0..63
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import rans, tables
from ...errors import FormatError
from ...spec import Spec, dtype
from ...wire import Reader, Writer
from . import scales
from .scaled import read_symbols, write_symbols
from .singular import largest, product

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_LEVELS: Final = scales.LEVELS
_MOST_CONTEXTS: Final = 48
_MOST_RANK: Final = 256
_MOST_REACH: Final = 127
_MOST_SHIFT: Final = 24
_LEAST_SIDE: Final = 48  # rows and columns of a matrix that can have a low rank worth telling
_LEAST: Final = 1 << 15
_STEP: Final = 3.8  # of the factors, in standard deviations of what the model leaves unsaid
_WIDTH: Final = 0.07  # of a level, in standard deviations of the scores
_PROBE: Final = 48
_ROUNDS: Final = 4
_CLEAR: Final = 1.3  # times what noise has, which the largest singular value (squared) must reach
_RANKS: Final = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_SAMPLE: Final = 1 << 20


@njit(nogil=True, cache=True)
def _levels(left, right, shift, out):  # type: ignore[no-untyped-def]
    """The level of each element: `left` (int32 [rank, rows], multiplied), `right` (int32 [rank, columns]); `out` [rows, columns]."""
    expected = np.empty(out.shape[1], np.int32)
    half = np.int32(1 << shift >> 1)
    for r in range(out.shape[0]):
        expected[:] = half
        for k in range(left.shape[0]):
            factor = left[k, r]
            if factor:
                row = right[k]
                for c in range(expected.size):
                    expected[c] += factor * row[c]
        for c in range(expected.size):
            out[r, c] = np.uint8(min(max((expected[c] >> shift) + 32, 0), 63))


@dataclass(frozen=True)
class _Model:
    """Integer factors (int32 [rank, rows] and [rank, columns], within +-127), multipliers (uint8 [rank]) and the shift.

    Sums stay below 256 * 127 * 255 * 127 < 2^31.
    """

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    multipliers: Bytes
    shift: int

    def levels(self) -> Bytes:
        """uint8 [rows * columns]."""
        out = np.empty((self.left.shape[1], self.right.shape[1]), np.uint8)
        _levels(self.left * self.multipliers[:, None].astype(np.int32), self.right, self.shift, out)
        return out.reshape(-1)


def _sides(spec: Spec) -> tuple[int, int] | None:
    """(rows, columns) of the one matrix of bytes that `spec` is; None for anything else."""
    kind = dtype(spec.dtype)
    if kind.word != 8 or kind.kind not in ("uint", "int") or len(spec.shapes) != 1:
        return None
    rows, columns = spec.matrices()[0]
    return (rows, columns) if min(rows, columns) >= _LEAST_SIDE and rows * columns >= _LEAST else None


def encode_block(data: Bytes, spec: Spec) -> bytes | None:
    """`data` (1-D uint8, `spec.nbytes` long) coded; None if it isn't one matrix or shows no low rank."""
    sides = _sides(spec)
    if sides is None:
        return None
    symbols = data ^ np.uint8(128) if spec.dtype == "I8" else data
    model = _fit(symbols.reshape(sides))
    if model is None:
        return None
    out = Writer()
    _write_model(out, model)
    contexts = model.levels()
    counts = np.zeros(_LEVELS << 8, np.uint32)
    tables.count_pairs(contexts, symbols, counts)
    group_of, merged, _ = tables.merge_contexts(counts.reshape(_LEVELS, rans.SYMBOLS), _MOST_CONTEXTS)
    scales.regroup(contexts, group_of)
    levels, scale = tables.levels_of(merged.astype(np.int64)), tables.scale_for(symbols.size)
    tables.write_borders(out, group_of, "u1")
    tables.write_tables(out, levels)
    out.blob(rans.encode(symbols, contexts, tables.frequencies_of(levels, scale), scale))
    return out.bytes() if len(out) < data.size else None


def decode_block(body: bytes | memoryview, spec: Spec) -> Bytes:
    """The inverse: `spec.nbytes` bytes. Raises FormatError."""
    sides, source = _sides(spec), Reader(body, "low-rank block")
    if sides is None:
        raise FormatError(f"low-rank block: {spec.shapes} of {spec.dtype} is no matrix of bytes")
    contexts = _read_model(source, *sides).levels()
    group_of, firsts = tables.read_borders(source, _LEVELS, _MOST_CONTEXTS, "u1")
    scale = tables.scale_for(spec.nbytes)
    frequencies = tables.frequencies_of(tables.read_tables(source, firsts.size, rans.SYMBOLS), scale)
    scales.regroup(contexts, group_of)
    symbols = rans.decode(source.blob(), contexts, frequencies, scale)
    source.end()
    return symbols ^ np.uint8(128) if spec.dtype == "I8" else symbols


def _factor_spec(rank: int, rows: int, columns: int) -> Spec:
    """The factors end to end: rows of a component have a scale, and so a context, of their own."""
    return Spec("U8", ((rank, rows), (rank, columns)))


def _write_model(out: Writer, model: _Model) -> None:
    rank, rows = model.left.shape
    reach = int(max(np.abs(model.left).max(), np.abs(model.right).max(), 1))
    out.raw(bytes([rank - 1, model.shift, reach])).raw(model.multipliers)
    factors = np.concatenate([model.left.reshape(-1), model.right.reshape(-1)]) + reach
    energy = np.zeros(rans.SYMBOLS)
    energy[: 2 * reach + 1] = np.arange(-reach, reach + 1, dtype=np.float64) ** 2
    write_symbols(out, factors.astype(np.uint8), 2 * reach + 1, energy, _factor_spec(rank, rows, model.right.shape[1]))


def _read_model(source: Reader, rows: int, columns: int) -> _Model:
    """Raises FormatError."""
    rank, shift, reach = source.byte() + 1, source.byte(), source.byte()
    if rank > min(rows, columns) or shift > _MOST_SHIFT or not 1 <= reach <= _MOST_REACH:
        raise FormatError(f"low-rank block: rank {rank}, shift {shift}, reach {reach}")
    multipliers = source.array(rank, "u1").astype(np.uint8)
    spec = _factor_spec(rank, rows, columns)
    factors = read_symbols(source, spec.count, 2 * reach + 1, spec).symbols.astype(np.int32) - reach
    left, right = factors[: rank * rows], factors[rank * rows :]
    return _Model(left.reshape(rank, rows), right.reshape(rank, columns), multipliers, shift)


# --- the encoder alone -------------------------------------------------------------------------------------------------


def _fit(symbols: Bytes) -> _Model | None:
    """The model of `symbols` (uint8 [rows, columns]) that makes them shortest; None if nothing stands out of the noise."""
    counts = np.bincount(symbols.reshape(-1), minlength=rans.SYMBOLS).astype(np.float64)
    z = _normal(np.cumsum(counts) - counts / 2, counts)[symbols]
    most = min(_MOST_RANK, min(symbols.shape) // 2)
    edge = float(np.sqrt(symbols.shape).sum() ** 2)  # of the squared singular values of noise
    left, values, right = largest(z, _start(z, min(_PROBE, most)), _ROUNDS)
    if not values.size or values[0] ** 2 < _CLEAR * edge:
        return None
    # Better scores: what the model expects of each symbol.
    expected = product(left * values, right.T)
    sums = np.bincount(symbols.reshape(-1), weights=expected.reshape(-1), minlength=rans.SYMBOLS)
    z = _normal(sums / np.maximum(counts, 1), counts)[symbols]
    left, values, right = largest(z, _start(z, most), _ROUNDS)
    models = [_quantised(left[:, :r], values[:r], right[:, :r]) for r in _RANKS if r <= values.size]
    return min(models, key=lambda m: _price(m, symbols))


def _start(z: Floats, rank: int) -> Floats:
    return np.random.default_rng(0).normal(size=(z.shape[1], rank)).astype(np.float32)


def _price(model: _Model, symbols: Bytes) -> float:
    """Bits of the factors and of the symbols, from a sample of rows."""
    every = max(1, symbols.size // _SAMPLE)
    part = _Model(np.ascontiguousarray(model.left[:, ::every]), model.right, model.multipliers, model.shift)
    counts = np.zeros(_LEVELS << 8, np.uint32)
    tables.count_pairs(part.levels(), np.ascontiguousarray(symbols[::every]).reshape(-1), counts)
    bits = tables.merge_contexts(counts.reshape(_LEVELS, rans.SYMBOLS) * np.uint32(every), _MOST_CONTEXTS)[2]
    return bits + sum(_entropy(row) for side in (model.left, model.right) for row in side)


def _entropy(values: NDArray[np.int32]) -> float:
    """Order-0 bits of all."""
    counts = np.bincount(values - values.min()).astype(np.float64)
    used = counts[counts > 0]
    return float((used * np.log2(values.size / used)).sum())


def _normal(scores: NDArray[np.float64], counts: NDArray[np.float64]) -> Floats:
    """Scores of symbols (float32 [256]) with mean 0 and variance 1 over the block."""
    shares = counts / counts.sum()
    centred = scores - shares @ scores
    return np.asarray((centred / (np.sqrt(shares @ centred**2) or 1.0)).astype(np.float32))


def _quantised(left: Floats, values: Floats, right: Floats) -> _Model:
    """Integer factors in steps of _STEP standard deviations of what the model leaves over."""
    cells = left.shape[0] * right.shape[0]
    deviation = np.sqrt(max(1 - float(np.square(values, dtype=np.float64).sum()) / cells, 1e-3))
    step = max(_STEP * deviation, float(max(np.abs(left * values).max(), np.abs(right * values).max())) / _MOST_REACH)
    gains = step**2 / values.astype(np.float64) / _WIDTH
    shift = int(np.clip(np.floor(np.log2(255 / gains.max())), 0, _MOST_SHIFT))
    multipliers = np.clip(np.rint(gains * (1 << shift)), 1, 255).astype(np.uint8)
    a, b = (np.rint(side * values / step).T.astype(np.int32) for side in (left, right))
    return _Model(np.ascontiguousarray(a), np.ascontiguousarray(b), multipliers, shift)
