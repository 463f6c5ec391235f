"""Structured pruning: channels, hidden units and heads that matter least are removed, with all that is coupled to them."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ...errors import InputError
from ..costs import multiplications
from ..graph.narrow import Coupling
from ..importance import CRITERIA, Scores, group_scores
from ..network import Network
from ..protocol import Context, StepError
from ..training import settle

UNITS: Final = ("macs", "params")


@dataclass(frozen=True)
class Prune:
    """Remove channels until `keep` of the network's MACs (or parameters: `of`) is left.

    `keep` None: what the pipeline's target asks for. Importance is measured anew in each of `rounds`, with training between
    them. No layer loses more than `most` of its channels. Channels go by importance per MAC saved.
    """

    keep: float | None = None
    of: str = "macs"
    criterion: str = "fisher"
    rounds: int = 3
    most: float = 0.9
    batches: int = 16
    share: float = 1.0
    letter: str = "P"

    def __post_init__(self) -> None:
        if self.of not in UNITS or self.criterion not in CRITERIA:
            raise InputError(f"Prune: of= is one of {', '.join(UNITS)}; criterion= is one of {', '.join(CRITERIA)}")
        if self.keep is not None and not 0 < self.keep <= 1:
            raise InputError(f"Prune: keep={self.keep}; it is the share that is left, above 0 and at most 1")

    def at(self, strength: float) -> Prune:
        """The step with its open `keep` set to 1 - strength."""
        return self if self.keep is not None else replace(self, keep=max(1.0 - strength, 1e-3))

    def apply(self, network: Network, context: Context) -> Network:
        """Raises StepError if there is nothing that can be removed."""
        keep = 0.5 if self.keep is None else self.keep
        whole = amount(network, context, self.of)
        rounds = max(1, min(self.rounds, context.steps)) if context.steps else 1
        removed = 0
        for number in range(1, rounds + 1):
            goal = whole * keep ** (number / rounds)
            removed += remove_to(network, context, goal, self)
            settle(network, context)
            steps = context.steps * number // rounds - context.steps * (number - 1) // rounds
            context.train(network, steps, label=f"after pruning {number}/{rounds}")
        context.record |= {"groups removed": removed, "kept": amount(network, context, self.of) / whole}
        return network


def amount(network: Network, context: Context, unit: str) -> float:
    """MACs or parameters."""
    return float(getattr(context.cost(network), unit))


def remove_to(network: Network, context: Context, goal: float, step: Prune) -> int:
    """Remove the least important groups of channels until the cost is at most `goal`; how many were removed.

    Raises StepError if there are none, or all that may go isn't enough.
    """
    if amount(network, context, step.of) <= goal:
        return 0
    coupling = Coupling(network, context.args, context.named)
    if not coupling.groups:
        raise StepError("Prune touches no layer: every channel of this network is an output or is held by a fixed size")
    scores = group_scores(coupling, context, step.criterion, step.batches)
    order = allowed(coupling, ranked(coupling, context, scores, step.of), step.most)
    count = _fewest(network, context, order, goal, step.of)
    coupling.cut(order[:count])
    return count


def ranked(coupling: Coupling, context: Context, scores: Scores, unit: str) -> list[int]:
    """Numbers of groups, from the one of least importance per cost that it saves."""
    saved = savings(coupling, context, unit)
    order = np.argsort(scores / saved, kind="stable")
    return [coupling.groups[k].number for k in order]


def savings(coupling: Coupling, context: Context, unit: str) -> Scores:
    """MACs or parameters that go with each group alone, float64 [groups], at least a little."""
    if unit == "params":
        found = [
            sum(s.axes.tensor.numel() * s.index.size / s.axes.tensor.shape[s.axis] for s in g.slices)
            for g in coupling.groups
        ]
        return np.maximum(np.array(found, np.float64), 1.0)
    network = coupling.network
    macs: dict[object, float] = {}
    for node, count, _ in multiplications(network, context.args, context.named):
        if node.op == "call_module":
            module = network.get_submodule(str(node.target))
            macs[module] = macs.get(module, 0.0) + count
    out = []
    for group in coupling.groups:
        places = [
            (module, role, n) for (module, role), n in group.places.items() if role in ("row", "column", "unit", "deep")
        ]
        out.append(sum(macs.get(m, 0.0) * n / coupling.sizes[m, r] for m, r, n in places))
    return np.maximum(np.array(out, np.float64), 1e-6 * max(max(macs.values(), default=1.0), 1.0))


def allowed(coupling: Coupling, order: list[int], most: float) -> list[int]:
    """`order` without groups whose removal would leave a layer with less than a share of 1 - most, or with nothing."""
    places = {g.number: g.places for g in coupling.groups}
    left = dict(coupling.sizes)
    least = {place: max(1, int(np.ceil(size * (1 - most) - 1e-9))) for place, size in left.items()}
    out = []
    for number in order:
        if all(left[p] - n >= least[p] for p, n in places[number].items()):
            out.append(number)
            for place, n in places[number].items():
                left[place] -= n
    return out


def _fewest(network: Network, context: Context, order: list[int], goal: float, unit: str) -> int:
    """How many of `order` must go, by bisection on networks that are really cut. Raises StepError."""

    def cost_without(count: int) -> float:
        trial = copy.deepcopy(network)
        _cut_like(trial, context, order[:count])
        return amount(trial, context, unit)

    low, high = 0, len(order)
    nearest = cost_without(high)
    if nearest > goal:
        raise StepError(
            f"Prune can't get to {goal:.4g} {unit}: without all that may go there are {nearest:.4g}; "
            "allow more (most=), or add a step"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost_without(middle) > goal else (low, middle)
    return high


def _cut_like(network: Network, context: Context, dead: Collection[int]) -> None:
    """Cut groups of a copy: the walk is the same, so that the groups have the same numbers."""
    Coupling(network, context.args, context.named).cut(dead)
