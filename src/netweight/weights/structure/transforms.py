"""Ways in which a row may be another one in disguise: flipped, turned by quarter turns, shifted.

A transform is an index: T(x)[c] = x[index[c]], and 0 where the index is -1. They are numbered from 0 (the row itself).
Kernels of two axes have flips, (square ones) quarter turns and transposes, and shifts by one pixel, zeros coming in; kernels
of one axis a flip and shifts; rows without a kernel the flip, and circular shifts by 1 .. columns - 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from .labels import Ints
from .model import Layout

_Real = TypeVar("_Real", np.float32, np.float64)
Change = Callable[[Ints], Ints]
_SHIFTS: Final = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def _shifted(grid: Ints, down: int, right: int) -> Ints:
    """A grid of places moved by one, -1 coming in."""
    out = np.full_like(grid, -1)
    h, w = grid.shape
    out[max(down, 0) : h + min(down, 0), max(right, 0) : w + min(right, 0)] = grid[
        max(-down, 0) : h + min(-down, 0), max(-right, 0) : w + min(-right, 0)
    ]
    return out


def _of_kernel(height: int, width: int) -> list[tuple[str, Change]]:
    """(name, what it does to a grid of places) of every transform of a kernel."""
    out: list[tuple[str, Change]] = [("as it is", lambda g: g), ("flipped left to right", lambda g: g[:, ::-1])]
    if height > 1:
        out += [("flipped top to bottom", lambda g: g[::-1]), ("turned by two quarters", lambda g: np.rot90(g, 2))]
        if height == width:
            out += [("turned by a quarter", np.rot90), ("turned by three quarters", lambda g: np.rot90(g, 3))]
            out += [("transposed", lambda g: g.T), ("transposed the other way", lambda g: np.rot90(g, 2).T)]
    shifts = _SHIFTS if height > 1 else ((0, -1), (0, 1))
    return out + [("shifted", lambda g, s=s: _shifted(g, *s)) for s in shifts if width > 1]


class Transforms:
    """Those of the rows of a layout."""

    def __init__(self, layout: Layout) -> None:
        self.columns = layout.columns
        kernel = layout.kernel
        self.circular = len(kernel) not in (1, 2)
        if self.circular:
            self._inner, self._kernel = 1, (1, self.columns)
            self._changes: list[tuple[str, Change]] = [("as it is", lambda g: g), ("reversed", lambda g: g[:, ::-1])]
        else:
            height, width = (1, *kernel)[-2:]
            self._inner, self._kernel = layout.inner, (height, width)
            self._changes = _of_kernel(*self._kernel)

    @property
    def fixed(self) -> int:
        """How many there are beside circular shifts."""
        return len(self._changes)

    @property
    def count(self) -> int:
        return self.fixed + (max(self.columns - 1, 0) if self.circular else 0)

    def index(self, number: int) -> Ints:
        """int64 [columns]."""
        if number >= self.fixed:
            return (np.arange(self.columns) - (number - self.fixed + 1)) % self.columns
        height, width = self._kernel
        grid: Ints = self._changes[number][1](np.arange(height * width).reshape(height, width)).reshape(-1)
        starts = np.repeat(np.arange(self._inner) * (height * width), height * width)
        index = np.tile(grid, self._inner)
        return np.where(index < 0, -1, index + starts)

    def name(self, number: int) -> str:
        return self._changes[number][0] if number < self.fixed else "shifted"

    def number_of_shift(self, shift: int) -> int:
        """Of the circular shift to the right by 1 .. columns - 1."""
        return self.fixed + shift - 1


@lru_cache(maxsize=16)
def transforms_of(layout: Layout) -> Transforms:
    return Transforms(layout)


def apply(x: NDArray[_Real], index: Ints) -> NDArray[_Real]:
    """T(x) along the last axis, in the dtype of x."""
    return np.where(index >= 0, x[..., np.maximum(index, 0)], x.dtype.type(0))
