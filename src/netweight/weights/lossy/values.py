"""Bytes of floats to the float32 numbers that lossy codes work on, and back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spec import DTYPES, Spec
from ...tensors import numpy_dtype

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def is_float(name: str) -> bool:
    """Whether a dtype is one that lossy codes take: a float of 8, 16, 32 or 64 bits with a sign."""
    return name in DTYPES and DTYPES[name].kind == "float" and DTYPES[name].sign == 1


def floats_of(data: Bytes, spec: Spec) -> Floats | None:
    """`data` (uint8 [spec.nbytes]) as float32 [n]; None unless they are floats, all finite (as float32, too)."""
    if not is_float(spec.dtype):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        values: Floats = data.view(numpy_dtype(spec.dtype)).astype(np.float32)
    return values if bool(np.isfinite(values).all()) else None


@lru_cache
def _largest(name: str) -> np.float32:
    """The largest float32 that dtype `name` holds."""
    import ml_dtypes

    own = ml_dtypes.finfo(numpy_dtype(name))  # type: ignore[no-untyped-call]
    return np.float32(min(float(own.max), float(np.finfo(np.float32).max)))


def _in_dtype(values: Floats, name: str) -> NDArray[Any]:
    """float32 [n] in dtype `name`: to nearest, ties to even; beyond its range the largest of its numbers, never infinity."""
    most = _largest(name)
    return np.clip(np.ascontiguousarray(values), -most, most).astype(numpy_dtype(name))


def bytes_of(values: Floats, name: str) -> Bytes:
    """float32 [n] rounded to dtype `name`, as bytes. The same on every machine."""
    return _in_dtype(values, name).view(np.uint8)


def rounded(values: Floats, name: str) -> Floats:
    """What float32 values become in dtype `name`, as float32 again."""
    out: Floats = _in_dtype(values, name).astype(np.float32)
    return out


def squares(values: NDArray[Any]) -> float:
    """Sum of squares, in float64."""
    wide = values.astype(np.float64, copy=False).reshape(-1)
    return float(wide @ wide)


def rel_mse(x: Floats, y: Floats) -> float:
    """||x - y||^2 / ||x||^2; 0 where both are equal, infinite where x is all zero and y isn't."""
    noise = squares(x.astype(np.float64) - y)
    energy = squares(x)
    return noise / energy if energy else (float("inf") if noise else 0.0)
