"""Vectors to levels and back: one pass each, in blocks that have a step of their own.

A level is sign(x) floor(|x| / step + u), u = 1/2 (nearest), or uniform on [0, 1) (stochastic: the mean of step * level is x).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..compressor import Vector
from .random import CHUNK, HALF_UNIT, U64, fill, units

Levels = NDArray[np.int32]


@njit(nogil=True, cache=True, inline="always")
def _round(x, u, offset, inverse, limit, out):  # type: ignore[no-untyped-def]
    """Slices alone, so that no index can be negative: eight and more coordinates an instruction."""
    for i in range(x.size):
        a = x[i] - offset
        v = min(abs(a) * inverse + np.float64(u[i]) * HALF_UNIT, limit)
        k = np.int32(v)
        out[i] = -k if a < 0 else k


@njit(nogil=True, cache=True)
def _stochastic(x, offset, inverses, block, limit, key, out):  # type: ignore[no-untyped-def]
    u = np.empty(CHUNK, np.uint32)
    for start in range(0, x.size, CHUNK):
        fill(key, U64(start), u)
        at, end = start, min(start + CHUNK, x.size)
        while at < end:
            b = at // block
            to = min((b + 1) * block, end)
            _round(x[at:to], u[at - start : to - start], offset, inverses[b], limit, out[at:to])
            at = to


@njit(nogil=True, cache=True)
def _nearest(x, offset, inverses, block, limit, out):  # type: ignore[no-untyped-def]
    for b in range(inverses.size):
        inverse, own, to = inverses[b], x[b * block : (b + 1) * block], out[b * block : (b + 1) * block]
        for i in range(own.size):
            a = own[i] - offset
            k = np.int32(min(abs(a) * inverse + 0.5, limit))
            to[i] = -k if a < 0 else k


@njit(nogil=True, cache=True)
def _times(levels, steps, block, shrink, most, out):  # type: ignore[no-untyped-def]
    for b in range(steps.size):
        step, less = steps[b], shrink * steps[b]
        own, to = levels[b * block : (b + 1) * block], out[b * block : (b + 1) * block]
        for i in range(own.size):
            k = own[i]
            value = min(max(abs(k) * step - less, 0.0), most)
            to[i] = -value if k < 0 else value


def to_levels(
    x: Vector, steps: NDArray[np.float64], block: int, limit: int, key: np.uint64 | None = None, offset: float = 0.0
) -> Levels:
    """Levels int32 [d] within +-limit of `x` - `offset`, `block` coordinates to a step; stochastic with a `key`.

    A step of 0 makes levels of 0.
    """
    positive = steps[steps > 0]
    if positive.size and not 1e-290 < float(positive.min()) <= float(positive.max()) < 1e290:
        return _by_division(x.astype(np.float64) - offset, steps, block, limit, key)
    inverses = np.divide(1.0, steps, out=np.zeros_like(steps), where=steps > 0)
    out = np.empty(x.size, np.int32)
    if key is None:
        _nearest(x, offset, inverses, block, float(limit), out)
    else:
        _stochastic(x, offset, inverses, block, float(limit), key, out)
    return out


def _by_division(x: Vector, steps: NDArray[np.float64], block: int, limit: int, key: np.uint64 | None) -> Levels:
    """The same for steps whose inverses aren't in range."""
    each = np.repeat(steps, block)[: x.size]
    u = 0.5 if key is None else units(key, x.size)
    k = np.floor(np.divide(np.abs(x.astype(np.float64)), each, out=np.zeros(x.size), where=each > 0) + u)
    return np.copysign(np.minimum(k, limit), x).astype(np.int32)


def from_levels(
    levels: Levels, steps: NDArray[np.float64], block: int, dtype: np.dtype[Any], shrink: float = 0.0
) -> Vector:
    """Step * (level - shrink * sign(level)), computed in float64, as `dtype`; clipped to its largest number."""
    out = np.empty(levels.size, dtype)
    _times(levels, steps, block, shrink, float(np.finfo(dtype).max), out)
    return out


@njit(nogil=True, cache=True)
def _affine(levels, low, step, most, out):  # type: ignore[no-untyped-def]
    for i in range(levels.size):
        out[i] = min(max(low + step * levels[i], -most), most)


def from_offset(levels: NDArray[np.uint32], low: float, step: float, dtype: np.dtype[Any]) -> Vector:
    """Low + step * level, computed in float64, as `dtype`; clipped to its largest number."""
    out = np.empty(levels.size, dtype)
    _affine(levels, low, step, float(np.finfo(dtype).max), out)
    return out


def one(step: float) -> NDArray[np.float64]:
    """A single step for a whole vector."""
    return np.full(1, step)
