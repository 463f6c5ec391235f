"""Codebooks on the wire: half floats relative to the largest value.

book := scale (float32) | values / scale (float16), row by row
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....errors import FormatError
from ....wire import Reader, Writer

Floats = NDArray[np.float32]


def write_book(out: Writer, values: NDArray[np.float64]) -> Floats:
    """`values` (float64 of any shape, finite); returns what the reader gets, as float32 of the same shape."""
    scale = np.float32(np.abs(values).max(initial=0.0))
    with np.errstate(over="ignore", under="ignore"):
        halves = (values / (np.float64(scale) or 1.0)).astype("<f2")
    out.raw(np.array([scale], "<f4").view(np.uint8)).raw(np.ascontiguousarray(halves).reshape(-1).view(np.uint8))
    return _scaled(halves, scale)


def read_book(source: Reader, shape: tuple[int, ...]) -> Floats:
    """The inverse: float32 of `shape`, which must be small. Raises FormatError."""
    scale = source.array(1, "<f4").astype(np.float32)[0]
    count = int(np.prod(shape, dtype=np.int64))
    values = _scaled(source.array(count, "<f2").astype(np.float16).reshape(shape), scale)
    if not bool(np.isfinite(values).all()):
        raise FormatError("codebook: a value that isn't finite")
    return values


def _scaled(halves: NDArray[np.float16], scale: np.float32) -> Floats:
    """One IEEE product a value."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return np.asarray(halves.astype(np.float32) * scale)
