"""Arithmetic that gives the same result on every machine: IEEE + - * / and square root, each in a fixed order.

Numba compiles these as they are written (no fast-math: nothing is fused, nothing reordered), so a receiver who trains again
gets the same network, bit for bit. Sums run over the outer loop and vectors over the inner one: fast, and in order.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

U64 = np.uint64

_TERMS: Final = 14
_LN2_HIGH: Final = 0.693147180369123816490
_LN2_LOW: Final = 1.90821492927058770002e-10
_LARGEST: Final = 700.0


@njit(nogil=True, cache=True)
def exp(x):  # type: ignore[no-untyped-def]
    """e^x for a float64 x, clipped to +-700: to about 2e-16, the same everywhere (reduced by ln 2, then Taylor)."""
    x = min(max(x, -_LARGEST), _LARGEST)
    octaves = np.floor(x / _LN2_HIGH + 0.5)
    r = (x - octaves * _LN2_HIGH) - octaves * _LN2_LOW
    total = 1.0
    for k in range(_TERMS, 0, -1):
        total = 1.0 + total * r / k
    power = np.int64(octaves)
    base = 2.0 if power >= 0 else 0.5
    power = abs(power)
    while power:  # exact: powers of two
        if power & 1:
            total *= base
        base *= base
        power >>= 1
    return total


@njit(nogil=True, cache=True)
def next_word(state):  # type: ignore[no-untyped-def]
    """64 random bits (splitmix64); `state` is uint64 [1]."""
    state[0] += U64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


@njit(nogil=True, cache=True)
def below(state, n):  # type: ignore[no-untyped-def]
    """A random integer in [0, n), n < 2^32."""
    return np.int64(((next_word(state) >> U64(32)) * U64(n)) >> U64(32))


@njit(nogil=True, cache=True)
def uniform(state):  # type: ignore[no-untyped-def]
    """A random float64 in [-1, 1)."""
    return np.float64(next_word(state) >> U64(11)) * 2.0**-52 - 1.0


@njit(nogil=True, cache=True)
def normal(state):  # type: ignore[no-untyped-def]
    """Nearly normal, of variance 1: twelve uniform numbers of 16 bits in three words (Irwin-Hall), less their mean."""
    total = np.int64(0)
    for _ in range(3):
        word = next_word(state)
        for _ in range(4):
            total += np.int64(word & U64(0xFFFF))
            word >>= U64(16)
    return np.float64(total) / 65536.0 - (6.0 - 6.0 / 65536.0)


@njit(nogil=True, cache=True)
def softmax(logits, out):  # type: ignore[no-untyped-def]
    """`out` (float64 [classes]) = softmax of `logits`."""
    top = np.float64(logits[0])
    for c in range(1, logits.size):
        top = max(top, np.float64(logits[c]))
    total = 0.0
    for c in range(logits.size):
        out[c] = exp(np.float64(logits[c]) - top)
        total += out[c]
    for c in range(logits.size):
        out[c] /= total


@njit(nogil=True, cache=True)
def adam(weights, gradient, first, second, step, rate, scale):  # type: ignore[no-untyped-def]
    """One step of Adam (Kingma and Ba 2015; betas 0.9, 0.999) on all arrays in place; the gradient is `scale` times `gradient`.

    `step` counts from 1; its bias corrections are exact powers by repeated products.
    """
    one = weights.dtype.type(1)
    b1, b2 = weights.dtype.type(0.9), weights.dtype.type(0.999)
    tiny, factor = weights.dtype.type(1e-8), weights.dtype.type(scale)
    fade1, fade2 = 1.0, 1.0
    for _ in range(min(step, 20_000)):
        fade1 *= 0.9
        fade2 *= 0.999
    stride, unbias = weights.dtype.type(rate / (1.0 - fade1)), weights.dtype.type(1.0 / (1.0 - fade2))
    for i in range(weights.size):
        g = gradient[i] * factor
        first[i] = b1 * first[i] + (one - b1) * g
        second[i] = b2 * second[i] + (one - b2) * g * g
        weights[i] -= stride * first[i] / (np.sqrt(second[i] * unbias) + tiny)


def frequencies(probabilities: NDArray[np.float64], bits: int) -> NDArray[np.int64]:
    """Probabilities (float64 [n, classes], in fixed order) as int64 that sum to 2^bits a row, each at least 1."""
    classes = probabilities.shape[1]
    spare = float((1 << bits) - classes)
    out = 1 + np.floor(np.clip(probabilities, 0.0, 1.0) * spare).astype(np.int64)
    rows = np.arange(len(out))
    top = out.argmax(axis=1)
    out[rows, top] += (1 << bits) - out.sum(axis=1)
    return out
