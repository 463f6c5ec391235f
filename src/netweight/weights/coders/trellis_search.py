"""The encoder's search: the indices of least distortion + lambda x rate, by the Viterbi algorithm.

Everything here is the encoder's own affair: whatever it chooses decodes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...entropy.viterbi import survivors, trace

F32, I32 = np.float32, np.int32
SEGMENT = 1 << 14
"""Weights whose survivors are kept before one is followed back; the path goes on from its last state."""


@njit(nogil=True, cache=True)
def _cost(v, k, rate, points, row, reach):  # type: ignore[no-untyped-def]
    """Distortion + lambda x rate of index k in row `row` of both tables; points past the tables lie on the grid."""
    at = min(max(k, -reach), reach)
    d = v - (points[row, at + reach] + F32(2 * (k - at)))
    return d * d + rate[row, at + reach]


@njit(nogil=True, cache=True)
def _candidates(values, contexts, rates, points, reach, found, costs):  # type: ignore[no-untyped-def]
    """The best index in each coset (columns D0, D2, D3, D1) of each weight, and its cost in grid steps squared."""
    for i in range(values.size):
        v, row = values[i], 2 * np.int64(contexts[i])
        quarter, half = v * F32(0.25), F32(0.25)
        k0 = 2 * I32(np.rint(quarter))
        k2 = 2 * I32(np.rint(quarter - F32(0.5))) + 1
        k3 = 2 * I32(np.rint(quarter + half))
        k1 = 2 * I32(np.rint(quarter - half)) + 1
        c0 = _cost(v, k0, rates, points, row, reach)
        zero = v * v + rates[row, reach]
        found[i, 0] = I32(0) if zero < c0 else k0
        costs[i, 0] = min(zero, c0)
        found[i, 1], costs[i, 1] = k2, _cost(v, k2, rates, points, row, reach)
        found[i, 2], costs[i, 2] = k3, _cost(v, k3, rates, points, row + 1, reach)
        found[i, 3], costs[i, 3] = k1, _cost(v, k1, rates, points, row + 1, reach)


@njit(nogil=True, cache=True)
def search(values, contexts, rates, points, union, twist, state, out):  # type: ignore[no-untyped-def]
    """The indices (int32 [n], to `out`) of the best path from `state`; the state in which it ends.

    values: float32 [n] in grid steps; contexts: uint8 [n]; rates (lambda x bits) and points: float32 [contexts * 2, 2K + 1], by
    context and union; union, twist: bool [states / 2] of the lower states.
    """
    states, n, reach = 2 * union.size, values.size, (rates.shape[1] - 1) >> 1
    most = min(n, SEGMENT)
    choices, found = np.empty((most, states), np.bool_), np.empty((most, 4), I32)
    costs, old, new = np.empty((most, 4), F32), np.empty(states, F32), np.empty(states, F32)
    for start in range(0, n, SEGMENT):
        size = min(SEGMENT, n - start)
        part = slice(start, start + size)
        _candidates(values[part], contexts[part], rates, points, reach, found, costs)
        old[:] = F32(1e30)
        old[state] = F32(0)
        last = survivors(costs[:size], union, twist, old, new, choices)
        state = np.int64(np.argmin(last))
        trace(state, found, choices, union, twist, out[part])
    return state


@njit(nogil=True, cache=True)
def nearest(values, contexts, rates, points, out):  # type: ignore[no-untyped-def]
    """The plain scalar quantiser with the same costs: union 0 alone, the best of the two nearest indices and 0."""
    reach = (rates.shape[1] - 1) >> 1
    for i in range(values.size):
        v, row = values[i], 2 * np.int64(contexts[i])
        down = I32(np.floor(v * F32(0.5)))
        best, chosen = F32(np.inf), I32(0)
        for j in range(3):
            k = I32(0) if j == 2 else down + I32(j)
            cost = _cost(v, k, rates, points, row, reach)
            if cost < best:
                best, chosen = cost, k
        out[i] = chosen
