"""The model behind `max`: how the bits of a weight follow from the weights before it (numba kernels, integers).

Each weight w is seen as z = w / 2^scale(row, column); the scale is learnt online by a robust score (row and column
parts, both with falling gains). z itself is predicted linearly (least mean squares) from weights above, to the left
and the column's mean; the residual has a scale of its own. So each bit of sign, exponent and leading mantissa has two
parametric predictions (normal and Laplace around the predicted value) and adaptive ones in contexts, and a mixer
weighs them. docs/coder-max.md tells the story.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ...entropy.fixedpoint import LOG2, RECIPROCAL, SCORE, SHIFT, STRETCH
from ...entropy.mixing import INPUT_AT, code_flag
from .mixed_bits import code_magnitude, decide, exp2, mass
from .mixed_work import (
    ABOVE,
    ALL_SCALE,
    ALL_SPREAD,
    BASE,
    CLASS,
    CONTEXT,
    CONTEXTS,
    EXPONENTS,
    FAR,
    FEATURES,
    FIRST_OFFSET,
    FRACTION,
    GUESS,
    INTEGER,
    LEFT,
    LEFT_OFFSET,
    LOWEST,
    MEAN,
    NEGATIVE,
    NODES,
    PREDICTOR,
    ROW,
    ROW_MEAN,
    ROW_NUMBER,
    ROW_SPREAD,
    SCALE,
    SECOND,
    SIDED_MEAN,
    SIGN,
    SIGNED,
    SPARSE,
    SPREAD,
    ZERO,
    ZERO_SIGN_FLAG,
    K,
)  # fmt: skip

_kernel: Any = njit(nogil=True, cache=True, forceinline=True, error_model="numpy")

_UNIT: Final = 1024  # z = 1
_Z_LIMIT: Final = 8191
# Rows of the array of columns' states.
_SCALE, _SPREAD, _MEAN, _OFFSET = 0, 1, 2, 3


@_kernel
def _octave(x):  # type: ignore[no-untyped-def]
    """floor(log2(x)), at most 7, for x >= 1."""
    octave = 0
    while x > 1 and octave < 7:
        x >>= 1
        octave += 1
    return octave


@_kernel
def _bucket(x):  # type: ignore[no-untyped-def]
    """A log2 ratio in Q8 as one of 8 octaves from -4."""
    return min(max((x + 1024) >> 8, 0), 7)


@_kernel
def _distance(t):  # type: ignore[no-untyped-def]
    """|t| (Q10 standard deviations) in 7 classes."""
    x, n = abs(t), 0
    for limit in (102, 307, 614, 1024, 1638, 2560):
        n += x >= limit
    return n


@_kernel
def _clip(x, limit):  # type: ignore[no-untyped-def]
    """A Q16 log2 as one of 32 quarters of an octave."""
    return min(max((x >> 14) + limit, 0), 2 * limit - 1)


@_kernel
def _predict(w, feature, history, ring, columns, x, gap):  # type: ignore[no-untyped-def]
    """Gather the neighbours and return the linear prediction of z."""
    for j in range(ABOVE):
        feature[j] = history[ring[j + 1], x + LEFT]
    feature[ABOVE] = columns[_MEAN, x] >> 6
    feature[ABOVE + 1] = history[ring[1], x + LEFT - 1]
    feature[ABOVE + 2] = history[ring[1], x + LEFT + 1]
    for j in range(LEFT):
        feature[ABOVE + 3 + j] = history[ring[0], x + j]
    feature[FEATURES - 1] = history[ring[0], x + LEFT - gap] if gap > LEFT and x >= gap else 0
    dot = np.int64(1 << 15)
    for j in range(FEATURES):
        dot += w[PREDICTOR + j] * feature[j]
    return min(max(dot >> 16, -_Z_LIMIT - 1), _Z_LIMIT)


@_kernel
def _expect(w, columns, x, guess):  # type: ignore[no-untyped-def]
    """From the prediction and the scales: the expected exponent, the mean in standard deviations, and the contexts."""
    scale = (w[ALL_SCALE] + w[ROW] + columns[_SCALE, x]) >> 8
    spread = (w[ALL_SPREAD] + w[ROW_SPREAD] + columns[_SPREAD, x]) >> 8
    distance = guess * exp2(-spread, 12) >> 12
    center = scale + spread - 17 + SHIFT[min(abs(distance) >> 6, 255)]
    center = min(max(center, 0), (w[EXPONENTS] - 1) << 8)
    part = (center & 255) >> 6
    w[SCALE], w[SPREAD], w[GUESS], w[K] = scale, spread, guess, center >> 8
    w[MEAN] = min(max(distance >> 2, -FAR), FAR)
    w[CLASS] = _distance(distance)
    w[FRACTION] = (center & 255) >> 4
    w[SECOND] = (_octave(w[ROW_NUMBER] + 1) * 8 + _octave(x + 1)) * 8
    w[CONTEXT] = _clip(columns[_SCALE, x], 16) * 4 + part
    w[CONTEXT + 1] = _clip(w[ROW] - w[ROW_MEAN], 16) * 4 + part
    w[CONTEXT + 2] = (_bucket(w[LEFT_OFFSET]) * 8 + _bucket(columns[_OFFSET, x])) * 4 + part
    w[CONTEXT + 3] = w[K] & 255


@_kernel
def _choose(w, first, side):  # type: ignore[no-untyped-def]
    """Point the slots at the contexts, given the half of the first one's classes and the side of the others."""
    w[BASE] = (w[FRACTION] * 14 + w[CLASS] + (0 if first else 7)) * NODES
    for j in range(4):
        w[BASE + 1 + j] = ((1 + j) * CONTEXTS + w[CONTEXT + j] * 3 + side) * NODES


