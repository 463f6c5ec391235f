"""D-PSGD, CHOCO and DeepSqueeze: mix with the neighbours, with and without memory of what compression lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from ...errors import InputError
from ..compressor import Claim, Vector
from ..compressors.cast import Identity
from .channel import Choice
from .node import Algorithm, Node, Rounds, Setting
from .topology import Topology
from .tracking import TrackingNode

_ROUNDING_ONLY: Final = 2.0**-7


def check_gamma(gamma: float) -> None:
    """Raises InputError unless 0 < gamma <= 2."""
    if not 0 < gamma <= 2:
        raise InputError(f"gamma is above 0 and at most 2, not {gamma:g}")


class Damped(Algorithm):
    """Algorithms that go towards their neighbours by gamma, in (0, 2]; those with more to agree on say so in `constants`.

    Raises InputError for another gamma.
    """

    gamma: float

    def __post_init__(self) -> None:
        check_gamma(self.gamma)

    def constants(self) -> Sequence[float | bool]:
        return (self.gamma,)


@dataclass(frozen=True)
class DPSGD(Damped):
    """x_i <- x_i - gamma sum_j w_ij (x_i - x_j) - eta g_i (arXiv 1705.09056); with whole gradients it is DGD.

    With a constant step size it stops at a distance of order eta from the optimum where nodes hold different data, and it is
    stable for eta < (1 + lambda_n) / L alone, lambda_n the least eigenvalue of W (-1/3 on a ring); `adapt_first` up to 2 / L.
    `adapt_first` mixes x - eta g instead of x, as a local optimizer followed by averaging does. Messages are whole vectors or
    their roundings (Float16, BFloat16); compression to fewer bits needs the memory of the other algorithms and is refused.
    """

    name: ClassVar[str] = "D-PSGD"
    compressor: Choice = Identity()  # noqa: RUF009  frozen
    gamma: float = 1.0
    adapt_first: bool = False

    @property
    def choice(self) -> Choice:
        return self.compressor

    def check(self, setting: Setting) -> None:
        for slot, compressor, claim in setting.channel.claims():
            if claim.kind == "none" or claim.contraction > _ROUNDING_ONLY:
                raise InputError(
                    f"D-PSGD sends whole vectors: {compressor.name} loses a part of parameter {slot.name!r} that nothing "
                    "makes up for, so that nodes would stay apart; use CHOCO, DeepSqueeze or LEAD"
                )

    def node(self, rank: int, setting: Setting, x: Vector) -> Node:
        return _DPSGDNode(rank, setting, x, self)

    def constants(self) -> Sequence[float | bool]:
        return self.gamma, self.adapt_first


class _DPSGDNode(Node):
    def __init__(self, rank: int, setting: Setting, x: Vector, algorithm: DPSGD) -> None:
        super().__init__(rank, setting, x)
        self.algorithm = algorithm

    def rounds(self, update: Vector, eta: float) -> Rounds:  # noqa: ARG002  the update has it
        stepped = self.x - update
        _, apart = yield from self.mix(stepped if self.algorithm.adapt_first else self.x)
        np.subtract(stepped, self.algorithm.gamma * apart, out=self.x)


@dataclass(frozen=True)
class CHOCO(Damped):
    """CHOCO-SGD, and CHOCO-Gossip where the updates are zero (arXiv 1902.00340, algorithms 1 and 2).

    y = x - eta g; send q = C(y - x_hat); x_hat_j <- x_hat_j + q_j; x <- y - gamma sum_j w_ij (x_hat_i - x_hat_j). Any contractive
    or unbiased compressor; gamma falls with its loss and has to be tuned (`proven_gamma` is safe, and far too small).
    """

    name: ClassVar[str] = "CHOCO"
    compressor: Choice
    gamma: float = 0.5

    @property
    def choice(self) -> Choice:
        return self.compressor

    def node(self, rank: int, setting: Setting, x: Vector) -> Node:
        return _CHOCONode(rank, setting, x, self.gamma)

    @staticmethod
    def proven_gamma(topology: Topology, claim: Claim) -> float:
        """The gamma of theorem 2: rho^2 w / (16 rho + rho^2 + 4 b^2 + 2 rho b^2 - 8 rho w), w = 1 - alpha, b = ||I - W||."""
        rho, kept = topology.spectral_gap, 1 - claim.contraction
        b2 = float(1 - topology.eigenvalues[0]) ** 2
        return rho * rho * kept / (16 * rho + rho * rho + 4 * b2 + 2 * rho * b2 - 8 * rho * kept)


class _CHOCONode(TrackingNode):
    def __init__(self, rank: int, setting: Setting, x: Vector, gamma: float) -> None:
        super().__init__(rank, setting, x, rate=1.0)
        self.gamma = gamma

    def rounds(self, update: Vector, eta: float) -> Rounds:  # noqa: ARG002
        stepped = self.x - update
        apart = yield from self.track(stepped)
        np.subtract(stepped, self.gamma * apart, out=self.x)
        self.learn()


@dataclass(frozen=True)
class DeepSqueeze(Damped):
    """Error-compensated decentralised SGD (arXiv 1907.07346, algorithm 1).

    v = x - eta g + e; send C(v); e <- v - C(v); x <- x - eta g - gamma sum_j w_ij (C(v_i) - C(v_j)). What is coded is the
    vector itself, not a difference that shrinks: the error left is of the order of the compressor's on x.
    """

    name: ClassVar[str] = "DeepSqueeze"
    compressor: Choice
    gamma: float = 0.2

    @property
    def choice(self) -> Choice:
        return self.compressor

    def node(self, rank: int, setting: Setting, x: Vector) -> Node:
        return _DeepSqueezeNode(rank, setting, x, self.gamma)


class _DeepSqueezeNode(Node):
    memory = ("lost",)
    lost: Vector

    def __init__(self, rank: int, setting: Setting, x: Vector, gamma: float) -> None:
        super().__init__(rank, setting, x)
        self.gamma = gamma

    def rounds(self, update: Vector, eta: float) -> Rounds:  # noqa: ARG002
        stepped = self.x - update
        compensated = stepped + self.lost
        own, apart = yield from self.mix(compensated)
        np.subtract(compensated, own, out=self.lost)
        np.subtract(stepped, self.gamma * apart, out=self.x)
