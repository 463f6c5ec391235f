"""The end of a pipeline: batch norms go into steps and biases, weights become integers, and what is left is rounded."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from . import layers
from .network import Network

_CONVS = (layers.Conv1d, layers.Conv2d, layers.Conv3d, layers.Linear)


def finish(network: Network, args: tuple[Any, ...], named: dict[str, Any], *, short: bool = True) -> Network:
    """`network`, changed: frozen integers are what runs. `short` rounds steps, biases and norms of a quantised network to BF16.

    `args`, `named`: an example. Folding a batch norm into a frozen layer alters its steps, never its integers.
    """
    frozen = _freeze(network)
    ranks: dict[fx.Node, int] = {}

    def watch(node: fx.Node, value: Any, _given: tuple[Any, ...]) -> None:
        ranks[node] = value.dim() if isinstance(value, torch.Tensor) else -1

    network.eval()
    with torch.no_grad():
        network.run(network.bind(args, named), watch)
    for node, norm in list(network.calls(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
        _fold(network, node, norm, ranks[node])
    network.changed()
    if frozen and short:
        _round(network)
    return network.eval()


def _freeze(network: Network) -> bool:
    """Freeze every layer; those that share a weight and a grid share what it becomes. Whether any is frozen."""
    done: dict[tuple[int, int], layers.Shaped] = {}
    frozen = False
    for module in network.modules():
        if isinstance(module, layers.Shaped) and module.grid is not None:
            key = (id(module.weight), id(module.grid))
            module.freeze()
            twin = done.setdefault(key, module)
            module.integers, module.steps = twin.integers, twin.steps
        elif isinstance(module, layers.Recurrent):
            module.freeze()
        frozen |= isinstance(module, (layers.Shaped, layers.Recurrent)) and module.frozen
    return frozen


def _fold(network: Network, node: fx.Node, norm: nn.Module, rank: int) -> None:
    """A batch norm right after a layer that nobody else reads goes into that layer."""
    source = node.args[0]
    if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
        return
    layer = network.get_submodule(str(source.target))
    calls = sum(n.op == "call_module" and n.target == source.target for n in network.graph.nodes)
    if (
        isinstance(layer, layers.Linear) and rank != 2
    ):  # a norm's channels lie on axis 1, a Linear's outputs on the last
        return
    if not isinstance(layer, _CONVS) or calls > 1 or _shared(network, layer):
        return
    assert isinstance(norm.running_var, torch.Tensor)
    assert isinstance(norm.running_mean, torch.Tensor)
    with torch.no_grad():
        scale = torch.rsqrt(norm.running_var + norm.eps)  # type: ignore[operator]
        shift = -norm.running_mean * scale
        if norm.weight is not None:
            scale, shift = scale * norm.weight, shift * norm.weight + norm.bias  # type: ignore[operator]
        if layer.bias is not None:
            shift = shift + layer.bias * scale
        wide = scale.view(-1, *[1] * (layer.weight_rank - 1))
        if layer.steps is not None:
            layer.steps = layer.steps * wide
        elif layer.grid is None:
            layer.weight = nn.Parameter(layer.raw * wide)
        layer._dense = None  # noqa: SLF001
        layer.bias = nn.Parameter(shift)
    network.swap(node, source)


def _shared(network: Network, layer: layers.Shaped) -> bool:
    """Whether another layer has the same weight."""
    own = layer.weight if layer.integers is None else layer.integers
    return any(
        m is not layer and isinstance(m, layers.Shaped) and (m.weight is own or m.integers is own)
        for m in network.modules()
    )  # fmt: skip


def _round(network: Network) -> None:
    """Float tensors of few numbers as BF16 numbers, which are stored in two bytes."""
    with torch.no_grad():
        for name, tensor in network.state_dict(keep_vars=True).items():
            if not tensor.is_floating_point() or name.endswith("log_step"):
                continue
            if "steps" in name.rpartition(".")[2] or tensor.dim() <= 1:
                tensor.copy_(tensor.to(torch.bfloat16).to(tensor.dtype))
    for module in network.modules():
        if isinstance(module, layers.Shaped):
            module._dense = None  # noqa: SLF001
