"""Error feedback: what a message lost is added to the next one.

c = C(x + e), e <- x + e - c (Seide et al. 2014; Karimireddy et al., arXiv 1901.09847, algorithm 1). It turns every
contractive compressor into one with which SGD converges.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..compressor import Vector
from .base import State, plus


class ErrorFeedback(State):
    """One vector e for each name."""

    kind: ClassVar[str] = "error feedback"
    slots: ClassVar[tuple[str, ...]] = ("error",)
    may_average_in_parts: ClassVar[bool] = True

    def outgoing(self, name: str, x: Vector) -> Vector | None:
        """The sum of x and e. Nothing for a gradient of zeros: DDP leaves a parameter that no rank used as it is, so what would be
        sent of e then would be lost.
        """
        return plus(x, self.remembered("error", name, x)) if x.any() else None

    def sent(self, name: str, vector: Vector, decoded: Vector) -> None:
        """Keep what the receivers haven't seen."""
        self.remember("error", name, np.subtract(vector, decoded))

    def received(self, name: str, mean: Vector) -> Vector:  # noqa: ARG002
        """The mean of what was sent."""
        return mean
