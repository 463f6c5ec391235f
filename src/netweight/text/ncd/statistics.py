"""How far figures can be trusted: intervals for accuracies, rank correlations with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError

Floats = NDArray[np.float64]
Interval = tuple[float, float]
_NORMAL_95: Final = 1.959963984540054
_DRAWS: Final = 2000


def wilson(share: float, count: int) -> Interval:
    """95 % interval of a share of `count` trials (Wilson, "Probable inference", JASA 1927)."""
    if not count:
        return 0.0, 1.0
    square = _NORMAL_95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = _NORMAL_95 * sqrt(share * (1 - share) / count + square / (4 * count**2)) / (1 + square / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def ranks(values: Floats) -> Floats:
    """Ranks from 1 on, ties at their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: Floats = (last - (counts - 1) / 2)[inverse]
    return mean


def spearman(x: Floats, y: Floats) -> float:
    """Rank correlation; 0 where one of them doesn't vary."""
    a, b = ranks(x) - (len(x) + 1) / 2, ranks(y) - (len(y) + 1) / 2
    norm = sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm else 0.0


def kendall(x: Floats, y: Floats) -> float:
    """Kendall's tau-b; 0 where one of them doesn't vary. Raises MissingExtraError."""
    try:
        from scipy.stats import kendalltau
    except ModuleNotFoundError:
        raise MissingExtraError("scipy", "ncd") from None
    if len(set(x.tolist())) < 2 or len(set(y.tolist())) < 2:
        return 0.0
    return float(kendalltau(x, y).statistic)


def percentiles(drawn: Callable[[np.random.Generator], float], seed: int = 0) -> Interval:
    """95 % of what `drawn` makes of a generator of random numbers, again and again."""
    generator = np.random.default_rng(seed)
    low, high = np.percentile([drawn(generator) for _ in range(_DRAWS)], [2.5, 97.5])
    return float(low), float(high)


def bootstrap(statistic: Callable[[NDArray[np.int64]], float], count: int, seed: int = 0) -> Interval:
    """95 % percentile interval of a statistic of resampled trials: it is given indices of `count` trials."""
    return percentiles(lambda generator: statistic(generator.integers(0, count, count)), seed)


def permutation_p(pairs: Sequence[tuple[Floats, Floats]], seed: int = 0) -> float:
    """Two-sided p-value of the mean of Spearman's correlations of pairs (x, y), by permutations of each y."""
    generator = np.random.default_rng(seed)
    found = abs(sum(spearman(x, y) for x, y in pairs)) - 1e-12
    extreme = sum(abs(sum(spearman(x, generator.permutation(y)) for x, y in pairs)) >= found for _ in range(_DRAWS))
    return (extreme + 1) / (_DRAWS + 1)
