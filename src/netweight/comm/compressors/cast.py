"""The vector itself, and its roundings to half width: what the others are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from ...errors import FormatError
from ..coding import halves
from ..compressor import Claim, Compressor, Vector


@dataclass(frozen=True)
class Identity(Compressor):
    """Every value as it is, little-endian."""

    name: ClassVar[str] = "identity"
    linear: ClassVar[bool] = True

    def bound(self, d: int) -> Claim:  # noqa: ARG002  holds for every length
        return Claim("identity", 0.0, "every bit is sent", sure=True)

    def encode(self, x: Vector, seed: int) -> bytes:  # noqa: ARG002  nothing is drawn
        return x.astype(x.dtype.newbyteorder("<"), copy=False).tobytes()

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:  # noqa: ARG002
        if len(payload) != d * dtype.itemsize:
            raise FormatError(f"{self.name}: {len(payload)} bytes for {d} values of {dtype.name}")
        out: Vector = np.frombuffer(payload, dtype.newbyteorder("<")).astype(dtype)
        if not bool(np.isfinite(out).all()):
            raise FormatError(f"{self.name}: a value that isn't finite")
        return out


@dataclass(frozen=True)
class _Cast(Compressor):
    """Sixteen bits a value, rounded to nearest, after the power of two that brings the largest under 1: nothing overflows.

    payload = exponent (2 bytes), values
    """

    wire: ClassVar[np.dtype[Any]]
    unit: ClassVar[float]
    """Half a unit in the last place of 1."""
    smallest: ClassVar[float]
    """The smallest positive number."""

    def bound(self, d: int) -> Claim:
        return Claim(
            "contractive", self.unit**2 + d * self.smallest**2, f"rounding to {self.wire.name} (derived)", sure=True
        )

    def size(self, d: int) -> int:
        return halves.size(d) if d else 0

    def encode(self, x: Vector, seed: int) -> bytes:  # noqa: ARG002  nothing is drawn
        return halves.write(x, self.wire)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:  # noqa: ARG002
        return halves.read(payload, d, self.wire, dtype)


@dataclass(frozen=True)
class Float16(_Cast):
    """IEEE half precision: eleven bits of each value, twenty-five below the largest one."""

    name: ClassVar[str] = "fp16"
    wire: ClassVar[np.dtype[Any]] = np.dtype(np.float16)
    unit: ClassVar[float] = 2.0**-11
    smallest: ClassVar[float] = 2.0**-24


@dataclass(frozen=True)
class BFloat16(_Cast):
    """The upper half of a float32: eight bits of each value."""

    name: ClassVar[str] = "bf16"
    wire: ClassVar[np.dtype[Any]] = np.dtype(ml_dtypes.bfloat16)
    unit: ClassVar[float] = 2.0**-8
    smallest: ClassVar[float] = 2.0**-133
