"""Rotations of the plane by nice fractions of a turn: half, thirds, quarters, ... 3/20.

The 128 fractions in lowest terms whose denominator is at most 20 are numbered by denominator, so that one takes seven
bits whatever it is, and is as exact as the dtype. The number is the whole of the block (block.py), residual or not.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np

from .elementary import cos_sin_of_turns
from .model import Floats, Matrix

COUNT: Final = 128
_LARGEST: Final = 20


@lru_cache
def fractions() -> tuple[tuple[int, int], ...]:
    """(numerator, denominator) of each number."""
    return tuple((p, q) for q in range(1, _LARGEST + 1) for p in range(q) if math.gcd(p, q) == 1)


def nearest(matrix: Matrix) -> int | None:
    """The number of the fraction of a turn nearest to a 2 x 2 matrix's angle; None for other shapes."""
    if matrix.values.shape != (2, 2):
        return None
    (a, b), (c, d) = matrix.wide
    turns = math.atan2(c - b, a + d) / (2 * math.pi) % 1.0
    return min(range(COUNT), key=lambda k: abs((turns - _turns(k) + 0.5) % 1.0 - 0.5))


def _turns(number: int) -> float:
    p, q = fractions()[number]
    return p / q


def rotation(number: int) -> Floats:
    """float32 [2, 2]."""
    c, s = (float(x[0]) for x in cos_sin_of_turns(np.array([_turns(number)])))
    return np.array([[c, -s], [s, c]], np.float32)


def words(number: int) -> str:
    """As `rotation by 54 degrees (3/20 of a turn)`."""
    p, q = fractions()[number]
    if p == 0:
        return "rotation by 0 degrees: the identity"
    return f"rotation by {360 * p / q:.6g} degrees ({p}/{q} of a turn)"
