"""NIDS and LEAD: a dual variable takes up how the nodes' data differ, so that they converge linearly to the optimum.

Both step by Y = X - eta g - eta D; D <- D + gamma / (2 eta) (I - W) V; X <- X - eta g - eta D, where V is what the others take
for Y; the first step is X - eta g alone. D is in units of a gradient, so that it stays right when the step size changes, and
sums to zero over the nodes.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...errors import InputError
from ..compressor import Vector
from ..compressors.cast import Identity
from .averaging import Damped
from .channel import Choice
from .node import Incoming, Node, Outgoing, Rounds, Setting
from .tracking import TrackingNode


def _primal_dual(
    node: _NIDSNode | _LEADNode, update: Vector, eta: float, gamma: float
) -> Generator[Outgoing, Incoming, None]:
    """A step of both; `node.disagreement(y)` exchanges y and gives (I - W) V."""
    if not eta > 0:
        raise InputError("NIDS and LEAD need a positive step size: their dual is in units of a gradient")
    if node.time == 0:
        node.x -= update
        return
    apart = yield from node.disagreement(node.x - update - eta * node.dual)
    node.dual += (gamma / (2 * eta)) * apart
    node.x -= update
    node.x -= eta * node.dual


@dataclass(frozen=True)
class NIDS(Damped):
    """Network-independent step sizes (arXiv 1704.07807); what LEAD is without compression, with alpha = gamma = 1 (arXiv 2007.00232)."""

    name: ClassVar[str] = "NIDS"
    gamma: float = 1.0

    @property
    def choice(self) -> Choice:
        return Identity()

    def node(self, rank: int, setting: Setting, x: Vector) -> Node:
        return _NIDSNode(rank, setting, x, self.gamma)


class _NIDSNode(Node):
    memory = ("dual",)
    dual: Vector

    def __init__(self, rank: int, setting: Setting, x: Vector, gamma: float) -> None:
        super().__init__(rank, setting, x)
        self.gamma = gamma

    def disagreement(self, y: Vector) -> Generator[Outgoing, Incoming, Vector]:
        _, apart = yield from self.mix(y)
        return apart

    def rounds(self, update: Vector, eta: float) -> Rounds:
        yield from _primal_dual(self, update, eta, self.gamma)


@dataclass(frozen=True)
class LEAD(Damped):
    """Linear convergence under compression (arXiv 2007.00232, algorithm 1): Q = C(Y - H) is sent, V = H + Q, H <- H + alpha Q.

    The compressor has to be unbiased (assumption 2): others are refused.
    """

    name: ClassVar[str] = "LEAD"
    compressor: Choice
    alpha: float = 0.5
    gamma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha <= 1:
            raise InputError(f"alpha is above 0 and at most 1, not {self.alpha:g}")

    @property
    def choice(self) -> Choice:
        return self.compressor

    def check(self, setting: Setting) -> None:
        for slot, compressor, claim in setting.channel.claims():
            if claim.kind not in ("identity", "unbiased"):
                raise InputError(
                    f"LEAD needs an unbiased compressor, and {compressor.name} (parameter {slot.name!r}) is biased: the dual "
                    "variable sums its bias over all steps, and the nodes diverge (arXiv 2007.00232, assumption 2); use an "
                    "unbiased one, such as InfinityNorm or QSGD, or CHOCO or DeepSqueeze with this one"
                )

    def node(self, rank: int, setting: Setting, x: Vector) -> Node:
        return _LEADNode(rank, setting, x, self)

    def constants(self) -> Sequence[float]:
        return self.alpha, self.gamma


class _LEADNode(TrackingNode):
    memory = ("dual",)
    dual: Vector

    def __init__(self, rank: int, setting: Setting, x: Vector, algorithm: LEAD) -> None:
        super().__init__(rank, setting, x, algorithm.alpha)
        self.gamma = algorithm.gamma

    def disagreement(self, y: Vector) -> Generator[Outgoing, Incoming, Vector]:
        apart = yield from self.track(y)
        self.learn()
        return apart

    def rounds(self, update: Vector, eta: float) -> Rounds:
        yield from _primal_dual(self, update, eta, self.gamma)
