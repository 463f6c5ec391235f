"""Random vectors that both sides draw: directions for codebooks.

A coordinate is the sum of the four 16-bit parts of a random word, centred: close to Gaussian, and exact integers.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from .random import U64, word

_CENTRE: Final = 2 * 65535
_inline: Any = njit(nogil=True, cache=True, inline="always")


@_inline
def coordinate(key, i):  # type: ignore[no-untyped-def]
    """Number i of the coordinates of a key, an integer as float64: mean 0, variance (2^32 - 1) / 3."""
    w, part = word(key, i), U64(0xFFFF)
    total = (w & part) + ((w >> U64(16)) & part) + ((w >> U64(32)) & part) + (w >> U64(48))
    return np.float64(np.int64(total) - _CENTRE)


@njit(nogil=True, cache=True)
def member(key, number, out):  # type: ignore[no-untyped-def]
    """Vector `number` of a codebook of float64 [n], of norm 1 (0 in the unlikely case that it is 0), into `out`."""
    own, energy = word(key, U64(number)), 0.0
    for i in range(out.size):
        v = coordinate(own, U64(i))
        out[i] = v
        energy += v * v
    if energy > 0.0:
        inverse = 1.0 / np.sqrt(energy)
        for i in range(out.size):
            out[i] *= inverse


@njit(nogil=True, cache=True)
def numbers_within(rows, key, cosines, tries, out):  # type: ignore[no-untyped-def]
    """For each row (float64 [m, n], of norm 1) the number of the first member of the row's own codebook whose product with it is at
    least its cosine; 0 where the cosine is over 1. Returns whether all were found in `tries`.
    """
    work = np.empty(rows.shape[1])
    for r in range(len(rows)):
        own, number, product = word(key, U64(r)), -1, -2.0
        while product < cosines[r] <= 1.0:
            number += 1
            if number == tries:
                return False
            member(own, number, work)
            product = 0.0
            for i in range(work.size):
                product += rows[r, i] * work[i]
        out[r] = max(number, 0)
    return True


@njit(nogil=True, cache=True)
def members(key, numbers, radii, out):  # type: ignore[no-untyped-def]
    """Each row of out (float64 [m, n]): that member of the row's own codebook, times its radius."""
    for r in range(len(out)):
        member(word(key, U64(r)), np.int64(numbers[r]), out[r])
        for i in range(out.shape[1]):
            out[r, i] *= radii[r]


@njit(nogil=True, cache=True)
def best(x, key, count, work):  # type: ignore[no-untyped-def]
    """(number, product) of the member among `count` with the largest |product| with `x`."""
    found, largest = 0, 0.0
    for number in range(count):
        member(key, number, work)
        product = 0.0
        for i in range(x.size):
            product += x[i] * work[i]
        if abs(product) > abs(largest):
            found, largest = number, product
    return found, largest
