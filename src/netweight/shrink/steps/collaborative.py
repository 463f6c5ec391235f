"""Collaborative compression: channels and singular values are removed together, as units of one problem (arXiv 2105.11228).

In each step the units whose removal costs least per MAC go, 1 % of them at most. What a removal costs is what it adds to the
squared change of the loss now (backward), and 0.9 times what it adds to the cost of the units that remain (forward): a unit
that would make the others dearer waits.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import InputError
from ..factors import factored
from ..network import Network
from ..protocol import Context, StepError
from ..rewrite import replace_layer
from ..second_moments import roots
from ..training import calibrate, settle
from ..units import Changes, Layer, Units
from .low_rank import LowRank
from .prune import Prune, amount

_STEP: Final = 0.01
_REFRESH: Final = 8  # steps between new gradients' products and singular vectors
_TIGHTER: Final = 0.985
_FLOOR: Final = 0.25  # of a unit's own squared change: batches' signs cancel by chance too
SPLITS: Final = (0.0, 0.5, 1.0)
_RUNGS: Final = ((1, 2), (2, 1))  # (of the trial's share, plans that go on)


@dataclass(frozen=True)
class Collaborative:
    """Prune and factor at once until `keep` of the MACs is left; `keep` None: what the pipeline's target asks for.

    Plans are the joint removal and, unless `joint_only`, pruning before factoring with the MACs split evenly, and either alone.
    Each is trained for a share `trial` of the budget, the two of the lowest loss on batches of their own for twice as much more, and
    the better one goes on with what is left.
    """

    keep: float | None = None
    forward: float = 0.9
    most: float = 0.9
    batches: int = 16
    joint_only: bool = False
    trial: float = 0.05
    share: float = 1.5
    letter: str = "C"

    def __post_init__(self) -> None:
        if self.keep is not None and not 0 < self.keep <= 1:
            raise InputError(f"Collaborative: keep={self.keep}; it is the share that is left, above 0 and at most 1")

    def at(self, strength: float) -> Collaborative:
        """The step with its open `keep` set to 1 - strength."""
        return self if self.keep is not None else replace(self, keep=max(1.0 - strength, 1e-3))

    def apply(self, network: Network, context: Context) -> Network:
        """Raises StepError if nothing can be removed, or not enough."""
        keep = 0.5 if self.keep is None else self.keep
        plans = self._plans(network, context, keep)
        spent, left = 0, list(plans)
        for share, survivors in _RUNGS if len(plans) > 1 and not context.dry else ():
            steps = int(context.steps * self.trial * share)
            losses = {}
            for name in left:
                context.train(plans[name][0], steps, label=f"trying: {name}")
                spent += steps
                losses[name] = _loss(plans[name][0], context)
            left = sorted(losses, key=lambda n: losses[n])[:survivors]
            context.record.setdefault("losses of plans", []).append(losses)
        chosen = left[0]
        found, facts = plans[chosen]
        context.train(found, context.steps - spent, label="after joint compression")
        context.record |= {"plan": chosen, **facts}
        return found

    def _plans(self, network: Network, context: Context, keep: float) -> dict[str, tuple[Network, dict[str, Any]]]:
        """Compressed copies by name; those that can't be had are left out. Raises StepError if none can."""
        made: dict[str, tuple[Network, dict[str, Any]]] = {}
        problem: StepError | None = None
        attempts: list[tuple[str, Any]] = [("joint", None)]
        if not self.joint_only and not context.dry:
            attempts += [(f"pruned to {keep**s:.3g}, then factored", s) for s in SPLITS]
        for name, split in attempts:
            try:
                trial = copy.deepcopy(network)
                made[name] = (
                    self._joint(trial, context, keep) if split is None else self._split(trial, context, keep, split)
                )
            except StepError as error:
                problem = error
        if not made:
            raise problem or StepError("Collaborative touches no layer")
        return made

    def _split(self, network: Network, context: Context, keep: float, split: float) -> tuple[Network, dict[str, Any]]:
        inner = replace(context, steps=0, record={})
        first = keep**split
        if split > 0:
            network = Prune(first, most=self.most, batches=self.batches).apply(network, inner)
        if split < 1:
            left = keep / (inner.record.get("kept", first) if split > 0 else 1.0)
            network = LowRank(min(left, 1.0)).apply(network, inner)
        return network, {k: v for k, v in inner.record.items() if k != "kept"}

    def _joint(self, network: Network, context: Context, keep: float) -> tuple[Network, dict[str, Any]]:
        whole = amount(network, context, "macs")
        start, goal = copy.deepcopy(network), whole * keep
        inner = goal
        for _ in range(12):
            network = copy.deepcopy(start)
            facts = self._removed(network, context, inner)
            if amount(network, context, "macs") <= goal * (1 + 1e-9):
                return network, facts | {"kept": amount(network, context, "macs") / whole}
            inner *= _TIGHTER
        raise StepError(f"Collaborative can't get to {goal:.4g} MACs")

    def _removed(self, network: Network, context: Context, goal: float) -> dict[str, Any]:
        units = Units(network, context, self.batches)
        if not units.layers and not units.coupling.groups:
            raise StepError("Collaborative touches no layer: there is nothing to prune or to factor")
        while units.cost() > goal:
            before = units.cost()
            _sweep(units, goal, self)
            if units.cost() >= before and not _sweep(units, goal, self, steps=1 << 20):
                raise StepError(
                    f"Collaborative can't get to {goal:.4g} MACs: the least that was reached is {before:.4g}"
                )
        return _carried_out(network, context, units)


