"""The most likely prior of given integers: what an encoder chooses and sends, so floats will do."""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .priors import BOUNDS, GAUSSIAN, LAPLACE, SCALES, SPIKES, Prior

Ints = NDArray[np.int64]
Wide = NDArray[np.float64]

_LADDER: Final = (3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32)
_LEAST: Final = 2.0**-40
_STRIDES: Final = (16, 4, 1)
_ZERO: Final = 0.3  # what a zero counts for in the first guess of the scale, in steps


@dataclass(frozen=True, slots=True)
class Family:
    """Which shapes (ascending), and whether with a spike."""

    shapes: tuple[int, ...]
    spiked: bool


FAMILIES: Final = {
    "gaussian": Family((GAUSSIAN,), spiked=False),
    "laplace": Family((LAPLACE,), spiked=False),
    "generalised-gaussian": Family(_LADDER, spiked=False),
    "spike-gaussian": Family((GAUSSIAN,), spiked=True),
    "spike-laplace": Family((LAPLACE,), spiked=True),
    "spike-generalised-gaussian": Family(_LADDER, spiked=True),
}


@njit(nogil=True, cache=True)
def _inside(u, a, whole):  # type: ignore[no-untyped-def]
    """gamma(a, u) / Gamma(a) by its series of positive terms (DLMF 8.7.1), Gamma(a) being `whole`."""
    if u > 60.0:
        return 1.0
    term = total = 1.0 / a
    n = 1
    while term > 1e-17 * total:
        term *= u / (a + n)
        total += term
        n += 1
    return min(1.0, total * np.exp(-u) * u**a / whole)


@njit(nogil=True, cache=True)
def _slab(shape, alphas, bounds, whole, out):  # type: ignore[no-untyped-def]
    """out[l, s] = probability of symbol s at width alphas[l]."""
    for level in range(alphas.size):
        last = 0.0
        for s in range(256):
            end = 1.0
            if s < 255:
                end = _inside(((bounds[s + 1] - 0.5) / alphas[level]) ** (shape / 8.0), 8.0 / shape, whole)
            out[level, s] = max(end - last, 9.1e-13)
            last = end


class _Search:
    """`counts` (int64 [levels, 256]) of symbols, level l being 2^(offsets[l] / 16) times as wide as the prior sought."""

    def __init__(self, counts: Ints, offsets: Ints, spiked: bool) -> None:
        self._counts, self._offsets, self._spiked = counts.astype(np.float64), offsets, spiked
        self._seen: dict[tuple[int, int], tuple[float, Prior]] = {}

    def price(self, shape: int, scale: int) -> tuple[float, Prior]:
        """(bits of the symbols, prior) with the best spike."""
        if (shape, scale) not in self._seen:
            slab = np.empty(self._counts.shape)
            alphas = np.exp2((self._offsets + scale) / 16.0)
            _slab(shape, alphas, BOUNDS, gamma(8 / shape), slab)
            zeros, others = self._counts[:, 0], self._counts[:, 1:]
            keep = np.exp2(-np.arange(len(SPIKES) if self._spiked else 1)[:, None] / 16.0)
            spiked = -np.log2(1 - keep * (1 - slab[:, 0])) @ zeros - np.log2(keep[:, 0]) * others.sum()
            spike = int(spiked.argmin())
            bits = float(spiked[spike] - (others * np.log2(slab[:, 1:])).sum())
            self._seen[shape, scale] = bits, Prior(shape, scale, spike)
        return self._seen[shape, scale]

    def climb(self, shape: int, start: int) -> tuple[float, Prior]:
        """The best scale of a shape: the likelihood has one maximum."""
        best = self.price(shape, start)
        for stride in _STRIDES:
            moved = True
            while moved:
                around = (best[1].scale - stride, best[1].scale + stride)
                found = min((self.price(shape, s) for s in around if s in SCALES), key=lambda f: f[0])
                moved = found[0] < best[0]
                best = min(best, found, key=lambda f: f[0])
        return best

    def guess(self, shape: int) -> int:
        """The most likely scale of the middles: alpha^beta = beta E |k|^beta."""
        middles = (BOUNDS[:-1] + BOUNDS[1:] - 1) / 2.0
        middles[0] = _ZERO
        first = 1 if self._spiked and bool(self._counts[:, 1:].any()) else 0
        beta, counts = shape / 8.0, self._counts[:, first:]
        relative = middles[first:] * np.exp2(-self._offsets / 16.0)[:, None]
        mean = float((counts * relative**beta).sum() / max(counts.sum(), 1.0))
        return int(np.clip(np.rint(16 / beta * np.log2(max(beta * mean, _LEAST))), SCALES[0], SCALES[-1]))


def fit(counts: Ints, offsets: Ints, family: Family) -> Prior:
    """The prior of `family` under which symbols are most likely, to a step of each parameter.

    `counts` (int64 [levels, 256]) tells how often each symbol of priors.py occurs at each level; at level l the prior is
    2^(offsets[l] / 16) times as wide (int64 [levels]).
    """
    search = _Search(counts, offsets, family.spiked)
    at = family.shapes.index(LAPLACE) if LAPLACE in family.shapes else 0
    best = search.climb(family.shapes[at], search.guess(family.shapes[at]))
    for direction in (1, -1):
        k = at + direction
        while 0 <= k < len(family.shapes):
            found = search.climb(family.shapes[k], search.guess(family.shapes[k]))
            if found[0] >= best[0]:
                break
            best, k = found, k + direction
    return best[1]
