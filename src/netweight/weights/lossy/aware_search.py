"""The trellis search down the columns of a matrix, each column's error passed on to the columns after it.

Encoder only: whatever is chosen here decodes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..coders import trellis_search
from ..coders.trellis_search import nearest, search

_search, _nearest, _SEGMENT = search, nearest, trellis_search.SEGMENT


@njit(nogil=True, cache=True)
def _piece(values, groups, rates, points, union, twist, moves, union_of, state, indices, unions, errors):  # type: ignore[no-untyped-def]
    """Quantise one column's weights of one segment from `state`; the state after them."""
    if union.size:
        _search(values, groups, rates, points, union, twist, state, indices)
    else:
        _nearest(values, groups, rates, points, indices)
    reach = (points.shape[1] - 1) >> 1
    for i in range(values.size):
        k, u = np.int64(indices[i]), np.int64(union_of[state])
        unions[i] = u
        at = min(max(k, -reach), reach)
        errors[i] = values[i] - (points[2 * np.int64(groups[i]) + u, at + reach] + np.float32(2 * (k - at)))
        state = np.int64(moves[state, k & 1])
    return state


@njit(nogil=True, cache=True)
def run_columns(  # type: ignore[no-untyped-def]
    values, groups, rates, points, dear, passed, union, twist, moves, union_of, cuts, at, state, indices, unions, errors
):
    """Quantise the columns `values` (float32 [columns, rows], changed to what is left for each to code), in order.

    groups, indices, unions: [columns, rows]; errors: float32 [columns, rows], what each column is off by at last;
    dear: float32 [columns], how many times lambda each column's rates are to be divided by; passed: float32 [columns,
    columns]; union, twist: bool [states / 2] (none: the scalar quantiser); cuts: int64, ends of the block's segments,
    whose paths begin in state 0; `at` is the first weight's place in the block, `state` the state there. The state after.
    """
    columns, rows = values.shape
    scaled = np.empty_like(rates)
    cut = 0
    for j in range(columns):
        scaled[:] = rates * (np.float32(1) / dear[j])
        start = 0
        while start < rows:
            while cuts[cut] <= at + start:
                if cuts[cut] == at + start:
                    state = np.int64(0)
                cut += 1
            end = min(rows, cuts[cut] - at)
            state = _piece(
                values[j, start:end], groups[j, start:end], scaled, points, union, twist, moves, union_of, state,
                indices[j, start:end], unions[j, start:end], errors[j, start:end],
            )  # fmt: skip
            start = end
        at += rows
        for i in range(j + 1, columns):
            share = passed[j, i]
            for r in range(rows):
                values[i, r] -= share * errors[j, r]
    return state


@njit(nogil=True, cache=True)
def pass_on(values, passed, errors):  # type: ignore[no-untyped-def]
    """values[i] -= sum over j of passed[j, i] errors[j]: float32 [later, rows], [columns, later] and [columns, rows].

    Four columns at a time, in a fixed order: a product of matrices whose last bits don't depend on threads.
    """
    whole = len(errors) // 4 * 4
    for i in range(len(values)):
        for j in range(0, whole, 4):
            a, b, c, d = passed[j, i], passed[j + 1, i], passed[j + 2, i], passed[j + 3, i]
            for r in range(values.shape[1]):
                values[i, r] -= a * errors[j, r] + b * errors[j + 1, r] + (c * errors[j + 2, r] + d * errors[j + 3, r])
        for j in range(whole, len(errors)):
            for r in range(values.shape[1]):
                values[i, r] -= passed[j, i] * errors[j, r]
