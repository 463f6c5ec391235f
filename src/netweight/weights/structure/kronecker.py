"""Kronecker products: W[(i, k), (j, l)] = A[i, j] B[k, l].

The nearest one is the best rank-1 approximation of the weights in another order (Van Loan and Pitsianis 1993).

parameters := rows of A (varint) | columns of A (varint) | A | B    (numbers)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from ...errors import FormatError
from ...wire import Reader, Writer
from .cores import read_core, write_core
from .model import Floats, Found, Layout, Matrix, Tolerance, Wide, found_if_it_pays, saving

NAME = "Kronecker"
_SAMPLED: Final = 24  # rows of the rearranged matrix
_HINT: Final = 0.25  # mean square correlation of rows that promises a product, beyond that of chance
_ROUNDS: Final = 12
_FEWEST: Final = 4  # numbers of a factor


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _rearranged(w: Wide, a_rows: int, a_columns: int) -> Wide:
    """[a_rows * a_columns, rest]: one row for each block of W."""
    rows, columns = w.shape
    four = w.reshape(a_rows, rows // a_rows, a_columns, columns // a_columns)
    return four.transpose(0, 2, 1, 3).reshape(a_rows * a_columns, -1)


def _some_blocks(w: Wide, a_rows: int, a_columns: int) -> Wide:
    """A few rows of the rearranged matrix, evenly spread."""
    rows, columns = w.shape[0] // a_rows, w.shape[1] // a_columns
    picked = np.unique(np.linspace(0, a_rows * a_columns - 1, _SAMPLED).astype(int))
    places = (divmod(int(k), a_columns) for k in picked)
    return np.stack([w[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns].reshape(-1) for i, j in places])


def _alike(blocks: Wide) -> float:
    """Mean square correlation of different rows, beyond 1 / length, which chance has."""
    norms = np.sqrt(np.square(blocks).sum(axis=1, keepdims=True))
    unit = blocks / np.maximum(norms, 1e-300)
    gram = np.square(unit @ unit.T)
    n = len(blocks)
    others = float(gram.sum() - gram.diagonal().sum())
    return others / (n * (n - 1)) - 1 / float(blocks.shape[1])


def _promising(matrix: Matrix, tolerance: Tolerance) -> Iterator[tuple[int, int]]:
    """Shapes of A whose blocks look alike, and that could pay."""
    layout = matrix.layout
    for a_rows in _divisors(layout.rows):
        for a_columns in _divisors(layout.columns):
            count = a_rows * a_columns
            rest = layout.count // count
            if min(count, rest) < _FEWEST or saving(matrix, tolerance, 0.0, count + rest, 32.0) <= 0:
                continue
            if _alike(_some_blocks(matrix.wide, a_rows, a_columns)) > _HINT:
                yield a_rows, a_columns


def _rank_one(r: Wide) -> tuple[Wide, Wide, float]:
    """(left, right, what of the energy is left) of the nearest product of two vectors; the left has mean square 1."""
    left = r[:, int(np.argmax(np.square(r).sum(axis=0)))]
    right = np.zeros(r.shape[1])
    for _ in range(_ROUNDS):
        right = r.T @ left
        right /= max(float(np.linalg.norm(right)), 1e-300)
        left = r @ right
    value = float(np.linalg.norm(left))
    noise = (float(np.square(r).sum()) - value**2) / r.size
    size = math.sqrt(left.size)
    return left / max(value, 1e-300) * size, right * value / size, max(noise, 0.0)


def detect(matrix: Matrix, tolerance: Tolerance) -> Found | None:
    """The product that promises most."""
    if min(matrix.layout.rows, matrix.layout.columns) < 2:
        return None
    fits = [(shape, _rank_one(_rearranged(matrix.wide, *shape))) for shape in _promising(matrix, tolerance)]
    if not fits:
        return None
    (a_rows, a_columns), (left, right, noise) = max(
        fits, key=lambda f: saving(matrix, tolerance, f[1][2], f[1][0].size + f[1][1].size, 32.0)
    )
    layout = matrix.layout
    b_shape = (layout.rows // a_rows, layout.columns // a_columns)
    found = Found(
        f"Kronecker product of {a_rows} x {a_columns} and {b_shape[0]} x {b_shape[1]}", noise, left.size + right.size,
        32.0, lambda step: _code(left, right, (a_rows, a_columns), b_shape, step, layout),
    )  # fmt: skip
    return found_if_it_pays(matrix, tolerance, found)


def _code(
    left: Wide, right: Wide, a_shape: tuple[int, int], b_shape: tuple[int, int], step: float, layout: Layout
) -> bytes:
    """Both factors' rounding is felt alike: A has mean square 1, so an error of A is as large as B's root mean square."""
    out = Writer().varint(a_shape[0]).varint(a_shape[1])
    size = math.sqrt(float(np.square(right).mean())) or 1.0
    write_core(out, left, a_shape, step / size, layout)
    write_core(out, right, b_shape, step, layout)
    return out.bytes()


def restore(source: Reader, layout: Layout) -> Floats:
    """float32 [rows, columns]. Raises FormatError."""
    a_rows, a_columns = source.varint(limit=layout.rows), source.varint(limit=layout.columns)
    if not a_rows or not a_columns or layout.rows % a_rows or layout.columns % a_columns:
        raise FormatError(f"Kronecker structure: a factor {a_rows} x {a_columns}")
    a = read_core(source, (a_rows, a_columns), layout)
    b = read_core(source, (layout.rows // a_rows, layout.columns // a_columns), layout)
    out: Floats = (a[:, None, :, None] * b[None, :, None, :]).reshape(layout.rows, layout.columns)
    return out
