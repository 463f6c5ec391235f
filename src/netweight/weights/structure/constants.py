"""Rows (or columns) that are one number each, or a tensor that is one number.

parameters := down(1): 0 rows, 1 columns, 2 all | numbers, one for each
"""

from __future__ import annotations

import numpy as np

from ...errors import FormatError
from ...wire import Reader, Writer
from .cores import read_core, write_core
from .model import Floats, Found, Layout, Matrix, Tolerance, Wide, found_if_it_pays, mean_square, saving

NAME = "constant"
_WORDS = ("each row is one number", "each column is one number", "one number throughout")


def detect(matrix: Matrix, tolerance: Tolerance) -> Found | None:
    """The way in which the weights are constant that promises most."""
    found = [_found(matrix, way) for way in range(len(_WORDS))]
    best = max(found, key=lambda f: saving(matrix, tolerance, f.noise, f.numbers, f.side_bits))
    return found_if_it_pays(matrix, tolerance, best)


def _found(matrix: Matrix, way: int) -> Found:
    """Means; the first of equal numbers, which needs no rounding."""
    rows, columns = matrix.values.shape
    first = matrix.values[: 1 if way else rows, : columns if way == 1 else 1]
    exact = bool((matrix.values == first).all())
    axis = (1, 0, None)[way]
    numbers = first.astype(np.float64) if exact else matrix.wide.mean(axis=axis, keepdims=True)
    return Found(
        _WORDS[way], mean_square(matrix.wide - numbers), numbers.size, 8.0,
        lambda step: _code(way, numbers, matrix.layout, step), exact,
    )  # fmt: skip


def _code(way: int, numbers: Wide, layout: Layout, step: float) -> bytes:
    out = Writer().raw(bytes([way]))
    write_core(out, numbers, (1, numbers.size), step, layout)
    return out.bytes()


def restore(source: Reader, layout: Layout) -> Floats:
    """float32 [rows, columns]. Raises FormatError."""
    way = source.byte()
    if way >= len(_WORDS):
        raise FormatError(f"constant structure: no way {way}")
    shape = ((layout.rows, 1), (1, layout.columns), (1, 1))[way]
    numbers = read_core(source, (1, shape[0] * shape[1]), layout).reshape(shape)
    return np.ascontiguousarray(np.broadcast_to(numbers, (layout.rows, layout.columns)))
