"""How one index is coded: zero, sign, bit length in unary, leading bits (numba kernels).

In union 0 the index k stands for 2 k grid steps, in union 1 for 2 k - 1, so that there is no zero there. Magnitudes are
ranks: 2 m or 2 m - 1 grid steps. Two experts say what each decision's chances are if the weight is normal or Laplace
distributed with the predicted mean and standard deviation; the adaptive counters correct them.
"""

from __future__ import annotations

from typing import Any, Final

from numba import njit

from ...entropy.fixedpoint import STRETCH
from ...entropy.mixing import INPUT_AT, code_bit
from .index_mixer import mix_bit
from .index_work import (
    AGREEMENT_SLOT,
    BIT_LENGTH,
    CONTEXT,
    KINDS,
    LEADING,
    LEVEL,
    LEVEL_SET,
    MEAN,
    NODES,
    PLACE_SET,
    PRIOR,
    SIGN,
    SIGN_CONTEXT,
    SLOT_AT,
    SLOTS,
    SPREAD,
    UNION,
    ZERO,
)  # fmt: skip
from .mixed_bits import exp2, mass, set_parametric
from .mixed_work import FAR

_kernel: Any = njit(nogil=True, cache=True, forceinline=True, error_model="numpy")

MOST_BITS: Final = 29  # of a magnitude
_MODELLED: Final = 3  # leading bits after the first one
_LENGTHS: Final = 14  # bit lengths with counters of their own, as a first bit and (up to 8) as a tree of leading bits
_TREES: Final = 8
_PRIOR_LIMIT: Final = 2000
_FINEST: Final = -2048  # log2 of the least standard deviation, in grid steps: 2^-8


@_kernel
def _decide(w, counters, buf, contexts, node, kind, bit):  # type: ignore[no-untyped-def]
    for i in range(SLOTS):
        w[SLOT_AT + i] = w[contexts + i] + node
    first, second = w[UNION] * NODES + node, 2 * NODES + w[PLACE_SET] * KINDS + kind
    return mix_bit(w, counters, buf, first, second, 2 * NODES + (64 + w[LEVEL_SET]) * KINDS + kind, bit)


@_kernel
def _border(size, union, inverse):  # type: ignore[no-untyped-def]
    """Where the cell of magnitude `size` begins, in standard deviations, Q8."""
    return min((4 * size - (4 if union else 2)) * inverse >> 17, FAR)


@_kernel
def _inverse(w):  # type: ignore[no-untyped-def]
    """A grid step in standard deviations, Q24."""
    return exp2(-max(w[SPREAD], _FINEST), 24)


@_kernel
def _set_prior(w):  # type: ignore[no-untyped-def]
    w[PRIOR] = (w[INPUT_AT] + w[INPUT_AT + 1]) >> 1


@_kernel
def code_zero(w, counters, buf, zero):  # type: ignore[no-untyped-def]
    """Whether the index is zero, in union 0; SPREAD, MEAN and contexts are set. Returns 1 or 0."""
    border = _border(1, 0, _inverse(w))
    for k in range(2):
        p = mass(k, -border - w[MEAN], border - w[MEAN]) >> 28
        w[INPUT_AT + k] = STRETCH[min(max(p, 0), 4095)]
    # of a geometric distribution with this mean: P(0) = 1 / (1 + mean / 2)
    w[PRIOR] = min(max(-((w[LEVEL] - 256) * 177 >> 8), -_PRIOR_LIMIT), _PRIOR_LIMIT)
    return _decide(w, counters, buf, CONTEXT, ZERO, 0, zero)


@_kernel
def _code_sign(w, counters, buf, negative):  # type: ignore[no-untyped-def]
    for k in range(2):
        p = mass(k, -2 * FAR, -w[MEAN]) >> 28
        w[INPUT_AT + k] = STRETCH[min(max(p, 0), 4095)]
    w[PRIOR] = 0
    return _decide(w, counters, buf, SIGN_CONTEXT, SIGN, 1, negative)


@_kernel
def _code_length(w, counters, buf, inverse, mean, size):  # type: ignore[no-untyped-def]
    """Bits of the magnitude, at least 1."""
    length = 1
    low = _border(1, w[UNION], inverse)
    while length < MOST_BITS:
        high = _border(1 << length, w[UNION], inverse)
        set_parametric(w, low, high, FAR, mean)
        _set_prior(w)
        node = BIT_LENGTH + min(length, _LENGTHS) - 1
        if not _decide(w, counters, buf, CONTEXT, node, 2 if length == 1 else 3, 1 if size >> length else 0):
            break
        low = high
        length += 1
    return length


@_kernel
def _code_magnitude(w, counters, buf, inverse, mean, size):  # type: ignore[no-untyped-def]
    """Returns the magnitude, from 1."""
    length = _code_length(w, counters, buf, inverse, mean, size)
    value = 1
    for j in range(length - 1):
        rest = length - 2 - j
        bit = (size >> rest) & 1
        if j < _MODELLED:
            low = value << (rest + 1)
            middle, high = low + (1 << rest), low + (2 << rest)
            set_parametric(
                w,
                _border(low, w[UNION], inverse),
                _border(middle, w[UNION], inverse),
                _border(high, w[UNION], inverse),
                mean,
            )
            _set_prior(w)
            node = LEADING + (min(length, _TREES) - 2) * 7 + value - 1
            bit = _decide(w, counters, buf, CONTEXT, node, 4 + j, bit)
        else:
            bit = code_bit(w, buf, 1 << 15, bit)
        value = 2 * value + bit
    return value


@_kernel
def code_nonzero(w, counters, buf, index):  # type: ignore[no-untyped-def]
    """Code an index that isn't zero grid steps (or decode and return one); the sign's contexts are set, too."""
    union = w[UNION]
    negative = _code_sign(w, counters, buf, 1 if index < union else 0)
    mean = -w[MEAN] if negative else w[MEAN]
    w[CONTEXT + AGREEMENT_SLOT] += (1 if mean >= 0 else 2) * NODES
    size = _code_magnitude(w, counters, buf, _inverse(w), mean, union - index if negative else index)
    return union - size if negative else size
