"""Randomised rotations: random signs and fast Hadamard transforms, orthogonal for every length.

A vector is cut into blocks of BLOCK coordinates, the last of up to twice that. A block of n = 2^a becomes H D' H D x, H the
Hadamard matrix / sqrt n (Ailon and Chazelle 2009) and D, D' random signs; one transform alone leaves two equal coordinates as
zeros and equal numbers. For another n, the first and then the last P = 2^floor(log2 n) coordinates are transformed, all are moved
by a stride that spreads each part evenly, and the first and the last P are transformed again, with fresh signs each time: that mixes
all of them and adds none. Coordinates of a rotated vector are close to Gaussian, and of equal energy, whatever the vector was.

IEEE additions and multiplications in fixed order: all ranks compute the same.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...errors import FormatError
from . import random
from .random import U64, word

BLOCK: Final = 1 << 14
_STRIP: Final = 32
_FIRST: Final = 16  # strides below this are worked on 16 coordinates at a time, in registers


@njit(nogil=True, cache=True)
def _short_strides(x):  # type: ignore[no-untyped-def]
    for start in range(0, x.size, _FIRST):
        v = x[start : start + _FIRST]
        h = 1
        while h < _FIRST:
            for at in range(0, _FIRST, 2 * h):
                for i in range(at, at + h):
                    a, b = v[i], v[i + h]
                    v[i], v[i + h] = a + b, a - b
            h *= 2


@njit(nogil=True, cache=True)
def _long_strides(x, h):  # type: ignore[no-untyped-def]
    """Two strides a pass from `h` on, the last one alone if their number is odd."""
    n = x.size
    while 4 * h <= n:
        for at in range(0, n, 4 * h):
            p, q = x[at : at + h], x[at + h : at + 2 * h]
            r, s = x[at + 2 * h : at + 3 * h], x[at + 3 * h : at + 4 * h]
            for i in range(h):
                a, b, c, d = p[i] + q[i], p[i] - q[i], r[i] + s[i], r[i] - s[i]
                p[i], q[i], r[i], s[i] = a + c, b + d, a - c, b - d
        h *= 4
    if h < n:
        p, q = x[:h], x[h:]
        for i in range(h):
            a, b = p[i] + q[i], p[i] - q[i]
            p[i], q[i] = a, b


@njit(nogil=True, cache=True)
def hadamard_in_cache(x):  # type: ignore[no-untyped-def]
    """`hadamard`, stride by stride."""
    if x.size >= _FIRST:
        _short_strides(x)
        _long_strides(x, _FIRST)
    else:
        _long_strides(x, 1)


@njit(nogil=True, cache=True)
def hadamard(x):  # type: ignore[no-untyped-def]
    """The Hadamard transform of float [2^a] in place, not normalised: twice it is 2^a x.

    Beyond 2^15 it is worked in rows of 2^14 and then in strips of columns, each in the cache: two passes over the memory.
    """
    if x.size > 2 * BLOCK:
        rows = x.size // BLOCK
        for r in range(rows):
            hadamard_in_cache(x[r * BLOCK : (r + 1) * BLOCK])
        strip = np.empty(rows * _STRIP, x.dtype)
        for column in range(0, BLOCK, _STRIP):
            for r in range(rows):
                at = r * BLOCK + column
                strip[r * _STRIP : (r + 1) * _STRIP] = x[at : at + _STRIP]
            _long_strides(strip, _STRIP)
            for r in range(rows):
                at = r * BLOCK + column
                x[at : at + _STRIP] = strip[r * _STRIP : (r + 1) * _STRIP]
    else:
        hadamard_in_cache(x)


@njit(nogil=True, cache=True)
def scaled_signs(x, key, scale):  # type: ignore[no-untyped-def]
    """x[i] times `scale` times a random sign, in place."""
    for start in range(0, x.size, 64):
        bits, part = word(key, U64(start)), x[start : start + 64]
        for i in range(part.size):
            part[i] *= scale - 2 * scale * ((bits >> U64(i)) & U64(1))


@njit(nogil=True, cache=True)
def _stride(n):  # type: ignore[no-untyped-def]
    """The number next above 0.618 n that is prime to n: multiples of it modulo n spread any range evenly."""
    stride = np.int64(n * 0.6180339887498949)
    while True:
        a, b = np.int64(n), stride
        while b:
            a, b = b, a % b
        if a == 1:
            return stride
        stride += 1


@njit(nogil=True, cache=True)
def _transform(x, key, stage, back):  # type: ignore[no-untyped-def]
    own, scale = word(key, U64(stage)), x.dtype.type(1.0 / math.sqrt(x.size))
    if back:
        hadamard_in_cache(x)
        scaled_signs(x, own, scale)
    else:
        scaled_signs(x, own, scale)
        hadamard_in_cache(x)


@njit(nogil=True, cache=True)
def _stir(x, moved, back):  # type: ignore[no-untyped-def]
    """Move coordinate i * stride mod n to i, or back."""
    n, at = x.size, 0
    stride = _stride(n)
    for i in range(n):
        if back:
            moved[at] = x[i]
        else:
            moved[i] = x[at]
        at += stride
        if at >= n:
            at -= n
    x[:] = moved[:n]


@njit(nogil=True, cache=True)
def _rotate(x, key, back):  # type: ignore[no-untyped-def]
    """All blocks in place, forwards or back."""
    moved, start, block = np.empty(min(x.size, 2 * BLOCK), x.dtype), 0, 0
    while start < x.size:
        n = BLOCK if x.size - start >= 2 * BLOCK else x.size - start
        part, own, size = x[start : start + n], word(key, U64(block)), 1
        while 2 * size <= n:
            size *= 2
        if size == n:
            _transform(part, own, int(back), back)
            _transform(part, own, 1 - int(back), back)
        else:
            for j in range(4):
                stage = 3 - j if back else j
                if j == 2:
                    _stir(part, moved, back)
                _transform(part[n - size :] if stage & 1 else part[:size], own, stage, back)
        start += n
        block += 1


def rotate(x: NDArray[np.float64], key: np.uint64) -> None:
    """`rotated`, in place."""
    _rotate(x, key, False)


def rotated(x: NDArray[np.float64], key: np.uint64) -> NDArray[np.float64]:
    """U x, of the norm of `x` but for rounding."""
    out = x.copy()
    _rotate(out, key, False)
    return out


def rotate_back(y: NDArray[np.float64], key: np.uint64) -> NDArray[np.float64]:
    """U^T y, in place. Raises FormatError if that isn't finite, as no sender's is."""
    _rotate(y, key, True)
    if not bool(np.isfinite(y).all()):
        raise FormatError("a rotated vector that isn't finite")
    return y


def key(seed: int) -> np.uint64:
    """The key of the rotation that belongs to a seed."""
    return random.key_of(seed, 7)


def blocks(d: int) -> list[tuple[int, int]]:
    """Where the blocks of a vector begin and end."""
    starts = [*range(0, max(d - BLOCK + 1, 1), BLOCK)]
    return list(zip(starts, [*starts[1:], d], strict=True))
