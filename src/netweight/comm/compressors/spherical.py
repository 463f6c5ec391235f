"""Spherical compression and the Gaussian codebook: random vectors that both sides draw, and the number of a good one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.fixedpoint import EXP2
from ...errors import FormatError, InputError
from ...wire import Reader, Writer
from ..coding import levels, random, scale, sphere
from ..compressor import Claim, Compressor, Vector

_TRIES: Final = 1 << 24
_LEAST_CHANCE: Final = 2.0**-16
_PER_OCTAVE: Final = 16
_ZERO: Final = 60 * _PER_OCTAVE
"""The depth of a block that is sent as zeros."""


def _chance(n: int, cosine: float) -> float:
    """P(<x, v> >= cosine) for v uniform on the sphere of R^n, about."""
    if n == 1:
        return 0.5
    angles = np.linspace(0.0, math.pi, 2049)
    density = np.sin(angles) ** (n - 2)
    return float(density[angles <= math.acos(cosine)].sum() / density.sum())


def _radii(top: float, depths: NDArray[np.int32]) -> NDArray[np.float64]:
    """Top 2^(-depth / 16), by integers and IEEE products; 0 at _ZERO."""
    octaves, part = np.divmod(-depths.astype(np.int64), _PER_OCTAVE)
    factors = np.ldexp(EXP2[part * (256 // _PER_OCTAVE)] / 65536.0, octaves)
    return np.where(depths >= _ZERO, 0.0, top * factors)


@dataclass(frozen=True)
class Spherical(Compressor):
    """Spherical compression (arXiv 2010.03246, section 5) of tiny blocks: the number of the first random unit vector v that is near
    enough, times what its length should be.

    A block b is decoded to rho v with rho near sqrt(1 - alpha) ||b||, and v is taken when ||b - rho v||^2 <= alpha ||b||^2, so the
    claim is sure. The tries grow like alpha^(-block / 2). A block under 2^-60 of the largest norm is sent as zeros.

    payload = largest rho (3 bytes), how far the others are below it in sixteenths of octaves as levels (blob), numbers as levels;
              only the scale, 0, for a vector of zeros
    """

    name: ClassVar[str] = "spherical"
    shares_seed: ClassVar[bool] = True
    alpha: float = 0.25
    block: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or not 1 <= self.block <= 16:
            raise InputError(f"{self.name}: alpha must be in (0, 1) and block 1 to 16: {self.alpha}, {self.block}")
        if _chance(self.block, math.sqrt(1 - self.alpha)) < _LEAST_CHANCE:
            raise InputError(f"{self.name}: over 2^16 tries a block at alpha {self.alpha}: take a smaller block")

    def bound(self, d: int) -> Claim:  # noqa: ARG002  dimension-free
        return Claim("contractive", self.alpha + 2.0**-100, "arXiv 2010.03246, theorem 5", sure=True)

    def encode(self, x: Vector, seed: int) -> bytes:
        exponent = math.frexp(float(np.abs(x).max()))[1]
        rows = np.zeros((-(-x.size // self.block), self.block))
        rows.reshape(-1)[: x.size] = np.ldexp(x.astype(np.float64), -exponent)
        norms = np.sqrt(np.square(rows).sum(axis=1))
        top = scale.cut(float(norms.max()) * math.sqrt(1 - self.alpha), up=False)
        sent = scale.cut(scale.ldexp(top, exponent), up=False)
        if not sent:
            return scale.write(0.0)
        tiny = norms < top * 2.0**-59
        depths = np.rint(-_PER_OCTAVE * np.log2(np.where(tiny, 1.0, norms * math.sqrt(1 - self.alpha) / top)))
        depths = np.where(tiny, _ZERO, np.maximum(depths, 0)).astype(np.int32)
        numbers = self._numbers(rows, norms, _radii(top, depths), seed)
        return Writer().raw(scale.write(sent)).blob(levels.encode(depths)).raw(levels.encode(numbers)).bytes()

    def _numbers(
        self, rows: NDArray[np.float64], norms: NDArray[np.float64], radii: NDArray[np.float64], seed: int
    ) -> NDArray[np.int32]:
        out, used = np.zeros(len(rows), np.int32), radii > 0
        cosines = np.full(len(rows), 2.0)
        n, r = norms[used], radii[used]
        cosines[used] = ((1 - self.alpha) * n**2 + r**2) / (2 * n * r)
        rows[used] /= n[:, None]
        if not sphere.numbers_within(rows, random.key_of(seed, 0), cosines, _TRIES, out):
            raise InputError(f"{self.name}: no vector is near enough among 2^24: take a smaller block")
        return out

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:
        source = Reader(payload, self.name)
        top = scale.read(source.raw(scale.BYTES))
        if not top:
            source.end()
            return np.zeros(d, dtype)
        blocks = -(-d // self.block)
        depths = levels.decode(source.blob(), blocks, _ZERO)
        numbers = levels.decode(source.raw(source.remaining), blocks, _TRIES)
        if int(depths.min()) < 0 or int(numbers.min()) < 0:
            raise FormatError(f"{self.name}: a number under 0")
        out = np.empty((blocks, self.block))
        sphere.members(random.key_of(seed, 0), numbers, _radii(top, depths), out)
        return scale.to_dtype(out.reshape(-1)[:d], dtype)


@dataclass(frozen=True)
class GaussianCodebook(Compressor):
    """The Gaussian codebook of arXiv 2307.07941 (our reading): the nearest in direction among 2^bits random vectors, and its sign.

    x is decoded to <x, v> v, so the error is (1 - cos^2) ||x||^2; the mean of cos^2 of one random direction is 1 / d, and of the
    best about 2 ln(2) bits / d: contractive with 1 - 1 / d in the mean. The sender looks at 2^bits d coordinates.

    payload = |<x, v>| and its sign (3 bytes), number (packed into as few bytes as `bits` needs)
    """

    name: ClassVar[str] = "Gaussian codebook"
    shares_seed: ClassVar[bool] = True
    bits: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise InputError(f"{self.name}: bits must be 1 to 16, not {self.bits}")

    def bound(self, d: int) -> Claim:
        return Claim("contractive", 1 - 1 / d + scale.ROUNDING, "arXiv 2307.07941 (our reading; the mean of cos^2)")

    def size(self, d: int) -> int:
        return scale.BYTES + (self.bits + 7) // 8 if d else 0

    def encode(self, x: Vector, seed: int) -> bytes:
        exponent = math.frexp(float(np.abs(x).max()))[1]
        y = np.ldexp(x.astype(np.float64), -exponent)
        number, product = sphere.best(y, random.key_of(seed, 0), 1 << self.bits, np.empty(x.size))
        length = scale.cut(scale.ldexp(abs(product), exponent), up=False)
        return scale.write(length, product < 0) + int(number).to_bytes((self.bits + 7) // 8, "little")

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:
        if len(payload) != self.size(d):
            raise FormatError(f"{self.name}: {len(payload)} bytes, not {self.size(d)}")
        length, negative = scale.read_flagged(payload[: scale.BYTES])
        number = int.from_bytes(payload[scale.BYTES :], "little")
        if number >> self.bits:
            raise FormatError(f"{self.name}: vector {number} of {1 << self.bits}")
        out = np.empty(d)
        sphere.member(random.key_of(seed, 0), number, out)
        out *= -length if negative else length
        return scale.to_dtype(out, dtype)
