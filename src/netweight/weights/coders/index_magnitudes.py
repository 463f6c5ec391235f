"""How large the next weight is likely to be: factors of the block, its row and its column, learnt on the way (integers).

With y = |v| in grid steps, E y = mu = block x row x column. Each factor f is (K + sum of omega y) / (K + sum of omega mu / f) over its
weights so far, what the likelihood equation of a geometric distribution of mean mu asks for, whose weight is
omega = 1 / (1 + mu), shrunk towards 1 by K; old weights fade. How far z = v / mu lies from its prediction has three such
factors of its own, fitted to ratios. Logarithms are to base 2 in Q8; sums are in Q12.
"""

from __future__ import annotations

from typing import Any, Final

from numba import njit

from ...entropy.fixedpoint import SQUASH, STRETCH_LIMIT
from ...entropy.mixing import log2
from .index_work import (
    BLOCK_ERROR,
    BLOCK_ERROR_FACTOR,
    BLOCK_FACTOR,
    BLOCK_MASS,
    COLUMN_ERROR,
    COLUMN_MASS,
    ERROR_FACTOR,
    ERROR_LEVEL,
    LEVEL,
    MASS_FACTOR,
    ROW_ERROR,
    ROW_ERROR_FACTOR,
    ROW_FACTOR,
    ROW_MASS,
    SPREAD,
    Z_LIMIT,
)  # fmt: skip
from .mixed_bits import exp2

_kernel: Any = njit(nogil=True, cache=True, forceinline=True, error_model="numpy")

_SHRINK: Final = 8 << 12  # K of a row's and a column's factor
_ERROR_SHRINK: Final = 32 << 12
_BLOCK_SHRINK: Final = 64
_FADE, _BLOCK_FADE = 9, 12  # sums lose 2^-9 or 2^-12 with each weight
_KEPT: Final = 4  # a row begins with 2^-4 of the sums of the row before
_FIRST_LEVEL: Final = 256  # two grid steps
_LEAST_LEVEL, _MOST_LEVEL = -12 << 8, 31 << 8
_ERROR_LIMIT: Final = 1024
_DEVIATION: Final = 83  # log2 of a standard deviation over a mean magnitude, between a normal and a Laplace one's
_LARGEST: Final = 8 << 12  # what one weight may add to a sum
_OUTLIER: Final = 6  # mean errors
_LIMIT: Final = 1 << 40  # keeps sums that hostile bytes steer within 64 bits


@_kernel
def _factor(shrink, seen, expected):  # type: ignore[no-untyped-def]
    return log2(shrink + seen) - log2(shrink + expected)


@_kernel
def start_row(w):  # type: ignore[no-untyped-def]
    """Forget most of the row before."""
    for at in (ROW_MASS, ROW_MASS + 1, ROW_ERROR, ROW_ERROR + 1):
        w[at] >>= _KEPT


@_kernel
def expect_magnitude(w, columns, x):  # type: ignore[no-untyped-def]
    """Set LEVEL, log2 of the mean magnitude expected at column x, from the three factors."""
    w[BLOCK_FACTOR] = _factor(_BLOCK_SHRINK, w[BLOCK_MASS], w[BLOCK_MASS + 1])
    w[ROW_FACTOR] = _factor(_SHRINK, w[ROW_MASS], w[ROW_MASS + 1])
    level = _FIRST_LEVEL + w[BLOCK_FACTOR] + w[ROW_FACTOR] + columns[MASS_FACTOR, x]
    w[LEVEL] = min(max(level, _LEAST_LEVEL), _MOST_LEVEL)


@_kernel
def expect_error(w, columns, x):  # type: ignore[no-untyped-def]
    """Set ERROR_LEVEL, log2 of the mean of |z - its prediction|, and SPREAD, log2 of its standard deviation in grid steps."""
    w[BLOCK_ERROR_FACTOR] = _factor(_BLOCK_SHRINK, w[BLOCK_ERROR], w[BLOCK_ERROR + 1])
    w[ROW_ERROR_FACTOR] = _factor(_ERROR_SHRINK, w[ROW_ERROR], w[ROW_ERROR + 1])
    level = w[BLOCK_ERROR_FACTOR] + w[ROW_ERROR_FACTOR] + columns[ERROR_FACTOR, x]
    w[ERROR_LEVEL] = min(max(level, -_ERROR_LIMIT), _ERROR_LIMIT)
    w[SPREAD] = w[LEVEL] + w[ERROR_LEVEL] + _DEVIATION


@_kernel
def _expected(level, omega):  # type: ignore[no-untyped-def]
    """What a mean of 2^level adds, times omega, in Q12."""
    return min(exp2(level, 12), _LIMIT) * omega >> 16


@_kernel
def _add(sums, at, seen, expected, fade):  # type: ignore[no-untyped-def]
    sums[at] += seen - (sums[at] + seen >> fade)
    sums[at + 1] += expected - (sums[at + 1] + expected >> fade)


@_kernel
def _add_column(columns, at, x, seen, expected):  # type: ignore[no-untyped-def]
    columns[at, x] += seen - (columns[at, x] + seen >> _FADE)
    columns[at + 1, x] += expected - (columns[at + 1, x] + expected >> _FADE)


@_kernel
def learn_magnitude(w, columns, x, size):  # type: ignore[no-untyped-def]
    """Add the magnitude `size` (grid steps) at column x to all three factors."""
    level = w[LEVEL]
    likely = min(max(level * 177 >> 8, -STRETCH_LIMIT), STRETCH_LIMIT)  # log mu
    omega = 65536 - SQUASH[likely + STRETCH_LIMIT]
    seen = min(size * omega >> 4, _LARGEST)
    _add(w, ROW_MASS, seen, _expected(level - w[ROW_FACTOR], omega), _FADE)
    _add_column(columns, COLUMN_MASS, x, seen, _expected(level - columns[MASS_FACTOR, x], omega))
    columns[MASS_FACTOR, x] = _factor(_SHRINK, columns[COLUMN_MASS, x], columns[COLUMN_MASS + 1, x])
    _add(w, BLOCK_MASS, seen, _expected(level - w[BLOCK_FACTOR], omega), _BLOCK_FADE)


@_kernel
def learn_error(w, columns, x, error):  # type: ignore[no-untyped-def]
    """Add |z - its prediction| (Q10) at column x to the error's three factors."""
    expected = exp2(w[ERROR_LEVEL], 12)
    ratio = (min(min(error, Z_LIMIT) << 2, _OUTLIER * expected) << 12) // expected
    _add(w, ROW_ERROR, ratio * exp2(w[ROW_ERROR_FACTOR], 12) >> 12, 4096, _FADE)
    _add_column(columns, COLUMN_ERROR, x, ratio * exp2(columns[ERROR_FACTOR, x], 12) >> 12, 4096)
    columns[ERROR_FACTOR, x] = _factor(_ERROR_SHRINK, columns[COLUMN_ERROR, x], columns[COLUMN_ERROR + 1, x])
    _add(w, BLOCK_ERROR, ratio * exp2(w[BLOCK_ERROR_FACTOR], 12) >> 12, 4096, _BLOCK_FADE)
