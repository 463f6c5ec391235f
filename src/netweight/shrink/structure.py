"""A network as JSON and tensors, and back: what is saved. Nothing in it is code.

    {"inputs": [name, ...], "modules": {path: [kind, settings, parts?]}, "tensors": {path: trained}, "ties": {path: path},
     "nodes": [[what, target, arguments, keywords?], ...], "exits": ...}

`what` is "x" (input), "m" (module at a path), "f" (function of ops.py by name), "a" (tensor at a path) or "y" (output). In
arguments {"n": k} is the value of node k, {"t": name} a dtype, {"f": text} a float that JSON lacks, {"m": {...}} a mapping.
Kinds of modules are those of KINDS; another is refused.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import fx, nn

from ..errors import FormatError, NetweightError
from . import layers
from .grids import ActivationGrid, WeightGrid
from .network import Network
from .ops import function_named, name_of

Tensors = dict[str, torch.Tensor]
_MOST_LAYERS: Final = 256  # of one recurrent module
_DERIVED: Final = "num_batches_tracked"


def _conv(m: Any) -> list[Any]:
    padding = m.padding if isinstance(m.padding, str) else list(m.padding)
    return [
        m.in_channels, m.out_channels, list(m.kernel_size), list(m.stride), padding, list(m.dilation), m.groups,
        m.bias is not None,
    ]  # fmt: skip


def _transposed(m: Any) -> list[Any]:
    sizes = [list(s) for s in (m.kernel_size, m.stride, m.padding, m.output_padding)]
    return [m.in_channels, m.out_channels, *sizes, m.groups, m.bias is not None, list(m.dilation)]


def _batch_norm(m: Any) -> list[Any]:
    return [m.num_features, m.eps, m.momentum, m.affine]


def _recurrent(m: Any) -> list[Any]:
    return [m.kind, m.input_size, m.hidden_size, m.num_layers, m.bias, m.dropout, m.bidirectional, m.batch_first]


KINDS: Final[dict[str, tuple[type[nn.Module], Callable[[Any], list[Any]]]]] = {
    "Linear": (layers.Linear, lambda m: [m.in_features, m.out_features, m.bias is not None]),
    "Conv1d": (layers.Conv1d, _conv),
    "Conv2d": (layers.Conv2d, _conv),
    "Conv3d": (layers.Conv3d, _conv),
    "ConvTranspose1d": (layers.ConvTranspose1d, _transposed),
    "ConvTranspose2d": (layers.ConvTranspose2d, _transposed),
    "Embedding": (layers.Embedding, lambda m: [m.num_embeddings, m.embedding_dim, m.padding_idx]),
    "Recurrent": (layers.Recurrent, _recurrent),
    "BatchNorm1d": (nn.BatchNorm1d, _batch_norm),
    "BatchNorm2d": (nn.BatchNorm2d, _batch_norm),
    "BatchNorm3d": (nn.BatchNorm3d, _batch_norm),
    "LayerNorm": (nn.LayerNorm, lambda m: [list(m.normalized_shape), m.eps, True, m.bias is not None]),
    "RMSNorm": (nn.RMSNorm, lambda m: [list(m.normalized_shape), m.eps]),
    "GroupNorm": (nn.GroupNorm, lambda m: [m.num_groups, m.num_channels, m.eps]),
    "Dropout": (nn.Dropout, lambda m: [m.p]),
    "Grid": (ActivationGrid, lambda m: [m.bits, m.zero]),
}
"""By name: the class, and the arguments that make an equal one."""


# --- writing ---


def described(network: Network) -> tuple[dict[str, Any], Tensors]:
    """(structure, tensors by name): all that the network is. Tensors are the network's own, not copies."""
    number = {node: k for k, node in enumerate(network.graph.nodes)}
    modules = {str(node.target): _module(module) for node, module in network.calls()}
    found: dict[str, Any] = {
        "inputs": list(network.names),
        "modules": modules,
        "tensors": {
            str(n.target): isinstance(_at(network, str(n.target)), nn.Parameter)
            for n in network.graph.nodes
            if n.op == "get_attr"
        },
        "nodes": [_node(node, number) for node in network.graph.nodes],
    }
    if network.exits is not None:
        found["exits"] = network.exits.described(number)
        modules |= {path: _module(network.get_submodule(path)) for path in sorted(network.exits.paths())}
    tensors: Tensors = {}
    first: dict[int, str] = {}
    ties: dict[str, str] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        if name.rpartition(".")[2] == _DERIVED:
            continue
        if id(tensor) in first:
            ties[name] = first[id(tensor)]
        else:
            first[id(tensor)], tensors[name] = name, tensor.detach()
    return found | {"ties": ties}, tensors


