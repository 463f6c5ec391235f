"""Student's t for a few paired differences."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b),by its continued fraction."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    return front * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, evaluated from its tail."""
    value = 1.0
    for m in range(200, 0, -1):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        value = 1 + even / value
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        value = 1 + odd / value
    return 1 / value


def two_sided(t: float, freedom: int) -> float:
    """P(|T| >= |t|) of Student's t."""
    return incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def quantile(p: float, freedom: int) -> float:
    """The t that two-sided tails of `p` lie beyond."""
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > p else (low, middle)
    return high


def paired_p(difference: NDArray[np.float64]) -> float:
    """The p-value of a paired t-test, float64 [n >= 2]; 1 if all differences are 0, 0 if all are the same otherwise."""
    mean, spread = float(difference.mean()), float(difference.std(ddof=1))
    if spread == 0:
        return float(mean == 0)
    return two_sided(mean / (spread / math.sqrt(difference.size)), difference.size - 1)


def t_interval(difference: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """The interval of the mean."""
    half = quantile(1 - level, difference.size - 1) * float(difference.std(ddof=1)) / math.sqrt(difference.size)
    return float(difference.mean()) - half, float(difference.mean()) + half
