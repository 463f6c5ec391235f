"""Low rank + sparse: W = sum over k of g_k a_k b_k^T, and a few weights more.

Singular vectors by random projections (Halko, Martinsson and Tropp 2011); the few weights by turns with them (GoDec: Zhou
and Tao 2011).

parameters := rank (varint) | g (rank x float32) | a [rank, rows] | b [rank, columns]    (numbers)
              | places of the others | numbers of the others, if any
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from ...errors import FormatError
from ...wire import Reader, Writer
from ..coders.singular import product
from .cores import read_core, write_core
from .labels import Ints, read_places, write_places
from .model import Floats, Found, Layout, Matrix, Tolerance, Wide, floor_of

NAME = "low rank"
_MOST_RANK: Final = 96
_SPARE: Final = 8
_FEWEST: Final = 4  # rows and columns
_ROUNDS: Final = 2
_TURNS: Final = 24
_OUTLYING: Final = 6.0  # median absolute deviations
_MOST_OUTLIERS: Final = 0.05
_FAINT: Final = 1e-3  # of the largest
_HEAVY: Final = 0.1  # of the energy left over, which outliers must hold
_EXTRA_BITS: Final = 0.7  # of a number of a vector, beyond the logarithm of its range over its step
_LEAST_GAIN: Final = 0.02  # of a bit a weight


@dataclass(frozen=True)
class _Fit:
    """Singular vectors (columns) and values, the places (flat) and values of the weights beside them, and about the bits of
    all (a bound).
    """

    left: Wide
    values: Wide
    right: Wide
    places: Ints
    extra: Wide
    bits: float

    @property
    def rank(self) -> int:
        return self.values.size


def _largest(w: Wide, rank: int) -> tuple[Wide, Wide, Wide]:
    """(U, s, V) of about the largest `rank` singular values."""
    rank = min(rank, *w.shape)
    if min(w.shape) <= 2 * rank:
        u, s, vt = np.linalg.svd(w, full_matrices=False)
        return u[:, :rank], s[:rank], vt[:rank].T
    work = w.astype(np.float32)
    start = np.random.default_rng(0).normal(size=(w.shape[1], rank + _SPARE)).astype(np.float32)
    basis = np.linalg.qr(work @ start)[0]
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(work @ (work.T @ basis))[0]
    u, s, vt = np.linalg.svd((basis.T @ work).astype(np.float64), full_matrices=False)
    return (basis @ u)[:, :rank], s[:rank], vt[:rank].T


def _price(matrix: Matrix, tolerance: Tolerance, values: Wide, rest: float) -> Wide:
    """About the bits that each rank 0, 1, ... takes (a bound); `rest`: energy (mean square) that the values leave."""
    layout, floor = matrix.layout, floor_of(matrix, tolerance)
    shares = np.square(values) / layout.count
    ranks = np.arange(values.size + 1)
    noise = rest + np.concatenate([np.cumsum(shares[::-1])[::-1], [0.0]])
    numbers = ranks * (layout.rows + layout.columns)
    step = np.where(noise > floor, np.maximum(noise * numbers / layout.count, floor / 2), floor)
    weights = 0.5 * layout.count * np.log2(np.maximum(noise / floor, 1.0))
    ratio = np.outer(2 * ranks / step, shares)  # variance of each vector's numbers over their noise, for each rank
    logs = np.where(np.arange(values.size) < ranks[:, None], np.log2(np.maximum(ratio, 1.0)), 0.0).sum(axis=1)
    vectors = 0.5 * (layout.rows + layout.columns) * logs + _EXTRA_BITS * numbers
    return np.asarray(weights + vectors + 32.0 * ranks)


def _cliff(values: Wide) -> int:
    """The rank after which singular values fall by the largest factor."""
    return int(np.argmax(values[:-1] / np.maximum(values[1:], 1e-9 * values[0]))) + 1 if values.size > 1 else 1


def _outliers(rest: Wide) -> Ints:
    """Places (flat, rising) of the few weights far from the others; none unless they hold a good part of the energy."""
    size = np.abs(rest.reshape(-1))
    most = int(_MOST_OUTLIERS * size.size)
    often = float(np.partition(size, size.size - most - 1)[size.size - most - 1])
    places = np.flatnonzero(size > max(_OUTLYING * float(np.median(size)), _FAINT * float(size.max()), often))
    heavy = float(np.square(size[places]).sum()) > _HEAVY * float(np.square(size).sum())
    return places if heavy else places[:0]


def _fit(matrix: Matrix, tolerance: Tolerance) -> _Fit:
    """With or without a sparse part, whichever is cheaper in theory."""
    most = min(_MOST_RANK, min(matrix.wide.shape) // 2)
    places, extra = _separated(matrix.wide, most)
    dense = _fit_beside(matrix, tolerance, most, places[:0], extra[:0])
    if not places.size:
        return dense
    return min(dense, _fit_beside(matrix, tolerance, most, places, extra), key=lambda f: f.bits)


def _fit_beside(matrix: Matrix, tolerance: Tolerance, most: int, places: Ints, extra: Wide) -> _Fit:
    """The rank that promises most once the sparse part is out of the way, and then the sparse part again."""
    wide, floor = matrix.wide, floor_of(matrix, tolerance)
    dense = wide.copy()
    dense.reshape(-1)[places] -= extra
    u, s, v = _largest(dense, most)
    rest = max(float(np.square(dense).mean()) - float(np.square(s).sum()) / dense.size, 0.0)
    price = _price(matrix, tolerance, s, rest)
    rank = int(np.argmin(price))
    left, values, right = u[:, :rank], s[:rank], v[:, :rank]
    others = (wide - (left * values) @ right.T).reshape(-1)
    places = _outliers(others) if places.size else places
    places = places[np.square(others[places]) > floor]  # the others may be left unsaid
    each = np.log2(wide.size / max(places.size, 1)) + 0.5 * np.log2(np.square(others[places]) / floor) + 2.5
    return _Fit(left, values, right, places, others[places], float(price[rank] + each.sum()))


def _separated(wide: Wide, most: int) -> tuple[Ints, Wide]:
    """(places, values) of the sparse part. While it is sought, the rank is where singular values fall most: vectors that
    are too many would take outliers for their own.
    """
    places = _outliers(wide)
    dense, extra = wide.copy(), wide.reshape(-1)[places]
    dense.reshape(-1)[places] = 0.0
    rank = _cliff(_largest(dense, most)[1])
    for _ in range(_TURNS):
        u, s, v = _largest(dense, rank)
        others = (wide - (u * s) @ v.T).reshape(-1)
        found = _outliers(others)
        if not found.size and not places.size:
            break
        settled = np.array_equal(found, places) and bool(np.allclose(others[found], extra, rtol=1e-5))
        places, extra = found, others[found]
        if settled:
            break
        dense = wide.copy()
        dense.reshape(-1)[places] -= extra
    return places, extra


def detect(matrix: Matrix, tolerance: Tolerance) -> Found | None:
    """The rank (and the few weights beside it) that promises most."""
    layout = matrix.layout
    if min(layout.rows, layout.columns) < _FEWEST or not _hopeful(matrix, tolerance):
        return None
    fit = _fit(matrix, tolerance)
    if not fit.rank:
        return None
    sketch = (fit.left * fit.values) @ fit.right.T
    sketch.reshape(-1)[fit.places] += fit.extra
    words = f"low rank: {fit.rank} of {min(layout.rows, layout.columns)}"
    words += f", and {fit.places.size} weights beside it" if fit.places.size else ""
    numbers = fit.rank * (layout.rows + layout.columns) + fit.places.size
    noise = float(np.square(matrix.wide - sketch).mean())
    return Found(words, noise, numbers, 32.0 * fit.rank, lambda step: _code(fit, layout, step))


def _hopeful(matrix: Matrix, tolerance: Tolerance) -> bool:
    """Whether a few singular values of (some rows of) the matrix, or its outliers, promise a gain."""
    wide = matrix.wide[:: max(1, matrix.layout.rows // 512)]
    if wide.shape[0] < _FEWEST or _outliers(wide).size:
        return True
    part = Matrix(np.ascontiguousarray(wide, np.float32), Layout(wide.shape, matrix.layout.dtype))
    _, s, _ = _largest(wide, min(16, min(wide.shape) // 2))
    rest = max(part.energy - float(np.square(s).sum()) / wide.size, 0.0)
    price = _price(part, Tolerance(tolerance.noise), s, rest)
    share = part.layout.rows / matrix.layout.rows
    return bool(price.min() < price[0] - _LEAST_GAIN * wide.size * share)


def _code(fit: _Fit, layout: Layout, step: float) -> bytes:
    """Rounding of a is felt by sqrt(2 rank / columns) of its step, of b by sqrt(2 rank / rows), half of the noise each."""
    alpha, beta = (math.sqrt(2 * fit.rank / n) for n in (layout.columns, layout.rows))
    out = Writer().varint(fit.rank)
    gains = (1 / (fit.values * alpha * beta)).astype(np.float32)
    out.raw(gains.view(np.uint8))
    write_core(out, (fit.left * (fit.values * alpha)).T, (fit.rank, layout.rows), step, layout)
    write_core(out, (fit.right * (fit.values * beta)).T, (fit.rank, layout.columns), step, layout)
    write_places(out, fit.places)
    if fit.places.size:
        write_core(out, fit.extra, (1, fit.places.size), step, layout)
    return out.bytes()


def restore(source: Reader, layout: Layout) -> Floats:
    """float32 [rows, columns]. Raises FormatError."""
    rank = source.varint(limit=min(layout.rows, layout.columns))
    if not 1 <= rank <= _MOST_RANK:
        raise FormatError(f"low-rank structure: rank {rank}")
    gains = source.array(rank, "<f4").astype(np.float32)
    left = read_core(source, (rank, layout.rows), layout)
    right = read_core(source, (rank, layout.columns), layout)
    places = read_places(source, layout.count)
    with np.errstate(over="ignore", invalid="ignore"):
        out = product(np.ascontiguousarray((left * gains[:, None]).T), right)
        if places.size:
            out.reshape(-1)[places] += read_core(source, (1, places.size), layout)[0]
    return out