def _at(network: Network, path: str) -> Any:
    home, _, name = path.rpartition(".")
    return getattr(network.get_submodule(home), name)


def _module(module: nn.Module) -> list[Any]:
    name, (_, settings) = next((k, v) for k, v in KINDS.items() if type(module) is v[0])
    parts: dict[str, Any] = {}
    if isinstance(module, layers.Shaped):
        parts = {"frozen": True} if module.frozen else {}
        if module.grid is not None:
            parts["grid"] = module.grid.bits
        if module.mask is not None:
            parts["mask"] = True
        if module.axis != type(module).axis:
            parts["axis"] = module.axis
    if isinstance(module, layers.Recurrent):
        parts = {"grids": {k: g.bits for k, g in module.grids.items()}} if module.grids else {}
        if module.frozen:
            parts["frozen"] = [n for n in module.names if getattr(module, n) is None]
    seen = getattr(module, "input_grid", None)
    if seen is not None:
        parts["input"] = [seen.bits, seen.zero]
    return [name, settings(module), parts] if parts else [name, settings(module)]


def _node(node: fx.Node, number: dict[fx.Node, int]) -> list[Any]:
    args = _encoded(node.args, number)
    if node.op == "placeholder":
        return ["x"]
    if node.op == "output":
        return ["y", args[0]]
    if node.op == "get_attr":
        return ["a", str(node.target)]
    if node.op == "call_module":
        return ["m", str(node.target), args]
    kwargs = {k: _encoded(v, number) for k, v in node.kwargs.items()}
    return ["f", name_of(node.target), args, *([kwargs] if kwargs else [])]


def _encoded(value: Any, number: dict[fx.Node, int]) -> Any:
    if isinstance(value, fx.Node):
        return {"n": number[value]}
    if isinstance(value, (tuple, list)):
        return [_encoded(v, number) for v in value]
    if isinstance(value, Mapping):
        return {"m": {str(k): _encoded(v, number) for k, v in value.items()}}
    if isinstance(value, torch.dtype):
        return {"t": str(value).removeprefix("torch.")}
    if isinstance(value, torch.memory_format):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return {"f": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} can't be saved in a graph")


# --- reading ---


def rebuilt(structure: Any, tensors: Tensors) -> Network:
    """The network again. Raises FormatError for anything that `described` can't have made."""
    try:
        network = _built(structure)
        _filled(network, structure["ties"], tensors)
    except NetweightError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RuntimeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise FormatError(f"the network's structure is not one of ours: {type(error).__name__}: {error}") from None
    return network.eval()


def _built(structure: Any) -> Network:
    graph = fx.Graph()
    network = Network(graph, tuple(str(n) for n in structure["inputs"]))
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of layers of size 0, whose tensors are compared later like all
        for path, (kind, settings, *parts) in structure["modules"].items():
            network.place(_checked(path), _made(kind, settings, parts[0] if parts else {}))
        for path, trained in structure["tensors"].items():
            empty = torch.empty(0)
            network.place(_checked(path), nn.Parameter(empty) if trained else empty)
    nodes: list[fx.Node] = []
    for what, *rest in structure["nodes"]:
        nodes.append(_added(network, what, rest, nodes))
    if sum(n.op == "placeholder" for n in nodes) != len(network.names) or not nodes or nodes[-1].op != "output":
        raise FormatError("the network's structure: other inputs than nodes for them, or no output at the end")
    if structure.get("exits") is not None:
        from .exits import Exits

        network.exits = Exits.from_structure(structure["exits"], nodes, network)
    graph.lint()
    return network


def _checked(path: Any) -> str:
    """A path whose parts are plain names. Raises FormatError."""
    parts = path.split(".") if isinstance(path, str) else []
    if not parts or len(parts) > 64 or not all(p.replace("_", "a").isalnum() and not p.startswith("__") for p in parts):
        raise FormatError(f"the network's structure: {path!r} is no name of a module")
    if hasattr(nn.Module, parts[0]) or parts[0] in ("graph", "names", "exits", "_plan"):
        raise FormatError(f"the network's structure: a module can't be called {path!r}")
    return str(path)


