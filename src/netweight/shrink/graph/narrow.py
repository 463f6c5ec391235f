"""The groups of a network's channels, and the same network without some of them."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from .. import layers
from ..lifting import arguments
from ..network import Network
from ..ops import base_name
from .atoms import NONE, Labels
from .labels import Labelled, label
from .roles import Axes, axes_of, refresh

Alive = NDArray[np.bool_]


@dataclass(frozen=True)
class Slice:
    """Indices `index` along `axis` of a tensor: part of a group."""

    axes: Axes
    axis: int
    index: Labels

    @property
    def role(self) -> str | None:
        return self.axes.roles[self.axis]


@dataclass(frozen=True)
class Group:
    """Channels that can only be removed together. `places` tells how many rows or columns of which layer they are."""

    number: int
    slices: tuple[Slice, ...]
    places: dict[tuple[nn.Module, str], int]


class Coupling:
    """The groups of a network, found on one example. It is good for one `cut`: afterwards the network is another one."""

    def __init__(self, network: Network, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.network = network
        self.found: Labelled = label(network, args, named)
        self.group_of, kept = self.found.atoms.solved()
        self.sizes: dict[tuple[nn.Module, str], int] = {}
        self.groups = tuple(self._groups(kept))

    def _groups(self, kept: Alive) -> Iterator[Group]:
        slices: dict[int, list[Slice]] = {}
        places: dict[int, dict[tuple[nn.Module, str], int]] = {}
        for module, roles in self.found.roles.of.items():
            for role, atoms in roles.items():
                self.sizes[module, role] = atoms.size
                for number, index in self._split(atoms):
                    places.setdefault(number, {})[module, role] = index.size
            for axes in axes_of(module):
                for axis, name in enumerate(axes.roles):
                    for number, index in self._split(roles[name]) if name is not None else ():
                        slices.setdefault(number, []).append(Slice(axes, axis, index))
        for number, found in sorted(slices.items()):
            if not kept[number]:
                yield Group(number, tuple(found), places[number])

    def _split(self, atoms: Labels) -> Iterator[tuple[int, Labels]]:
        """(group, indices of its atoms) of an axis."""
        groups = self.group_of[atoms]
        order = np.argsort(groups, kind="stable")
        starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        for part in np.split(order, starts[1:]):
            yield int(groups[part[0]]), part

    def alive(self, dead: Collection[int]) -> Alive:
        """Which atoms are left without the groups of these numbers."""
        gone = np.zeros(self.group_of.size, bool)
        gone[list(dead)] = True
        return ~gone[self.group_of]

    def cut(self, dead: Collection[int]) -> None:
        """Remove these groups from the network, for good."""
        alive = self.alive(dead)
        _Cut(self, alive).run()


class _Cut:
    def __init__(self, coupling: Coupling, alive: Alive) -> None:
        self.network, self.found, self.alive = coupling.network, coupling.found, alive
        self.done: dict[int, torch.Tensor] = {}

    def run(self) -> None:
        for module, roles in self.found.roles.of.items():
            self._layer(module, roles)
        for path, labels in self.found.direct.items():
            self._direct(path, labels)
        for node in list(self.network.graph.nodes):
            if node.op == "call_function":
                self._call(node)
        self.network.changed()

    # --- tensors ---

    def _layer(self, module: Any, roles: dict[str, Labels]) -> None:
        masks = {role: self.alive[atoms] for role, atoms in roles.items()}
        if all(m.all() for m in masks.values()):
            return
        depthwise = (
            isinstance(module, (layers.Conv1d, layers.Conv2d, layers.Conv3d))
            and 1 < module.groups == module.in_channels
        )
        outputs = module.out_channels // module.groups if depthwise else 1
        for axes in list(axes_of(module)):
            keep = {a: masks[r] for a, r in enumerate(axes.roles) if r is not None}
            self._assign(axes.owner, axes.name, keep)
        if depthwise:
            module.groups = int(masks["row"].sum()) // outputs
        refresh(module)

    def _direct(self, path: str, labels: Labels) -> None:
        keep = {a: m for a in range(labels.ndim) if (m := self._axis(labels, a)) is not None}
        home, _, name = path.rpartition(".")
        self._assign(self.network.get_submodule(home), name, keep)

    def _assign(self, owner: nn.Module, name: str, keep: dict[int, Alive]) -> None:
        old = getattr(owner, name)
        if id(old) not in self.done:
            new = old.detach()
            for axis, mask in keep.items():
                if not mask.all():
                    new = new.index_select(axis, torch.from_numpy(np.flatnonzero(mask)).to(new.device))
            new = new.contiguous()
            self.done[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
            self.done[id(self.done[id(old)])] = self.done[id(old)]
        setattr(owner, name, self.done[id(old)])

    def _axis(self, labels: Labels, axis: int) -> Alive | None:
        """Which indices along an axis are left; None if nothing is cut there."""
        if labels.shape[axis] == 1:
            return None
        others = tuple(a for a in range(labels.ndim) if a != axis)
        left: Alive = np.asarray(np.where(labels == NONE, True, self.alive[labels]).any(axis=others))
        return None if left.all() else left

    # --- sizes in calls ---

    def _call(self, node: fx.Node) -> None:
        name = base_name(node.target)
        rule = getattr(self, f"_call_{_RULES.get(name, '')}", None)
        if rule is not None:
            rule(node)

    def _of(self, node: Any) -> Any:
        return self.found.labels[node]

    def _resized(self, node: fx.Node, sizes: Any, first: int = 0) -> list[Any]:
        """Sizes that a call names, those of axis `first` on of its value, as they are after the cut."""
        labels, shape = self._of(node), self.found.shapes[node]
        out = []
        for k, size in enumerate(sizes):
            left = self._axis(labels, first + k)
            if left is None or (isinstance(size, int) and size == -1):
                out.append(size)
            elif isinstance(size, int):
                out.append(int(left.sum()))
            else:
                out.append(self._scaled(node, size, int(left.sum()), shape[first + k]))
        return out

    def _scaled(self, node: fx.Node, size: fx.Node, new: int, old: int) -> fx.Node:
        """A size that is only known when the network runs, times new / old."""
        graph = self.network.graph
        common = int(np.gcd(new, old))
        with graph.inserting_before(node):
            product = graph.call_function(operator.mul, (size, new // common))
            return graph.call_function(operator.floordiv, (product, old // common))

    def _call_view(self, node: fx.Node) -> None:
        if isinstance(_args(node)[1], (list, tuple)):
            node.args = (_args(node)[0], self._resized(node, _args(node)[1]), *_args(node)[2:])

    def _call_created(self, node: fx.Node) -> None:
        at = 1 if base_name(node.target).startswith("new") else 0
        sizes = self._resized(node, _args(node)[at])
        node.args = (*_args(node)[:at], sizes, *_args(node)[at + 1 :])

    def _call_unflatten(self, node: fx.Node) -> None:
        x, axis, sizes = _args(node)[:3]
        rank = len(self.found.shapes[x])
        node.args = (x, axis, self._resized(node, sizes, int(axis) % rank), *_args(node)[3:])

    def _call_split(self, node: fx.Node) -> None:
        x, axis = _args(node)[0], arguments(node)["dim"]
        axis %= len(self.found.shapes[x])
        if self._axis(self._of(x), axis) is None:
            return
        masks = [self._axis(part, axis) for part in self._of(node)]
        shapes = self.found.shapes[node]
        sizes = [shape[axis] if m is None else int(m.sum()) for m, shape in zip(masks, shapes, strict=True)]
        node.target = torch.ops.aten.split_with_sizes.default
        node.args, node.kwargs = (x, sizes, axis), {}

    def _call_slice(self, node: fx.Node) -> None:
        a = arguments(node)
        x = _args(node)[0]
        left = self._axis(self._of(x), a["dim"])
        if left is None:
            return
        count = left.size
        ends = [None if e is None else min(max(e + count if e < 0 else e, 0), count) for e in (a["start"], a["end"])]
        node.args = (x, a["dim"], *(None if e is None else int(left[:e].sum()) for e in ends))
        node.kwargs = {}

    def _call_select(self, node: fx.Node) -> None:
        x, axis, index = _args(node)
        left = self._axis(self._of(x), int(axis))
        if left is not None and isinstance(index, int):
            node.args = (x, axis, int(left[: index % left.size].sum()))

    def _call_narrow(self, node: fx.Node) -> None:
        x, axis, start, length = _args(node)
        left = self._axis(self._of(x), int(axis))
        if left is not None:
            node.args = (x, axis, int(left[:start].sum()), int(left[start : start + length].sum()))

    def _call_pad(self, node: fx.Node) -> None:
        x, pads = _args(node)[0], list(_args(node)[1])
        labels, rank = self._of(node), len(self.found.shapes[node])
        for k in range(len(pads) // 2):
            left = self._axis(labels, rank - 1 - k)
            if left is not None:
                low, high = pads[2 * k], pads[2 * k + 1]
                pads[2 * k] = int(left[: max(low, 0)].sum()) if low > 0 else low
                pads[2 * k + 1] = int(left[left.size - high :].sum()) if high > 0 else high
        node.args = (x, pads, *_args(node)[2:])


def _args(node: fx.Node) -> Any:
    return node.args


_RULES = {
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "expand", "broadcast_to"), "view"),
    **dict.fromkeys(("zeros", "ones", "full", "new_zeros", "new_ones", "new_full"), "created"),
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), "split"),
    **dict.fromkeys(("pad", "constant_pad_nd"), "pad"),
    "unflatten": "unflatten",
    "slice": "slice",
    "select": "select",
    "narrow": "narrow",
}

__all__ = ["Coupling", "Group", "Slice"]
