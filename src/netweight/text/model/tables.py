"""Constants of the integer forward: 2^-x, the logistic function, rotations. Exact integer arithmetic makes every entry.

No maths library takes part, so each machine has the same tables; a test pins their hash, and a model's digest covers
them. Qn means that an integer is the value times 2^n.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

EXP_STEPS: Final = 4096
"""Entries an octave of EXP2: attention scores are measured in 1/4096 of log 2."""
WEIGHT_BITS: Final = 22
"""The greatest attention weight is 2^22; what is under 2^-22 of it counts as nothing."""
EXP_END: Final = (WEIGHT_BITS + 1) * EXP_STEPS
SIGMOID_STEPS: Final = 256
SIGMOID_END: Final = 24 * SIGMOID_STEPS
LOG2_E: Final = 1.4426950408889634
_GUARD: Final = 96
_ONE: Final = 1 << _GUARD

Floats = NDArray[np.float32]


def _exp2_negative() -> list[int]:
    """2^(22 - i/4096), rounded, i = 0..4095: powers of the 4096th root of a half."""
    root = _ONE >> 1
    for _ in range(12):
        root = isqrt(root << _GUARD)
    half, shift = 1 << (_GUARD - WEIGHT_BITS - 1), _GUARD - WEIGHT_BITS
    out, x = [], _ONE
    for _ in range(EXP_STEPS):
        out.append((x + half) >> shift)
        x = x * root >> _GUARD
    return out


def _sigmoid() -> list[int]:
    """1 / (1 + e^(-i/256)) in Q30, i = 0..SIGMOID_END."""
    base = term = _ONE
    for n in range(1, 20):
        term = -term // (SIGMOID_STEPS * n)
        base += term
    out, x = [], _ONE
    for _ in range(SIGMOID_END + 1):
        out.append(((1 << (_GUARD + 31)) // (_ONE + x) + 1) >> 1)
        x = x * base >> _GUARD
    return out


def root(value: int, degree: int) -> int:
    """The whole part of value^(1/degree), by Newton's method from above."""
    x = 1 << -(-value.bit_length() // degree)
    while True:
        y = ((degree - 1) * x + value // x ** (degree - 1)) // degree
        if y >= x:
            return x
        x = y


def _first_turn(angle: int) -> tuple[int, int]:
    """Cosines and sines in Q96 of an angle in Q96, at most 1 or so, by their series."""
    cos, sin, term, n = _ONE, 0, _ONE, 0
    while term:
        n += 1
        term = (term * angle >> _GUARD) // n
        sign = -1 if n & 2 else 1
        if n & 1:
            sin += sign * term
        else:
            cos += sign * term
    return cos, sin


def rotations(positions: int, size: int, base: Fraction, factors: list[Fraction]) -> tuple[Floats, Floats]:
    """Cosines and sines (float32 [positions, size / 2], multiples of 2^-24) of position x base^(-2i/size) / factors[i].

    The angles of rotary position embeddings (Su et al., arXiv 2104.09864, eq. 15), by repeated exact rotation.
    """
    pairs = size // 2
    ratio = root((base.denominator << _GUARD * pairs) // base.numerator, pairs)
    cosines, sines = np.empty((2, pairs, positions), np.float32)
    frequency = _ONE
    for i in range(pairs):
        turn = _first_turn(frequency * factors[i].denominator // factors[i].numerator)
        cosines[i], sines[i] = _turns(positions, *turn)
        frequency = frequency * ratio >> _GUARD
    return np.ascontiguousarray(cosines.T), np.ascontiguousarray(sines.T)


def _turns(count: int, cos1: int, sin1: int) -> tuple[Floats, Floats]:
    """Cosines and sines of 0, 1, 2, ... turns, rounded to multiples of 2^-24."""
    half, shift = 1 << (_GUARD - 25), _GUARD - 24
    cos, sin = _ONE, 0
    cosines, sines = [], []
    for _ in range(count):
        cosines.append((cos + half) >> shift)
        sines.append((sin + half) >> shift)
        cos, sin = (cos * cos1 - sin * sin1) >> _GUARD, (sin * cos1 + cos * sin1) >> _GUARD
    unit = np.float32(1 / (1 << 24))
    return np.array(cosines, np.float32) * unit, np.array(sines, np.float32) * unit


EXP2: Final = np.array(_exp2_negative(), np.int32)
"""`EXP2[i]`: 2^(-i/4096) in Q22."""
SIGMOID: Final = np.array(_sigmoid(), np.float64) / (1 << 30)
"""`SIGMOID[i]`: 1 / (1 + e^(-i/256)), a multiple of 2^-30."""


def tables_hash() -> bytes:
    """SHA-256 of the constant tables."""
    return hashlib.sha256(EXP2.astype("<i4").tobytes() + SIGMOID.astype("<f8").tobytes()).digest()
