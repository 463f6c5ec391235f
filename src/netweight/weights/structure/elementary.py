"""cos, sin and exp in + - * / of float64 in a fixed order: the same on every machine, unlike a library's.

Taylor's series after reduction to a short interval; errors are about 1e-15.
"""

from __future__ import annotations

from math import factorial
from typing import Final

import numpy as np

from .labels import Ints
from .model import Wide

_COSINE: Final = [(-1.0) ** k / factorial(2 * k) for k in range(10)]
_SINE: Final = [(-1.0) ** k / factorial(2 * k + 1) for k in range(10)]
_EXP: Final = [1.0 / factorial(k) for k in range(14)]
_PI: Final = 3.141592653589793
_LN2: Final = 0.6931471805599453
_MOST: Final = 2.0**40


def _series(coefficients: list[float], x: Wide) -> Wide:
    """Horner's rule."""
    out = np.full(x.shape, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        out = out * x + c
    return out


def cos_sin_of_turns(turns: Wide) -> tuple[Wide, Wide]:
    """(cosine, sine) of float64 numbers of turns, taken modulo 1; quarter turns are exact."""
    if not bool((np.abs(turns) < _MOST).all()):
        raise ValueError("angles too large")
    quarters = np.rint(turns * 4)  # to the nearest quarter turn
    x = (turns - quarters / 4) * (2 * _PI)
    square = x * x
    c, s = _series(_COSINE, square), x * _series(_SINE, square)
    quarter: Ints = quarters.astype(np.int64) & 3
    cosine = np.choose(quarter, [c, -s, -c, s])
    sine = np.choose(quarter, [s, c, -s, -c])
    return cosine, sine


def exp(x: Wide) -> Wide:
    """e^x of float64; 0 below about -700, and clipped at x = 80."""
    x = np.clip(x, -745.0, 80.0)
    octaves = np.rint(x / _LN2)
    return np.ldexp(_series(_EXP, x - octaves * _LN2), octaves.astype(np.int64))
