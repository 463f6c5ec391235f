"""A few coordinates: the largest ones, or random ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, InputError
from ..coding import halves, positions, random, scale, signs
from ..compressor import Claim, Compressor, Vector

VALUES: Final = ("fp32", "fp16", "bit")
_HALF: Final = np.dtype(np.float16)


def _count(fraction: float, count: int | None, d: int) -> int:
    if count is not None:
        return min(count, d)
    return min(d, max(1, round(fraction * d)))


def _check(name: str, fraction: float, count: int | None, values: str) -> None:
    if not 0 < fraction <= 1 or (count is not None and count < 1):
        raise InputError(f"{name}: fraction must be in (0, 1] and count at least 1: {fraction}, {count}")
    if values not in VALUES:
        raise InputError(f"{name}: values are one of {', '.join(VALUES)}, not {values!r}")


def write_values(x: Vector, values: str, key: np.uint64 | None = None) -> bytes:
    """`x` as float32, float16 (unbiased with a `key`) or signs after their mean; a float64 `x` after its power of two."""
    if values == "bit":
        return scale.write(scale.cut(scale.norms(x)[0] / x.size, up=False)) + signs.pack(x)
    if values == "fp16":
        return halves.write(x, _HALF, key)
    if x.dtype == np.float32:
        return x.astype("<f4", copy=False).tobytes()
    exponent = math.frexp(float(np.abs(x).max()))[1]
    return exponent.to_bytes(2, "little", signed=True) + np.ldexp(x, -exponent).astype("<f4").tobytes()


def values_size(k: int, values: str, dtype: np.dtype[Any]) -> int:
    """Bytes of `write_values`."""
    if values == "bit":
        return scale.BYTES + signs.size(k)
    return halves.size(k) if values == "fp16" else 4 * k + (2 if dtype == np.float64 else 0)


def read_values(payload: memoryview, k: int, values: str, dtype: np.dtype[Any]) -> Vector:
    """The inverse of `write_values`. Raises FormatError."""
    if len(payload) != values_size(k, values, dtype):
        raise FormatError(f"{len(payload)} bytes for {k} values as {values}")
    if values == "bit":
        return signs.unpack(payload[scale.BYTES :], k, scale.read(payload[: scale.BYTES]), dtype)
    if values == "fp16":
        return halves.read(payload, k, _HALF, dtype)
    exponent = int.from_bytes(payload[:2], "little", signed=True) if dtype == np.float64 else 0
    single = np.frombuffer(payload[-4 * k :], "<f4")
    if not np.isfinite(single).all() or abs(exponent) > 1100:
        raise FormatError("a value that isn't finite")
    found: Vector = single.astype(dtype)
    if not exponent:
        return found
    with np.errstate(over="ignore"):
        return scale.to_dtype(np.ldexp(found, exponent), dtype)


@dataclass(frozen=True)
class TopK(Compressor):
    """The k largest coordinates: `count` of them, or the nearest whole number to `fraction` d, at least one.

    ||C(x) - x||^2 <= (1 - k/d) ||x||^2 (arXiv 1809.07599, lemma A.1); with one bit a value, (1 - 1/d) ||x||^2, since
    ||x_S||_1^2 / k >= ||x_S||^2 / k >= ||x||^2 / d.

    payload = positions after their length, values
    """

    name: ClassVar[str] = "top k"
    fraction: float = 0.1
    count: int | None = None
    values: str = "fp32"

    def __post_init__(self) -> None:
        _check(self.name, self.fraction, self.count, self.values)

    def k(self, d: int) -> int:
        """How many coordinates of `d` are sent."""
        return _count(self.fraction, self.count, d)

    def bound(self, d: int) -> Claim:
        kept = 1 if self.values == "bit" else self.k(d)
        rounding = {"fp32": 2.0**-48, "fp16": 2.0**-20, "bit": scale.ROUNDING}[self.values]
        return Claim("contractive", 1 - kept / d + rounding, "arXiv 1809.07599, lemma A.1", sure=True)

    def encode(self, x: Vector, seed: int) -> bytes:  # noqa: ARG002  nothing is drawn
        k = self.k(x.size)
        places = np.sort(np.argpartition(np.abs(x), x.size - k)[x.size - k :])
        return write_values(x[places], self.values) + positions.encode(places, x.size)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:  # noqa: ARG002
        k = self.k(d)
        head = values_size(k, self.values, dtype)
        out = np.zeros(d, dtype)
        values = read_values(payload[:head], k, self.values, dtype)
        out[positions.decode(payload[head:], k, d)] = values
        return out


@dataclass(frozen=True)
class RandK(Compressor):
    """k random coordinates, each set equally likely, known to the receiver from the seed: only values are sent.

    `unbiased` scales by d/k: omega = d/k - 1. Else E ||C(x) - x||^2 = (1 - k/d) ||x||^2 (arXiv 1809.07599, lemma A.1); with one
    bit a value the claim is contractive with 1 - 1/d, as of `TopK`.

    payload = values
    """

    name: ClassVar[str] = "rand k"
    shares_seed: ClassVar[bool] = True
    fraction: float = 0.1
    count: int | None = None
    values: str = "fp32"
    unbiased: bool = True

    def __post_init__(self) -> None:
        _check(self.name, self.fraction, self.count, self.values)
        if self.unbiased and self.values == "bit":
            raise InputError("rand k: one bit a value isn't unbiased: pass unbiased=False")

    @property
    def linear(self) -> bool:
        """Payloads of float32 vectors with fp32 values are the sums' summands."""
        return self.values == "fp32"

    def k(self, d: int) -> int:
        """How many coordinates of `d` are sent."""
        return _count(self.fraction, self.count, d)

    def bound(self, d: int) -> Claim:
        k, source = self.k(d), "arXiv 1809.07599, lemma A.1"
        if self.unbiased:
            return Claim("unbiased", d / k - 1, source)
        return Claim("contractive", 1 - (1 if self.values == "bit" else k) / d, source)

    def _places(self, d: int, seed: int) -> NDArray[np.int64]:
        return random.subset(random.key_of(seed, 0), self.k(d), d)

    def encode(self, x: Vector, seed: int) -> bytes:
        key = random.key_of(seed, 1) if self.unbiased else None
        return write_values(x[self._places(x.size, seed)], self.values, key)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:
        k = self.k(d)
        values = read_values(payload, k, self.values, dtype).astype(np.float64)
        out = np.zeros(d, np.float64)
        with np.errstate(over="ignore"):
            out[self._places(d, seed)] = values * (d / k) if self.unbiased else values
        return scale.to_dtype(out, dtype)
