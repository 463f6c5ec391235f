"""Where z, a weight over its expected magnitude, is likely to be: two linear predictions, weighed online.

One is a least-mean-squares filter over neighbours (integers), one the regression on the weights before it in the row
(float32, index_regression.py). Each is shrunk by its own coefficient, fitted with fading sums to what the other one
leaves. z is in Q10.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ...entropy.fixedpoint import RECIPROCAL
from .index_regression import add_row, spread
from .index_work import (
    FILTER_AT,
    FILTER_GUESS,
    FILTER_SHARE,
    GUESS,
    LEVEL,
    MEAN,
    REGRESSION_GUESS,
    REGRESSION_PART,
    REGRESSION_SHARE,
    ROW_NUMBER,
    SPREAD,
    STRIDE,
    Z_LIMIT,
    Z_MEAN,
)  # fmt: skip
from .mixed_bits import exp2
from .mixed_work import ABOVE, FAR, FEATURES, LEFT

_kernel: Any = njit(nogil=True, cache=True, forceinline=True, error_model="numpy")

_FADE: Final = 10
_STEP_LIMIT: Final = 2048
_REGRESSION_LIMIT: Final = 8.0  # z


@_kernel
def _filter(w, feature, history, ring, columns, x):  # type: ignore[no-untyped-def]
    """Gather the neighbours' z and return the filter's prediction."""
    for j in range(ABOVE):
        feature[j] = history[ring[j + 1], x + LEFT]
    feature[ABOVE] = columns[Z_MEAN, x] >> 6
    feature[ABOVE + 1] = history[ring[1], x + LEFT - 1]
    feature[ABOVE + 2] = history[ring[1], x + LEFT + 1]
    for j in range(LEFT):
        feature[ABOVE + 3 + j] = history[ring[0], x + j]
    stride = w[STRIDE]
    feature[FEATURES - 1] = history[ring[0], x + LEFT - stride] if stride > LEFT and x >= stride else 0
    dot = np.int64(1 << 15)
    for j in range(FEATURES):
        dot += w[FILTER_AT + j] * feature[j]
    return min(max(dot >> 16, -Z_LIMIT), Z_LIMIT)


@_kernel
def _share(w, at):  # type: ignore[no-untyped-def]
    """A coefficient from its sums, Q8 in 0..256."""
    return min(max((w[at] << 8) // max(w[at + 1], 1), 0), 256)


@_kernel
def predict(w, feature, history, ring, columns, x, means, place):  # type: ignore[no-untyped-def]
    """Set GUESS, the prediction of z at column x, from the filter and from means[place] (float32)."""
    w[FILTER_GUESS] = _filter(w, feature, history, ring, columns, x)
    mean = means[place]
    if not mean > -_REGRESSION_LIMIT:
        mean = np.float32(-_REGRESSION_LIMIT)  # a number that isn't one, too
    if not mean < _REGRESSION_LIMIT:
        mean = np.float32(_REGRESSION_LIMIT)
    w[REGRESSION_GUESS] = np.int64(mean * np.float32(1024) + np.float32(8192.5)) - 8192
    w[REGRESSION_PART] = w[REGRESSION_GUESS] * _share(w, REGRESSION_SHARE) >> 8
    guess = (w[FILTER_GUESS] * _share(w, FILTER_SHARE) >> 8) + w[REGRESSION_PART]
    w[GUESS] = min(max(guess, -Z_LIMIT), Z_LIMIT)


@_kernel
def place_mean(w):  # type: ignore[no-untyped-def]
    """Set MEAN, the prediction in standard deviations, Q8; after the error's scale is known."""
    w[MEAN] = min(max(w[GUESS] * exp2(w[LEVEL] - w[SPREAD], 12) >> 14, -FAR), FAR)


@_kernel
def learn_filter(w, feature, columns, x, z):  # type: ignore[no-untyped-def]
    """Move the filter, both shares and the column's mean after z has been seen."""
    left = z - w[REGRESSION_PART]
    guess, other = w[FILTER_GUESS], w[REGRESSION_GUESS]
    w[FILTER_SHARE] += guess * left - (w[FILTER_SHARE] >> _FADE)
    w[FILTER_SHARE + 1] += guess * guess - (w[FILTER_SHARE + 1] >> _FADE)
    w[REGRESSION_SHARE] += other * z - (w[REGRESSION_SHARE] >> _FADE)
    w[REGRESSION_SHARE + 1] += other * other - (w[REGRESSION_SHARE + 1] >> _FADE)
    step = 2 * min(max(left - guess, -_STEP_LIMIT), _STEP_LIMIT)
    for j in range(FEATURES):
        w[FILTER_AT + j] += (step * feature[j] + (1 << 13)) >> 14
    columns[Z_MEAN, x] += ((z << 6) - columns[Z_MEAN, x]) * RECIPROCAL[min(w[ROW_NUMBER], 255) + 2] >> 16


@_kernel
def start_segment(lower, means, row):  # type: ignore[no-untyped-def]
    """The regression's means when only the constant is known."""
    means[:] = 0
    row[0] = 1
    spread(lower, 0, np.float32(1), means)


@_kernel
def learn_regression(lower, diagonal, means, row, place, last, z):  # type: ignore[no-untyped-def]
    """Take z as number `place` of its segment; after the `last` one the regression itself learns."""
    seen = np.float32(z) * np.float32(1 / 1024)
    row[place] = seen
    if last:
        add_row(lower, diagonal, row, place + 1)
    else:
        spread(lower, place, seen - means[place], means)
