"""Linear regression of each weight of a segment on the weights before it in the segment, learnt row by row.

A segment is a piece of a row (or a convolution's kernel), led by a constant 1: x_0 = 1, x_1, ..., x_S. The matrix A of
second moments over the rows so far, on a ridge, is kept as L D L^T with a unit lower triangular L. With innovations
e_p = x_p - m_p, the regression of x_j on all before it is m_j = sum over p < j of L[j, p] e_p, so nothing is ever solved.
A row is a rank-one update of L and D: Gill, Golub, Murray, Saunders, "Methods for modifying matrix factorizations", 1974,
method C1.

All in float32, + - * / in this order; no sum runs over more than two terms, so no compiler may reorder one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_MOST: Final = 512  # weights of a segment
_MOST_SEGMENTS: Final = 16  # later pieces of longer rows go without: 17 MB in all
_RIDGE: Final = 2.5  # squared z a place: how much has to speak for a dependence
_CONSTANT_RIDGE: Final = 4.0


def fresh(kernel: int, width: int) -> tuple[Floats, Floats]:
    """(lower, diagonal) of every segment of a row of `width`: float32 [segments, S + 1, S + 1] and [segments, S + 1].

    The kernels of a convolution share one. `lower[k, p]` is column p of L, so that it is read along memory.
    """
    size = max(1, min(kernel if kernel > 1 else width, _MOST))
    segments = 1 if kernel > 1 else min(-(-width // size), _MOST_SEGMENTS)
    lower = np.zeros((segments, size + 1, size + 1), np.float32)
    lower[:, np.arange(size + 1), np.arange(size + 1)] = 1
    diagonal = np.full((segments, size + 1), _RIDGE * size, np.float32)
    diagonal[:, 0] = _CONSTANT_RIDGE
    return lower, diagonal


@njit(nogil=True, cache=True, error_model="numpy")
def spread(lower, place, innovation, means):  # type: ignore[no-untyped-def]
    """Add what innovation `place` (float32) tells of the later ones to `means` (float32 [S + 1])."""
    column = lower[place]
    for r in range(place + 1, means.size):
        means[r] += column[r] * innovation


@njit(nogil=True, cache=True, error_model="numpy")
def add_row(lower, diagonal, row, count):  # type: ignore[no-untyped-def]
    """A += x x^T, x the first `count` of `row` (float32, overwritten)."""
    share = np.float32(1)
    for j in range(count):
        p, before = row[j], diagonal[j]
        after = before + share * p * p
        gain = share * p / after
        share = share * before / after
        diagonal[j] = after
        column = lower[j]
        for r in range(j + 1, count):
            rest = row[r] - p * column[r]
            row[r] = rest
            column[r] += gain * rest
