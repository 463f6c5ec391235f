"""In which contexts the next index is coded: what the slots' counters and the sets of weights are chosen by (integers)."""

from __future__ import annotations

from typing import Any, Final

from numba import njit

from ...entropy.mixing import log2
from .index_work import (
    COARSE_CONTEXTS,
    CONTEXT,
    DISTANCES,
    FACTOR_CONTEXTS,
    FIRST,
    KERNEL,
    KERNEL_CONTEXTS,
    LEVEL,
    LEVEL_CONTEXTS,
    LEVEL_SET,
    LEVEL_SETS,
    LOCAL_CONTEXTS,
    MASS_FACTOR,
    MEAN,
    NODES,
    PLACE_CONTEXTS,
    PLACE_SET,
    ROW_FACTOR,
    ROW_NUMBER,
    SIGN_CONTEXT,
    SPREAD,
    STRIDE,
    UNION,
    Z_MEAN,
)
from .mixed_bits import exp2

_kernel: Any = njit(nogil=True, cache=True, forceinline=True, error_model="numpy")

EDGE: Final = 4  # zeros to the left of a row of values; one is to its right
_BORDERS: Final = (26, 77, 154, 256, 410, 640)  # of distances from 0 in standard deviations, Q8


@_kernel
def _clip(x, most):  # type: ignore[no-untyped-def]
    return min(max(x, 0), most - 1)


@_kernel
def _octave(x):  # type: ignore[no-untyped-def]
    """floor(log2(x + 1)), at most 7."""
    octave, rest = 0, (x + 1) >> 1
    while rest and octave < 7:
        rest >>= 1
        octave += 1
    return octave


@_kernel
def _size_class(value, mean):  # type: ignore[no-untyped-def]
    """0 for a zero, 1 up to a bound (Q8, in grid steps) or two grid steps, else 2."""
    size = abs(value)
    return 0 if size == 0 else (1 if size <= 2 or size << 8 <= mean else 2)


@_kernel
def _sign(value):  # type: ignore[no-untyped-def]
    return 1 if value > 0 else (2 if value < 0 else 0)


@_kernel
def _distance_class(mean):  # type: ignore[no-untyped-def]
    found = 0
    for border in _BORDERS:
        found += 1 if abs(mean) >= border else 0
    return found