def _made(kind: Any, settings: Any, parts: Any) -> nn.Module:
    if kind not in KINDS:
        raise FormatError(f"the network has a module of kind {kind!r}, which isn't on the list of allowed modules")
    if kind == "Recurrent" and (settings[0] not in layers.GATES or not 0 < int(settings[3]) <= _MOST_LAYERS):
        raise FormatError("the network's structure: an impossible recurrent layer")
    module = KINDS[kind][0](*settings)
    if isinstance(module, layers.Shaped):
        weight: Any = module.weight
        if parts.get("axis") is not None:
            module.axis = int(parts["axis"]) % weight.dim()
        if parts.get("grid"):
            module.grid = WeightGrid(parts["grid"], weight.shape[module.axis], module.axis)
        if parts.get("mask"):
            module.mask = torch.empty(weight.shape, dtype=torch.bool)
        if parts.get("frozen"):
            shape = [1] * weight.dim()
            shape[module.axis] = weight.shape[module.axis]
            module.integers = torch.empty(weight.shape, dtype=torch.int8)
            module.steps = torch.empty(shape)
            module.register_parameter("weight", None)
    if isinstance(module, layers.Recurrent):
        for name, bits in (parts.get("grids") or {}).items():
            module.grids[name] = WeightGrid(bits, getattr(module, name).shape[0])
        for name in parts.get("frozen") or ():
            weight = getattr(module, name)
            module.register_buffer(f"integers_{name}", torch.empty(weight.shape, dtype=torch.int8))
            module.register_buffer(f"steps_{name}", torch.empty(weight.shape[0], 1))
            setattr(module, name, None)
    if parts.get("input") is not None:
        module.input_grid = ActivationGrid(*parts["input"])
    return module


def _added(network: Network, what: Any, rest: Any, nodes: list[fx.Node]) -> fx.Node:
    graph = network.graph
    if what == "x":
        return graph.placeholder(f"input_{len(nodes)}")
    if what == "y":
        made: fx.Node = graph.output(_decoded(rest[0], nodes))
        return made
    if what == "a":
        if not isinstance(_at(network, rest[0]), torch.Tensor):
            raise FormatError(f"the network's structure: {rest[0]!r} is no tensor")
        return graph.get_attr(rest[0])
    args = tuple(_decoded(a, nodes) for a in rest[1])
    if what == "m":
        if type(network.get_submodule(rest[0])) not in [k for k, _ in KINDS.values()]:
            raise FormatError(f"the network's structure: {rest[0]!r} is no layer")
        return graph.call_module(rest[0], args)
    if what == "f":
        kwargs = {str(k): _decoded(v, nodes) for k, v in (rest[2] if len(rest) > 2 else {}).items()}
        return graph.call_function(function_named(str(rest[0])), args, kwargs)
    raise FormatError(f"the network's structure: a node of kind {what!r}")


def _decoded(value: Any, nodes: list[fx.Node]) -> Any:
    if isinstance(value, list):
        return [_decoded(v, nodes) for v in value]
    if not isinstance(value, dict):
        return value
    ((mark, inner),) = value.items()
    if mark == "n":
        if isinstance(inner, bool) or not 0 <= inner < len(nodes):
            raise FormatError(f"the network's structure: node {inner} is used before it is there")
        return nodes[inner]
    if mark == "t":
        dtype = getattr(torch, inner)
        if not isinstance(dtype, torch.dtype):
            raise FormatError(f"the network's structure: {inner!r} is no dtype")
        return dtype
    if mark == "f":
        return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[inner]
    if mark == "m":
        return {str(k): _decoded(v, nodes) for k, v in inner.items()}
    raise FormatError(f"the network's structure: an argument marked {mark!r}")


def _filled(network: Network, ties: dict[str, str], tensors: Tensors) -> None:
    """Give each place its tensor; all must be there, of the shape and dtype that the structure says."""
    free = {n for n in network.graph.nodes if n.op == "get_attr"}
    any_shape = {str(n.target) for n in free}
    wanted = {k: v for k, v in network.state_dict(keep_vars=True).items() if k.rpartition(".")[2] != _DERIVED}
    if set(wanted) != set(tensors) | set(ties) or set(tensors) & set(ties):
        odd = sorted(set(wanted) ^ (set(tensors) | set(ties)))[:3]
        raise FormatError(f"the network's tensors aren't those of its structure: {', '.join(map(repr, odd))} and so on")
    placed: dict[str, Any] = {}
    for name, empty in wanted.items():
        tensor = tensors[ties.get(name, name)]
        if name not in any_shape and (tensor.shape != empty.shape or tensor.dtype != empty.dtype):
            raise FormatError(
                f"tensor {name!r} is {tensor.dtype} {tuple(tensor.shape)}; its layer needs {empty.dtype} {tuple(empty.shape)}"
            )
        source = ties.get(name, name)
        if source not in placed:
            wants = isinstance(empty, nn.Parameter)
            placed[source] = nn.Parameter(tensor, tensor.is_floating_point()) if wants else tensor
        home, _, last = name.rpartition(".")
        setattr(network.get_submodule(home), last, placed[source])
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
            module.num_batches_tracked = torch.zeros((), dtype=torch.int64)
