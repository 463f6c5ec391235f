"""No memory: what is lost is lost. Right for unbiased compressors, whose losses average out over steps and ranks."""

from __future__ import annotations

from typing import ClassVar

from ..compressor import Vector
from .base import State


class Memoryless(State):
    """x is compressed as it is."""

    kind: ClassVar[str] = "memoryless"
    may_average_in_parts: ClassVar[bool] = True

    def outgoing(self, name: str, x: Vector) -> Vector | None:  # noqa: ARG002  all names alike
        """`x`; None for zeros, which cost nothing."""
        return x if x.any() else None

    def sent(self, name: str, vector: Vector, decoded: Vector) -> None:
        """Nothing to remember."""

    def received(self, name: str, mean: Vector) -> Vector:  # noqa: ARG002
        """The mean itself."""
        return mean