@_kernel
def _code_zero(w, n, buf, zero):  # type: ignore[no-untyped-def]
    """Whether it is zero, in sparse blocks."""
    below = w[GUESS] < 0
    _choose(w, below, 0 if w[CLASS] < 2 else (1 if below else 2))
    if not w[SPARSE]:
        return 0
    w[INPUT_AT] = w[INPUT_AT + 1] = 0
    return decide(w, n, buf, ZERO, 7, zero)


@_kernel
def _code_sign(w, n, buf, zero, negative):  # type: ignore[no-untyped-def]
    if not w[SIGNED]:
        return w[NEGATIVE]
    if zero:
        return 0 if w[INTEGER] else code_flag(w, n, buf, ZERO_SIGN_FLAG, negative)
    for k in range(2):
        p = mass(k, -2 * FAR, -w[MEAN]) >> 28
        w[INPUT_AT + k] = STRETCH[min(max(p, 0), 4095)]
    return decide(w, n, buf, SIGN, 6, negative)


@_kernel
def _take_side(w, negative):  # type: ignore[no-untyped-def]
    """What follows from the sign: the mean of the magnitude, and contexts by whether the sign was the expected one."""
    w[SIDED_MEAN] = -w[MEAN] if negative else w[MEAN]
    w[LOWEST] = 1 if w[INTEGER] and (negative or w[SPARSE]) else 0
    w[K] = max(w[K], w[LOWEST])
    agrees = (w[GUESS] < 0) == (negative == 1)
    side = 0 if w[CLASS] == 0 else (1 if agrees else 2)
    if w[INTEGER] and w[CLASS] < 2:
        side = 1 + negative
    _choose(w, agrees, side)


@_kernel
def _log2_magnitude(w, exponent, leading):  # type: ignore[no-untyped-def]
    """log2 of a magnitude, Q8, in exponents; 0 for zero."""
    if exponent:
        return (exponent << 8) + LOG2[2 * leading + 1]
    place = np.int64(0)
    if leading and not w[INTEGER]:  # a subnormal float
        place = np.int64(256)
        while leading < 128:
            leading <<= 1
            place -= 256
    return place


@_kernel
def _learn_scale(w, columns, x, exponent, leading):  # type: ignore[no-untyped-def]
    """Move the row's and the column's scale; returns how far the magnitude was from it, in octaves (Q8)."""
    offset = min(max(_log2_magnitude(w, exponent, leading) - w[SCALE], -2048), 2047)
    score = SCORE[offset + 2048]
    w[ROW] += score * RECIPROCAL[min(x, 1023) + 8] >> 16
    columns[_SCALE, x] += score * RECIPROCAL[min(w[ROW_NUMBER], 1023) + 4] >> 16
    return offset


