"""Vectors on which claims are tried: isotropic, spiky, structured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Vector32 = NDArray[np.float32]
Maker = Callable[[np.random.Generator, int], NDArray[np.float64]]


def _gaussian(rng: np.random.Generator, d: int) -> NDArray[np.float64]:
    return rng.standard_normal(d)


def _student(rng: np.random.Generator, d: int) -> NDArray[np.float64]:
    """Two degrees of freedom: a few coordinates hold most of the energy."""
    return rng.standard_t(2, d)


def _sparse(rng: np.random.Generator, d: int) -> NDArray[np.float64]:
    """Gaussian values in about 2 % of the coordinates, in one at least."""
    x = rng.standard_normal(d) * (rng.random(d) < 0.02)
    x[rng.integers(d)] = 1.0
    return x


def _one_hot(rng: np.random.Generator, d: int) -> NDArray[np.float64]:
    x = np.zeros(d)
    x[rng.integers(d)] = -3.0
    return x


def _two_equal(rng: np.random.Generator, d: int) -> NDArray[np.float64]:
    """Two equal coordinates: what a single Hadamard transform turns into zeros and equal numbers."""
    x = np.zeros(d)
    x[rng.permutation(d)[:2]] = 1.0
    return x


def _constant(_: np.random.Generator, d: int) -> NDArray[np.float64]:
    return np.full(d, 0.7)


def _layers(rng: np.random.Generator, d: int) -> NDArray[np.float64]:
    """Eight runs of coordinates with scales from 1 to 10^-3, as the layers of a network have."""
    scales: NDArray[np.float64] = np.repeat(np.logspace(0, -3, 8), -(-d // 8))[:d]
    out: NDArray[np.float64] = rng.standard_normal(d) * scales
    return out


def _wave(_: np.random.Generator, d: int) -> NDArray[np.float64]:
    out: NDArray[np.float64] = np.sin(np.arange(d) * 0.01) + 0.1
    return out


INPUTS: Final[dict[str, Maker]] = {
    "gaussian": _gaussian,
    "student-t": _student,
    "sparse": _sparse,
    "one-hot": _one_hot,
    "two equal": _two_equal,
    "constant": _constant,
    "layers": _layers,
    "wave": _wave,
}
ISOTROPIC: Final = "gaussian"


def vector(name: str, d: int, number: int) -> Vector32:
    """Vector `number` of a kind: float32 [d], the same on every call."""
    rng = np.random.default_rng([sorted(INPUTS).index(name), d, number])
    return INPUTS[name](rng, d).astype(np.float32)
