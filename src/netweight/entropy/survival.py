"""Tails of generalised Gaussians in exact integers: the same on every machine.

The density at x is proportional to exp(-|x / alpha|^beta) (Subbotin 1923): beta = 2 is a Gaussian of standard deviation
alpha / sqrt 2, beta = 1 a Laplace distribution of mean magnitude alpha. With u = (y / alpha)^beta and a = 1 / beta,

    P(|X| < y) = gamma(a, u) / Gamma(a),    gamma(a, u) = u^a sum_n (-u)^n / (n! (a + n))    (DLMF 8.7.1),

and u^a is y / alpha. beta is an eighth of an integer and alpha a power of 2^(1/16), so every power is a few integer
square roots. Terms of the sum reach e^u; 192 bits after the point leave over 80 right ones where u is at most 70.
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt
from typing import Final

BITS: Final = 40
"""A survival of 1 is 2^40."""
_POINT: Final = 192
_LARGEST_U: Final = 64  # beyond it a survival is under 2^-80


@lru_cache(maxsize=128)
def _root(numerator: int) -> int:
    """2^(numerator / 128) in Q192, for a numerator in 0..127."""
    root = 1 << (128 * _POINT + numerator)
    for _ in range(7):
        root = isqrt(root)
    return root


def power_of_two(numerator: int, point: int = _POINT) -> int:
    """2^(numerator / 128) in Q`point` (at most 192), rounded down."""
    octaves, rest = divmod(numerator, 128)
    shift = octaves - _POINT + point
    return _root(rest) << shift if shift >= 0 else _root(rest) >> -shift


def _product(numerator: int, shape: int, exponent: int) -> int:
    """numerator^(shape / 8) 2^(exponent / 128) in Q192."""
    power: int = numerator**shape << 8 * _POINT
    for _ in range(3):
        power = isqrt(power)
    octaves, rest = divmod(exponent, 128)
    product = power * _root(rest) >> _POINT
    return product << octaves if octaves >= 0 else product >> -octaves


def _series(u: int, shape: int) -> int:
    """sum_n (-u)^n / (n! (a + n)) in Q192, for a = 8 / shape."""
    term, total, n = 1 << _POINT, 0, 0
    while term:
        part = term * shape // (8 + shape * n)
        total += -part if n & 1 else part
        n += 1
        term = (term * u >> _POINT) // n
    return total


@lru_cache(maxsize=64)
def _whole(shape: int) -> int:
    """Gamma(8 / shape) in Q192, as gamma(a, u) at the first y = k / 16 where u is at least 64."""
    k = 1
    while k**shape < _LARGEST_U**8 << 4 * shape:
        k += 1 + (k >> 6)
    return k * _series(_product(k, shape, -64 * shape), shape) >> 4


def survival(twice: int, shape: int, scale: int) -> int:
    """P(|X| >= twice / 2) in Q40, rounded down, for beta = shape / 8 and alpha = 2^(scale / 16)."""
    u = _product(twice, shape, -shape * (16 + scale))
    if u > _LARGEST_U << _POINT:
        return 0
    inside = twice * power_of_two(-8 * scale - 128) * _series(u, shape) >> _POINT
    whole = _whole(shape)
    return max(0, whole - inside << BITS) // whole
