"""One decision of the index coder: adaptive counters and two experts, mixed in the logistic domain (numba kernels).

As in entropy/mixing.py, with more inputs, three sets of weights instead of two, and a learning rate that falls with the
number of decisions that a set has seen (Mattern, "Linear and geometric mixtures", DCC 2013; the PAQ family).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ...entropy.fixedpoint import SQUASH, STRETCH, STRETCH_LIMIT
from ...entropy.mixing import INPUT_AT, adapted, code_bit
from .index_work import INPUTS, PRIOR, SET_SIZE, SLOT_AT, SLOTS, WEIGHT_AT

_kernel: Any = njit(nogil=True, cache=True, forceinline=True, error_model="numpy")

_FASTEST, _SLOWEST = 60, 12  # rate of a fresh set of weights beyond that of an old one, in sixteenths
_HALVED_AT: Final = 1 << 14  # decisions
_THIRD: Final = 21846  # in Q16
_LEAST_P: Final = 16
_FIRST_COUNT, _LATER_COUNT = 4, 2  # what a fresh counter's prior is worth, in updates


@_kernel
def _look_up(w, counters):  # type: ignore[no-untyped-def]
    """Predictions of the counters; a fresh one begins with the prior, or with what the first one says."""
    for i in range(SLOTS):
        at = w[SLOT_AT + i]
        state = np.int64(counters[at])
        if state == 0:
            if i:
                state = (np.int64(counters[w[SLOT_AT]]) >> 10) << 10 | _LATER_COUNT
            else:
                state = SQUASH[w[PRIOR] + STRETCH_LIMIT] << 16 | _FIRST_COUNT
            counters[at] = state
        w[INPUT_AT + 2 + i] = STRETCH[state >> 20]


@_kernel
def _mixed(w, at):  # type: ignore[no-untyped-def]
    """What the weights from `at` make of the inputs."""
    dot = np.int64(1 << 15)
    for i in range(INPUTS):
        dot += w[at + i] * w[INPUT_AT + i]
    return min(max(dot >> 16, -STRETCH_LIMIT), STRETCH_LIMIT)


@_kernel
def _learn(w, at, mixed, bit):  # type: ignore[no-untyped-def]
    """A step down the gradient of the code length."""
    rate = _SLOWEST + _FASTEST * _HALVED_AT // (_HALVED_AT + w[at + INPUTS])
    error = ((bit << 16) - SQUASH[mixed + STRETCH_LIMIT]) * rate >> 4
    for i in range(INPUTS):
        w[at + i] += (w[INPUT_AT + i] * error + (1 << 17)) >> 18
    w[at + INPUTS] += 1


@_kernel
def mix_bit(w, counters, buf, first, second, third, bit):  # type: ignore[no-untyped-def]
    """Code `bit` (or decode one) by the experts' inputs, the counters in the slots, and these three weight sets."""
    _look_up(w, counters)
    a, b, c = WEIGHT_AT + first * SET_SIZE, WEIGHT_AT + second * SET_SIZE, WEIGHT_AT + third * SET_SIZE
    x, y, z = _mixed(w, a), _mixed(w, b), _mixed(w, c)
    p = SQUASH[(((x + y + z) * _THIRD + (1 << 15)) >> 16) + STRETCH_LIMIT]
    bit = code_bit(w, buf, min(max(p, _LEAST_P), 65536 - _LEAST_P), bit)
    _learn(w, a, x, bit)
    _learn(w, b, y, bit)
    _learn(w, c, z, bit)
    for i in range(SLOTS):
        at = w[SLOT_AT + i]
        counters[at] = adapted(np.int64(counters[at]), bit)
    return bit
