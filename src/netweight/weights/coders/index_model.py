"""One tensor's indices, coded or decoded row by row (numba kernel): what is expected, the index, what is learnt from it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ...entropy.mixing import DECODING, POSITION
from .index_bits import code_nonzero, code_zero
from .index_contexts import EDGE, choose_contexts, choose_sets, choose_sign_contexts
from .index_magnitudes import expect_error, expect_magnitude, learn_error, learn_magnitude, start_row
from .index_prediction import learn_filter, learn_regression, place_mean, predict, start_segment
from .index_work import (
    COLUMN_STATES,
    CUT,
    GUESS,
    KERNEL,
    LEVEL,
    MEAN,
    PLACE_IN_BLOCK,
    ROW_ERROR,
    ROW_MASS,
    ROW_NUMBER,
    SPREAD,
    STATE,
    UNION,
    Z_LIMIT,
)  # fmt: skip
from .mixed_bits import exp2
from .mixed_work import ABOVE, FEATURES, LEFT

_kernel: Any = njit(nogil=True, cache=True, forceinline=True, error_model="numpy")

_SPREADS: Final = 16  # half octaves from a quarter of a grid step
SIDES: Final = 3  # no clear prediction, a positive or a negative one
CLASSES: Final = SIDES * _SPREADS
"""Of what was expected of a weight: spread x side."""
_CLEAR: Final = 64  # standard deviations, Q8
_SLACK: Final = 8  # bytes that a decoder may read past the end: its registers


@_kernel
def _step(w, cuts, union_of):  # type: ignore[no-untyped-def]
    """Set UNION; a path begins anew at each of `cuts`."""
    while w[PLACE_IN_BLOCK] == cuts[w[CUT]]:
        w[STATE] = 0
        w[CUT] += 1
    w[PLACE_IN_BLOCK] += 1
    w[UNION] = union_of[w[STATE]]


@_kernel
def _class(w):  # type: ignore[no-untyped-def]
    side = 0
    if abs(w[MEAN]) >= _CLEAR:
        side = 1 if w[MEAN] > 0 else 2
    return w[UNION] * CLASSES + min(max((w[SPREAD] + 512) >> 7, 0), _SPREADS - 1) * SIDES + side


@_kernel
def _expect(w, columns, feature, history, ring, x, means, place):  # type: ignore[no-untyped-def]
    """Scale and prediction of the weight at column x of the current row."""
    expect_magnitude(w, columns, x)
    predict(w, feature, history, ring, columns, x, means, place)
    expect_error(w, columns, x)
    place_mean(w)


@_kernel
def _code(w, counters, buf, columns, values, x, index):  # type: ignore[no-untyped-def]
    """Choose contexts, and code the index."""
    row, above, beyond = values[w[ROW_NUMBER] % 3], values[(w[ROW_NUMBER] + 2) % 3], values[(w[ROW_NUMBER] + 1) % 3]
    choose_sets(w, x)
    choose_contexts(w, columns, x, row, above, beyond)
    if w[UNION] == 0 and code_zero(w, counters, buf, 1 if index == 0 else 0):
        return np.int64(0)
    choose_sign_contexts(w, columns, x, row, above, beyond)
    return np.int64(code_nonzero(w, counters, buf, index))


@_kernel
def _learn(w, columns, feature, x, value):  # type: ignore[no-untyped-def]
    """From a weight of `value` grid steps; returns its z."""
    z = min(max(value * exp2(-w[LEVEL], 20) >> 10, -Z_LIMIT), Z_LIMIT)
    learn_magnitude(w, columns, x, abs(value))
    learn_error(w, columns, x, abs(z - w[GUESS]))
    learn_filter(w, feature, columns, x, z)
    return z


@njit(nogil=True, cache=True, error_model="numpy")
def code_tensor(w, counters, buf, indices, classes, width, cuts, next_state, union_of, lower, diagonal):  # type: ignore[no-untyped-def]
    """Code (or decode into) `indices` (int32 [n]) as rows of `width`, the last of which may be shorter.

    Fills `classes` (uint8 [n]: union x CLASSES + class). `lower` and `diagonal` are a fresh
    regression. False if a decoder ran out of bytes.
    """
    columns = np.zeros((COLUMN_STATES, width), np.int64)
    history = np.zeros((ABOVE + 1, LEFT + width + 2), np.int64)  # z of this row and of those above, in a ring
    values = np.zeros((3, EDGE + width + 2), np.int64)  # in grid steps
    feature, ring = np.zeros(FEATURES, np.int64), np.zeros(ABOVE + 1, np.int64)
    size = lower.shape[1] - 1
    means, seen = np.zeros(size + 1, np.float32), np.zeros(size + 1, np.float32)
    w[ROW_MASS] = w[ROW_MASS + 1] = w[ROW_ERROR] = w[ROW_ERROR + 1] = 0
    for r in range((indices.size + width - 1) // width):
        if w[DECODING] and w[POSITION] > buf.size + _SLACK:
            return False
        w[ROW_NUMBER] = r
        for j in range(ABOVE + 1):
            ring[j] = (r + ABOVE + 1 - j) % (ABOVE + 1)
        history[ring[0]] = 0
        values[r % 3] = 0
        start_row(w)
        for x in range(min(width, indices.size - r * width)):
            i, place = r * width + x, x % size + 1
            segment = 0 if w[KERNEL] > 1 else x // size
            regressed = segment < lower.shape[0]
            if place == 1:
                means[:] = 0
                if regressed:
                    start_segment(lower[segment], means, seen)
            _step(w, cuts, union_of)
            _expect(w, columns, feature, history, ring, x, means, place)
            index = _code(w, counters, buf, columns, values, x, np.int64(indices[i]))
            indices[i], classes[i] = index, _class(w)
            value = 2 * index - w[UNION]
            w[STATE] = next_state[w[STATE], index & 1]
            z = _learn(w, columns, feature, x, value)
            values[r % 3, x + EDGE], history[ring[0], x + LEFT] = value, z
            if regressed:
                last = place == size or x + 1 == width
                learn_regression(lower[segment], diagonal[segment], means, seen, place, last, z)
    return True
