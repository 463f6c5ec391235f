"""What makes tokens likelier here than the model thinks: a log-linear model on top of it, learnt online (numba kernels).

Each feature (the last tokens, the model's own best guesses) has a weight for each token, hashed into one table; the sum of
a token's weights is added to its logit, and the gradient of the code length moves them. Only *active* tokens take part:
those that the model gives more than 2^-14 of the mass, and candidates from the text before.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from . import softmax
from .decisions import mix

FEATURES: Final = 6
MOST_ACTIVE: Final = 2048
_LEAST_SHARE: Final = 14
_LEAST_GRADIENT: Final = 64  # Q16: below it a step is smaller than what rounding does
_RATE: Final = 8000
_MOST_BOOST: Final = 1 << 19
"""8 nats in Q16: masses stay below 2^43, and the total below the range coder's 2^56."""

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def find_features(hashes, best, second, features):  # type: ignore[no-untyped-def]
    """Fill `features` (int64 [FEATURES]); `hashes` are the history's, of the newest 0, 1, 2, 3 and 5 tokens."""
    features[0] = mix(hashes[1], 101)
    features[1] = mix(hashes[2], 102)
    features[2] = mix(hashes[3], 103)
    features[3] = mix(best, 104)
    features[4] = mix(mix(best, 105), second)
    features[5] = mix(mix(best, 106), hashes[1])


@_kernel
def find_active(mass, total, found, count, active):  # type: ignore[no-untyped-def]
    """Fill `active` (int64 [MOST_ACTIVE]) with likely tokens and the first `count` of `found`; how many there are."""
    least, n = total >> _LEAST_SHARE, 0
    room = active.size - count
    for t in range(mass.size):
        if mass[t] > least and n < room:
            active[n] = t
            n += 1
    likely = n
    for j in range(count):
        if mass[found[j]] <= least or likely == room:
            known = False
            for i in range(likely):
                known |= active[i] == found[j]
            if not known:
                active[n] = found[j]
                n += 1
    return n


@_kernel
def boost(table, features, mass, total, active, count):  # type: ignore[no-untyped-def]
    """Multiply the active tokens' masses by e^(their weights); the new total."""
    mask = np.int64(table.size - 1)
    for i in range(count):
        t, sum_ = active[i], np.int64(0)
        for f in range(FEATURES):
            sum_ += table[mix(features[f], t + 1) & mask]
        if sum_:
            new = softmax.scaled(mass[t], min(max(sum_, -_MOST_BOOST), _MOST_BOOST))
            total += new - mass[t]
            mass[t] = new
    return total


@_kernel
def learn_features(table, features, mass, total, active, count, token):  # type: ignore[no-untyped-def]
    """One step down the gradient of -ln p(token) for the active tokens."""
    mask = np.int64(table.size - 1)
    for i in range(count):
        t = active[i]
        gradient = (65536 if t == token else 0) - softmax.share(mass[t], total)
        if abs(gradient) >= _LEAST_GRADIENT:
            step = gradient * _RATE >> 16
            for f in range(FEATURES):
                slot = mix(features[f], t + 1) & mask
                table[slot] = min(max(table[slot] + step, -_MOST_BOOST), _MOST_BOOST)
