"""Integer tables of what a probability model needs: 2^x, log2, logistic, stretch, two survival functions.

Every entry comes from exact integer arithmetic with guard bits, never from a maths library, so that encoder and
decoder agree on every machine. Units: Qn means that the integer is the value times 2^n.
"""

from __future__ import annotations

from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

STRETCH_LIMIT: Final = 3071  # |stretch| in Q8 nats, at most
SURVIVAL_END: Final = 4096  # z in Q8: 16 standard deviations
_GUARD: Final = 96

Ints = NDArray[np.int64]


def _exp_negative(numerator: int, denominator: int) -> int:
    """e^(-numerator/denominator) in Q96, for arguments of at most 1, by its alternating series."""
    term = total = 1 << _GUARD
    for n in range(1, 40):
        term = -term * numerator // (denominator * n)
        total += term
    return total


def _log2(value: int, unit: int, bits: int) -> int:
    """log2(value / unit) in Q`bits`, rounded down; value >= unit. Bit by bit: square, and halve at 2."""
    result = (value // unit).bit_length() - 1
    x = (value << _GUARD) // (unit << result)
    for _ in range(bits):
        x = x * x >> _GUARD
        carry = x >> (_GUARD + 1)
        x >>= carry
        result = 2 * result + carry
    return result


def _squash() -> list[int]:
    base, x, half = _exp_negative(1, 256), 1 << _GUARD, []
    for _ in range(STRETCH_LIMIT + 1):
        denominator = (1 << _GUARD) + x
        half.append(((1 << (_GUARD + 17)) // denominator + 1) >> 1)
        x = x * base >> _GUARD
    half = [min(p, 65535) for p in half]
    return [65536 - p for p in half[:0:-1]] + half


def _stretch(squash: list[int]) -> list[int]:
    out, x = [], 0
    for p in range(8, 65536, 16):
        while x < 2 * STRETCH_LIMIT and squash[x] < p:
            x += 1
        out.append(max(-2047, min(2047, x - STRETCH_LIMIT)))
    return out


def _exp2() -> list[int]:
    out = []
    for i in range(256):
        root = 1 << (256 * 32 + i)
        for _ in range(8):  # eight square roots: the 256th root, Q32
            root = isqrt(root)
        out.append(root + (1 << 15) >> 16)
    return out


def _normal_survival() -> list[int]:
    """By Simpson's rule on steps of 1/256; the density follows from two geometric recurrences."""
    one = 1 << _GUARD
    pi_q = 3141592653589793238462643383279502884197
    density = isqrt((one * one * 10**39) // (2 * pi_q))
    step, ratio = _exp_negative(1, 512 * 512), _exp_negative(1, 2 * 512 * 512)
    mass, out = one >> 1, []
    for _ in range(SURVIVAL_END + 1):
        out.append(max(1, mass >> (_GUARD - 40)))
        middle = density * ratio >> _GUARD
        ratio = ratio * step >> _GUARD
        end = middle * ratio >> _GUARD
        ratio = ratio * step >> _GUARD
        mass = max(0, mass - (density + 4 * middle + end) // (6 * 256))
        density = end
    return out


def _laplace_survival() -> list[int]:
    base = _exp_negative(isqrt(2 << 2 * _GUARD), 256 << _GUARD)
    x, out = 1 << (_GUARD - 1), []
    for _ in range(SURVIVAL_END + 1):
        out.append(max(1, x >> (_GUARD - 40)))
        x = x * base >> _GUARD
    return out


def _score(exp2: list[int]) -> list[int]:
    """Student-t score (8 degrees of freedom) over its information, in octaves: ((9 z^2 / (8 + z^2)) - 1) * 11/16 / ln
    2.
    """
    out = []
    for d in range(-2048, 2048):
        octaves, part = divmod(2 * d, 256)
        square = exp2[part] << (octaves + 24)  # Q40
        out.append((9 * square * 65002 // ((8 << 40) + square)) - 65002)
    return out


def _array(values: list[int] | list[list[int]]) -> Ints:
    return np.array(values, np.int64)


_squash_list, _exp2_list = _squash(), _exp2()
SQUASH: Final = _array(_squash_list)
"""`SQUASH[x + 3071]`: 65536 / (1 + e^(-x/256)), in [1, 65535]."""
STRETCH: Final = _array(_stretch(_squash_list))
"""`STRETCH[p >> 4]`: the inverse of SQUASH for a 16-bit p, Q8 nats."""
EXP2: Final = _array(_exp2_list)
"""`EXP2[i]`: 2^(i/256) in Q16."""
LOG2: Final = _array([_log2(513 + 2 * i, 512, 8) for i in range(256)])
"""`LOG2[i]`: log2(1 + (i + 1/2)/256) in Q8."""
SURVIVAL: Final = _array([_normal_survival(), _laplace_survival()])
"""`SURVIVAL[k, z]`: P(Z >= z/256) in Q40, at least 1; Z is normal (k = 0) or Laplace (k = 1), of variance 1."""
SHIFT: Final = _array([_log2(256 * 16 + 25 * i * i, 256 * 16, 8) // 2 for i in range(256)])
"""`SHIFT[i]`: Q8 log2 of the typical magnitude of a variable whose mean is i/16 standard deviations, relative to mean
0.
"""
SCORE: Final = _array(_score(_exp2_list))
"""`SCORE[d + 2048]`: robust score of a log2 scale (Q16) for a value d/256 octaves over it."""
RECIPROCAL: Final = _array([65536] + [65536 // n for n in range(1, 2048)])
"""`RECIPROCAL[n]`: 65536 / n."""
