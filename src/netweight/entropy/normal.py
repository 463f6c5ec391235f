"""Normal distributions on a stack, each number with a mean and a width of its own: exact integers, no floors.

Number i is an integer k_i ("cells"), |k_i| < CELLS, coded with the mass of Normal(mean_i, width_i^2) on [k - 1/2, k + 1/2]; means
and widths are whole 1/65536ths of a cell. Masses are differences of one monotone integer function, so what is popped
from random bits has the right mean, variance and tails: a mass under 2^-32 is 0 and such a k never comes up. A constant
floor instead (as some libraries have it) would put a share of all samples anywhere at all, and ruin the variance.

A prior must be able to code whatever a posterior may draw: with `floor` every k has at least 2^-32, at 2^-11 of the
probability in all.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .fixedpoint import SURVIVAL, SURVIVAL_END
from .stack import PRECISION, U64, Stack, pop_one, push_one, slot_of

Ints = NDArray[np.int64]

CELLS: Final = 1 << 20
POINT: Final = 16
"""Means and widths are in 2^-16 cells."""
WIDEST: Final = CELLS << POINT
_HALF: Final = 1 << (POINT - 1)
_FLOORED: Final = (1 << PRECISION) - 2 * CELLS


@njit(nogil=True, cache=True)
def _below(k, mean, width, floor):  # type: ignore[no-untyped-def]
    """P(X < k - 1/2) in 2^-32 (uint64), -CELLS <= k <= CELLS; 0 and 2^32 at the ends."""
    if k <= -CELLS:
        return U64(0)
    if k >= CELLS:
        return U64(1 << PRECISION)
    z = ((k << POINT) - _HALF - mean) << 24  # |k - mean| < 2^21 cells: 2^61 at most
    z //= width  # standard deviations in Q24
    size = min(abs(z), SURVIVAL_END << 16)
    at, part = size >> 16, size & 0xFFFF
    tail = SURVIVAL[0, at]
    if part:
        tail -= (tail - SURVIVAL[0, at + 1]) * part >> 16
    tail >>= 40 - PRECISION
    below = U64(tail) if z < 0 else U64(1 << PRECISION) - U64(tail)
    if floor:
        return (below * U64(_FLOORED) >> U64(PRECISION)) + U64(k + CELLS)
    return below


@njit(nogil=True, cache=True)
def _find(slot, mean, width, floor):  # type: ignore[no-untyped-def]
    """The k that covers `slot` of 2^32."""
    low, high = -CELLS, CELLS
    while high - low > 1:
        middle = (low + high) >> 1
        if _below(middle, mean, width, floor) <= slot:
            low = middle
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def _push_all(head, size, words, k, mean, width, floor):  # type: ignore[no-untyped-def]
    for i in range(k.size - 1, -1, -1):
        start = _below(k[i], mean[i], width[i], floor)
        frequency = _below(k[i] + 1, mean[i], width[i], floor) - start
        head, size = push_one(head, size, words, start, frequency, U64(PRECISION))
    return head, size


@njit(nogil=True, cache=True)
def _pop_all(head, size, words, mean, width, floor, out):  # type: ignore[no-untyped-def]
    for i in range(mean.size):
        k = _find(slot_of(head, U64(PRECISION)), mean[i], width[i], floor)
        out[i] = k
        start = _below(k, mean[i], width[i], floor)
        frequency = _below(k + 1, mean[i], width[i], floor) - start
        head, size = pop_one(head, size, words, start, frequency, U64(PRECISION))
        if head == U64(0):
            break
    return head, size


@njit(nogil=True, cache=True)
def _frequencies(k, mean, width, floor, out):  # type: ignore[no-untyped-def]
    for i in range(k.size):
        out[i] = _below(k[i] + 1, mean[i], width[i], floor) - _below(k[i], mean[i], width[i], floor)


class Normals:
    """int64 [n] cells, number i under Normal(means[i], widths[i]^2).

    `means` (|mean| < WIDEST) and `widths` (1 .. WIDEST): int64 [n], or one for all n, in 2^-16 cells. Raises ValueError.
    """

    def __init__(self, count: int, means: Ints | int, widths: Ints | int, *, floor: bool = False) -> None:
        self.means = np.ascontiguousarray(np.broadcast_to(np.asarray(means, np.int64), count))
        self.widths = np.ascontiguousarray(np.broadcast_to(np.asarray(widths, np.int64), count))
        self.floor = floor
        if count and (
            int(np.abs(self.means).max()) >= WIDEST
            or not 1 <= int(self.widths.min()) <= int(self.widths.max()) <= WIDEST
        ):
            raise ValueError("normals: a mean or width out of range")

    def span(self, i: int, k: int) -> tuple[int, int]:
        """(start, frequency) of cell k of number i in 2^32, for messages of one symbol at a time."""
        mean, width = self.means[i], self.widths[i]
        start = int(_below(k, mean, width, self.floor))
        return start, int(_below(k + 1, mean, width, self.floor)) - start

    def at(self, i: int, slot: int) -> int:
        """The cell of number i that covers `slot` of 2^32."""
        return int(_find(U64(slot), self.means[i], self.widths[i], self.floor))

    def _frequencies(self, k: Ints) -> NDArray[np.uint64]:
        if k.shape != self.means.shape or (k.size and int(np.abs(k).max()) >= CELLS):
            raise ValueError("normals: cells out of range")
        out = np.zeros(k.size, np.uint64)
        _frequencies(k, self.means, self.widths, self.floor, out)
        if not bool(out.all()):
            raise ValueError("normals: a cell without mass")
        return out

    def push(self, stack: Stack, k: Ints) -> None:
        self._frequencies(k)
        stack.reserve(k.size)
        stack.set_state(*_push_all(*stack.state(), k, self.means, self.widths, self.floor))

    def pop(self, stack: Stack) -> Ints:
        out = np.zeros(self.means.size, np.int64)
        stack.set_state(*_pop_all(*stack.state(), self.means, self.widths, self.floor, out))
        return out

    def bits(self, k: Ints) -> float:
        """-log2 P(k), a bound. Raises ValueError if k can't be coded."""
        return float((PRECISION - np.log2(self._frequencies(k))).sum())
