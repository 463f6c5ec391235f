"""What a network costs: parameters, multiplications, bit operations, bytes of its archive, seconds.

BitOps are MACs x bits of the weight x bits of the activation (or of both activations), 32 where nothing is quantised. All
are for one example of the batch. Bytes and seconds are measured; the others are counted.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import torch
from torch import fx, nn

from . import layers
from .grids import ActivationGrid
from .network import Network
from .ops import base_name
from .saving import packed_bytes

FULL_BITS: Final = 32
COUNTED: Final = ("params", "macs", "bitops")
KINDS: Final = (*COUNTED, "bytes", "seconds")


@dataclass(frozen=True)
class Costs:
    """`params` counts all weights, `nonzero` those that neither a mask nor a grid makes 0; `bytes` and `seconds` are None until
    they were measured.
    """

    params: int
    nonzero: int
    macs: float
    bitops: float
    bytes: int | None = None
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def cost(network: Network, args: tuple[Any, ...], named: dict[str, Any]) -> Costs:
    """The counted costs, from one run on an example. With early exits, what is expected by the shares that leave."""
    macs = bitops = 0.0
    for node, amount, bits in multiplications(network, args, named):
        share = 1.0 if network.exits is None else network.exits.reach(network, node)
        macs, bitops = macs + share * amount, bitops + share * amount * bits
    if network.exits is not None:
        heads = network.exits.macs(network)
        macs, bitops = macs + heads, bitops + heads * FULL_BITS**2
    return Costs(*parameters(network), macs, bitops)


def full_cost(network: Network, args: tuple[Any, ...], named: dict[str, Any], effort: str = "max") -> Costs:
    """The counted costs, the bytes of the archive and the seconds of one example on one thread."""
    counted = cost(network, args, named)
    return replace(counted, bytes=packed_bytes(network, effort), seconds=latency(network, args, named))


def parameters(network: Network) -> tuple[int, int]:
    """(weights, those that aren't 0 by a mask or a grid); steps of grids aren't weights."""
    total, nonzero, seen = 0, 0, set()
    for path, module in network.named_modules():
        if path.endswith(("grid", "grids")) or ".grids." in path or isinstance(module, ActivationGrid):
            continue
        mask = getattr(module, "mask", None)
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            counted = isinstance(tensor, nn.Parameter) or name.startswith("integers")
            if not counted or id(tensor) in seen:
                continue
            seen.add(id(tensor))
            total += tensor.numel()
            if name == "weight" and mask is not None:
                nonzero += int(mask.sum())
            else:
                nonzero += int(torch.count_nonzero(tensor)) if name.startswith("integers") else tensor.numel()
    return total, nonzero


def multiplications(
    network: Network, args: tuple[Any, ...], named: dict[str, Any]
) -> list[tuple[fx.Node, float, float]]:
    """(node, MACs of one example, bits of the weight times bits of the activation) of each layer and product."""
    found: list[tuple[fx.Node, float, float]] = []
    batch = next(iter([*args, *named.values()])).shape[0]

    def watch(node: fx.Node, value: Any, given: tuple[Any, ...]) -> None:
        if node.op == "call_module":
            module = network.get_submodule(str(node.target))
            amount = _layer_macs(module, given, value)
            bits = float(weight_bits(module) * input_bits(module)) if amount else 0.0
        else:
            amount = _function_macs(base_name(node.target), given, value)
            bits = math.prod(_operand_bits(network, n) for n in node.args[:2]) if amount else 0.0
        if amount:
            found.append((node, amount / batch, bits))

    was = network.training
    network.eval()
    with torch.no_grad():
        network.run(network.bind(args, named), watch)
    network.train(was)
    return found


def _layer_macs(module: nn.Module, given: tuple[Any, ...], value: Any) -> float:
    if isinstance(module, layers.Linear):
        return float(value.numel() * module.in_features)
    if isinstance(module, (layers.Conv1d, layers.Conv2d, layers.Conv3d)):
        return float(value.numel() * (module.in_channels // module.groups) * math.prod(module.kernel_size))
    if isinstance(module, (layers.ConvTranspose1d, layers.ConvTranspose2d)):
        return float(given[0].numel() * (module.out_channels // module.groups) * math.prod(module.kernel_size))
    if isinstance(module, layers.Recurrent):
        steps = given[0].numel() // module.input_size
        return float(steps * sum(module.effective(name).numel() for name in module.matrix_names))
    return 0.0


def _function_macs(name: str, given: tuple[Any, ...], value: Any) -> float:
    if name in ("matmul", "bmm", "mm"):
        return float(value.numel() * given[0].shape[-1])
    if name == "scaled_dot_product_attention":
        scores = given[0].numel() // given[0].shape[-1] * given[1].shape[-2]
        return float(scores * (given[0].shape[-1] + given[2].shape[-1]))
    if name in ("linear", "addmm", "conv1d", "conv2d", "conv3d"):
        weight = given[2] if name == "addmm" else given[1]
        return float(
            value.numel() * weight.numel() // max(value.shape[1] if name.startswith("conv") else value.shape[-1], 1)
        )
    return 0.0


def weight_bits(module: nn.Module) -> int:
    """Bits of a layer's grid; of a recurrent one the most that a matrix has."""
    if isinstance(module, layers.Recurrent):
        bits = [_matrix_bits(module, name) for name in module.matrix_names]
        return max(bits)
    if not isinstance(module, layers.Shaped):
        return FULL_BITS
    if module.frozen:
        return module.frozen_weight_bits()
    return FULL_BITS if module.grid is None else module.grid.bits


def _matrix_bits(module: layers.Recurrent, name: str) -> int:
    integers = getattr(module, f"integers_{name}", None)
    if integers is not None:
        return max(2, int(integers.abs().max()).bit_length() + 1)
    grid: Any = dict(module.grids.items()).get(name)
    return FULL_BITS if grid is None else int(grid.bits)


def input_bits(module: nn.Module) -> int:
    """Bits of what a layer sees."""
    seen = getattr(module, "input_grid", None)
    return FULL_BITS if seen is None else int(seen.bits)


def _operand_bits(network: Network, node: Any) -> int:
    """Bits of an operand of a product: its own grid's, through what only moves numbers."""
    if isinstance(node, fx.Node) and node.op == "call_module":
        module = network.get_submodule(str(node.target))
        if isinstance(module, ActivationGrid):
            return module.bits
    return FULL_BITS


def latency(network: Network, args: tuple[Any, ...], named: dict[str, Any], least_seconds: float = 0.3) -> float:
    """Seconds of one example (batch 1) on one thread: the median of runs that take `least_seconds` together."""
    first = tuple(a[:1] for a in args), {k: v[:1] for k, v in named.items()}
    threads, was = torch.get_num_threads(), network.training
    torch.set_num_threads(1)
    network.eval()
    try:
        with torch.inference_mode():
            network(*first[0], **first[1])
            times: list[float] = []
            while sum(times) < least_seconds or len(times) < 5:
                start = time.perf_counter()
                network(*first[0], **first[1])
                times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
        network.train(was)
    return statistics.median(times)
