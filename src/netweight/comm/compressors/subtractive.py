"""Subtractive dithering: what the receiver knows of the dither it takes off again, which halves the error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numba import njit

from ...errors import FormatError, InputError
from ..coding import levels, random, scale
from ..coding.random import CHUNK, HALF_UNIT, U64, fill
from ..compressor import Claim, Compressor, Vector


@njit(nogil=True, cache=True)
def _encode(x, inverse, key, out):  # type: ignore[no-untyped-def]
    """floor(x / step + u)."""
    dither = np.empty(CHUNK, np.uint32)
    for start in range(0, x.size, CHUNK):
        fill(key, U64(start), dither)
        own, to = x[start : start + CHUNK], out[start : start + CHUNK]
        for i in range(own.size):
            to[i] = np.int32(np.floor(own[i] * inverse + np.float64(dither[i]) * HALF_UNIT))


@njit(nogil=True, cache=True)
def _decode(k, step, key, most, out):  # type: ignore[no-untyped-def]
    """(k + 1/2 - u) step."""
    dither = np.empty(CHUNK, np.uint32)
    for start in range(0, k.size, CHUNK):
        fill(key, U64(start), dither)
        own, to = k[start : start + CHUNK], out[start : start + CHUNK]
        for i in range(own.size):
            value = (own[i] + (0.5 - np.float64(dither[i]) * HALF_UNIT)) * step
            to[i] = min(max(value, -most), most)


@dataclass(frozen=True)
class SubtractiveDithering(Compressor):
    """Levels k = floor(x / step + u), u uniform on [0, 1) and known to both sides, decoded to (k + 1/2 - u) step.

    The error is uniform on +-step / 2 and independent of x (Schuchman 1964), so the compressor is unbiased with omega = nu for every
    x, at step = sqrt(12 nu / d) ||x||. Plain `SparseDithering` has twice the error for Gaussian coordinates at the same levels.

    payload = step (3 bytes), levels; only the step, 0, for a vector of zeros
    """

    name: ClassVar[str] = "subtractive dithering"
    shares_seed: ClassVar[bool] = True
    nu: float = 0.1

    def __post_init__(self) -> None:
        if not 1e-12 <= self.nu <= 1e6:
            raise InputError(f"{self.name}: nu must be 1e-12 to 1e6, not {self.nu}")

    def bound(self, d: int) -> Claim:  # noqa: ARG002  dimension-free
        return Claim("unbiased", self.nu * (1 + 2.0**-30), "Schuchman 1964: step^2 / 12 a coordinate")

    def encode(self, x: Vector, seed: int) -> bytes:
        step = scale.cut(math.sqrt(12 * self.nu / x.size) * scale.norm(x), up=False)
        if not step:
            return scale.write(0.0)
        k = np.empty(x.size, np.int32)
        y, inverse = (x, 1 / step) if 1e-290 < step < 1e290 else (x.astype(np.float64) / step, 1.0)
        _encode(y, inverse, random.key_of(seed, 0), k)
        return scale.write(step) + levels.encode(k)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:
        step, rest = scale.read(payload[: scale.BYTES]), payload[scale.BYTES :]
        out = np.zeros(d, dtype)
        if step:
            k = levels.decode(rest, d, levels.MOST)
            _decode(k, step, random.key_of(seed, 0), float(np.finfo(dtype).max), out)
        elif len(rest):
            raise FormatError(f"{self.name}: bytes behind a vector of zeros")
        return out
