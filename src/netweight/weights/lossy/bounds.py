"""What no code of independent weights goes below: a bound, never a size. It knows no rows, no columns, no neighbours."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .values import Floats, squares

_MOST_BINS: Final = 1 << 20


def differential_entropy(values: Floats) -> float:
    """Bits of the density that `values` (float32 [n >= 2], finite) were drawn from, by a histogram.

    Bins are as wide as Freedman and Diaconis (1981) say, and the bias of counting is put right (Miller 1955). Minus
    infinity where there is no density to speak of: half of the values or more are equal.
    """
    ordered = np.sort(values).astype(np.float64)
    low, high = ordered[ordered.size // 4], ordered[3 * ordered.size // 4]
    width = 2 * float(high - low) / ordered.size ** (1 / 3)
    if width <= 0:
        return float("-inf")
    counts = _counts(ordered, width)
    shares = counts / ordered.size
    bits = -float((shares * np.log2(shares)).sum()) + (counts.size - 1) / (2 * ordered.size * np.log(2))
    return float(bits + np.log2(width))


def _counts(ordered: NDArray[np.float64], width: float) -> NDArray[np.int64]:
    """How many values lie in each bin that holds any."""
    span = float(ordered[-1] - ordered[0]) / width
    if span < _MOST_BINS:
        counts = np.bincount(((ordered - ordered[0]) / width).astype(np.int64))
        return counts[counts > 0]
    bins = np.floor((ordered - ordered[0]) / width)
    return np.diff(np.append(np.flatnonzero(np.diff(bins, prepend=-1.0)), bins.size))


def shannon_lower_bound(values: Floats, rel_mse: float) -> float:
    """Bits a weight at a mean squared error of D = rel_mse * mean(w^2): h(W) - 1/2 log2(2 pi e D), at least 0.

    A lower bound for independent weights of one density (Shannon 1959), as good as the estimate of h. `values`: float32
    [n], finite.
    """
    energy = squares(values)
    if values.size < 2 or not energy:
        return 0.0
    distortion = rel_mse * energy / values.size
    return max(differential_entropy(values) - 0.5 * float(np.log2(2 * np.pi * np.e * distortion)), 0.0)
