"""Whether a latent is zero: the context network's opinion, mixed with counters that learn as the picture goes by.

The networks come from other pictures; a mixture of their prediction with adaptive counters, weighted online, corrects what this
picture does otherwise (logistic mixing: Mattern, DCC 2012; the PAQ family). All in integers (numba kernels).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ...entropy import range_coder
from ...entropy.fixedpoint import SQUASH, STRETCH, STRETCH_LIMIT
from ...entropy.mixing import adapted

CONTEXTS: Final = 128
COUNTERS: Final = 4
INPUTS: Final = COUNTERS + 1
SETS: Final = 32
BUSIEST: Final = 3
"""Activities of places are in 0 .. BUSIEST."""
_LEAST_P: Final = 16
_FIRST_COUNT: Final = 6  # what the network's opinion is worth in a fresh counter, in updates

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def fresh():  # type: ignore[no-untyped-def]
    """Counters [COUNTERS, CONTEXTS] that have seen nothing, and weights [SETS, INPUTS] (Q16) that trust the network."""
    weights = np.zeros((SETS, INPUTS), np.int64)
    weights[:, 0] = 1 << 16
    return np.zeros((COUNTERS, CONTEXTS), np.int64), weights


@_kernel
def code_zero(coder, buffer, counters, weights, inputs, p, near, wide, busy, zero):  # type: ignore[no-untyped-def]
    """Code whether a latent is zero (1 or 0), or decode and return it.

    `p` (16 bits): the network's probability of a zero; `near`, `wide`: sums of magnitudes (each at most 3) of the two
    and of the twelve causal neighbours; `busy`: activity of the place, 0 .. BUSIEST; `inputs` int64 [INPUTS] is scratch.
    """
    p = min(max(p, _LEAST_P), 65536 - _LEAST_P)
    first = STRETCH[p >> 4]
    number = min(max((first + 2048) >> 7, 0), SETS - 1)
    row = weights[number]
    at = (min(wide, 15) * 8 + min(near, 7), number * 4 + busy, min(near, 3) * 16 + busy * 4 + min(wide, 3), number)
    inputs[0] = first
    dot = row[0] * first
    for i in range(COUNTERS):
        state = counters[i, at[i]]
        if state == 0:
            state = p << 16 | _FIRST_COUNT
            counters[i, at[i]] = state
        inputs[i + 1] = STRETCH[state >> 20]
        dot += row[i + 1] * inputs[i + 1]
    mixed = SQUASH[min(max(dot >> 16, -STRETCH_LIMIT), STRETCH_LIMIT) + STRETCH_LIMIT]
    zero = range_coder.code_bit(coder, buffer, min(max(mixed, _LEAST_P), 65536 - _LEAST_P), zero)
    error = (zero << 16) - mixed
    for i in range(INPUTS):
        row[i] += (inputs[i] * error * 5 + (1 << 16)) >> 17
    for i in range(COUNTERS):
        counters[i, at[i]] = adapted(counters[i, at[i]], zero)
    return zero
