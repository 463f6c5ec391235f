"""Which axis of which tensor of a layer is what: rows (outputs), columns (inputs), hidden units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import layers
from .atoms import Atoms, Labels

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)


@dataclass(frozen=True)
class Axes:
    """A tensor `owner.name` and the role of each of its axes; None for an axis that is never cut."""

    owner: nn.Module
    name: str
    roles: tuple[str | None, ...]

    @property
    def tensor(self) -> torch.Tensor:
        value: torch.Tensor = getattr(self.owner, self.name)
        return value


def axes_of(module: nn.Module) -> Iterator[Axes]:
    """Every tensor of a layer that has something to cut."""
    found: Iterator[Axes]
    if isinstance(module, layers.Recurrent):
        found = _recurrent(module)
    elif isinstance(module, layers.WEIGHTED):
        found = _weighted(module)
    elif isinstance(module, NORMS):
        found = (Axes(module, n, ("row",)) for n in ("weight", "bias", "running_mean", "running_var"))
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        rank = len(module.normalized_shape)
        found = (Axes(module, n, (*[None] * (rank - 1), "row")) for n in ("weight", "bias"))
    else:
        found = iter(())
    return (a for a in found if getattr(a.owner, a.name, None) is not None)


def _weighted(module: Any) -> Iterator[Axes]:
    transposed = isinstance(module, (layers.ConvTranspose1d, layers.ConvTranspose2d, layers.Embedding))
    rank = (module.integers if module.frozen else module.weight).dim()
    if isinstance(module, (layers.ConvTranspose1d, layers.ConvTranspose2d)) and module.groups > 1:
        return  # never cut
    pair = ("column", "row") if transposed else ("row", "column")
    roles = (*pair, *[None] * (rank - 2))
    for name in ("weight", "mask", "integers"):
        yield Axes(module, name, roles)
    yield Axes(module, "bias", ("row",))
    yield Axes(module, "steps", tuple(r if a == module.axis else None for a, r in enumerate(roles)))
    if module.grid is not None:
        yield Axes(module.grid, "log_step", (roles[module.axis],))


def _recurrent(module: layers.Recurrent) -> Iterator[Axes]:
    for name in module.names:
        columns = "unit" if "_hh" in name else "column" if name.endswith(("_l0", "_l0_reverse")) else "deep"
        roles = ("gates", columns) if name.startswith("weight") else ("gates",)
        yield Axes(module, name, roles)
        yield Axes(module, f"integers_{name}", roles)
        yield Axes(module, f"steps_{name}", ("gates", None))
        if name in module.grids:
            yield Axes(module.grids[name], "log_step", ("gates",))


class Roles:
    """The atoms of each role of each layer, and of parameters that the graph uses directly."""

    def __init__(self, atoms: Atoms) -> None:
        self.atoms = atoms
        self.of: dict[nn.Module, dict[str, Labels]] = {}
        self._tensors: dict[tuple[int, int], Labels] = {}

    def layer(self, module: nn.Module) -> dict[str, Labels]:
        """Role to atoms; made at the first call, tied where layers share a tensor."""
        if module not in self.of:
            self.of[module] = found = self._made(module)
            for axes in axes_of(module):
                for axis, role in enumerate(axes.roles):
                    if role is not None:
                        key = (id(axes.tensor), axis)
                        self.atoms.tie(self._tensors.setdefault(key, found[role]), found[role])
        return self.of[module]

    def _made(self, module: nn.Module) -> dict[str, Labels]:
        if isinstance(module, layers.Recurrent):
            unit = self.atoms.fresh(module.hidden_size)
            return {
                "column": self.atoms.fresh(module.input_size),
                "unit": unit,
                "gates": np.tile(unit, layers.GATES[module.kind]),
                "deep": np.tile(unit, 1 + module.bidirectional),
            }
        sizes: dict[str, int] = {}
        for axes in axes_of(module):
            for axis, role in enumerate(axes.roles):
                if role is not None:
                    sizes[role] = max(sizes.get(role, 0), axes.tensor.shape[axis])
        return {role: self.atoms.fresh(size) for role, size in sizes.items()}


def refresh(module: nn.Module) -> None:
    """The sizes that a layer tells, from its tensors. Called after a cut; groups of convolutions are set by who cuts."""
    if isinstance(module, layers.Recurrent):
        first = module.effective(module.names[0])
        module.input_size, module.hidden_size = first.shape[1], first.shape[0] // layers.GATES[module.kind]
        return
    if isinstance(module, layers.WEIGHTED):
        shape = tuple((module.integers if module.frozen else module.weight).shape)  # type: ignore[union-attr]
        module._dense = None  # noqa: SLF001
        if isinstance(module, layers.Linear):
            module.out_features, module.in_features = shape
        elif isinstance(module, layers.Embedding):
            module.embedding_dim = shape[1]
        elif isinstance(module, (layers.ConvTranspose1d, layers.ConvTranspose2d)):
            module.in_channels, module.out_channels = shape[0], shape[1] * module.groups
        else:
            module.out_channels, module.in_channels = shape[0], shape[1] * module.groups
        return
    size = next((a.tensor.shape[-1] for a in axes_of(module)), None)
    if size is None:
        return
    if isinstance(module, nn.GroupNorm):
        module.num_channels = size
    elif isinstance(module, NORMS):
        module.num_features = size
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        module.normalized_shape = (*module.normalized_shape[:-1], size)
