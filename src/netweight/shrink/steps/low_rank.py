"""Low rank: weights become products of smaller ones, the ranks given out over the whole network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ...errors import InputError
from .. import layers
from ..costs import multiplications
from ..factors import METHODS, best_ranks, can_factor, cost_share, error, factored
from ..network import Network
from ..protocol import Context, StepError
from ..recurrent_factors import can_factor_input, factor_input, input_share, stacked
from ..rewrite import replace_layer
from ..second_moments import output_weights, roots
from ..training import calibrate, settle
from .prune import amount

_POINTS = 14


@dataclass(frozen=True)
class Choice:
    """One layer at one rank (None: as it is): what it costs, and about what it loses."""

    path: str
    method: str
    rank: int | None
    cost: float
    loss: float


@dataclass(frozen=True)
class LowRank:
    """Factor layers until `keep` of the network's MACs is left, with the least estimated loss for that.

    `keep` None: what the pipeline's target asks for. `method`: one of channel, spatial, tucker, cp, or "best", which takes for
    each layer and cost what loses least. A layer's loss is its output's squared error on data, weighed by the squared
    gradients that it receives. Layers that wouldn't get cheaper stay whole.
    """

    keep: float | None = None
    method: str = "best"
    batches: int = 8
    share: float = 1.0
    letter: str = "L"

    def __post_init__(self) -> None:
        if self.method not in (*METHODS, "best"):
            raise InputError(f"LowRank: method= is one of {', '.join(METHODS)}, best")
        if self.keep is not None and not 0 < self.keep <= 1:
            raise InputError(f"LowRank: keep={self.keep}; it is the share that is left, above 0 and at most 1")

    def at(self, strength: float) -> LowRank:
        """The step with its open `keep` set to 1 - strength."""
        return self if self.keep is not None else replace(self, keep=max(1.0 - strength, 1e-3))

    def apply(self, network: Network, context: Context) -> Network:
        """Raises StepError if no layer can be factored, or not far enough."""
        keep = 0.5 if self.keep is None else self.keep
        whole = amount(network, context, "macs")
        layers_of, macs = candidates(network, context)
        methods = ("channel", "spatial", "tucker") if self.method == "best" else (self.method,)
        moments = roots(network, context, self.batches, [m for m in layers_of.values() if can_factor(m, "channel")])
        felt = output_weights(network, context, self.batches, list(layers_of.values()))
        choices = {
            path: [
                c
                for method in methods
                if can_factor(m, method)
                for c in _choices(path, m, method, macs[path], moments, felt)
            ]
            for path, m in layers_of.items()
        }
        typical = sum(felt.values()) / len(felt) if felt else 1.0
        choices |= {p: _input_choices(p, m, macs, typical) for p, m in _recurrent(network, context, macs).items()}
        choices = {path: found for path, found in choices.items() if found}
        if not choices:
            raise StepError(f"LowRank touches no layer: none can be factored by {self.method}")
        taken = allocated(choices, macs, whole * keep - (whole - sum(macs[p] for p in choices)))
        for choice in taken:
            assert choice.rank is not None
            if choice.method == "input":
                factor_input(network, choice.path, choice.rank)
                continue
            module: Any = layers_of[choice.path]
            parts = factored(
                module, choice.method, choice.rank, moments.get(module) if choice.method == "channel" else None
            )
            replace_layer(network, choice.path, parts)
        if taken:
            calibrate(network, context)
            settle(network, context)
        context.train(network, context.steps, label="after factoring")
        context.record |= {
            "factored": {c.path: f"{c.method} {c.rank}" for c in taken}, "kept": amount(network, context, "macs") / whole,
        }  # fmt: skip
        return network


def _recurrent(network: Network, context: Context, macs: dict[str, float]) -> dict[str, Any]:
    """Recurrent layers whose input can be factored, by path; `macs` gains theirs."""
    found = {str(n.target): m for n, m in network.calls(layers.Recurrent) if can_factor_input(m)}
    for node, count, _ in multiplications(network, context.args, context.named):
        if node.target in found:
            macs[str(node.target)] = macs.get(str(node.target), 0.0) + count
    return found


def _input_choices(path: str, module: Any, macs: dict[str, float], felt: float) -> list[Choice]:
    """A recurrent layer with its input matrices at some ranks. Its loss is of weights, felt as the mean of other layers'."""
    whole = stacked(module)
    part = macs[path] * whole.numel() / sum(module.effective(n).numel() for n in module.matrix_names)
    values = torch.linalg.svdvals(whole)
    ranks = [r for r in range(1, min(whole.shape) + 1) if input_share(module, r) < 1]
    return [
        Choice(
            path, "input", r, macs[path] - part * (1 - input_share(module, r)), felt * float(values[r:].square().sum())
        )
        for r in ranks[:: max(1, len(ranks) // _POINTS)]
    ]


def candidates(network: Network, context: Context) -> tuple[dict[str, Any], dict[str, float]]:
    """(layers that are called once by path, MACs of each)."""
    paths = [str(node.target) for node, _ in network.calls(layers.Linear, layers.Conv1d, layers.Conv2d)]
    chosen: dict[str, Any] = {p: network.get_submodule(p) for p in paths}
    owners: dict[int, int] = {}
    for module in network.modules():
        if isinstance(module, layers.Shaped) and module.weight is not None:
            owners[id(module.weight)] = owners.get(id(module.weight), 0) + 1
    chosen = {p: m for p, m in chosen.items() if not m.frozen and owners[id(m.weight)] == 1}
    macs = dict.fromkeys(chosen, 0.0)
    for node, count, _ in multiplications(network, context.args, context.named):
        if node.target in macs:
            macs[str(node.target)] += count
    return chosen, macs


def _choices(
    path: str, module: Any, method: str, macs: float, moments: dict[Any, Any], felt: dict[Any, float]
) -> list[Choice]:
    """The layer at some ranks that make it cheaper; strides between factors make its cost an estimate from above."""
    most = best_ranks(module, method)
    cheaper = [r for r in range(1, most + 1) if cost_share(module, method, r) < 1]
    if not cheaper:
        return []
    ranks = sorted({cheaper[int(k)] for k in np.linspace(0, len(cheaper) - 1, _POINTS)})
    root = moments.get(module)
    tails = _tails(module, root) if method == "channel" else None
    out = []
    for rank in ranks:
        if tails is not None:
            square = float(tails[rank])
        else:
            off = error(module, factored(module, method, rank), method).flatten(1)
            square = float((off if root is None else off @ root).square().sum())
        out.append(Choice(path, method, rank, macs * cost_share(module, method, rank), felt.get(module, 1.0) * square))
    return out


def _tails(module: Any, root: torch.Tensor | None) -> torch.Tensor:
    """Squared error of a "channel" factoring at each rank from 0 on: what is left of the (weighed) singular values."""
    weight = module.effective().detach().double() if module.grid is None else module.weight.detach().double()
    rows = weight.flatten(1)
    squares = torch.linalg.svdvals(rows if root is None else rows @ root).square()
    tails = squares.flip(0).cumsum(0).flip(0)
    return torch.cat([tails, tails.new_zeros(1)])


def allocated(choices: dict[str, list[Choice]], macs: dict[str, float], goal: float) -> list[Choice]:
    """A choice for each layer so that the costs add up to at most `goal` and the losses to little: one price of a MAC for all.

    Layers that are best whole aren't in the answer. Raises StepError if the cheapest choices cost more.
    """
    whole = {path: Choice(path, "", None, macs[path], 0.0) for path in choices}
    table = {path: [whole[path], *found] for path, found in choices.items()}
    cheapest = sum(min(c.cost for c in found) for found in table.values())
    if cheapest > goal:
        raise StepError(
            f"LowRank can't get there: the layers that can be factored would have to cost {goal:.4g} MACs and cost "
            f"{cheapest:.4g} at rank 1; ask for less, or add a step"
        )

    def best(price: float) -> list[Choice]:
        return [min(found, key=lambda c: (c.loss + price * c.cost, c.cost)) for found in table.values()]

    low, high = 0.0, 1.0
    scale = max(sum(c.loss for found in table.values() for c in found), 1e-30) / max(sum(macs.values()), 1.0)
    while sum(c.cost for c in best(high * scale)) > goal and high < 1e12:
        high *= 4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(c.cost for c in best(middle * scale)) > goal else (low, middle)
    found = best(high * scale)
    if sum(c.cost for c in found) > goal:
        found = [min(t, key=lambda c: c.cost) for t in table.values()]
    return [c for c in found if c.rank is not None]


__all__ = ["Choice", "LowRank", "allocated", "candidates"]
