"""Kernels of PowerGossip: products with a few vectors, in an order that doesn't depend on the machine.

Both ends of an edge orthonormalise the same numbers and must get the same bits, or what one adds isn't what the other takes
away. So these are plain loops of + - * / and square roots (IEEE), summed in float64 in a fixed order, without BLAS.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..compressor import Vector

_NOTHING = 1e-250


@njit(nogil=True, cache=True)
def _rows_times(matrix, p, out):  # type: ignore[no-untyped-def]
    m, n = matrix.shape
    for k in range(p.shape[0]):
        for i in range(m):
            factor = np.float64(p[k, i])
            for j in range(n):
                out[k, j] += factor * matrix[i, j]


@njit(nogil=True, cache=True)
def _columns_times(matrix, q, out):  # type: ignore[no-untyped-def]
    m, n = matrix.shape
    lanes = np.empty(8, np.float64)
    whole = n - n % 8
    for k in range(q.shape[0]):
        for i in range(m):
            lanes[:] = 0.0
            for j in range(0, whole, 8):
                for lane in range(8):
                    lanes[lane] += np.float64(q[k, j + lane]) * matrix[i, j + lane]
            total = 0.0
            for lane in range(8):
                total += lanes[lane]
            for j in range(whole, n):
                total += np.float64(q[k, j]) * matrix[i, j]
            out[k, i] = total


@njit(nogil=True, cache=True)
def _orthonormal_row(rows, k):  # type: ignore[no-untyped-def]
    """Make row k orthogonal to those before it, and of length 1; its length before that."""
    n = rows.shape[1]
    for earlier in range(k):
        dot = 0.0
        for i in range(n):
            dot += rows[earlier, i] * rows[k, i]
        for i in range(n):
            rows[k, i] -= dot * rows[earlier, i]
    largest = 0.0
    for i in range(n):
        largest = max(largest, abs(rows[k, i]))
    if not largest > 0.0:
        return 0.0
    square = 0.0
    for i in range(n):
        rows[k, i] /= largest
        square += rows[k, i] * rows[k, i]
    length = math.sqrt(square)
    for i in range(n):
        rows[k, i] /= length
    return largest * length


@njit(nogil=True, cache=True)
def _add_outer(matrix, p, q, scale):  # type: ignore[no-untyped-def]
    m, n = matrix.shape
    for k in range(p.shape[0]):
        for i in range(m):
            factor = scale * p[k, i]
            for j in range(n):
                matrix[i, j] += matrix.dtype.type(factor * q[k, j])


def sketch(matrix: Vector, p: Vector, *, transposed: bool) -> Vector:
    """The products of `matrix` float [m, n] with the rows of `p` [r, m], as [r, n]; with `p` [r, n], as [r, m] if transposed."""
    rows, columns = matrix.shape
    out = np.zeros((len(p), rows if transposed else columns))
    (_columns_times if transposed else _rows_times)(matrix, p, out)
    result: Vector = out.astype(matrix.dtype)  # type: ignore[assignment]  # of a float dtype
    return result


def orthonormal(rows: Vector, spare: Callable[[], NDArray[np.float64]]) -> Vector:
    """Gram-Schmidt over the rows of `rows` float [r, m], r <= m. A row in the span of those before it (or zero: the ends of an
    edge agree) is replaced by the same row of `spare()` [r, m], else the direction would stay dead for ever.
    """
    out = rows.astype(np.float64)
    for k in range(len(out)):
        before = float(np.abs(out[k]).max(initial=0.0))
        if not _orthonormal_row(out, k) > max(1e-6 * before, _NOTHING):
            out[k] = spare()[k]
            _orthonormal_row(out, k)
    result: Vector = out.astype(rows.dtype)  # type: ignore[assignment]  # of a float dtype
    return result


def add_outer(matrix: Vector, p: Vector, q: Vector, scale: float) -> None:
    """Add scale * sum_k p[k] q[k]^T to `matrix` in place: float [m, n], [r, m] and [r, n]."""
    _add_outer(matrix, p, q, scale)