def _carried_out(network: Network, context: Context, units: Units) -> dict[str, Any]:
    """Cut the dead groups and factor what is cheaper factored; a layer that isn't keeps all its singular values."""
    ranks = {
        m: min(layer.rank, *layer.left) if layer.kernel == 1 else layer.rank
        for m, layer in units.layers.items()
        if layer.factored
    }
    paths = {m: p for p, m in network.named_modules()}
    units.coupling.cut(units.dead)
    settle(network, context)
    moments = roots(network, context, 4, list(ranks))
    for module, rank in ranks.items():
        rank = max(1, min(rank, *module.weight.flatten(1).shape))
        replace_layer(network, paths[module], factored(module, "channel", rank, moments.get(module)))
    calibrate(network, context)
    settle(network, context)
    return {"groups removed": len(units.dead), "factored": {paths[m]: r for m, r in ranks.items()}}


def _sweep(units: Units, goal: float, step: Collaborative, steps: int = _REFRESH) -> int:
    """Some steps of removal on one set of products; how many units went."""
    groups, own = units.channels()
    layers = list(units.layers.values())
    found = [units.singular(layer) for layer in layers]
    changes = np.concatenate([own, *[c for _, c in found]]) if found else own
    kinds: list[tuple[int, int]] = [(-1, k) for k in range(len(groups))]
    kinds += [(j, i) for j, (_, c) in enumerate(found) for i in range(len(c))]
    left = np.ones(len(kinds), bool)
    gone: dict[int, list[int]] = {}
    count, cost = 0, units.cost()
    chunk = max(1, int(_STEP * len(kinds)))
    for _ in range(steps):
        scores = prices(changes, units.state + _pending(gone, found), left, step.forward) / _savings(
            groups, layers, kinds
        )
        order = [int(k) for k in np.argsort(scores, kind="stable") if left[k]]
        taken = 0
        for k in order:
            if taken >= chunk or cost <= goal:
                break
            layer, i = kinds[k]
            left[k] = False
            if layer < 0:
                if not units.can_go(groups[i], step.most):
                    continue
                units.remove_group(groups[i], changes[k])
            else:
                if layers[layer].rank - len(gone.get(layer, [])) <= 1:
                    continue
                gone.setdefault(layer, []).append(i)
            taken += 1
            cost = _cost_with(units, layers, gone)
        count += taken
        if cost <= goal or not taken:
            break
    for layer, indices in gone.items():
        units.truncate(layers[layer], found[layer][0], indices, found[layer][1])
        _clear(units, layers[layer])
    return count


def _pending(gone: dict[int, list[int]], found: list[tuple[Any, Changes]]) -> NDArray[np.float64] | float:
    """The change by singular values that went in this sweep."""
    return sum((found[layer][1][indices].sum(0) for layer, indices in gone.items()), 0.0)


def _cost_with(units: Units, layers: list[Layer], gone: dict[int, list[int]]) -> float:
    for layer, indices in gone.items():
        layers[layer].rank -= len(indices)
    cost = units.cost()
    for layer, indices in gone.items():
        layers[layer].rank += len(indices)
    return cost


def _clear(units: Units, layer: Layer) -> None:
    """Dead channels stay 0 after a truncation that was found before they died."""
    for group in units.coupling.groups:
        if group.number in units.dead:
            for part in group.slices:
                if part.axes.owner is layer.module and part.axes.name == "weight":
                    layer.weight.index_fill_(part.axis, torch.from_numpy(part.index), 0.0)


def prices(
    changes: Changes, state: NDArray[np.float64], left: NDArray[np.bool_], forward: float
) -> NDArray[np.float64]:
    """What each unit's removal costs, float64 [units]: backward + forward x its mean effect on those that remain.

    With s_b the change by all that is gone: backward = sum_b (s_b + a_ub)^2 - s_b^2, never below a share of sum_b a_ub^2; a unit v
    that remains gets dearer by 2 sum_b a_ub a_vb.
    """
    own = np.square(changes).sum(1)
    backward = np.maximum(own + 2 * changes @ state, _FLOOR * own)
    mean = changes[left].mean(0) if left.any() else np.zeros(changes.shape[1])
    ahead = 2 * (changes @ mean)
    price: NDArray[np.float64] = np.maximum(backward + forward * ahead, 0.1 * _FLOOR * own) + 1e-30
    return price


def _savings(groups: list[Any], layers: list[Layer], kinds: list[tuple[int, int]]) -> NDArray[np.float64]:
    """MACs that go with each unit, as things stand."""
    by_module = {layer.module: layer for layer in layers}
    singular = [layer.place * (layer.left[0] * layer.kernel + layer.left[1]) for layer in layers]
    saved = []
    for group in groups:
        total = 0.0
        for (module, role), count in group.places.items():
            layer = by_module.get(module)
            if layer is not None:
                columns, rows = layer.left
                total += (
                    layer.cost() * count / max(columns if role == "column" else rows, 1)
                    if role in ("row", "column")
                    else 0.0
                )
        saved.append(total)
    out = np.array([saved[i] if j < 0 else singular[j] for j, i in kinds], np.float64)
    return np.maximum(out, 1e-6 * max(float(out.max(initial=0.0)), 1.0))


def _loss(network: Network, context: Context) -> float:
    """Mean loss on batches that no plan was made from."""
    network.eval()
    with torch.no_grad():
        found = [float(x) for x in context.batches(network, 16, seed=4242)]
    return sum(found) / len(found)
