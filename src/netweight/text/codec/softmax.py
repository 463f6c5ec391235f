"""A softmax in integers: the same on every machine, and cheap (numba kernels).

exp(x - max) is 2^-u for u = (max - x) log2(e): the whole part of u is a shift, the fraction (11 bits) an entry of a
pinned table. A token's *mass* is that number in Q30 plus one, so that each can be coded; masses needn't sum to a power of
two, for the range coder takes any total.
"""

from __future__ import annotations

from math import isqrt
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

MASS_BITS: Final = 30
POINT: Final = 16
"""Fractional bits of logits and biases in here."""
UNIT_SCALE: Final = 23637
"""log2(e) in Q14: logits as the model gives them."""
_SCALE_BITS: Final = 14
_FRACTION: Final = 11
_SHIFT: Final = POINT + _SCALE_BITS - _FRACTION
_LAST_OCTAVE: Final = 31
MOST_BIAS: Final = 1 << 21
"""Limit of a token's bias: 32 nats."""

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


def _powers() -> NDArray[np.int64]:
    """2^(30 - i / 2048), rounded down; each from 2^(-i / 2048) in Q128, a product of integer square roots."""
    guard, ratio = 128, 1 << 127  # a half, whose 2048th root follows
    for _ in range(_FRACTION):
        ratio = isqrt(ratio << guard)
    value, out = 1 << guard, []
    for _ in range(1 << _FRACTION):
        out.append(value >> guard - MASS_BITS)
        value = value * ratio >> guard
    return np.array(out, np.int64)


POWERS: Final = _powers()


@_kernel
def masses(logits, bias, shift, scale, out):  # type: ignore[no-untyped-def]
    """Fill `out` (int64 [V]) with 2^30 exp(scale (logit + bias - max)) + 1; returns (sum, the likeliest token).

    `logits`: int32 [V] with POINT - shift fractional bits; `bias`: int32 [V] in Q16; `scale`: Q14 with log2(e) in it.
    """
    top, best = np.int64(-(1 << 62)), np.int64(0)
    for t in range(logits.size):
        value = (np.int64(logits[t]) << shift) + bias[t]
        out[t] = value
        if value > top:
            top, best = value, np.int64(t)
    total = np.int64(0)
    for t in range(logits.size):
        u = (top - out[t]) * scale >> _SHIFT
        mass = (POWERS[u & ((1 << _FRACTION) - 1)] >> min(u >> _FRACTION, _LAST_OCTAVE)) + 1
        out[t] = mass
        total += mass
    return total, best


@_kernel
def second(mass, best):  # type: ignore[no-untyped-def]
    """The likeliest token but `best`; `best` if there is no other."""
    most, found = np.int64(0), best
    for t in range(mass.size):
        if mass[t] > most and t != best:
            most, found = mass[t], np.int64(t)
    return found


@_kernel
def scaled(mass, boost):  # type: ignore[no-untyped-def]
    """A mass times e^boost, plus 1, for a boost in Q16 nats, |boost| <= 2^19; the mass stays below 2^43."""
    u = boost * UNIT_SCALE >> _SHIFT  # octaves in Q11, whose floor and fraction follow
    octaves, fraction = (u >> _FRACTION) + 1, u & ((1 << _FRACTION) - 1)
    if fraction == 0:
        octaves -= 1
    else:
        mass = mass * (POWERS[(1 << _FRACTION) - fraction] >> 8) >> MASS_BITS - 8
    return (mass << octaves if octaves >= 0 else mass >> -octaves) + 1


@_kernel
def share(mass, total):  # type: ignore[no-untyped-def]
    """The share of a mass in Q16, for 0 < mass < 2^47, mass <= total."""
    return (mass << 16) // total


@_kernel
def learn_bias(mass, total, bias, token, rate):  # type: ignore[no-untyped-def]
    """One step down the gradient of -ln p(token): bias += rate (1[t = token] - p(t)), for all p above 2^-14."""
    least = total >> 14
    for t in range(mass.size):
        if mass[t] > least:
            bias[t] = max(bias[t] - (share(mass[t], total) * rate >> 16), -MOST_BIAS)
    bias[token] = min(bias[token] + rate, MOST_BIAS)
