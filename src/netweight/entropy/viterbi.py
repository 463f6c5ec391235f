"""The Viterbi algorithm on the trellises of trellis-coded quantisation (Marcellin and Fischer, 1990).

The states are those of a shift register: j and its twin j + states / 2 both lead to 2j and 2j + 1. A state's set of points is 0 or 1
(`union`), the parity of an index in it says which of the two ways is taken, and `twist` whether parities change places; the twin's twist is
the opposite. Both are bool [states / 2], of the lower states.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def survivors(costs, union, twist, old, new, choices):  # type: ignore[no-untyped-def]
    """Add, compare, select: choices[i, s] tells whether state s after step i is best reached from the upper half.

    costs: float32 [n, 4], of the best even and odd index in set 0, then in set 1. `old` has the costs of the states before and
    takes turns with `new`; returned is the one with the costs after.
    """
    half = union.size
    for i in range(len(costs)):
        even0, odd0, even1, odd1 = costs[i, 0], costs[i, 1], costs[i, 2], costs[i, 3]
        for j in range(half):
            even = even1 if union[j] else even0
            odd = odd1 if union[j] else odd0
            straight = odd if twist[j] else even
            crossed = even if twist[j] else odd
            a, b = old[j] + straight, old[j + half] + crossed
            c, d = old[j] + crossed, old[j + half] + straight
            new[2 * j] = min(a, b)
            new[2 * j + 1] = min(c, d)
            choices[i, 2 * j] = b < a
            choices[i, 2 * j + 1] = d < c
        old, new = new, old
        if i & 31 == 31:
            base = old[0]
            for s in range(2 * half):
                old[s] -= base
    return old


@njit(nogil=True, cache=True)
def trace(state, found, choices, union, twist, out):  # type: ignore[no-untyped-def]
    """Follow the path that ends in `state` back: the entries of `found` (int32 [n, 4], as costs) that it takes, to `out` [n]."""
    half = union.size
    for i in range(out.size - 1, -1, -1):
        j = state >> 1
        upper = np.int64(choices[i, state])
        parity = (state & 1) ^ np.int64(twist[j]) ^ upper
        out[i] = found[i, 2 * np.int64(union[j]) + parity]
        state = j + half * upper
