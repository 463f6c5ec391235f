"""Two schemes for unit-norm vectors at high distortion (arXiv 2307.07941), as we read their names: few bits, whatever d is.

A rotation makes every block of m coordinates look alike. One block is sent, a bit a coordinate: the strongest (biased), or a random
one, scaled by how many there are (unbiased).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, InputError
from ..coding import random, rotation, rounding, scale, signs
from ..compressor import Claim, Compressor, Vector


def _cut(d: int, block: int) -> NDArray[np.int64]:
    """Where blocks of about `block` coordinates begin, and d."""
    return np.linspace(0, d, max(1, round(d / block)) + 1).round().astype(np.int64)


def _check(name: str, block: int) -> None:
    if not 1 <= block <= 1 << 24:
        raise InputError(f"{name}: block must be 1 to 2^24, not {block}")


def _normalised(x: Vector, seed: int) -> tuple[NDArray[np.float64], int]:
    """The rotated vector divided by a power of two, and its exponent."""
    exponent = math.frexp(float(np.abs(x).max()))[1]
    return rotation.rotated(np.ldexp(x.astype(np.float64), -exponent), rotation.key(seed)), exponent


def _back(block: Vector, start: int, d: int, dtype: np.dtype[Any], seed: int) -> Vector:
    """The vector whose rotated coordinates are 0 but for those of one block."""
    out = np.zeros(d)
    out[start : start + block.size] = block
    return scale.to_dtype(rotation.rotate_back(out, rotation.key(seed)), dtype)


@dataclass(frozen=True)
class MaxBlockNorm(Compressor):
    """Max block norm quantisation (our reading): the strongest of the rotated blocks by ||block||_1^2 / m, as sign x mean, and its number.

    ||C(x) - x||^2 = ||x||^2 - max ||block||_1^2 / m <= (1 - 1/d) ||x||^2, for a block's part is at least ||block||^2 / m; about 1 -
    (2 / pi) m / d for coordinates close to Gaussian.

    payload = mean (3 bytes), number (as few bytes as it needs), a bit a coordinate
    """

    name: ClassVar[str] = "max block norm"
    shares_seed: ClassVar[bool] = True
    block: int = 64

    def __post_init__(self) -> None:
        _check(self.name, self.block)

    def bound(self, d: int) -> Claim:
        value = min(1.0, 1 - 1 / d + scale.ROUNDING + 2.0**-44)
        return Claim("contractive", value, "arXiv 2307.07941 (our reading; derived)", sure=True)

    def _number_bytes(self, d: int) -> int:
        return (len(_cut(d, self.block)) - 2).bit_length() + 7 >> 3

    def encode(self, x: Vector, seed: int) -> bytes:
        y, exponent = _normalised(x, seed)
        places = _cut(x.size, self.block)
        means = np.add.reduceat(np.abs(y), places[:-1]) / np.diff(places)
        number = int(np.argmax(means**2 * np.diff(places)))
        mean = scale.cut(scale.ldexp(float(means[number]), exponent), up=False)
        part = y[places[number] : places[number + 1]]
        return scale.write(mean) + number.to_bytes(self._number_bytes(x.size), "little") + signs.pack(part)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:
        places, head = _cut(d, self.block), scale.BYTES + self._number_bytes(d)
        mean, number = scale.read(payload[: scale.BYTES]), int.from_bytes(payload[scale.BYTES : head], "little")
        if number >= places.size - 1:
            raise FormatError(f"{self.name}: block {number} of {places.size - 1}")
        count = int(places[number + 1] - places[number])
        part = signs.unpack(payload[head:], count, mean, np.dtype(np.float64))
        return _back(part, int(places[number]), d, dtype, seed)


@dataclass(frozen=True)
class SparseRandomised(Compressor):
    """The sparse randomised scheme (our reading): one random block of the rotated vector, known from the seed, as m sign with
    probabilities that make it unbiased, m = ||block||_inf, times the number of blocks B.

    E ||C(x)||^2 = B sum over blocks of n m^2 <= B n ||x||^2, so omega <= B n - 1 with n the largest block; about 2 ln(n) d / n for
    coordinates close to Gaussian.

    payload = m (3 bytes), a bit a coordinate
    """

    name: ClassVar[str] = "sparse randomised"
    shares_seed: ClassVar[bool] = True
    block: int = 64

    def __post_init__(self) -> None:
        _check(self.name, self.block)

    def bound(self, d: int) -> Claim:
        sizes = np.diff(_cut(d, self.block))
        value = float(sizes.size * sizes.max()) * (1 + 2.0**-10)
        return Claim("unbiased", value - 1, "arXiv 2307.07941 (our reading; derived)")

    def _place(self, d: int, seed: int) -> tuple[int, int, int]:
        """(start, end, number of blocks)."""
        places = _cut(d, self.block)
        chosen = int(random.subset(random.key_of(seed, 1), 1, places.size - 1)[0])
        return int(places[chosen]), int(places[chosen + 1]), places.size - 1

    def encode(self, x: Vector, seed: int) -> bytes:
        y, exponent = _normalised(x, seed)
        start, end, _ = self._place(x.size, seed)
        part = np.ascontiguousarray(y[start:end])
        most = scale.cut(float(np.abs(part).max()), up=True)
        sent = scale.cut(scale.ldexp(most, exponent), up=True)
        if not sent:
            return scale.write(0.0)
        up = rounding.to_levels(part + most, rounding.one(2 * most), part.size, 1, random.key_of(seed, 2))
        return scale.write(sent) + signs.pack(up - 0.5)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:
        start, end, count = self._place(d, seed)
        most = scale.read(payload[: scale.BYTES])
        if not most:
            if len(payload) > scale.BYTES:
                raise FormatError(f"{self.name}: bytes behind a vector of zeros")
            return np.zeros(d, dtype)
        part = signs.unpack(payload[scale.BYTES :], end - start, most * count, np.dtype(np.float64))
        return _back(part, start, d, dtype, seed)
