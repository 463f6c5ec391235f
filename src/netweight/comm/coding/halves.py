"""Values in two bytes, after a common power of two.

payload = exponent (2 bytes), values (2 bytes each)
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ..compressor import Vector
from . import random, scale

_MOST_EXPONENT: Final = 1100


def size(n: int) -> int:
    """Bytes of n values."""
    return 2 + 2 * n


def write(x: Vector, wire: np.dtype[Any], key: np.uint64 | None = None) -> bytes:
    """`x` as `wire`; rounded to nearest, or with a `key` to one of the float16 around it so that its mean is the value."""
    exponent = math.frexp(float(np.abs(x).max()))[1]
    scaled = np.ldexp(x, -exponent)
    halves = scaled.astype(wire) if key is None else _stochastic(scaled.astype(np.float64), key)
    return exponent.to_bytes(2, "little", signed=True) + halves.view("<u2").tobytes()


def _stochastic(x: NDArray[np.float64], key: np.uint64) -> NDArray[np.float16]:
    """float16 below or above |x| <= 1."""
    magnitude = np.abs(x)
    below = magnitude.astype(np.float16)
    below = np.where(below > magnitude, np.nextafter(below, np.float16(0)), below)
    above = np.nextafter(below, np.float16(2))
    low, width = below.astype(np.float64), above.astype(np.float64) - below.astype(np.float64)
    up = random.units(key, x.size) * width < magnitude - low
    return np.copysign(np.where(up, above, below), x).astype(np.float16)


def read(payload: memoryview, n: int, wire: np.dtype[Any], dtype: np.dtype[Any]) -> Vector:
    """The inverse: n values as `dtype`. Raises FormatError."""
    if len(payload) != size(n):
        raise FormatError(f"{len(payload)} bytes for {n} values of {wire.name}, not {size(n)}")
    exponent = int.from_bytes(payload[:2], "little", signed=True)
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.frombuffer(payload[2:], "<u2").astype(np.uint16).view(wire).astype(np.float64)
        if abs(exponent) > _MOST_EXPONENT or not bool((np.abs(values) <= 1).all()):
            raise FormatError(f"values of {wire.name}: one that isn't in [-1, 1], or exponent {exponent}")
        return scale.to_dtype(np.ldexp(values, exponent), dtype)
