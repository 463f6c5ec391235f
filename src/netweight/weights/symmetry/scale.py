"""The cheapest scale of each unit: a ReLU unit may be made 2^k times as large if what reads it is made so much smaller.

Powers of two, because they are exact: neither weights nor sums are rounded differently. The choice is free, since the
receiver needs to know nothing of it, so it is made by price: what the exponents cost under tables of the exponents that
the choice leads to, improved in turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .architecture import IN, OUT, Fitted
from .words import to_words

Array = NDArray[Any]
Ints = NDArray[np.int64]
Tensors = dict[str, Array]

_FARTHEST: Final = 40
_SHIFTS: Final = np.arange(-_FARTHEST, _FARTHEST + 1)
_SWEEPS: Final = 6
_RARE: Final = 0.01  # of a count: what an exponent that nobody has yet is taken for


@dataclass(frozen=True)
class _Side:
    """Exponents on one axis: `counts` int64 [count, exponents]; `direction` is 1 where units are made, -1 where read."""

    counts: Ints
    direction: int

    def moved(self, shifts: Ints) -> NDArray[np.float64]:
        """float64 [exponents]: the histogram of all units, unit j moved by shifts[j]."""
        total = np.zeros(self.counts.shape[1])
        for shift in np.unique(shifts):
            total += np.roll(self.counts[shifts == shift].sum(axis=0), self.direction * int(shift))
        return total

    def prices(self, costs: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 [count, shifts]: bits of each unit's exponents at each shift, an exponent costing costs[exponent]."""
        rolled = np.stack([np.roll(costs, -self.direction * int(shift)) for shift in _SHIFTS], axis=1)
        return self.counts @ rolled


def rescale(tensors: Tensors, fitted: Fitted) -> None:
    """Give each unit of the group, whose tensors are finite floats, its cheapest scale; units that would under- or overflow
    keep theirs.
    """
    sides, even = _sides(tensors, fitted)
    starts = (np.zeros(fitted.group.count, np.int64), even)
    _, shifts = min((_descend(sides, start) for start in starts), key=lambda found: found[0])
    shifts = np.where(_exact(tensors, fitted, shifts), shifts, 0)
    for axis, places in zip(fitted.group.axes, fitted.places, strict=True):
        rows = np.moveaxis(tensors[axis.tensor], axis.axis, 0)  # a view
        rows[places] = _shifted(rows[places], shifts, axis.role)


def _sides(tensors: Tensors, fitted: Fitted) -> tuple[list[_Side], Ints]:
    """The group's axes, and the shifts that make the largest weight into each unit alike."""
    wide = [
        np.moveaxis(tensors[axis.tensor], axis.axis, 0)[places].astype(np.float64).reshape(len(places), -1)
        for axis, places in zip(fitted.group.axes, fitted.places, strict=True)
    ]
    exponents = [np.frexp(rows)[1].astype(np.int64) for rows in wide]
    low = min(int(e.min()) for e in exponents) - 2 * _FARTHEST
    width = max(int(e.max()) for e in exponents) + 2 * _FARTHEST + 1 - low
    sides, largest = [], np.full(fitted.group.count, low, np.int64)
    for axis, rows, e in zip(fitted.group.axes, wide, exponents, strict=True):
        units, _ = there = np.nonzero(rows)
        counts = np.bincount(units * width + e[there] - low, minlength=len(rows) * width).reshape(len(rows), width)
        sides.append(_Side(counts, -1 if axis.role == OUT else 1))
        if axis.role == IN:
            np.maximum.at(largest, units, e[there])
    alive = largest > low
    aim = int(np.median(largest[alive])) if bool(alive.any()) else 0
    return sides, np.where(alive, np.clip(aim - largest, -_FARTHEST, _FARTHEST), 0)


def _descend(sides: list[_Side], shifts: Ints) -> tuple[float, Ints]:
    """(bits, shifts) once no more sweeps help: each unit takes its best shift under the tables that all made."""
    best = (_bits(sides, shifts), shifts)
    for _ in range(_SWEEPS):
        prices = np.zeros((len(shifts), len(_SHIFTS)))
        for side in sides:
            histogram = side.moved(best[1]) + _RARE
            prices += side.prices(-np.log2(histogram / histogram.sum()))
        shifts = _SHIFTS[prices.argmin(axis=1)]
        found = (_bits(sides, shifts), shifts)
        if found[0] >= best[0]:
            break
        best = found
    return best


def _bits(sides: list[_Side], shifts: Ints) -> float:
    """The entropy of all exponents at these shifts, in bits."""
    total = 0.0
    for side in sides:
        histogram = side.moved(shifts)
        seen = histogram[histogram > 0]
        total += float((seen * np.log2(seen.sum() / seen)).sum())
    return total


def _shifted(rows: Array, shifts: Ints, role: str) -> Array:
    """Rows [count, ...] times 2^shift, or over it if they read the units."""
    factors = np.ldexp(1.0, -shifts if role == OUT else shifts).reshape(-1, *[1] * (rows.ndim - 1))
    with np.errstate(over="ignore", under="ignore"):
        scaled: Array = (rows.astype(np.float64) * factors).astype(rows.dtype)
    return scaled


def _exact(tensors: Tensors, fitted: Fitted, shifts: Ints) -> NDArray[np.bool_]:
    """Units (bool [count]) that come back from their shift bit for bit (nothing under- or overflows)."""
    fine = np.ones(len(shifts), np.bool_)
    for axis, places in zip(fitted.group.axes, fitted.places, strict=True):
        rows = np.moveaxis(tensors[axis.tensor], axis.axis, 0)[places].reshape(len(places), -1)
        back = _shifted(_shifted(rows, shifts, axis.role), -shifts, axis.role)
        fine &= (to_words(back) == to_words(rows)).all(axis=1)
    return fine
