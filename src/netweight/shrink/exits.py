"""Early exits: heads at places of a network where one value says all that comes after, and who leaves there.

An example leaves at the first head whose calibrated confidence (the largest probability at the head's temperature) reaches
the head's threshold. Those that are left go on alone, so a batch costs what its examples need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from ..errors import FormatError
from . import layers
from .network import Network


@dataclass
class Exit:
    """After the node `node` (by name) the module at `path` reads its value, averaged over places, and gives logits.

    `share` of all examples leave here where it was measured.
    """

    node: str
    path: str
    temperature: float = 1.0
    threshold: float = 2.0
    share: float = 0.0


def pooled(value: torch.Tensor) -> torch.Tensor:
    """[batch, channels]: maps [b, c, h, w] averaged over places, sequences [b, t, c] over time."""
    if value.dim() == 4:
        return value.mean((2, 3))
    return value.mean(1) if value.dim() == 3 else value


def narrow_places(network: Network) -> list[fx.Node]:
    """Nodes that everything later depends on alone, in order: where a network can be cut into two."""
    nodes = list(network.graph.nodes)
    order = {n: k for k, n in enumerate(nodes)}
    last = {n: max((order[u] for u in n.users), default=order[n]) for n in nodes}
    found, others = [], -1
    for k, node in enumerate(nodes[:-1]):
        if others <= k and node.op in ("call_module", "call_function") and last[node] > k:
            found.append(node)
        others = max(others, last[node])
    return found


class Exits:
    """The exits of a network, in order."""

    def __init__(self, exits: list[Exit]) -> None:
        self.exits = exits

    def paths(self) -> set[str]:
        """Where the heads are."""
        return {e.path for e in self.exits}

    def moved(self, old: str, new: str) -> None:
        """A node's value is another's from now on."""
        for e in self.exits:
            e.node = new if e.node == old else e.node

    def macs(self, network: Network) -> float:
        """Expected MACs of the heads, of one example."""
        left, total = 1.0, 0.0
        for e in self.exits:
            head: layers.Linear = network.get_submodule(e.path)  # type: ignore[assignment]
            total += left * head.in_features * head.out_features
            left -= e.share
        return total

    def logits(self, network: Network, values: dict[fx.Node, Any]) -> tuple[list[torch.Tensor], Any]:
        """(logits of each head, the network's output) for all examples. `values` is consumed."""
        wanted = {e.node: k for k, e in enumerate(self.exits)}
        found: list[Any] = [None] * len(self.exits)

        def watch(node: fx.Node, value: Any, _given: tuple[Any, ...]) -> None:
            if node.name in wanted:
                k = wanted[node.name]
                found[k] = network.get_submodule(self.exits[k].path)(pooled(value))

        output = network.run(values, watch)
        return found, output

    def run(self, network: Network, values: dict[fx.Node, Any]) -> Any:
        """The output, each example's from where it left; in training all go to the end."""
        if network.training:
            return network.run(values)
        by_name = {n.name: n for n in network.graph.nodes}
        out: torch.Tensor | None = None
        left: torch.Tensor | None = None
        start: fx.Node | None = None
        for e in self.exits:
            node = by_name[e.node]
            value = network.run(values, start=start, stop=node)
            logits = network.get_submodule(e.path)(pooled(value))
            goes = confidence(logits, e.temperature) >= e.threshold
            left = torch.arange(value.shape[0], device=value.device) if left is None else left
            out = logits.new_zeros(value.shape[0], logits.shape[1]) if out is None else out
            out[left[goes]] = logits[goes]
            left, values, start = left[~goes], {node: value[~goes]}, node
            if not left.numel():
                return out
        rest = network.run(values, start=start)
        if out is None or left is None:
            return rest
        out[left] = rest
        return out

    def reach(self, network: Network, node: fx.Node) -> float:
        """The share of examples that get to `node`."""
        gone = 0.0
        for found in network.graph.nodes:
            if found is node:
                break
            gone += sum(e.share for e in self.exits if e.node == found.name)
        return 1.0 - gone

    # --- saved form ---

    def described(self, number: dict[fx.Node, int]) -> list[list[Any]]:
        """JSON-able."""
        at = {node.name: k for node, k in number.items()}
        return [[at[e.node], e.path, e.temperature, e.threshold, e.share] for e in self.exits]

    @classmethod
    def from_structure(cls, given: Any, nodes: list[fx.Node], network: Network) -> Exits:
        """The inverse. Raises FormatError for places where a network can't be cut."""
        places = narrow_places(network)
        made = []
        for number, path, *figures in given:
            if not 0 <= number < len(nodes) or nodes[number] not in places:
                raise FormatError("the network's structure: an exit where the network can't be cut")
            if not isinstance(network.get_submodule(path), layers.Linear):
                raise FormatError(f"the network's structure: {path!r} is no head of an exit")
            temperature, threshold, share = map(float, figures)
            made.append(Exit(nodes[number].name, path, temperature, threshold, share))
        return cls(made)


def confidence(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """The largest probability of each row."""
    return torch.softmax(logits / temperature, -1).amax(-1)


def fitted_temperature(logits: torch.Tensor, target: torch.Tensor) -> float:
    """The temperature of least cross-entropy with `target` (class numbers), by golden section on its logarithm."""

    def loss(log_t: float) -> float:
        return float(functional.cross_entropy(logits / 2**log_t, target))

    low, high, ratio = -4.0, 4.0, (5**0.5 - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    fa, fb = loss(a), loss(b)
    for _ in range(40):
        if fa < fb:
            high, b, fb = b, a, fa
            a = high - ratio * (high - low)
            fa = loss(a)
        else:
            low, a, fa = a, b, fb
            b = low + ratio * (high - low)
            fb = loss(b)
    return float(2 ** ((low + high) / 2))


def teach(network: Network, args: Any, named: Any) -> torch.Tensor:
    """The heads' cross-entropy with the network's own answers on a batch."""
    assert network.exits is not None
    found, output = network.exits.logits(network, network.bind(args, named))
    soft = torch.softmax(output.detach(), -1)
    return sum((functional.cross_entropy(logits, soft) for logits in found), torch.zeros((), device=soft.device))


def make_head(network: Network, channels: int, classes: int, number: int) -> tuple[str, nn.Module]:
    """A Linear head in the network; (its path, itself)."""
    path = network.fresh_path(f"exit{number}")
    head = layers.Linear(channels, classes)
    network.place(path, head)
    return path, head
