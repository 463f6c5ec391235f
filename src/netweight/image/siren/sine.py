"""The sine of a phase, in integers: the same on every machine.

A phase is a 32-bit integer in units of 2^-32 turns, so that it wraps as an angle does; a sine is an integer in units of
2^-14. The table comes from exact integer arithmetic with guard bits, never from a maths library, and is interpolated.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

ONE_BITS: Final = 14
"""Sines, cosines and coordinates are multiples of 2^-14."""
TURN_BITS: Final = 32
_TABLE_BITS: Final = 10
_GUARD: Final = 96
_PI_DIGITS: Final = 3141592653589793238462643383279502884197  # pi * 10^39
_SHIFT: Final = TURN_BITS - _TABLE_BITS
_FRACTION: Final = 16
_HALF: Final = 1 << (_FRACTION - 1)


def _sine(numerator: int, denominator: int) -> int:
    """sin(2 pi numerator / denominator) in Q96, for at most a quarter turn, by its alternating series."""
    x = (2 * _PI_DIGITS * numerator << _GUARD) // (10**39 * denominator)
    square = x * x >> _GUARD
    term = total = x
    for n in range(1, 30):
        term = -(term * square >> _GUARD) // (2 * n * (2 * n + 1))
        total += term
    return total


def _table() -> NDArray[np.int32]:
    """int32 [1025]: sines in Q14 of 1024 equal steps of a turn, and the first one again."""
    quarter = 1 << (_TABLE_BITS - 2)
    rounding = _GUARD - ONE_BITS
    rise = [(_sine(k, 4 * quarter) + (1 << (rounding - 1))) >> rounding for k in range(quarter + 1)]
    half = rise + rise[-2:0:-1]
    return np.array([*half, *(-v for v in half), half[0]], np.int32)


SINE: Final = _table()
SLOPE: Final = np.diff(SINE)
"""int32 [1024]: to the next entry."""

kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def sine(phase):  # type: ignore[no-untyped-def]
    """Q14 sine (int32) of a phase (uint32), linear between the entries of the table."""
    at = np.uint32(phase) >> np.uint32(_SHIFT)
    part = np.int32((np.uint32(phase) >> np.uint32(_SHIFT - _FRACTION)) & np.uint32(0xFFFF))
    return np.int32(SINE[at] + ((SLOPE[at] * part + np.int32(_HALF)) >> np.int32(_FRACTION)))


@kernel
def _sines(phases, out):  # type: ignore[no-untyped-def]
    for i in range(phases.size):
        out[i] = sine(phases[i])


def sines(phases: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Q14 sines (int32) of phases (uint32, any shape)."""
    out = np.empty(phases.shape, np.int32)
    _sines(np.ascontiguousarray(phases).reshape(-1), out.reshape(-1))
    return out
