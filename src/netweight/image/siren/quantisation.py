"""Steps, rounding and quantisation-aware training: floats to the multiples that are coded.

Steps share out the error by sensitivity: if quantising tensor t with step d costs s_t d^2 of squared error and its n_t
parameters cost -log2 d bits each, then s_t d^2 = c n_t at the best allocation, and a bit is worth 2 ln 2 c of error
anywhere. So one number, c, says all: the steps and the weight of the rate in the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .coding import Multiples
from .integers import Shape, Words
from .network import Floats, Network, Parameters, Picture
from .payload import Quantised, origin, step_of, units
from .starts import nearest_level

_PROBES: Final = 4
_PROBE: Final = 0.1
"""Steps are probed by noise of this share of a tensor's deviation."""
_LARGEST: Final = (1 << 29) - 1


@dataclass(frozen=True)
class Grid:
    """Where parameters may lie: base + k step, in floats and in the integers of the payload."""

    shape: Shape
    levels: tuple[int, ...]
    base: list[Words]
    digest: bytes

    def steps(self) -> list[float]:
        """Of each tensor, as floats of its parameters."""
        return [step_of(level) / unit for level, unit in zip(self.levels, units(self.shape), strict=True)]

    def places(self, params: Parameters) -> list[NDArray[np.float64]]:
        """Parameters in steps from the base, not rounded."""
        rows = zip(params, self.base, origin(self.shape), units(self.shape), self.levels, strict=True)
        return [
            (p.astype(np.float64) * unit + (zero - base.astype(np.float64))) / step_of(level)
            for p, base, zero, unit, level in rows
        ]

    def multiples(self, params: Parameters) -> list[Multiples]:
        """The nearest ones."""
        return [np.clip(np.rint(p), -_LARGEST, _LARGEST).astype(np.int32) for p in self.places(params)]

    def floats(self, multiples: list[Multiples]) -> Parameters:
        """What the multiples stand for."""
        rows = zip(multiples, self.base, origin(self.shape), units(self.shape), self.levels, strict=True)
        return [
            ((base.astype(np.float64) - zero + step_of(level) * k.astype(np.float64)) / unit).astype(np.float32)
            for k, base, zero, unit, level in rows
        ]

    def quantised(self, multiples: list[Multiples]) -> Quantised:
        return Quantised(self.shape, self.levels, multiples, self.digest)


def sensitivities(network: Network, params: Parameters, picture: Picture, seed: int = 0) -> list[float]:
    """s_t of each tensor: squared error (levels in [-1, 1]) per squared step, by rounding noise on a lattice of pixels."""
    rng = np.random.default_rng(seed)
    rows, columns = (slice(0, None, max(1, size // 128)) for size in (picture.height, picture.width))
    clean, out = network.error(params, picture, rows, columns), []
    for k, p in enumerate(params):
        step, cost = _PROBE * max(float(np.sqrt(np.mean(p * p))), 1e-3), 0.0
        for _ in range(_PROBES):
            noise = step * rng.uniform(-0.5, 0.5, p.shape).astype(np.float32)
            noisy = [*params[:k], p + noise, *params[k + 1 :]]
            cost += max(network.error(noisy, picture, rows, columns) - clean, 0) / _PROBES
        out.append(max(cost, 1e-9) / step**2)
    return out


def levels_for(shape: Shape, sensitive: list[float], c: float) -> tuple[int, ...]:
    """The levels of the best steps at c."""
    rows = zip(shape.sizes, sensitive, units(shape), strict=True)
    return tuple(nearest_level(sqrt(c * r * n / s) * unit) for (r, n), s, unit in rows)


def price_of_a_bit(c: float) -> float:
    """Squared error (levels in [-1, 1]) that is worth a bit at c."""
    return 2 * log(2) * c


def adaround(
    network: Network, params: Parameters, picture: Picture, grid: Grid, iterations: int = 1000
) -> list[Multiples]:
    """Multiples rounded up or down so that each layer's output changes least, not each weight.

    AdaRound (Nagel et al. 2020, arXiv 2004.10568, equations 21 to 24): a rectified sigmoid h in [0, 1] is added to what
    rounding down gives, trained on the squared change of the layer's output, with a regulariser whose beta falls from 20
    to 2 and makes h 0 or 1. A layer is linear in its weights, so the Gram matrix of its inputs says all about the change.
    """
    out = grid.multiples(params)
    places = grid.places(params)
    for k, gram in enumerate(network.grams(params, picture)):
        out[2 * k] = _rounded(places[2 * k], gram, iterations)
    return out


def _rounded(places: NDArray[np.float64], gram: Floats, iterations: int) -> Multiples:
    """One weight (float64 [outputs, inputs], in steps) under the Gram matrix of its inputs ([inputs, inputs])."""
    low, high = -0.1, 1.1  # the sigmoid is stretched and cut (its equation 23)
    floor = np.floor(places)
    rest = np.clip(places - floor, 1e-3, 1 - 1e-3)
    v = -np.log((high - low) / (rest - low) - 1)
    scaled = gram.astype(np.float64) / np.trace(gram) * len(gram)
    mean, square = np.zeros_like(v), np.zeros_like(v)
    for step in range(1, iterations + 1):
        sigmoid = 1 / (1 + np.exp(-v))
        h = np.clip(sigmoid * (high - low) + low, 0, 1)
        inside = (h > 0) & (h < 1)
        gradient = 2 * (floor + h - places) @ scaled
        share = step / iterations
        if share > 0.2:
            beta = 2 + 18 * (1 - (share - 0.2) / 0.8)
            x = 2 * h - 1
            gradient -= 0.02 * 2 * beta * np.sign(x) * np.abs(x) ** (beta - 1)
        gradient *= inside * (high - low) * sigmoid * (1 - sigmoid)
        mean += 0.1 * (gradient - mean)
        square += 0.001 * (gradient * gradient - square)
        v -= 0.01 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    up = np.clip(1 / (1 + np.exp(-v)) * (high - low) + low, 0, 1) >= 0.5
    return (floor + up).astype(np.int32)
