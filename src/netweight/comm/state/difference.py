"""Differences to what the receiver knows already: they shrink as the vectors settle, and what C loses shrinks with them.

EF21   h <- h + C(x - h), estimate h                   (Richtarik et al., arXiv 2106.05203, algorithm 2)
DIANA  estimate h + C(x - h), h <- h + a C(x - h)      (Mishchenko et al., arXiv 1901.09269, algorithm 1); C unbiased,
                                                       a <= 1 / (1 + omega)
AQ-SGD EF21 with one h for each training example       (Wang et al., arXiv 2206.01299, algorithm 1)

A sender keeps its own h; receivers keep the mean of all senders' h, which every rank computes from the same messages.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ...errors import InputError
from ..compressor import Compressor, Vector
from ..compressors.cast import Identity
from ..policy import Policy, Role
from .base import State, minus, plus


class DifferenceMemory(State):
    """h moves by `rate` times what was decoded; the estimate is h + C(x - h)."""

    kind: ClassVar[str] = "difference memory"
    slots: ClassVar[tuple[str, ...]] = ("own", "mean")

    def __init__(self, policy: Policy | Compressor, *, rate: float = 1.0, **options: Any) -> None:
        if not 0 < rate <= 1:
            raise InputError(f"a memory's rate is in (0, 1], not {rate}")
        super().__init__(policy, **options)
        self.rate = rate

    def outgoing(self, name: str, x: Vector) -> Vector | None:
        """The difference to h; for a gradient of zeros too, which is news to those who know h."""
        return minus(x, self.remembered("own", name, x))

    def sent(self, name: str, vector: Vector, decoded: Vector) -> None:  # noqa: ARG002  only what was seen counts
        """Move h as the receivers will."""
        self.remember("own", name, self._moved("own", name, decoded))

    def received(self, name: str, mean: Vector) -> Vector:
        """The mean of all h, and the news."""
        self.remember("mean", name, self._moved("mean", name, mean))
        return plus(mean, self.remembered("mean", name, mean))

    def _moved(self, slot: str, name: str, decoded: Vector) -> Vector:
        move = decoded if self.rate == 1 else np.multiply(decoded, decoded.dtype.type(self.rate))
        old = self.remembered(slot, name, decoded)
        return move.copy() if old is None else np.add(old, move)

    def settings(self) -> dict[str, Any]:
        """The rate as well."""
        return super().settings() | {"rate": self.rate}


class EF21(DifferenceMemory):
    """A difference memory of rate 1, for contractive compressors."""

    kind: ClassVar[str] = "EF21"

    def __init__(self, policy: Policy | Compressor, **options: Any) -> None:
        super().__init__(policy, rate=1.0, **options)


class AQSGD(EF21):
    """EF21 with one memory for each training example; the first message of an example is exact, as in the paper.

    For `PipelineLink`, which tells it the examples. The memory is that of all activations of the data set at this
    boundary: numel x dtype for each example seen.
    """

    kind: ClassVar[str] = "AQ-SGD"
    first: ClassVar[Compressor] = Identity()

    def compressor(self, name: str, numel: int, role: Role) -> Compressor:
        """Exact until both sides know the example."""
        known = name in self._memory["own"] or name in self._memory["mean"]
        return super().compressor(name, numel, role) if known else self.first
