"""One bit a coordinate, or three levels: the sign, times one magnitude."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..coding import levels, random, rounding, scale, signs
from ..compressor import Claim, Compressor, Vector


@dataclass(frozen=True)
class SignMean(Compressor):
    """The sign of each coordinate times the mean magnitude (scaled sign: arXiv 1901.09847, lemma 8).

    ||C(x) - x||^2 = ||x||^2 - ||x||_1^2 / d, at most (1 - 1/d) ||x||^2.

    payload = mean (3 bytes), a bit a coordinate
    """

    name: ClassVar[str] = "sign x mean"

    def bound(self, d: int) -> Claim:
        return Claim("contractive", 1 - 1 / d + scale.ROUNDING, "arXiv 1901.09847, lemma 8", sure=True)

    def size(self, d: int) -> int:
        return scale.BYTES + signs.size(d) if d else 0

    def encode(self, x: Vector, seed: int) -> bytes:  # noqa: ARG002  nothing is drawn
        return scale.write(scale.cut(scale.norms(x)[0] / x.size, up=False)) + signs.pack(x)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:  # noqa: ARG002
        return signs.unpack(payload[scale.BYTES :], d, scale.read(payload[: scale.BYTES]), dtype)


@dataclass(frozen=True)
class TernGrad(Compressor):
    """m sign(x_i) with probability |x_i| / m, else 0, where m = ||x||_inf (arXiv 1705.07878).

    Unbiased, omega = m ||x||_1 / ||x||^2 - 1 <= (sqrt(d) - 1) / 2, which x = (1, t, ..., t) with t = 1 / (1 + sqrt d) reaches.

    payload = m (3 bytes), levels
    """

    name: ClassVar[str] = "TernGrad"

    def bound(self, d: int) -> Claim:
        return Claim(
            "unbiased", (math.sqrt(d) - 1) / 2 + 2.0**-11 * math.sqrt(d), "arXiv 1705.07878; the maximum is derived"
        )

    def encode(self, x: Vector, seed: int) -> bytes:
        m = scale.cut(float(np.abs(x).max()), up=True)
        return scale.write(m) + levels.encode(rounding.to_levels(x, rounding.one(m), x.size, 1, random.key_of(seed, 0)))

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:  # noqa: ARG002
        m = rounding.one(scale.read(payload[: scale.BYTES]))
        return rounding.from_levels(levels.decode(payload[scale.BYTES :], d, 1), m, d, dtype)