@_kernel
def _factor_class(factor):  # type: ignore[no-untyped-def]
    return _clip((factor >> 7) + FACTOR_CONTEXTS // 2, FACTOR_CONTEXTS)


@_kernel
def _at(w, slot, context):  # type: ignore[no-untyped-def]
    w[CONTEXT + slot] = (FIRST[slot] + context) * NODES


@_kernel
def _sign_at(w, slot, context):  # type: ignore[no-untyped-def]
    w[SIGN_CONTEXT + slot] = (FIRST[slot] + context) * NODES


@_kernel
def _local_class(before, above, beyond, x):  # type: ignore[no-untyped-def]
    """From the magnitudes around: three to the left, three above, one two rows above."""
    sum_left = 2 * abs(before[x + 3]) + abs(before[x + 2]) + abs(before[x + 1])
    sum_above = 2 * abs(above[x + 4]) + abs(above[x + 3]) + abs(above[x + 5]) + abs(beyond[x + 4])
    return _clip((log2(1 + 16 * (sum_left + sum_above)) - 768) >> 7, LOCAL_CONTEXTS)


@_kernel
def _far_class(w, row, x, bound):  # type: ignore[no-untyped-def]
    """Magnitudes one stride to the left and beside it; nothing where there is no stride."""
    stride = w[STRIDE]
    if stride < 2 or x < stride:
        return 0
    at = x + EDGE - stride
    classes = _size_class(row[at], bound) * 3 + (_size_class(row[at - 1], bound) if x > stride else 0)
    return classes * 3 + _size_class(row[at + 1], bound)


@_kernel
def choose_sets(w, x):  # type: ignore[no-untyped-def]
    """By the place in the matrix, and by the level."""
    w[PLACE_SET] = _octave(w[ROW_NUMBER]) * 8 + _octave(x)
    w[LEVEL_SET] = _clip((w[LEVEL] + 2048) >> 7, LEVEL_SETS // 2) * 2 + w[UNION]


@_kernel
def choose_contexts(w, columns, x, row, above, beyond):  # type: ignore[no-untyped-def]
    """Of magnitudes. `row`, `above`, `beyond`: weights in grid steps of this row and of the two before, from EDGE on."""
    u, level = w[UNION], w[LEVEL]
    bound = exp2(level + 128, 8)
    coarse = _clip((level + 1024) >> 8, COARSE_CONTEXTS)
    left = columns[MASS_FACTOR, x - 1] if x else 0
    right = columns[MASS_FACTOR, x + 1] if x + 1 < columns.shape[1] else 0
    around = _factor_class((left + right) >> 1)
    near = _size_class(row[x + 3], bound) * 3 + _size_class(row[x + 2], bound)
    near = (near * 3 + _size_class(above[x + 4], bound)) * 3 + _size_class(beyond[x + 4], bound)
    far = _far_class(w, row, x, bound) * 3 + _size_class(row[x + 3], bound)
    local = _local_class(row, above, beyond, x) * LOCAL_CONTEXTS + _clip((level + 1024) >> 7, LOCAL_CONTEXTS)
    place = x % w[KERNEL] if w[KERNEL] <= KERNEL_CONTEXTS else 0
    spread = _clip((w[SPREAD] + 3072) >> 6, LEVEL_CONTEXTS) * DISTANCES + _distance_class(w[MEAN])
    factors = (around * FACTOR_CONTEXTS + _factor_class(columns[MASS_FACTOR, x])) * FACTOR_CONTEXTS
    _at(w, 0, _clip((level + 3072) >> 6, LEVEL_CONTEXTS) * 2 + u)
    _at(w, 1, factors + _factor_class(w[ROW_FACTOR]))
    _at(w, 2, (near * COARSE_CONTEXTS + coarse) * 2 + u)
    _at(w, 3, local * 2 + u)
    _at(w, 4, (place * COARSE_CONTEXTS + coarse) * 2 + u)
    _at(w, 5, (far * COARSE_CONTEXTS + coarse) * 2 + u)
    _at(w, 6, (u * LEVEL_CONTEXTS * DISTANCES + spread) * 4)
    _at(w, 7, (x % PLACE_CONTEXTS) * 2 + u)
    _at(w, 8, (w[ROW_NUMBER] % PLACE_CONTEXTS) * 2 + u)


@_kernel
def choose_sign_contexts(w, columns, x, row, above, beyond):  # type: ignore[no-untyped-def]
    """As `choose_contexts`, of the sign."""
    mean, left, over = w[MEAN], _sign(row[x + 3]), _sign(above[x + 4])
    stride = w[STRIDE]
    far = _sign(row[x + EDGE - stride]) if stride > 1 and x >= stride else 0
    place = x % w[KERNEL] if w[KERNEL] <= KERNEL_CONTEXTS else 0
    _sign_at(w, 0, _distance_class(mean) * 2 + (1 if mean < 0 else 0))
    _sign_at(w, 1, _clip((mean >> 5) + 64, 128))
    _sign_at(w, 2, ((left * 3 + _sign(row[x + 2])) * 3 + over) * 3 + _sign(beyond[x + 4]))
    _sign_at(w, 3, _clip((columns[Z_MEAN, x] >> 12) + 16, 32))
    _sign_at(w, 4, place * 3 + left)
    _sign_at(w, 5, far * 3 + over)
    _sign_at(w, 6, _clip((mean >> 3) + 256, 512))
    _sign_at(w, 7, x % PLACE_CONTEXTS)
    _sign_at(w, 8, w[ROW_NUMBER] % PLACE_CONTEXTS)
