"""Toeplitz and circulant matrices: one number for each diagonal.

parameters := number of diagonals - 1: rows + columns - 2 (Toeplitz) or columns - 1 (circulant) (varint) | numbers
W[r, c] = t[c - r + rows - 1], or t[(c - r) mod columns].
"""

from __future__ import annotations

import numpy as np

from ...errors import FormatError
from ...wire import Reader, Writer
from .cores import read_core, write_core
from .labels import Ints
from .model import Floats, Found, Layout, Matrix, Tolerance, Wide, found_if_it_pays, mean_square, saving

NAME = "diagonals"
_SMALLEST = 3  # rows and columns


def _places(layout: Layout, count: int) -> Ints:
    """Which diagonal each weight is on, int64 [rows, columns]."""
    at = np.arange(layout.columns)[None, :] - np.arange(layout.rows)[:, None]
    return at % layout.columns if count == layout.columns else at + layout.rows - 1


def detect(matrix: Matrix, tolerance: Tolerance) -> Found | None:
    """Circulant or Toeplitz, whichever promises more."""
    layout = matrix.layout
    if min(layout.rows, layout.columns) < _SMALLEST:
        return None
    found = [_found(matrix, layout.columns, "circulant"), _found(matrix, layout.rows + layout.columns - 1, "Toeplitz")]
    best = max(found, key=lambda f: saving(matrix, tolerance, f.noise, f.numbers, f.side_bits))
    return found_if_it_pays(matrix, tolerance, best)


def _found(matrix: Matrix, count: int, name: str) -> Found:
    """Means along `count` diagonals; the first of equal numbers, which needs no rounding."""
    layout, wide = matrix.layout, matrix.wide.reshape(-1)
    places = _places(layout, count).reshape(-1)
    first = np.empty(count)
    first[places[::-1]] = wide[::-1]
    exact = bool((first[places] == wide).all())
    numbers = first if exact else np.bincount(places, wide, count) / np.bincount(places, minlength=count)
    return Found(
        f"{name}: one number for each of {count} diagonals", mean_square(wide - numbers[places]), count, 16.0,
        lambda step: _code(numbers, layout, step), exact,
    )  # fmt: skip


def _code(numbers: Wide, layout: Layout, step: float) -> bytes:
    out = Writer().varint(numbers.size - 1)
    write_core(out, numbers, (1, numbers.size), step, layout)
    return out.bytes()


def restore(source: Reader, layout: Layout) -> Floats:
    """float32 [rows, columns]. Raises FormatError."""
    count = source.varint(limit=layout.rows + layout.columns) + 1
    if count not in (layout.columns, layout.rows + layout.columns - 1):
        raise FormatError(f"diagonals: {count} of a matrix {layout.rows} x {layout.columns}")
    numbers: Floats = read_core(source, (1, count), layout)[0]
    return numbers[_places(layout, count)]
