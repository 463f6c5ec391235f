"""Scalar codebooks by dynamic programming over cells, which finds the best one there is (on that grid).

`fewest_levels`: k-means in one dimension, by layers (Wu 1991; Grønlund et al., arXiv 1701.07204): the best k levels for
k = 1, 2, ... until the error is met. `entropy_constrained`: the levels that minimise error + lambda x entropy (Chou,
Lookabaugh, Gray 1989), whose cells are intervals (György and Linder 2002), for the largest lambda that meets the error.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .cells import Cells, Wide

MOST_LEVELS: Final = 256
_BISECTIONS: Final = 24

Borders = NDArray[np.int64]


@njit(nogil=True, cache=True)
def _cost(counts, sums, squares, i, j):  # type: ignore[no-untyped-def]
    """Squared error of one level for the cells i to j - 1."""
    total = sums[j] - sums[i]
    return max(squares[j] - squares[i] - total * total / (counts[j] - counts[i]), 0.0)


@njit(nogil=True, cache=True)
def _layer(counts, sums, squares, before, errors, starts):  # type: ignore[no-untyped-def]
    """errors[j] = min over i < j of before[i] + cost(i, j), starts[j] = that i, for all j.

    The best i never falls as j grows, so each j is searched between those of its neighbours at twice the distance.
    """
    last = before.size - 1
    errors[0], starts[0] = np.inf, 0
    step = 1
    while step <= last:
        step *= 2
    while step > 1:
        step //= 2
        for j in range(step, last + 1, 2 * step):
            low = starts[j - step] if j > step else 0
            high = min(starts[j + step] if j + step <= last else last, j - 1)
            best, at = np.inf, low
            for i in range(low, high + 1):
                error = before[i] + _cost(counts, sums, squares, i, j)
                if error < best:
                    best, at = error, i
            errors[j], starts[j] = best, at


def fewest_levels(cells: Cells, noise: float, most: int = MOST_LEVELS) -> Borders | None:
    """Borders (cell numbers, from 0 to the last) of the fewest levels with a squared error of at most `noise` in all.

    None if `most` levels aren't enough.
    """
    borders, made = best_levels(cells, most, noise)
    return borders if made <= noise else None


def best_levels(cells: Cells, most: int, noise: float = 0.0) -> tuple[Borders, float]:
    """(borders, squared error) of the best `most` levels, or of fewer if these keep the error at `noise`."""
    arrays = (cells.counts, cells.sums, cells.squares)
    before = np.full(cells.counts.size, np.inf)
    before[0] = 0.0
    layers: list[NDArray[np.int32]] = []
    made = float("inf")
    for _ in range(min(most, before.size - 1)):
        errors, starts = np.empty_like(before), np.empty(before.size, np.int32)
        _layer(*arrays, before, errors, starts)
        layers.append(starts)
        before, made = errors, float(errors[-1])
        if made <= noise:
            break
    return _traced(layers), made


def _traced(layers: list[NDArray[np.int32]]) -> Borders:
    at = layers[0].size - 1
    borders = [at]
    for starts in reversed(layers):
        at = int(starts[at])
        borders.append(at)
    return np.array(borders[::-1], np.int64)


@njit(nogil=True, cache=True)
def _pairs(counts, sums, squares, error, rate):  # type: ignore[no-untyped-def]
    """error[i, j] and rate[i, j] (bits, of all its values) of a level for the cells i to j - 1."""
    whole = counts[-1]
    for i in range(counts.size):
        for j in range(i + 1, counts.size):
            n = counts[j] - counts[i]
            error[j, i] = _cost(counts, sums, squares, i, j)
            rate[j, i] = n * np.log2(whole / n)


@njit(nogil=True, cache=True)
def _cheapest(error, rate, price, totals, starts):  # type: ignore[no-untyped-def]
    """totals[j] = least error + price * rate of the cells below j, starts[j] = where its last level begins."""
    totals[0] = 0.0
    for j in range(1, totals.size):
        best, at = np.inf, 0
        for i in range(j):
            total = totals[i] + error[j, i] + price * rate[j, i]
            if total < best:
                best, at = total, i
        totals[j], starts[j] = best, at


def _constrained(error: Wide, rate: Wide, price: float) -> tuple[Borders, float]:
    """(borders, squared error) of the levels that are cheapest at `price` (error a bit)."""
    totals, starts = np.empty(len(error)), np.zeros(len(error), np.int64)
    _cheapest(error, rate, price, totals, starts)
    borders = [len(error) - 1]
    while borders[-1]:
        borders.append(int(starts[borders[-1]]))
    path = np.array(borders[::-1], np.int64)
    return path, float(error[path[1:], path[:-1]].sum())


def entropy_constrained(cells: Cells, noise: float) -> Borders | None:
    """Borders of the levels with the least entropy found at a squared error of at most `noise`; None if 256 aren't enough."""
    size = cells.counts.size
    error, rate = np.zeros((size, size)), np.zeros((size, size))
    _pairs(cells.counts, cells.sums, cells.squares, error, rate)
    unit = noise / cells.counts[-1]  # at high resolution the price of a bit is 2 ln 2 times the noise of a value
    low, high = unit / 1024, unit * 1024
    best: Borders | None = None
    for _ in range(_BISECTIONS):
        price = float(np.sqrt(low * high))
        borders, made = _constrained(error, rate, price)
        if made <= noise:
            best, low = borders, price
        else:
            high = price
    return best if best is not None and best.size - 1 <= MOST_LEVELS else None
