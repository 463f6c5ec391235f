"""Kashin compression: a redundant frame spreads every vector evenly, so one scale fits all its coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...errors import InputError
from ..coding import levels, random, rotation, rounding, scale
from ..coding.random import U64, word
from ..compressor import Claim, Compressor, Vector

_ETA, _DELTA = 0.9, 1.0


@njit(nogil=True, cache=True)
def _clip(y, level, total):  # type: ignore[no-untyped-def]
    """Move what of y (float64 [D]) is within +-level to `total`; y keeps the rest."""
    for i in range(y.size):
        b = min(max(y[i], -level), level)
        total[i] += b
        y[i] -= b


@njit(nogil=True, cache=True)
def _place(i, d, size, key):  # type: ignore[no-untyped-def]
    """Which of D coordinates number i of d has: a random one of its own share of them. (The first d would do badly: a Hadamard matrix
    cut after half its columns repeats itself, so nothing that is clipped off would be spread.)
    """
    start = i * size // d
    width = (i + 1) * size // d - start
    return start + np.int64(((word(key, U64(i)) >> U64(32)) * U64(width)) >> U64(32))


@njit(nogil=True, cache=True)
def _scatter(x, key, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[_place(i, x.size, out.size, key)] = x[i]


@njit(nogil=True, cache=True)
def _gather(a, key, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = a[_place(i, out.size, a.size, key)]


@njit(nogil=True, cache=True)
def _keep(a, d, key):  # type: ignore[no-untyped-def]
    """Zeros wherever none of the d coordinates is."""
    last = np.int64(-1)
    for i in range(d):
        at = _place(i, d, a.size, key)
        a[last + 1 : at] = 0.0
        last = at
    a[last + 1 :] = 0.0


@dataclass(frozen=True)
class Kashin(Compressor):
    """Kashin's representation in a randomised Hadamard frame, dithered to levels of its largest magnitude (arXiv 2002.08958).

    x = U a, where U is d random rows of an orthogonal D x D matrix, D = the power of two from `redundancy` d on, and
    ||a||_inf <= K ||x|| / sqrt D (Lyubarskii and Vershynin 2010). With `s` levels a side, omega <= K^2 / (4 s^2 lambda) for lambda =
    D / d (derived: a level's variance is at most step^2 / 4, and U keeps d / D of it). K = 1 / ((1 - eta) sqrt delta) = 10 is what is
    proved; about 2 is measured. omega doesn't grow with d.

    payload = ||a||_inf (3 bytes), levels of D coordinates
    """

    name: ClassVar[str] = "Kashin"
    shares_seed: ClassVar[bool] = True
    s: int = 1
    redundancy: float = 2.0
    rounds: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.s <= 1 << 16 or not 1 <= self.redundancy <= 64 or not 1 <= self.rounds <= 64:
            raise InputError(
                f"{self.name}: s {self.s}, redundancy {self.redundancy}, rounds {self.rounds}: out of range"
            )

    def dimension(self, d: int) -> int:
        """D: coordinates of the frame."""
        return 1 << math.ceil(math.log2(self.redundancy * d))

    def bound(self, d: int) -> Claim:
        k = 1 / ((1 - _ETA) * math.sqrt(_DELTA))
        omega = k**2 * d / (4 * self.s**2 * self.dimension(d)) * (1 + 2.0**-12) ** 2
        return Claim("unbiased", omega, "arXiv 2002.08958, theorem 4.1, with lambda derived")

    def spread(self, x: Vector, seed: int) -> NDArray[np.float64]:
        """The coefficients a: float64 [D], of small ||a||_inf."""
        size = self.dimension(x.size)
        key, total, rest = rotation.key(seed), np.zeros(size), np.zeros(size)
        places = random.key_of(seed, 6)
        _scatter(x, places, rest)
        level = scale.norm(x) / math.sqrt(_DELTA * size)
        _to_frame(rest, key)
        for _ in range(self.rounds):
            _clip(rest, level, total)
            _from_frame(rest, key)  # of what was clipped off, the vector, and its coefficients again
            _keep(rest, x.size, places)
            _to_frame(rest, key)
            level *= _ETA
        total += rest
        return total

    def encode(self, x: Vector, seed: int) -> bytes:
        exponent = math.frexp(float(np.abs(x).max()))[1]
        with np.errstate(over="ignore"):  # an infinite scale is refused
            a = np.ldexp(self.spread(np.ldexp(x.astype(np.float64), -exponent), seed), exponent)
        m = scale.cut(float(np.abs(a).max()), up=True)
        k = rounding.to_levels(a, rounding.one(m / self.s), a.size, self.s, random.key_of(seed, 0))
        return scale.write(m) + levels.encode(k)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:
        m = scale.read(payload[: scale.BYTES])
        a = levels.decode(payload[scale.BYTES :], self.dimension(d), self.s).astype(np.float64)
        _from_frame(a, rotation.key(seed))
        out = np.empty(d)
        _gather(a, random.key_of(seed, 6), out)
        with np.errstate(over="ignore"):
            out *= m / self.s
        return scale.to_dtype(out, dtype)


def _to_frame(x: NDArray[np.float64], key: np.uint64) -> None:
    """Random signs, then Hadamard / sqrt D, in place: U^T x for x among zeros."""
    rotation.scaled_signs(x, key, 1 / math.sqrt(x.size))
    rotation.hadamard(x)


def _from_frame(a: NDArray[np.float64], key: np.uint64) -> None:
    """The inverse, in place: U a at the places of the d coordinates."""
    rotation.hadamard(a)
    rotation.scaled_signs(a, key, 1 / math.sqrt(a.size))
