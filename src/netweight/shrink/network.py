"""A traced network: a graph of modules and pure functions, run node by node.

It is an ordinary torch.nn.Module (it trains, moves, copies), and unlike the module that it was traced from it can be
rewritten (layers narrowed, split, replaced) and written down without pickling code.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Self

import torch
from torch import fx, nn

from ..errors import InputError


class Outputs(dict[str, Any]):
    """Named outputs, read as `outputs.logits`, `outputs["logits"]` or `outputs[0]`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key: Any) -> Any:
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)


Watch = Callable[[fx.Node, Any, tuple[Any, ...]], None]
"""watch(node, value, arguments), called after each node."""


class Network(nn.Module):
    """Runs `graph`, whose nodes call submodules of this module by path, or functions of ops.py.

    `names` are the inputs' names in order; forward takes tensors by position or by these names. The outputs are those
    of the traced module, a mapping as `Outputs`.
    """

    def __init__(self, graph: fx.Graph, names: tuple[str, ...]) -> None:
        super().__init__()
        self.graph, self.names = graph, names
        self.exits: Any = None
        self._plan: list[tuple[fx.Node, list[fx.Node]]] | None = None

    # --- structure ---

    def place(self, path: str, thing: nn.Module | torch.Tensor, *, persistent: bool = True) -> None:
        """Put a module, a parameter or a buffer at a dotted path; the modules above it are made."""
        *above, last = path.split(".")
        home: nn.Module = self
        for part in above:
            if part not in home._modules:  # noqa: SLF001  containers are made as names say
                home.add_module(part, nn.Module())
            home = home.get_submodule(part)
        if isinstance(thing, nn.Module):
            home.add_module(last, thing)
        elif isinstance(thing, nn.Parameter):
            home.register_parameter(last, thing)
        else:
            home.register_buffer(last, thing, persistent)

    def fresh_path(self, wanted: str) -> str:
        """`wanted`, or that with a number where it is taken."""
        path, number = wanted, 1
        while self._taken(path):
            path, number = f"{wanted}_{number}", number + 1
        return path

    def _taken(self, path: str) -> bool:
        home: Any = self
        for part in path.split("."):
            if not hasattr(home, part):
                return False
            home = getattr(home, part)
        return True

    def remove(self, path: str) -> None:
        """Forget the module at `path`, and the containers that it leaves empty."""
        home_path, _, last = path.rpartition(".")
        home = self.get_submodule(home_path)
        delattr(home, last)
        empty = not (home._modules or home._parameters or home._buffers)  # noqa: SLF001
        if home_path and empty and type(home) is nn.Module:
            self.remove(home_path)

    def calls(self, *kinds: type[nn.Module]) -> Iterator[tuple[fx.Node, nn.Module]]:
        """(node, module) of every call of a module, of these kinds if any are given, in order."""
        for node in self.graph.nodes:
            if node.op == "call_module":
                module = self.get_submodule(str(node.target))
                if not kinds or isinstance(module, kinds):
                    yield node, module

    def swap(self, old: fx.Node, new: fx.Node) -> None:
        """Whoever reads `old` reads `new`, exits too, and `old` is gone."""
        old.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
        if self.exits is not None:
            self.exits.moved(old.name, new.name)
        self.graph.erase_node(old)

    def changed(self) -> None:
        """To be called after the graph was rewritten: drops dead nodes and modules, and the plan of running it."""
        self.graph.eliminate_dead_code(is_impure_node=lambda n: n.op in ("placeholder", "output"))
        used = {str(n.target) for n in self.graph.nodes if n.op in ("call_module", "get_attr")}
        used |= self.exits.paths() if self.exits is not None else set()
        for path, module in list(self.named_modules(remove_duplicate=False)):
            ours = not path or type(module) is nn.Module or any(path == u or path.startswith(u + ".") for u in used)
            if not ours and self._taken(path):
                self.remove(path)
        self.graph.lint()
        self._plan = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        state = {k: v for k, v in self.__dict__.items() if k not in ("graph", "_plan")}
        new.__dict__.update(copy.deepcopy(state, memo))
        new.graph, new._plan = copy_graph(self.graph), None  # noqa: SLF001  its own class
        return new

    # --- running ---

    def forward(self, *args: torch.Tensor, **kwargs: torch.Tensor) -> Any:
        values = self.bind(args, kwargs)
        if self.exits is not None:
            return self.exits.run(self, values)
        return self.run(values)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[fx.Node, Any]:
        """The inputs by their nodes. Raises InputError for missing or unknown ones."""
        named = dict(zip(self.names, args, strict=False)) | kwargs
        if len(args) > len(self.names) or set(named) != set(self.names):
            raise InputError(
                f"the network takes {', '.join(self.names)}; it was given {len(args)} by position and {sorted(kwargs)}"
            )
        places = [n for n in self.graph.nodes if n.op == "placeholder"]
        return {node: named[name] for node, name in zip(places, self.names, strict=True)}

    def run(
        self, values: dict[fx.Node, Any], watch: Watch | None = None, start: fx.Node | None = None,
        stop: fx.Node | None = None,
    ) -> Any:  # fmt: skip
        """The outputs given `values` of the inputs, or of what the nodes after `start` need; up to `stop`: its value.

        `values` is consumed.
        """
        device = next((v.device for v in values.values() if isinstance(v, torch.Tensor)), torch.device("cpu"))
        running = start is None
        for node, dying in self._planned():
            if not running:
                running = node is start
                continue
            if node.op == "placeholder":
                continue
            args = fx.map_arg(node.args, values.__getitem__)
            if node.op == "output":
                return Outputs(args[0]) if isinstance(args[0], dict) else args[0]
            values[node] = self._value(node, args, values, device)
            if watch is not None:
                watch(node, values[node], args)
            if node is stop:
                return values[node]
            for old in dying:
                values.pop(old, None)
        raise InputError("the network has no output")

    def _value(self, node: fx.Node, args: Any, values: dict[fx.Node, Any], device: torch.device) -> Any:
        if node.op == "call_module":
            return self.get_submodule(str(node.target))(*args)
        if node.op == "get_attr":
            return attribute(self, str(node.target))
        kwargs = dict(fx.map_arg(node.kwargs, values.__getitem__))
        if "device" in kwargs:
            kwargs["device"] = device
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def _planned(self) -> list[tuple[fx.Node, list[fx.Node]]]:
        """Nodes in order, each with those whose values nobody needs after it."""
        if self._plan is None:
            last: dict[fx.Node, fx.Node] = {}
            for node in self.graph.nodes:
                last.update(dict.fromkeys(node.all_input_nodes, node))
            dying: dict[fx.Node, list[fx.Node]] = {}
            for node, user in last.items():
                dying.setdefault(user, []).append(node)
            self._plan = [(n, dying.get(n, [])) for n in self.graph.nodes]
        return self._plan


def attribute(root: nn.Module, path: str) -> Any:
    """What lies at a dotted path."""
    home, _, last = path.rpartition(".")
    return getattr(root.get_submodule(home), last)


def copy_graph(graph: fx.Graph) -> fx.Graph:
    """A graph of its own with the same nodes and names."""
    new = fx.Graph()
    new_of: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        new_of[node] = new.node_copy(node, new_of.__getitem__)
    return new


def twin(graph: fx.Graph, name: str) -> fx.Node:
    """The node of that name."""
    found: fx.Node = next(n for n in graph.nodes if n.name == name)
    return found
