"""Rates that no bytes stand behind, to set real ones against: always called bounds.

- `uniform_bound`: the order-0 entropy of each matrix's indices under one uniform step for all, rounded to nearest, at no
  cost for tables: what a scalar quantiser and an ideal coder without contexts take.
- `shannon_bound`: the Shannon lower bound, h(W) - 1/2 log2(2 pi e D) bits a weight for weights that are independent with
  one density a matrix (Shannon 1959), distortion spread over matrices by reverse water-filling (Cover & Thomas 10.3.3).
  A code that knows rows and columns may go below it; the entropy is an estimate.
"""

from __future__ import annotations

import numpy as np
from lossy_parts import Floats, Matrices
from numpy.typing import NDArray

_BISECTIONS = 40


def differential_entropy(values: Floats) -> float:
    """h in bits of the density that `values` were drawn from: the m-spacing estimate (Vasicek 1976) with m = sqrt(n).

    The mean log of spacings of uniform variables is psi(m) - psi(n + 1); psi(k) is taken as log k - 1 / 2k. Equal
    values count as far apart as the smallest normal number, so a matrix of few distinct values has a very low entropy.
    """
    ordered = np.sort(values, axis=None).astype(np.float64)
    n = ordered.size
    m = max(1, round(n**0.5))
    if n <= m:
        return -np.inf
    gaps = np.maximum(ordered[m:] - ordered[:-m], np.finfo(np.float32).tiny)
    shift = np.log(n + 1) - 0.5 / (n + 1) - np.log(m) + 0.5 / m
    return float((np.log(gaps).mean() + shift) / np.log(2))


def shannon_bound(entropies: NDArray[np.float64], counts: NDArray[np.int64], distortion: float) -> float:
    """Bits a weight at a total squared error of at most `distortion`; 0 where that is no less than the entropy powers'."""
    powers = np.exp2(2 * entropies) / (2 * np.pi * np.e)
    if distortion >= float(counts @ powers):
        return 0.0
    low, high = 0.0, float(powers.max())
    for _ in range(_BISECTIONS):
        level = (low + high) / 2
        if float(counts @ np.minimum(powers, level)) < distortion:
            low = level
        else:
            high = level
    with np.errstate(divide="ignore"):  # a power of 0 needs no bits
        rates = np.maximum(0, entropies - 0.5 * np.log2(2 * np.pi * np.e * high))
    return float(counts @ rates / counts.sum())


def order0_bits(indices: NDArray[np.int64]) -> float:
    """The empirical entropy of whole numbers, in bits in all."""
    counts = np.bincount(indices - indices.min())
    counts = counts[counts > 0]
    return float(counts @ np.log2(indices.size / counts))


def uniform_noise(matrices: Matrices, step: float) -> float:
    """Squared error of rounding every weight to a multiple of `step`."""
    total = 0.0
    for m in matrices.values():
        d = m.astype(np.float64)
        d -= np.rint(d / step) * step
        total += float(np.vdot(d, d))
    return total


def uniform_bound(matrices: Matrices, distortion: float) -> float:
    """Bits a weight at the largest step whose squared error is at most `distortion`."""
    count = sum(m.size for m in matrices.values())
    low = (distortion / count) ** 0.5  # an error of step / 2 at worst
    high = 4 * max(float(np.abs(m).max()) for m in matrices.values())
    for _ in range(_BISECTIONS // 2):
        step = (low * high) ** 0.5
        if uniform_noise(matrices, step) <= distortion:
            low = step
        else:
            high = step
    bits = sum(order0_bits(np.rint(m.reshape(-1) / low).astype(np.int64)) for m in matrices.values())
    return bits / count
