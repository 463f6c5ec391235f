"""A recurrent layer's first input matrices, of both directions together, as a product: a Linear before the layer."""

from __future__ import annotations

import torch
from torch import fx, nn

from .factors import truncated
from .grids import ActivationGrid, WeightGrid
from .layers import Linear, Recurrent
from .network import Network


def input_names(module: Recurrent) -> list[str]:
    """Names of the matrices that read the layer's input."""
    return [n for n in module.matrix_names if n.startswith("weight_ih_l0")]


def stacked(module: Recurrent) -> torch.Tensor:
    """Those matrices one under the other, float64 [rows, inputs]."""
    return torch.cat([getattr(module, n).detach().double() for n in input_names(module)])


def can_factor_input(module: nn.Module) -> bool:
    """Whether the matrices are there and worth it."""
    return isinstance(module, Recurrent) and not module.frozen and module.input_size > 2


def input_share(module: Recurrent, rank: int) -> float:
    """MACs of the factored input matrices over those of the whole ones."""
    rows, columns = stacked(module).shape
    return rank * (rows + columns) / (rows * columns)


def factor_input(network: Network, path: str, rank: int) -> None:
    """Put a Linear of `rank` outputs before the layer in every call; grids of the same bits go on."""
    old = network.get_submodule(path)
    assert isinstance(old, Recurrent)
    left, right = truncated(stacked(old), rank)
    first = Linear(old.input_size, rank, bias=False)
    with torch.no_grad():
        first.raw.copy_(right)
        for name, part in zip(input_names(old), left.chunk(len(input_names(old))), strict=True):
            setattr(old, name, nn.Parameter(part.to(getattr(old, name).dtype).contiguous()))
    if len(old.grids):
        grids = [old.grids[n] for n in input_names(old) if n in old.grids]
        for name in input_names(old):
            grid = old.grids[name]
            assert isinstance(grid, WeightGrid)
            grid.fit(getattr(old, name))
        bits = max(int(g.bits) for g in grids)  # type: ignore[arg-type]
        first.grid = WeightGrid(bits, rank)
        first.grid.fit(first.raw)
    seen: ActivationGrid | None = getattr(old, "input_grid", None)
    if seen is not None:
        first.input_grid, old.input_grid = seen, ActivationGrid(seen.bits, ready=False)
    old.input_size = rank
    where = network.fresh_path(f"{path}_input")
    network.place(where, first)
    for node in [n for n in network.graph.nodes if n.op == "call_module" and n.target == path]:
        source = node.args[0]
        assert isinstance(source, fx.Node)
        with network.graph.inserting_before(node):
            made = network.graph.call_module(where, (source,))
        node.update_arg(0, made)
    network.changed()
