"""Sorted values cut into narrow cells: what exact designs of scalar codebooks work on instead of the values.

Borders are equally spaced in asinh((w - median) / mean absolute deviation): fine where weights crowd, and an outlier at
a hundred deviations costs few cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Wide = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """`counts`, `sums` and `squares` of the values below each border: float64 [cells + 1], the first 0.

    `lowest` (float32 [cells]) is the least value of each cell. `offset` was subtracted from every value first, so that
    sums of squares keep their digits.
    """

    counts: Wide
    sums: Wide
    squares: Wide
    lowest: Floats
    offset: float

    def centroids(self, borders: NDArray[np.int64]) -> Wide:
        """Mean of the values between consecutive borders (cell numbers, ascending, the first 0): float64 [levels]."""
        count, total = np.diff(self.counts[borders]), np.diff(self.sums[borders])
        return np.asarray(total / count + self.offset)


def cells_of(values: Floats, most: int) -> Cells:
    """Cells (at most `most`, none empty) of finite float32 values [n >= 1]."""
    ordered = np.sort(values)
    wide = ordered.astype(np.float64)
    middle = float(wide[wide.size // 2])
    wide -= middle
    spread = float(np.abs(wide).mean()) or 1.0
    low, high = np.arcsinh(wide[[0, -1]] / spread)
    inner = (np.sinh(np.linspace(low, high, most + 1)[1:-1]) * spread + middle).astype(np.float32)
    starts = np.unique(np.searchsorted(ordered, inner))
    starts = np.concatenate([np.zeros(1, np.int64), starts[(starts > 0) & (starts < values.size)]])
    sums, squares = np.add.reduceat(wide, starts), np.add.reduceat(wide * wide, starts)
    ends = np.append(starts, values.size).astype(np.float64)
    return Cells(ends, _cumulated(sums), _cumulated(squares), ordered[starts], middle)


def _cumulated(parts: Wide) -> Wide:
    return np.concatenate([np.zeros(1), np.cumsum(parts)])
