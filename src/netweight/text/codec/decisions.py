"""Yes-or-no questions answered by mixing what several counters think (numba kernels, integers).

A counter is P(1) in 22 bits and its number of updates in 10 (entropy/mixing.py). Predictions are mixed in the logistic domain (Q8 nats) by
several sets of weights, each chosen by a small context and learnt online, and the sets' mean is the answer (Mattern,
"Linear and geometric mixtures", DCC 2013; the PAQ family).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ...entropy.fixedpoint import SQUASH, STRETCH_LIMIT
from ...entropy.mixing import log2

_LN2: Final = 11357  # ln 2 in Q14
_SHIFT: Final = 18
_MULTIPLIER: Final = 0x9E3779B1
_MASK32: Final = 0xFFFFFFFF

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def mix(a, b):  # type: ignore[no-untyped-def]
    """A 32-bit hash of two numbers of at most 32 bits."""
    x = ((a ^ (a >> 15)) * 0x2C1B3C6D + b * _MULTIPLIER + 0x7F4A7C15) & _MASK32
    return x ^ (x >> 13)


@_kernel
def stretch(part, total):  # type: ignore[no-untyped-def]
    """ln(p / (1 - p)) in Q8 for p = part / total, 0 < part < total, within the limits of SQUASH."""
    x = (log2(part) - log2(total - part)) * _LN2 >> 14
    return min(max(x, -STRETCH_LIMIT), STRETCH_LIMIT)


@_kernel
def mixed(weights, at, inputs):  # type: ignore[no-untyped-def]
    """The sum of `inputs` (Q8 nats) weighted by `weights[at:]` (Q16), within the limits of SQUASH."""
    dot = np.int64(1 << 15)
    for i in range(inputs.size):
        dot += weights[at + i] * inputs[i]
    return min(max(dot >> 16, -STRETCH_LIMIT), STRETCH_LIMIT)


@_kernel
def learn(weights, at, inputs, x, bit, rate):  # type: ignore[no-untyped-def]
    """Move the weights so that `x`, what they mixed, comes nearer to `bit`."""
    error = ((bit << 16) - SQUASH[x + STRETCH_LIMIT]) * rate
    for i in range(inputs.size):
        weights[at + i] += (inputs[i] * error + (1 << _SHIFT - 1)) >> _SHIFT