@_kernel
def _learn_residual(w, feature, columns, x, z):  # type: ignore[no-untyped-def]
    """Move the residual's scales, the predictor and the column's mean."""
    r = min(w[ROW_NUMBER], 255)
    error = z - w[GUESS]
    size = 2 * abs(error) + 1
    octaves = np.int64(0)
    while size >> octaves + 1:
        octaves += 1
    place = ((octaves - 11) << 8) + LOG2[((size << 8) >> octaves) - 256]
    score = SCORE[min(max(place - w[SPREAD], -2048), 2047) + 2048]
    w[ROW_SPREAD] += score * RECIPROCAL[min(x, 1023) + 32] >> 16
    columns[_SPREAD, x] += score * RECIPROCAL[r + 16] >> 16
    w[ALL_SPREAD] += score >> 10
    step = 2 * min(max(error, -2 * _UNIT), 2 * _UNIT)
    for j in range(FEATURES):
        w[PREDICTOR + j] += (step * feature[j] + (1 << 13)) >> 14
    columns[_MEAN, x] += ((z << 6) - columns[_MEAN, x]) * RECIPROCAL[r + 2] >> 16


@_kernel
def _code_nonzero(w, n, buf, raw, feature, columns, x, negative, magnitude):  # type: ignore[no-untyped-def]
    """Code the magnitude and learn from it; returns it, z and the offset."""
    _take_side(w, negative)
    value, exponent, leading = code_magnitude(w, n, buf, raw, magnitude)
    offset = _learn_scale(w, columns, x, exponent, leading)
    z = min(exp2(offset, 10), _Z_LIMIT) if value else 0
    if negative:
        z = -z
    _learn_residual(w, feature, columns, x, z)
    return value, z, max(offset, FIRST_OFFSET)


@njit(nogil=True, cache=True, error_model="numpy")
def code_matrix(w, n, buf, raw, sign, magnitude, cols, gap):  # type: ignore[no-untyped-def]
    """Code one matrix of `cols` columns, row by row: reads `sign` and `magnitude` (flat), or fills them.

    `w`, `n`: the block's state. `buf`, `raw`: coded and plain bytes. `gap`: elements of one convolution kernel (1 for
    matrices).
    """
    columns = np.zeros((4, cols), np.int64)
    columns[_OFFSET] = FIRST_OFFSET
    history = np.zeros((ABOVE + 1, LEFT + cols + 1), np.int64)  # rows of z, the newest in a ring; zeros at both ends
    ring, feature = np.zeros(ABOVE + 1, np.int64), np.zeros(FEATURES, np.int64)
    w[ROW_MEAN] = w[ROW_SPREAD] = 0
    for r in range(sign.size // cols):
        for j in range(ABOVE + 1):
            ring[j] = (r + ABOVE + 1 - j) % (ABOVE + 1)
        history[ring[0]] = 0
        w[ROW_NUMBER], w[ROW], w[LEFT_OFFSET] = r, w[ROW_MEAN], FIRST_OFFSET
        w[ROW_SPREAD] >>= 1
        for x in range(cols):
            i = r * cols + x
            _expect(w, columns, x, _predict(w, feature, history, ring, columns, x, gap))
            zero = _code_zero(w, n, buf, magnitude[i] == 0)
            negative = _code_sign(w, n, buf, zero, np.int64(sign[i]))
            value, z, offset = np.int64(0), np.int64(0), np.int64(FIRST_OFFSET)
            if not zero:
                value, z, offset = _code_nonzero(w, n, buf, raw, feature, columns, x, negative, magnitude[i])
            sign[i], magnitude[i] = negative, value
            history[ring[0], x + LEFT] = z
            w[LEFT_OFFSET] = columns[_OFFSET, x] = offset
        w[ROW_MEAN] += (w[ROW] - w[ROW_MEAN]) * RECIPROCAL[min(r + 1, 64)] >> 16
    w[ALL_SCALE] += w[ROW_MEAN]
