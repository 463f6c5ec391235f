"""Uniform levels between the extremes of a vector."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from ...errors import FormatError, InputError
from ..coding import levels, packing, random, rounding, scale
from ..compressor import Claim, Compressor, Vector

_UP: Final = (1 + 2.0**-12) ** 2
"""What rounding a scale up may add to a variance."""


@dataclass(frozen=True)
class InfinityNorm(Compressor):
    """LEAD's quantiser (arXiv 2007.00232, section 5): in blocks, m 2^-(b-1) sign(x) floor(2^(b-1) |x| / m + u), m = ||x||_inf.

    u is uniform on [0, 1): unbiased. A coordinate's variance is at most (m 2^-(b-1))^2 / 4, and m^2 <= ||block||^2, so
    omega <= block 4^-b.

    payload = scale of each block (3 bytes), levels
    """

    name: ClassVar[str] = "infinity norm"
    bits: int = 2
    block: int = 512

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16 or self.block < 1:
            raise InputError(f"{self.name}: bits must be 1 to 16 and block at least 1: {self.bits}, {self.block}")

    def bound(self, d: int) -> Claim:
        return Claim("unbiased", min(self.block, d) * 4.0**-self.bits * _UP, "arXiv 2007.00232, remark 7")

    def encode(self, x: Vector, seed: int) -> bytes:
        m = scale.cut_up(np.maximum.reduceat(np.abs(x), np.arange(0, x.size, self.block)).astype(np.float64))
        most = 1 << (self.bits - 1)
        k = rounding.to_levels(x, m / most, self.block, most, random.key_of(seed, 0))
        return scale.write_all(m) + levels.encode(k)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:  # noqa: ARG002
        blocks, most = -(-d // self.block), 1 << (self.bits - 1)
        m = scale.read_all(payload[: scale.BYTES * blocks], blocks)
        return rounding.from_levels(
            levels.decode(payload[scale.BYTES * blocks :], d, most), m / most, self.block, dtype
        )


@dataclass(frozen=True)
class QSGD(Compressor):
    """||x|| / s sign(x) floor(s |x| / ||x|| + u) with `s` levels (arXiv 1610.02132, lemma 3.1): omega <= min(d / s^2, sqrt(d) / s).

    payload = norm (3 bytes), levels
    """

    name: ClassVar[str] = "QSGD"
    s: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.s <= 1 << 24:
            raise InputError(f"{self.name}: s must be 1 to 2^24, not {self.s}")

    def bound(self, d: int) -> Claim:
        return Claim("unbiased", min(d / self.s**2, math.sqrt(d) / self.s) * _UP, "arXiv 1610.02132, lemma 3.1")

    def encode(self, x: Vector, seed: int) -> bytes:
        norm = scale.cut(scale.norm(x), up=True)
        k = rounding.to_levels(x, rounding.one(norm / self.s), x.size, self.s, random.key_of(seed, 0))
        return scale.write(norm) + levels.encode(k)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:  # noqa: ARG002
        step = rounding.one(scale.read(payload[: scale.BYTES]) / self.s)
        return rounding.from_levels(levels.decode(payload[scale.BYTES :], d, self.s), step, d, dtype)


@dataclass(frozen=True)
class MinMax(Compressor):
    """2^bits levels from the least value to the largest, packed: fixed size (arXiv 2401.07788, section 3.1).

    To the nearest: an error of at most step / 2 each, and (max - min)^2 <= 2 ||x||^2, so ||C(x) - x||^2 <= d / (2 (2^bits - 1)^2)
    ||x||^2, which claims nothing where that is 1 or more. `stochastic`: unbiased with that omega.

    payload = least value (8 bytes), step (3 bytes), levels
    """

    name: ClassVar[str] = "min-max"
    bits: int = 4
    stochastic: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise InputError(f"{self.name}: bits must be 1 to 16, not {self.bits}")

    @property
    def _most(self) -> int:
        return (1 << self.bits) - 1

    def bound(self, d: int) -> Claim:
        value, source = d / (2 * self._most**2) * _UP + 2.0**-48, "step^2 / 4 a coordinate (derived)"
        if self.stochastic:
            return Claim("unbiased", value, source)
        return Claim("contractive" if value < 1 else "none", value, source, sure=value < 1)

    def size(self, d: int) -> int:
        return 8 + scale.BYTES + packing.size(d, self.bits) if d else 0

    def encode(self, x: Vector, seed: int) -> bytes:
        low, high = float(x.min()), float(x.max())
        if not math.isfinite(high - low):
            raise InputError(f"{self.name}: the difference of the extremes isn't a float64")
        step = scale.cut((high - low) / self._most, up=True)
        key = random.key_of(seed, 0) if self.stochastic else None
        k = rounding.to_levels(x, rounding.one(step), x.size, self._most, key, offset=low)
        return struct.pack("<d", low) + scale.write(step) + packing.pack(k.view(np.uint32), self.bits)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:  # noqa: ARG002
        if len(payload) != self.size(d):
            raise FormatError(
                f"{self.name}: {len(payload)} bytes for {d} values of {self.bits} bits, not {self.size(d)}"
            )
        low = float(struct.unpack("<d", payload[:8])[0])
        step = scale.read(payload[8 : 8 + scale.BYTES])
        if not math.isfinite(low) or not math.isfinite(low + step * self._most):
            raise FormatError(f"{self.name}: the least value is {low}, the step {step}")
        return rounding.from_offset(packing.unpack(payload[8 + scale.BYTES :], d, self.bits), low, step, dtype)
