"""Means with intervals, and whether errors have a mean that isn't 0."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

TWO_SIDED: Final = 1.96
"""Deviations of a 95 % interval."""
_TAIL: Final = 4.75
"""Deviations of a Gaussian with a tail of 10^-6."""
_FEW, _UNEVEN = 8.0, 0.5
_RARE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its standard error."""

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, by the normal approximation."""
        return self.value - TWO_SIDED * self.error, self.value + TWO_SIDED * self.error


def mean_of(values: NDArray[np.float64]) -> Mean:
    """The mean of float64 [n], n >= 1; a single value has an infinite error."""
    if values.size < 2:
        return Mean(float(values.mean()), math.inf)
    return Mean(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size))


@dataclass(frozen=True, slots=True)
class Bias:
    """||E e||^2 as estimated from `trials` errors, and its standard error if it is 0. `directions` is in how many the errors lie:
    (E ||e||^2)^2 / E <e, e'>^2. `unevenness` is the deviation of ||e||^2 relative to its mean. `most` is the largest ratio of value and
    error that there can be, that of errors that are all equal.
    """

    value: float
    error: float
    directions: float
    unevenness: float
    trials: int
    most: float

    def is_real(self, omega: float) -> bool:
        """Whether chance can't explain it, if the errors' variance is at most `omega`.

        With no bias, value / error is close to (chi-square - n) / sqrt(2 n) with n = `directions`; the limit is its tail of 10^-6
        (Wilson and Hilferty 1931). Errors in few directions, or of very uneven size, may also be made up for by a rare event: with
        probability p, which then is at least value / (value + omega), for else the variance would be larger. Not to have seen it must
        be unlikely.
        """
        if not self.error:
            return False
        n = max(self.directions, 1.0)
        quantile = n * (1 - 2 / (9 * n) + _TAIL * math.sqrt(2 / (9 * n))) ** 3
        limit = (quantile - n) / math.sqrt(2 * n)
        if n > _FEW and self.unevenness < _UNEVEN:
            return self.value > limit * self.error
        unseen = (1 - self.value / (self.value + omega)) ** self.trials if self.value > 0 else 1.0
        return unseen < _RARE and self.value > min(limit, 0.8 * self.most) * self.error


def squared_bias(errors: NDArray[np.float64]) -> Bias:
    """Of independent errors (float64 [n, d]), n >= 2: the mean of <e_s, e_t> over s != t, which has no bias of its own.

    Its standard error is the one under no bias, where all <e_s, e_t> are uncorrelated.
    """
    n = len(errors)
    products = errors @ errors.T
    pairs = products[~np.eye(n, dtype=np.bool_)]
    square = float(np.mean(np.square(pairs)))
    energy = float(np.trace(products)) / n
    directions = energy**2 / square if square else 1.0
    value = float(pairs.mean())
    unevenness = float(np.diag(products).std()) / energy if energy else 0.0
    return Bias(value, math.sqrt(2 * square / (n * (n - 1))), directions, unevenness, n, math.sqrt(n * (n - 1) / 2))


def combined(found: list[Bias]) -> Bias:
    """The mean over several vectors."""
    count = len(found)
    return Bias(
        sum(b.value for b in found) / count, math.sqrt(sum(b.error**2 for b in found)) / count, min(b.directions for b in found),
        max(b.unevenness for b in found),
        sum(b.trials for b in found), found[0].most * math.sqrt(count),
    )  # fmt: skip
