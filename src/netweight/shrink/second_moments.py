"""What layers see and feel: second moments of their inputs, and squared gradients of their outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

from . import layers
from .network import Network
from .protocol import Context

_LARGEST: Final = 2304  # columns of a layer whose inputs' second moments are measured
_ROWS: Final = 4096  # of unfolded inputs taken from a batch
_DAMPING: Final = 1e-3


def roots(network: Network, context: Context, batches: int, modules: list[nn.Module]) -> dict[nn.Module, torch.Tensor]:
    """C^(1/2) of each layer's inputs, float64 [columns x kernel]^2, where C = E[x x^T] of unfolded inputs, a little damped.

    Layers of more than 2,304 columns have none. Without data ({}): errors are then those of weights.
    """
    if context.losses is None:
        return {}
    sums: dict[nn.Module, torch.Tensor] = {}

    def watch(module: Any, given: tuple[Any, ...]) -> None:
        rows = unfolded(module, given[0].detach())
        rows = rows[:: max(1, rows.shape[0] // _ROWS)].double()
        sums[module] = sums.get(module, 0) + rows.T @ rows / rows.shape[0]

    wanted = [m for m in modules if m.weight.flatten(1).shape[1] <= _LARGEST]  # type: ignore[operator]
    network.eval()
    with _hooked(wanted, watch), torch.no_grad():
        for _ in context.batches(network, batches, seed=5):
            pass
    return {m: _root(c / batches) for m, c in sums.items()}


def _root(moments: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(moments)
    damped = values.clamp_min(0) + _DAMPING * values.mean().clamp_min(1e-12)
    root: torch.Tensor = (vectors * damped.sqrt()) @ vectors.T
    return root


def unfolded(module: Any, x: torch.Tensor) -> torch.Tensor:
    """Inputs as rows [places, columns x kernel] that a layer's flattened weight multiplies."""
    if isinstance(module, layers.Linear):
        return x.reshape(-1, x.shape[-1])
    if isinstance(module, layers.Conv1d):
        x = x.unsqueeze(2)
    pad = (
        module.padding
        if not isinstance(module.padding, str)
        else [0 if module.padding == "valid" else k // 2 for k in module.kernel_size]
    )
    sizes = [tuple(v) if x.dim() == 4 and len(v) == 2 else (first, v[0]) for v, first in
             ((module.kernel_size, 1), (module.dilation, 1), (pad, 0), (module.stride, 1))]  # fmt: skip
    columns: torch.Tensor = functional.unfold(x, *sizes)
    return columns.transpose(1, 2).reshape(-1, columns.shape[1])


def output_weights(
    network: Network, context: Context, batches: int, modules: list[nn.Module]
) -> dict[nn.Module, float]:
    """The squared gradient of the loss with respect to a layer's outputs, a mean over channels: how much an error of them counts.

    {} without data.
    """
    if context.losses is None:
        return {}
    sums: dict[nn.Module, float] = {}

    def watch(module: Any, _given: tuple[Any, ...], output: torch.Tensor) -> None:
        if output.requires_grad:

            def feel(gradient: torch.Tensor) -> None:
                sums[module] = sums.get(module, 0.0) + float(gradient.double().square().sum()) / module.weight.shape[0]

            output.register_hook(feel)  # type: ignore[no-untyped-call]

    handles = [m.register_forward_hook(watch) for m in modules]
    network.eval()
    try:
        for loss in context.batches(network, batches, seed=5):
            network.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
    finally:
        for handle in handles:
            handle.remove()
        network.zero_grad(set_to_none=True)
    return {m: s / batches for m, s in sums.items()}


@contextmanager
def _hooked(modules: list[nn.Module], watch: Any) -> Iterator[None]:
    handles = [m.register_forward_pre_hook(watch) for m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
