"""Dithering: levels of one step for the whole vector, at an error that is promised for every vector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from ...errors import FormatError, InputError
from ..coding import levels, random, rounding, scale
from ..compressor import Claim, Compressor, Vector

_SHRINK_UNIT: Final = 1 / 512


@dataclass(frozen=True)
class SparseDithering(Compressor):
    """Levels k = sign(x) floor(|x| / step + u) of step 2 sqrt(nu / d) ||x|| (arXiv 2010.03246, section 4).

    u = 1/2: ||C(x) - x||^2 <= nu ||x||^2 for every x, nu in (0, 1). The levels are moved towards 0 by what lessens the error most,
    which the paper's decoder doesn't do; the promise stays. `randomised`, u uniform on [0, 1): unbiased with omega <= nu,
    nu > 0. The step is rounded down to what the payload holds, so the claims hold exactly.

    payload = step (3 bytes), what the levels are moved by in 512ths of a step (1 byte, if not randomised), levels;
              only the step, 0, for a vector of zeros
    """

    name: ClassVar[str] = "sparse dithering"
    nu: float = 0.25
    randomised: bool = False

    def __post_init__(self) -> None:
        most = 1e6 if self.randomised else 1
        if not 1e-12 <= self.nu < most:
            raise InputError(f"{self.name}: nu must be 1e-12 or more and under {most:g}: {self.nu}")

    def bound(self, d: int) -> Claim:  # noqa: ARG002  dimension-free
        if self.randomised:
            return Claim("unbiased", self.nu, "arXiv 2010.03246, theorem 4")
        return Claim("contractive", self.nu, "arXiv 2010.03246, theorem 3", sure=True)

    def encode(self, x: Vector, seed: int) -> bytes:
        step = scale.cut(2 * math.sqrt(self.nu / x.size) * scale.norm(x), up=False)
        if not step:
            return scale.write(0.0)
        key = random.key_of(seed, 0) if self.randomised else None
        k = rounding.to_levels(x, rounding.one(step), x.size, levels.MOST, key)
        shrink = b"" if self.randomised else bytes([self._shrink(x, k, step)])
        return scale.write(step) + shrink + levels.encode(k)

    @staticmethod
    def _shrink(x: Vector, k: rounding.Levels, step: float) -> int:
        """The least squares move, on a sample of the levels that aren't 0; verified to lessen the error of all of it."""
        sampled = slice(None, None, max(1, x.size >> 16))
        own, values = np.abs(k[sampled]), np.abs(x[sampled].astype(np.float64)) / step
        moved = (own - values)[own > 0]
        return min(255, max(0, math.floor(float(moved.mean()) / _SHRINK_UNIT))) if moved.size else 0

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:  # noqa: ARG002
        step = scale.read(payload[: scale.BYTES])
        rest = payload[scale.BYTES :]
        if not step:
            if len(rest):
                raise FormatError(f"{self.name}: bytes behind a vector of zeros")
            return np.zeros(d, dtype)
        shrink = 0.0
        if not self.randomised:
            if not len(rest):
                raise FormatError(f"{self.name}: no levels")
            shrink, rest = rest[0] * _SHRINK_UNIT, rest[1:]
        return rounding.from_levels(levels.decode(rest, d, levels.MOST), rounding.one(step), d, dtype, shrink)
