"""Decentralised training: a torch optimizer's local step, then gossip with the neighbours instead of an all-reduce."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ..compressor import Vector
from ..tensors import as_vector, library, to_torch, write
from .run import Gossip, Matrix

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup


class ParameterVector:
    """The trainable parameters of a module, laid end to end in the order of their names' appearance.

    float32, or float64 if one of them is; narrower floats are widened on the way out and rounded on the way in.
    """

    def __init__(self, named_parameters: Iterable[tuple[str, torch.Tensor]]) -> None:
        self.parameters = {name: p for name, p in named_parameters if p.requires_grad}
        if not self.parameters:
            raise InputError("there are no trainable parameters to exchange")
        self.shapes = {name: tuple(p.shape) for name, p in self.parameters.items()}
        wide = any(p.dtype == library().float64 for p in self.parameters.values())
        self.dtype = np.dtype("float64" if wide else "float32")

    def read(self) -> Vector:
        """A copy of the values, float [d]. Raises UnsupportedError for parameters that aren't dense floats."""
        parts = [as_vector(p).astype(self.dtype, copy=False) for p in self.parameters.values()]
        return np.concatenate(parts)

    def write(self, x: Vector) -> None:
        """Every parameter from float `x` [d], in place."""
        start = 0
        for parameter in self.parameters.values():
            write(parameter, x[start : start + parameter.numel()])
            start += parameter.numel()


class GossipOptimizer:
    """`optimizer` steps on this rank's gradients, then parameters gossip. One per rank; all ranks make it at once.

        optimizer = GossipOptimizer(torch.optim.SGD(model.parameters(), 0.1), model.named_parameters(), Gossip(Topology.ring(8)))
        loss.backward(); optimizer.step(); optimizer.zero_grad()

    Ranks start from their own parameters (seed them alike). Buffers (running means of batch norms) stay local. A scheduler
    works on the inner optimizer, whose first group's step size is the eta of LEAD and NIDS. Algorithms that mix before they
    adapt (D-PSGD) use gradients taken before the mix, as in their papers. Raises what `Gossip.join` raises.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        named_parameters: Iterable[tuple[str, torch.Tensor]],
        gossip: Gossip,
        *,
        group: ProcessGroup | None = None,
        timeout: float | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.vector = ParameterVector(named_parameters)
        self.run = gossip.join(self.vector.read(), self.vector.shapes, group=group, timeout=timeout)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """The local step and a step of gossip; what `optimizer.step` returns.

        If gossip fails (NetweightError) the local step is done and nothing that was received is applied.
        """
        before = self.vector.read()
        result = self.optimizer.step(closure) if closure is not None else self.optimizer.step()
        self.run.x[0] = before
        update: Matrix = (before - self.vector.read())[None]
        self.run.apply(update, float(self.optimizer.param_groups[0]["lr"]))
        self.vector.write(self.run.x[0])
        return result

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As torch's."""
        self.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The inner optimizer's state and this rank's gossip state, as tensors: for `torch.save`, one file a rank."""
        state = self.run.state_dict()
        ((rank, arrays),) = state["nodes"].items()
        tensors = {name: to_torch(a.reshape(-1)).reshape(a.shape) for name, a in arrays.items()}
        return {"optimizer": self.optimizer.state_dict(), "gossip": {**state, "nodes": {rank: tensors}}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, parameters of the model included. Raises InputError if it is of other settings or another rank."""
        gossip = state["gossip"]
        nodes = {rank: {name: t.numpy() for name, t in ts.items()} for rank, ts in gossip["nodes"].items()}
        self.run.load_state_dict({**gossip, "nodes": nodes})
        self.optimizer.load_state_dict(state["optimizer"])
        self.vector.write(self.run.x[0])
