"""Sparse in a basis that nobody has to send: the cosine, Fourier or Walsh basis, along columns, rows or both.

Embeddings of networks that learnt modular addition have a few Fourier frequencies along the tokens (Nanda et al. 2023,
arXiv 2301.05217). Bases are orthonormal, so that a coefficient's rounding is felt by its share of the weights.

parameters := basis(1) | axes(1) | whole lines(1: 0 none, 1 rows, 2 columns of coefficients) | places | numbers
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from ...errors import FormatError
from ...wire import Reader, Writer
from ..coders.singular import product
from .cores import read_core, write_core
from .elementary import cos_sin_of_turns
from .labels import Ints, read_places, write_places
from .model import Floats, Found, Layout, Matrix, Tolerance, Wide, found_if_it_pays, saving

NAME = "spectrum"
COSINE, FOURIER, WALSH = range(3)
_NAMES: Final = ("the cosine basis", "the Fourier basis", "the Walsh (Hadamard) basis")
DOWN, ALONG, BOTH = 1, 2, 3
_AXES: Final = ("", "down the columns", "along the rows", "both ways")
_SCATTERED, _ROWS, _COLUMNS = range(3)
_SHORTEST: Final = 8
_LONGEST: Final = 2048
_MOST_WORK: Final = 1 << 32
_FLOOR_SHARE: Final = 1 / 16
_CLEARLY: Final = 0.08  # by which the largest coefficients hold more of the energy than the largest weights do
_SAMPLE: Final = 1 << 17


@lru_cache(maxsize=4)
def basis(kind: int, n: int) -> Wide:
    """Orthonormal rows, float64 [n, n]: row k is the k-th basis vector. Raises FormatError where there is none."""
    if not _SHORTEST <= n <= _LONGEST or (kind == WALSH and n & (n - 1)):
        raise FormatError(f"spectrum: no basis {kind} of length {n}")
    k, t = np.arange(n)[:, None], np.arange(n)[None, :]
    if kind == COSINE:
        out = cos_sin_of_turns(k * (2 * t + 1) / (4 * n))[0] * math.sqrt(2 / n)
        out[0] = math.sqrt(1 / n)
        return out
    if kind == WALSH:
        signs, bits = np.zeros((n, n), np.int64), k & t
        while bits.any():
            signs, bits = signs ^ (bits & 1), bits >> 1
        return np.asarray((1 - 2 * signs) * math.sqrt(1 / n))
    cosine, sine = cos_sin_of_turns((((k + 1) // 2 * t) % n) / n)
    out = np.where(k % 2 == 1, cosine, sine) * math.sqrt(2 / n)
    out[0] = math.sqrt(1 / n)
    if n % 2 == 0:
        out[-1] = (1 - 2 * (np.arange(n) & 1)) * math.sqrt(1 / n)
    return out


def _coefficients(w: Wide, kind: int, axes: int) -> Wide:
    """The weights in the basis; for the encoder alone."""
    if axes & DOWN:
        w = basis(kind, w.shape[0]) @ w
    return w @ basis(kind, w.shape[1]).T if axes & ALONG else w


@dataclass(frozen=True)
class _Fit:
    kind: int
    axes: int
    lines: int
    places: Ints  # of coefficients, of rows or of columns
    numbers: Wide
    noise: float
    side_bits: float


def _settings(layout: Layout) -> Iterator[tuple[int, int]]:
    """(basis, axes) that the shape has."""
    for kind in (COSINE, FOURIER, WALSH):
        usable = [_usable(kind, n) and n * layout.count <= _MOST_WORK for n in (layout.rows, layout.columns)]
        yield from ((kind, a) for a in (DOWN, ALONG, BOTH) if all(usable[b] for b in (0, 1) if a >> b & 1))


def _usable(kind: int, n: int) -> bool:
    return _SHORTEST <= n <= _LONGEST and not (kind == WALSH and n & (n - 1))


def _top_share(values: Wide) -> float:
    """Of the energy, in the largest 16th of the numbers (of a sample)."""
    squares = np.square(values.reshape(-1)[:: max(1, values.size // _SAMPLE)])
    keep = max(1, int(squares.size * _FLOOR_SHARE))
    return float(np.partition(squares, squares.size - keep)[-keep:].sum() / max(float(squares.sum()), 1e-300))


def _promises(matrix: Matrix, kind: int, axes: int) -> bool:
    """Whether some columns (or rows) of the weights are sparser in the basis than as they are."""
    wide, most = matrix.wide, 64
    if axes == DOWN:
        wide = wide[:, :: max(1, wide.shape[1] // most)]
    elif axes == ALONG:
        wide = wide[:: max(1, wide.shape[0] // most)]
    return _top_share(_coefficients(wide, kind, axes)) > _top_share(wide) + _CLEARLY


def _fit(matrix: Matrix, tolerance: Tolerance, kind: int, axes: int) -> _Fit:
    """Which coefficients to keep: scattered ones, or whole rows or columns of them."""
    coefficients = _coefficients(matrix.wide, kind, axes)
    squares = np.square(coefficients)
    total = float(squares.sum())
    tried = []
    for lines, energies, width in (
        (_SCATTERED, squares.reshape(-1), 1),
        (_ROWS, squares.sum(axis=1), coefficients.shape[1]),
        (_COLUMNS, squares.sum(axis=0), coefficients.shape[0]),
    ):
        order = np.argsort(-energies, kind="stable")[: max(1, energies.size // 2)]
        noise = np.maximum(total - np.cumsum(energies[order]), 0.0) / squares.size

        def worth(c: int, size: int = energies.size, width: int = width, noise: Wide = noise) -> float:
            return saving(matrix, tolerance, float(noise[c - 1]), c * width, _places_bits(c, size))

        best = _best_count(order.size, worth)
        tried.append(
            (worth(best), lines, np.sort(order[:best]), float(noise[best - 1]), _places_bits(best, energies.size))
        )
    _, lines, places, noise_left, side = max(tried, key=lambda t: t[0])
    numbers = (coefficients.reshape(-1), coefficients, coefficients.T)[lines][places]
    return _Fit(kind, axes, lines, places, numbers, noise_left, side)


def _places_bits(count: int, size: int) -> float:
    """About what it takes to say which `count` of `size` are kept."""
    return count * (math.log2(size / count) + 1.5)


def _best_count(most: int, worth: Callable[[int], float]) -> int:
    """The number from 1 to `most` that is worth most: on a coarse grid, then on a fine one around its best."""
    counts = np.unique(np.geomspace(1, most, 40).astype(int))
    at = int(np.argmax([worth(int(c)) for c in counts]))
    low, high = counts[max(at - 1, 0)], counts[min(at + 1, counts.size - 1)]
    fine = np.unique(np.linspace(low, high, 40).astype(int))
    return int(max((int(c) for c in fine), key=worth))


def detect(matrix: Matrix, tolerance: Tolerance) -> Found | None:
    """The basis and axes that promise most."""
    fits = [_fit(matrix, tolerance, *s) for s in _settings(matrix.layout) if _promises(matrix, *s)]
    if not fits:
        return None
    best = max(fits, key=lambda f: saving(matrix, tolerance, f.noise, f.numbers.size, f.side_bits))
    layout = matrix.layout
    found = Found(
        f"sparse in {_NAMES[best.kind]} {_AXES[best.axes]}: {best.numbers.size} of {layout.count} coefficients",
        best.noise, best.numbers.size, best.side_bits, lambda step: _code(best, layout, step),
    )  # fmt: skip
    return found_if_it_pays(matrix, tolerance, found)


def _code(fit: _Fit, layout: Layout, step: float) -> bytes:
    out = Writer().raw(bytes([fit.kind, fit.axes, fit.lines]))
    write_places(out, fit.places)
    shape = (fit.places.size, fit.numbers.size // fit.places.size) if fit.lines else (1, fit.places.size)
    write_core(out, fit.numbers, shape, step * math.sqrt(layout.count / fit.numbers.size), layout)
    return out.bytes()


def restore(source: Reader, layout: Layout) -> Floats:
    """float32 [rows, columns]. Raises FormatError."""
    kind, axes, lines = source.raw(3)
    if kind > WALSH or not DOWN <= axes <= BOTH or lines > _COLUMNS or (kind, axes) not in set(_settings(layout)):
        raise FormatError(f"spectrum: basis {kind}, axes {axes} of {layout.shape}")
    places = read_places(source, (layout.count, layout.rows, layout.columns)[lines])
    if not places.size:
        raise FormatError("spectrum: no coefficients")
    out = np.zeros((layout.rows, layout.columns), np.float32)
    width = (1, layout.columns, layout.rows)[lines]
    numbers = read_core(source, (places.size, width) if lines else (1, places.size), layout)
    (out.reshape(-1), out, out.T)[lines][places] = numbers.reshape(places.size, width) if lines else numbers[0]
    with np.errstate(over="ignore", invalid="ignore"):
        if axes & DOWN:
            used = np.flatnonzero(out.any(axis=1))
            out = product(basis(kind, layout.rows).T.astype(np.float32)[:, used], out[used])
        return product(out, basis(kind, layout.columns).astype(np.float32)) if axes & ALONG else out
