"""Channels and singular values as units of one problem: what each changes in the loss, and what it costs.

Of each unit u (a group of coupled channels, or one singular value of one layer's weight) the change of each batch's loss, to
first order, is kept: a[u, b] = g_b . dW_u. Whatever is removed together changes batch b's loss by the sum of its units', and the
loss that is minimised is the sum over batches of that squared (arXiv 2105.11228): it joins units of all layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from . import layers
from .factors import can_factor
from .graph.narrow import Coupling, Group
from .network import Network
from .protocol import Context
from .steps.low_rank import candidates

Changes = NDArray[np.float64]
_MOST_FLOATS: Final = 1 << 27  # of all batches' gradients
_TENSORS: Final = ("weight", "bias")


@dataclass
class Layer:
    """A layer that can be factored: its part of the MACs, its rank now (singular values left), and who cuts it."""

    module: Any
    macs: float
    columns: int
    rows: int
    kernel: int
    rank: int
    dead_columns: int = 0
    dead_rows: int = 0
    weight: torch.Tensor = field(default_factory=lambda: torch.zeros(0))

    @property
    def left(self) -> tuple[int, int]:
        """(columns, rows) that are left."""
        return self.columns - self.dead_columns, self.rows - self.dead_rows

    @property
    def place(self) -> float:
        """MACs of one weight."""
        return self.macs / (self.columns * self.rows * self.kernel)

    def whole_cost(self) -> float:
        columns, rows = self.left
        return self.place * columns * rows * self.kernel

    def factored_cost(self) -> float:
        columns, rows = self.left
        return self.place * self.rank * (columns * self.kernel + rows)

    def cost(self) -> float:
        """MACs with the factors or without, whichever are fewer."""
        return min(self.whole_cost(), self.factored_cost())

    @property
    def factored(self) -> bool:
        return self.factored_cost() < self.whole_cost()


class Units:
    """The units of a network with their changes of the loss, on weights as they are after what was removed."""

    def __init__(self, network: Network, context: Context, batches: int) -> None:
        self.coupling = Coupling(network, context.args, context.named)
        found, macs = candidates(network, context)
        self.layers = {
            m: Layer(m, macs[p], m.weight.shape[1], m.weight.shape[0], m.weight[0, 0].numel(), 0)
            for p, m in found.items() if can_factor(m, "channel")
        }  # fmt: skip
        for layer in self.layers.values():
            layer.weight = layer.module.weight.detach().double().clone()
            layer.rank = int(min(layer.rows, layer.columns * layer.kernel))
        self.other_macs = context.cost(network).macs - sum(x.macs for x in self.layers.values())
        self.tensors = [(a, m) for m in self.coupling.found.roles.of for a in _axes(m)]
        self.gradients = self._gradients(network, context, batches)
        self.dead: set[int] = set()
        self.state = np.zeros(len(self.gradients))
        self.left = dict(self.coupling.sizes)

    def _gradients(self, network: Network, context: Context, batches: int) -> list[dict[tuple[Any, str], torch.Tensor]]:
        """Gradients of each batch by (layer, tensor)."""
        size = sum(a.tensor.numel() for a, _ in self.tensors)
        count = max(2, min(batches, _MOST_FLOATS // max(size, 1)))
        out = []
        network.eval()
        for loss in context.batches(network, count, seed=5):
            network.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            out.append(
                {(m, a.name): a.tensor.grad.detach().clone() for a, m in self.tensors if a.tensor.grad is not None}
            )
        network.zero_grad(set_to_none=True)
        return out

    def cost(self) -> float:
        """MACs now; what can't be factored counts as it was, less its dead channels' share."""
        return self.other_macs + sum(layer.cost() for layer in self.layers.values())

    # --- changes ---

    def channels(self) -> tuple[list[Group], Changes]:
        """(groups that are left, their changes [groups, batches])."""
        groups = [g for g in self.coupling.groups if g.number not in self.dead]
        of = self.coupling.group_of
        read = {g.number for g in groups if any(role in ("column", "deep") for _, role in g.places)}
        reads = np.zeros(of.size, bool)
        reads[list(read)] = True
        out = np.zeros((len(groups), len(self.gradients)))
        numbers = [g.number for g in groups]
        for b, found in enumerate(self.gradients):
            total = np.zeros(of.size)
            for axes, module in self.tensors:
                gradient = found.get((module, axes.name))
                if gradient is None:
                    continue
                weight = (
                    self.layers[module].weight
                    if module in self.layers and axes.name == "weight"
                    else axes.tensor.detach().double()
                )
                product = gradient.double() * weight
                for axis, role in enumerate(axes.roles):
                    if role is None:
                        continue
                    values = (
                        product.sum([k for k in range(product.dim()) if k != axis]) if product.dim() > 1 else product
                    )
                    atoms = of[self.coupling.found.roles.of[module][role]]
                    np.add.at(total, atoms, np.where(reads[atoms] == (role in ("column", "deep")), values.numpy(), 0.0))
            out[:, b] = -total[numbers]
        return groups, out

    def singular(self, layer: Layer) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], Changes]:
        """((U, s, V) of a layer's weight, the change of each singular value [rank, batches])."""
        u, s, v = torch.linalg.svd(layer.weight.flatten(1), full_matrices=False)
        rank = min(layer.rank, int((s > s[0] * 1e-9).sum()))
        out = np.zeros((rank, len(self.gradients)))
        for b, found in enumerate(self.gradients):
            gradient = found[layer.module, "weight"].double().flatten(1)
            out[:, b] = -(s[:rank] * ((u[:, :rank].T @ gradient) * v[:rank]).sum(1)).numpy()
        return (u, s, v), out

    def can_go(self, group: Group, most: float) -> bool:
        """Whether every layer that a group is part of keeps enough."""
        sizes = self.coupling.sizes
        return all(self.left[p] - n >= max(1, np.ceil(sizes[p] * (1 - most) - 1e-9)) for p, n in group.places.items())

    def remove_group(self, group: Group, change: NDArray[np.float64]) -> None:
        """A group's channels are 0 from now on."""
        self.dead.add(group.number)
        self.state += change
        for (module, role), count in group.places.items():
            self.left[module, role] -= count
            layer = self.layers.get(module)
            if layer is not None:
                layer.dead_columns += count if role == "column" else 0
                layer.dead_rows += count if role == "row" else 0
        for part in group.slices:
            layer = next((x for m, x in self.layers.items() if m is part.axes.owner), None)
            if layer is not None and part.axes.name == "weight":
                index = torch.from_numpy(part.index)
                layer.weight.index_fill_(part.axis, index, 0.0)

    def truncate(
        self, layer: Layer, factors: tuple[torch.Tensor, torch.Tensor, torch.Tensor], gone: list[int], changes: Changes
    ) -> None:
        """Singular values `gone` of a layer are 0 from now on."""
        u, s, v = factors
        layer.rank -= len(gone)
        self.state += changes[gone].sum(0)
        index = torch.tensor(gone, dtype=torch.long)
        layer.weight -= ((u[:, index] * s[index]) @ v[index]).view(layer.weight.shape)


def _axes(module: Any) -> list[Any]:
    from .graph.roles import axes_of

    found = [a for a in axes_of(module) if a.owner is module and isinstance(a.tensor, torch.nn.Parameter)]
    return [a for a in found if a.name in _TENSORS or isinstance(module, layers.Recurrent)]
