"""What detectors look at, and what they return."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...spec import element_count
from ..coders.scales import Shape

Floats = NDArray[np.float32]
Wide = NDArray[np.float64]

_EXTRA_BITS: Final = 1.0  # of a parameter beyond the logarithm of its range over its step


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape of one tensor as rows x (inner x kernel), and its dtype."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def rows(self) -> int:
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def columns(self) -> int:
        return element_count(self.shape) // max(self.rows, 1)

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.shape[2:]

    @property
    def inner(self) -> int:
        return self.columns // max(math.prod(self.kernel), 1)

    @property
    def count(self) -> int:
        return self.rows * self.columns

    @property
    def shapes(self) -> list[Shape]:
        """As the coders of weights take it."""
        return [Shape(self.rows, self.inner, max(math.prod(self.kernel), 1))]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The mean square error that a weight of the block may have, and the largest error of any. Both 0: lossless."""

    noise: float
    worst: float = math.inf

    @property
    def lossless(self) -> bool:
        return self.noise == 0


@dataclass(frozen=True)
class Matrix:
    """Finite weights, float32 [rows, columns], not all of them zero."""

    values: Floats
    layout: Layout

    @cached_property
    def wide(self) -> Wide:
        """The values as float64."""
        return self.values.astype(np.float64)

    @cached_property
    def energy(self) -> float:
        """Mean square of a weight."""
        return float(np.square(self.wide).mean())

    @cached_property
    def fine(self) -> float:
        """The least noise that makes sense for numbers at a step: finer ones are coded losslessly."""
        return self.energy * 2.0**-36


@dataclass(frozen=True)
class Found:
    """A structure, yet to be paid for.

    `text` says it in plain words. `noise` is the mean square of what it leaves unsaid before its parameters are rounded;
    `numbers` of them there are, and about `side_bits` of other facts. `code(step)` writes the parameters, their rounding
    being felt in the weights as by a scalar quantiser of `step`; step 0 writes them losslessly. `exact` says that then
    nothing is left unsaid.
    """

    text: str
    noise: float
    numbers: int
    side_bits: float
    code: Callable[[float], bytes]
    exact: bool = False


def floor_of(matrix: Matrix, tolerance: Tolerance) -> float:
    """The mean square error that is aimed at: of lossless coding a tiny one."""
    return max(tolerance.noise, matrix.fine)


def saving(matrix: Matrix, tolerance: Tolerance, noise: float, numbers: int, side_bits: float) -> float:
    """About how many bits a structure saves, from theory (a bound, to decide what is tried): D = sigma^2 2^-2R.

    Of a parameter the logarithm of its range over its step, which is the coarser the fewer weights feel it
    (Rissanen 1978: half a logarithm of the weights a parameter).
    """
    count, floor = matrix.layout.count, floor_of(matrix, tolerance)
    left = max(noise, floor)
    gained = 0.5 * count * math.log2(max(matrix.energy, floor) / left)
    precise = max(left * numbers / max(count, 1), floor) if noise > floor else floor
    each = max(0.5 * math.log2(max(matrix.energy / precise, 1.0)), 0.0) + _EXTRA_BITS
    return gained - numbers * each - side_bits


def found_if_it_pays(matrix: Matrix, tolerance: Tolerance, found: Found) -> Found | None:
    """`found`, unless theory says that it can't pay."""
    pays = saving(matrix, tolerance, found.noise, found.numbers, found.side_bits) > 0
    return found if pays else None


def mean_square(values: NDArray[np.floating]) -> float:
    """In float64."""
    wide = values.astype(np.float64, copy=False).reshape(-1)
    return float(wide @ wide) / max(wide.size, 1)
