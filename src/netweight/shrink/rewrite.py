"""One layer of a network becomes several in a row."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from . import layers
from .factors import Part
from .grids import ActivationGrid, WeightGrid
from .network import Network


def replace_layer(network: Network, path: str, parts: list[Part]) -> list[str]:
    """Put layers with these weights where the one at `path` was, in every call; the new paths.

    Grids go on: the new layers have weights on grids of the same bits, and the ones between see activations as the old one
    did (they have to be calibrated).
    """
    old: Any = network.get_submodule(path)
    made = [_layer(old, part, last=k == len(parts) - 1) for k, part in enumerate(parts)]
    for k, layer in enumerate(made):
        _carry(old, layer, first=k == 0)
    calls = [n for n in network.graph.nodes if n.op == "call_module" and n.target == path]
    paths = []
    for k, layer in enumerate(made):
        name = network.fresh_path(f"{path}_{k + 1}of{len(made)}")
        network.place(name, layer)
        paths.append(name)
    for node in calls:
        _rewire(network, node, paths)
    network.changed()
    return paths


def _rewire(network: Network, node: fx.Node, paths: list[str]) -> None:
    value = node.args[0]
    with network.graph.inserting_before(node):
        for name in paths:
            value = network.graph.call_module(name, (value,))
    network.swap(node, value)  # type: ignore[arg-type]


def _layer(old: Any, part: Part, *, last: bool) -> Any:
    """A layer of the old one's kind with this weight, and its bias if it is the last."""
    weight = part.weight.to(old.weight.dtype)
    bias = last and old.bias is not None
    layer: Any
    if isinstance(old, layers.Linear):
        layer = layers.Linear(weight.shape[1], weight.shape[0], bias)
    else:
        rank = weight.dim() - 2
        layer = type(old)(
            weight.shape[1] * part.groups, weight.shape[0], tuple(weight.shape[2:]), part.stride or 1,
            part.padding if part.padding != () else 0, part.dilation or (1,) * rank, part.groups, bias,
        )  # fmt: skip
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias:
            layer.bias.copy_(old.bias)
    return layer.to(old.weight.device)


def _carry(old: Any, layer: Any, *, first: bool) -> None:
    if old.grid is not None:
        layer.grid = WeightGrid(old.grid.bits, layer.weight.shape[layer.axis], layer.axis).to(layer.weight.device)
        layer.grid.fit(layer.weight)
    if old.input_grid is not None:
        layer.input_grid = old.input_grid if first else ActivationGrid(old.input_grid.bits, ready=False)


def calls_of(network: Network, module: nn.Module) -> int:
    """How often a module is called."""
    return sum(m is module for _, m in network.calls())
