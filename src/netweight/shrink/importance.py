"""How much each group of channels matters.

    fisher      sum over batches of (sum over the group of gradient x weight)^2: the squared first-order change of the loss
                (Molchanov et al., arXiv 1906.10771; with a batch's mean gradient for an example's)
    taylor      |sum over batches of that|
    magnitude   mean square of the group's weights, in each tensor relative to all of it
    activation  sum over the layers that read the group of E[x^2] |W[:, c]|^2 (as in Wanda, arXiv 2306.11695)

Gradients are summed over the columns that read a channel, for that is what zeroing the channel changes; over its rows where
nobody reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..errors import InputError
from . import layers
from .graph.narrow import Coupling
from .graph.roles import axes_of
from .network import Network
from .protocol import Context

CRITERIA: Final = ("fisher", "taylor", "magnitude", "activation")
Scores = NDArray[np.float64]
_READS: Final = ("column", "deep")


def group_scores(coupling: Coupling, context: Context, criterion: str, batches: int) -> Scores:
    """The score of each of `coupling.groups`, float64 [groups]; higher is more important."""
    if criterion not in CRITERIA:
        raise InputError(f"no criterion {criterion!r}; there are {', '.join(CRITERIA)}")
    numbers = np.array([g.number for g in coupling.groups], np.int64)
    if criterion == "magnitude":
        return _by_group(coupling, _magnitudes(coupling))[numbers]
    if criterion == "activation":
        return _by_group(coupling, _activations(coupling, context, batches))[numbers]
    total = np.zeros(coupling.group_of.size)
    for _ in gradients(coupling.network, context, batches):
        found = _by_group(coupling, _products(coupling))
        total += np.square(found) if criterion == "fisher" else found
    return np.abs(total)[numbers]


Along = Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]


def _by_group(coupling: Coupling, parts: Along) -> Scores:
    """Sums of values by the groups of their atoms, float64 [atoms], at each group's number."""
    total = np.zeros(coupling.group_of.size)
    for atoms, values in parts:
        np.add.at(total, coupling.group_of[atoms], values)
    return total


def gradients(network: Network, context: Context, batches: int) -> Iterator[None]:
    """The gradients of one batch after another, in the parameters' `grad`; in eval mode, and gone at the end."""
    network.eval()
    for loss in context.batches(network, batches, seed=5):
        network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        yield
    network.zero_grad(set_to_none=True)


def _has_readers(coupling: Coupling) -> NDArray[np.bool_]:
    read = np.zeros(coupling.group_of.size, bool)
    for group in coupling.groups:
        read[group.number] = any(role in _READS for _, role in group.places)
    return read


def _products(coupling: Coupling) -> Along:
    """Gradient x weight along each axis that counts."""
    read = _has_readers(coupling)
    for module, roles in coupling.found.roles.of.items():
        for axes in axes_of(module):
            tensor = axes.tensor
            if tensor.grad is None:
                continue
            product = (tensor.grad * tensor).detach().double()
            for axis, role in enumerate(axes.roles):
                if role is None:
                    continue
                values = product.sum([a for a in range(product.dim()) if a != axis]) if product.dim() > 1 else product
                wanted = read[coupling.group_of[roles[role]]] == (role in _READS)
                yield roles[role], np.where(wanted, values.cpu().numpy(), 0.0)


def _magnitudes(coupling: Coupling) -> Along:
    for module, roles in coupling.found.roles.of.items():
        for axes in axes_of(module):
            if axes.name not in ("weight", "integers") and not axes.name.startswith("weight"):
                continue
            if isinstance(module, layers.Shaped):
                tensor = module.effective().detach().double()
            elif isinstance(module, layers.Recurrent):
                tensor = module.effective(axes.name).detach().double()
            else:
                continue
            square = tensor.square() / tensor.square().mean().clamp_min(1e-30) / tensor.numel()
            for axis, role in enumerate(axes.roles):
                if role is not None:
                    values = square.sum([a for a in range(square.dim()) if a != axis])
                    yield roles[role], values.cpu().numpy()


def channel_axis(module: Any, rank: int) -> int:
    """The axis of a layer's input that its columns read."""
    return rank - 1 if isinstance(module, (layers.Linear, layers.Recurrent)) else rank - module.weight_rank + 1


def input_squares(network: Network, context: Context, batches: int) -> dict[nn.Module, torch.Tensor]:
    """E[x^2] of each channel that a layer reads, float64 [channels], over some batches."""
    sums: dict[nn.Module, Any] = {}
    counts: dict[nn.Module, int] = {}

    def watch(module: nn.Module, given: tuple[Any, ...]) -> None:
        x = given[0].detach().double()
        axis = channel_axis(module, x.dim())
        found = x.square().movedim(axis, 0).flatten(1)
        sums[module] = sums.get(module, 0.0) + found.sum(1)
        counts[module] = counts.get(module, 0) + found.shape[1]

    read = [
        m
        for m in network.modules()
        if isinstance(m, (layers.Shaped, layers.Recurrent)) and not isinstance(m, layers.Embedding)
    ]
    handles = [m.register_forward_pre_hook(watch) for m in read]
    network.eval()
    try:
        with torch.no_grad():
            for _ in context.batches(network, batches, seed=5):
                pass
    finally:
        for handle in handles:
            handle.remove()
    return {m: s / counts[m] for m, s in sums.items()}


def _activations(coupling: Coupling, context: Context, batches: int) -> Along:
    squares = input_squares(coupling.network, context, batches)
    for module, roles in coupling.found.roles.of.items():
        if module not in squares or "column" not in roles:
            continue
        if isinstance(module, layers.Recurrent):
            weight = module.effective(module.names[0]).detach().double()
            norms = weight.square().sum(0)
        else:
            weight = module.effective().detach().double()  # type: ignore[operator]
            axis = 0 if isinstance(module, (layers.ConvTranspose1d, layers.ConvTranspose2d)) else 1
            norms = weight.square().movedim(axis, 0).flatten(1).sum(1)
        groups = getattr(module, "groups", 1)
        x = squares[module].reshape(groups, -1).sum(0) if groups > 1 else squares[module]
        yield roles["column"], (norms * x).cpu().numpy() if norms.numel() == x.numel() else norms.cpu().numpy()
