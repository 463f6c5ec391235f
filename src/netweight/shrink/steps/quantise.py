"""Quantisation-aware training with the entropy coder's rate in the loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import fx

from .. import layers
from ..grids import ActivationGrid, WeightGrid, check_bits
from ..network import Network
from ..ops import base_name
from ..protocol import Context, StepError
from ..training import Call, calibrate, quantised, rate

_PRODUCTS: Final = {"matmul": 2, "bmm": 2, "scaled_dot_product_attention": 3}
_BASE_RATE: Final = 0.1


@dataclass(frozen=True)
class Quantize:
    """Weights on grids of `w` bits (a step a channel), activations on grids of `a` bits; None leaves activations as they are.

    The first and the last layer get `ends` bits, for both. The loss of training gains `rate` x the mean bits a weight that
    an adaptive coder needs for the integers; None: what the pipeline's target asks for (0.1 where it says nothing). Products of two
    activations (attention) are quantised too unless `products` is False.
    """

    w: int = 4
    a: int | None = 8
    rate: float | None = None
    ends: int = 8
    products: bool = True
    share: float = 2.0
    letter: str = "Q"

    def __post_init__(self) -> None:
        check_bits(self.w, "weights")
        check_bits(self.ends, "ends")
        if self.a is not None:
            check_bits(self.a, "activations")

    def at(self, strength: float) -> Quantize:
        """The step with its open `rate` set: 0.1 at a strength of one half, growing without bound towards 1."""
        return self if self.rate is not None else replace(self, rate=_BASE_RATE * strength / max(1 - strength, 1e-3))

    def apply(self, network: Network, context: Context) -> Network:
        """Raises StepError if there is no layer without a grid."""
        touched = self._weights(network)
        if not touched:
            raise StepError("Quantize touches no layer: none has weights that aren't on a grid already")
        if self.a is not None:
            self._activations(network, touched)
            calibrate(network, context)
        price = _BASE_RATE if self.rate is None else self.rate

        def bits(net: Network, _call: Call) -> torch.Tensor:
            total, count = rate(net)
            return price * total / max(count, 1)

        context.train(network, context.steps, terms=(bits,) if price else (), label="quantisation-aware training")
        total, count = rate(network)
        context.record |= {
            "layers": len(touched),
            "order-0 bits a weight (bound)": float(total.detach()) / max(count, 1),
        }
        return network

    def _bits(self, number: int, count: int) -> int:
        return max(self.ends, self.w) if number in (0, count - 1) else self.w

    def _weights(self, network: Network) -> list[tuple[Any, int]]:
        """Give every weighted layer a grid; (layer, bits that its input shall have)."""
        found: list[Any] = [m for _, m in network.calls(*layers.WEIGHTED, layers.Recurrent)]
        order = list(dict.fromkeys(found))
        shared: dict[int, layers.Shaped] = {}
        touched: list[tuple[Any, int]] = []
        already = {id(m) for m in quantised(network)}
        for number, module in enumerate(order):
            end = number in (0, len(order) - 1)
            if id(module) in already or module.frozen:
                continue
            bits = self._bits(number, len(order))
            if isinstance(module, layers.Recurrent):
                for name in module.matrix_names:
                    weight = getattr(module, name)
                    module.grids[name] = grid = WeightGrid(bits, weight.shape[0])
                    grid.fit(weight)
            else:
                self._one(module, bits, shared)
            touched.append((module, max(self.ends, self.a or 0) if end else (self.a or 0)))
        return touched

    def _one(self, module: Any, bits: int, shared: dict[int, layers.Shaped]) -> None:
        """A grid of a layer's own, or that of the layer whose weight it shares."""
        twin: Any = shared.setdefault(id(module.weight), module)
        if twin is not module:
            twin.axis, module.axis = 0, 0
            module.grid = twin.grid = WeightGrid(bits, module.weight.shape[0], 0)
        else:
            module.grid = WeightGrid(bits, module.weight.shape[module.axis], module.axis)
        with torch.no_grad():
            module.grid.fit(module.weight if module.mask is None else module.weight * module.mask)

    def _activations(self, network: Network, touched: list[tuple[Any, int]]) -> None:
        for module, bits in touched:
            if not isinstance(module, layers.Embedding):
                module.input_grid = ActivationGrid(bits, ready=False)
        if self.products and self.a is not None:
            for node in list(network.graph.nodes):
                if node.op == "call_function":
                    self._operands(network, node, _PRODUCTS.get(base_name(node.target), 0))
            network.changed()

    def _operands(self, network: Network, node: fx.Node, count: int) -> None:
        assert self.a is not None
        for k in range(count):
            source = node.args[k]
            assert isinstance(source, fx.Node)
            path = network.fresh_path(f"grid_{node.name}_{k}")
            network.place(path, ActivationGrid(self.a, ready=False))
            with network.graph.inserting_before(node):
                made = network.graph.call_module(path, (source,))
            node.update_arg(k, made)
