"""Random numbers by counter: number i of a seed is a hash of (seed, i), so any part can be drawn alone, in any order.

The hash is the finaliser of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014)
over key + i * golden ratio, where the key is a hash of the seed and of what the numbers are for. Integers only: two ranks that
share a seed draw the same numbers on any machine.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

U64 = np.uint64
_GOLDEN: Final = U64(0x9E3779B97F4A7C15)
_FIRST: Final = U64(0xBF58476D1CE4E5B9)
_SECOND: Final = U64(0x94D049BB133111EB)
_UNIT: Final = 2.0**-53
CHUNK: Final = 1 << 10
"""Coordinates for which 32-bit numbers are drawn together."""
HALF_UNIT: Final = 2.0**-32
"""What a 32-bit number is times, to be uniform on [0, 1)."""

_inline: Any = njit(nogil=True, cache=True, inline="always")


@_inline
def mixed(z):  # type: ignore[no-untyped-def]
    """A hash of uint64 `z`: a bijection."""
    z = (z ^ (z >> U64(30))) * _FIRST
    z = (z ^ (z >> U64(27))) * _SECOND
    return z ^ (z >> U64(31))


@_inline
def word(key, i):  # type: ignore[no-untyped-def]
    """64 random bits: number i (uint64) of `key`."""
    return mixed(key + (i + U64(1)) * _GOLDEN)


@_inline
def unit(key, i):  # type: ignore[no-untyped-def]
    """A float64 uniform on [0, 1), a multiple of 2^-53."""
    return np.float64(np.int64(word(key, i) >> U64(11))) * _UNIT


@njit(nogil=True, cache=True)
def fill(key, first, out):  # type: ignore[no-untyped-def]
    """CHUNK numbers of 32 bits into uint32 `out`: the low halves of words `first` on (uint64), then their high halves."""
    low, high = out[: CHUNK // 2], out[CHUNK // 2 :]
    for i in range(CHUNK // 2):
        bits = word(key, first + U64(i))
        low[i] = np.uint32(bits & U64(0xFFFFFFFF))
        high[i] = np.uint32(bits >> U64(32))


def key_of(seed: int, purpose: int) -> np.uint64:
    """The key of the stream `purpose` of a seed (any integer; its low 64 bits count)."""
    z = seed & 0xFFFFFFFFFFFFFFFF
    for part in (0x6E6574776569, purpose):
        z = _mixed((z + (part + 1) * int(_GOLDEN)) & 0xFFFFFFFFFFFFFFFF)
    return U64(z)


def _mixed(z: int) -> int:
    mask = 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * int(_FIRST)) & mask
    z = ((z ^ (z >> 27)) * int(_SECOND)) & mask
    return z ^ (z >> 31)


@njit(nogil=True, cache=True)
def _units(key, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = unit(key, U64(i))


def units(key: np.uint64, count: int) -> NDArray[np.float64]:
    """Numbers 0 to count - 1 of `key`, uniform on [0, 1)."""
    out = np.empty(count, np.float64)
    _units(key, out)
    return out


@njit(nogil=True, cache=True)
def _choose(key, places, out):  # type: ignore[no-untyped-def]
    """The first steps of the Fisher-Yates shuffle."""
    n = places.size
    for i in range(out.size):
        j = i + np.int64(unit(key, U64(i)) * np.float64(n - i))
        out[i] = places[j]
        places[j] = places[i]


def subset(key: np.uint64, k: int, d: int) -> NDArray[np.int64]:
    """As many as k different places below d, each set equally likely, in random order."""
    out = np.empty(k, np.int64)
    _choose(key, np.arange(d, dtype=np.int32 if d < 1 << 31 else np.int64), out)
    return out
