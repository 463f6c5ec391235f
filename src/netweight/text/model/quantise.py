"""Weights as eight-bit integers with one scale a row, by single IEEE operations: the same integers on every machine."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError

LEVELS = 127
_TILE = 1 << 22


def quantise_rows(matrix: NDArray[np.float32], name: str) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """float32 [m, k] as int8 [m, k] and float64 [m]: values x scale is within half a scale. Raises FormatError for NaN."""
    m, k = matrix.shape
    values, scales = np.empty((m, k), np.int8), np.empty(m, np.float64)
    for rows in _tiles(m, k):
        tile = matrix[rows].astype(np.float64)
        if not np.isfinite(tile).all():
            raise FormatError(f"{name}: holds numbers that are not finite")
        scales[rows] = np.abs(tile).max(axis=1, initial=0) / LEVELS
        divisor = np.where(scales[rows] > 0, scales[rows], 1.0)
        values[rows] = np.rint(np.clip(tile / divisor[:, None], -LEVELS, LEVELS))
    return values, scales


def _tiles(rows: int, width: int) -> Iterable[slice]:
    step = max(1, _TILE // max(width, 1))
    return (slice(at, min(at + step, rows)) for at in range(0, rows, step))
