"""The largest singular vectors of a matrix of float32, nearly, in one thread and in a fixed order of operations."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@njit(nogil=True, cache=True)
def _multiply(z, basis, out):  # type: ignore[no-untyped-def]
    """The product of z and basis to `out`, of [rows, columns] and [columns, rank]; four columns at a time."""
    rows, columns = z.shape
    rank = basis.shape[1]
    for r in range(rows):
        line = out[r]
        line[:] = np.float32(0)
        for c in range(0, columns - 3, 4):
            f0, f1, f2, f3 = z[r, c], z[r, c + 1], z[r, c + 2], z[r, c + 3]
            b0, b1, b2, b3 = basis[c], basis[c + 1], basis[c + 2], basis[c + 3]
            for k in range(rank):
                line[k] += f0 * b0[k] + f1 * b1[k] + f2 * b2[k] + f3 * b3[k]
        for c in range(columns // 4 * 4, columns):
            f, b = z[r, c], basis[c]
            for k in range(rank):
                line[k] += f * b[k]


@njit(nogil=True, cache=True)
def _orthonormalise(v):  # type: ignore[no-untyped-def]
    """Gram and Schmidt on the columns of v [n, rank], in place; a column of which only rounding errors are left becomes 0."""
    n, rank = v.shape
    parts, before = np.empty(rank, np.float32), np.zeros(rank, np.float32)
    for r in range(n):
        for i in range(rank):
            before[i] += v[r, i] * v[r, i]
    for j in range(rank):
        parts[j:] = np.float32(0)
        for r in range(n):
            f, row = v[r, j], v[r]
            for i in range(j, rank):
                parts[i] += f * row[i]
        square = parts[j]
        scale = np.float32(1) / np.sqrt(square) if square > np.float32(1e-9) * before[j] else np.float32(0)
        for i in range(j + 1, rank):
            parts[i] *= scale
        for r in range(n):
            row = v[r]
            row[j] *= scale
            f = row[j]
            for i in range(j + 1, rank):
                row[i] -= f * parts[i]


def product(a: Floats, b: Floats) -> Floats:
    """The matrix product of float32 [rows, n] and [n, columns]."""
    out = np.empty((a.shape[0], b.shape[1]), np.float32)
    _multiply(np.ascontiguousarray(a), np.ascontiguousarray(b), out)
    return out


def largest(z: Floats, start: Floats, rounds: int) -> tuple[Floats, Floats, Floats]:
    """(left [rows, rank], values [rank] falling, right [columns, rank]) with z @ right = left * values, nearly.

    Orthogonal iteration (Golub and Van Loan 2013, 8.2.4) on z^T z, from `start` (float32 [columns, rank]). Close
    singular values may stay mixed.
    """
    flipped, right = np.ascontiguousarray(z.T), np.ascontiguousarray(start)
    left = np.empty((z.shape[0], start.shape[1]), np.float32)
    right = right.copy()
    for _ in range(rounds):
        _multiply(z, right, left)
        _orthonormalise(left)
        _multiply(flipped, left, right)
        _orthonormalise(right)
    _multiply(z, right, left)
    values = np.sqrt(np.square(left, dtype=np.float64).sum(axis=0)).astype(np.float32)
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > 0]
    return left[:, order] / values[order], values[order], right[:, order]
