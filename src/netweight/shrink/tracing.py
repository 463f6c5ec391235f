"""From a torch module to a Network: torch.export's graph, its parameters back in layers, its writes made pure."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from ..errors import InputError, UnsupportedError
from .lifting import Transposed, lifted
from .network import Network, Outputs
from .ops import MOVES, base_name

Example = Any
"""A tensor, a tuple of tensors, or a mapping of tensors by the names of forward's arguments; axis 0 is the batch."""

_NOT_THEIRS: Final = ("/torch/", "netweight/shrink", "importlib", "contextlib", "<string>")
_DROPPED: Final = ("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size", "sym_constrain_range")


class TraceError(UnsupportedError):
    """A module that can't be traced; `details` is torch's own account, or ""."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def inputs_of(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as positional and named arguments. Raises InputError."""
    args: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    if isinstance(example, torch.Tensor):
        args = (example,)
    elif isinstance(example, Mapping):
        named = dict(example)
    elif isinstance(example, (tuple, list)):
        args = tuple(example)
    else:
        raise InputError(f"the example is a {type(example).__name__}; give a tensor, a tuple or a mapping of tensors")
    everything = [*args, *named.values()]
    if not everything or not all(isinstance(t, torch.Tensor) and t.dim() for t in everything):
        raise InputError("the example must be one or more tensors with a batch axis")
    if len({t.shape[0] for t in everything}) > 1:
        raise InputError("the tensors of the example have different batch sizes (axis 0)")
    return args, named


def doubled(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example with a batch of at least two, so that nothing is traced as if a batch were always 1."""
    args, named = inputs_of(example)

    def twice(t: torch.Tensor) -> torch.Tensor:
        return t if t.shape[0] > 1 else torch.cat([t, t])

    return tuple(map(twice, args)), {k: twice(t) for k, t in named.items()}


def trace(model: nn.Module, example: Example, *, dynamic: Mapping[str, tuple[int, ...]] | None = None) -> Network:
    """A Network that computes what `model` does, on parameters of its own, in the mode that `model` is in.

    The batch axis (0) of every input may vary, and the axes that `dynamic` names by input (`{"tokens": (0, 1)}`); other
    sizes are those of the example. Raises TraceError, which tells the line where tracing stopped.
    """
    if isinstance(model, Network):
        return copy.deepcopy(model)
    was = model.training
    model.eval()
    try:
        args, named = doubled(example)
        program = _exported(model, args, named, dict(dynamic or {}))
        return _Builder(model, program, len(args), tuple(named)).build().train(was)
    finally:
        model.train(was)


def _exported(model: nn.Module, args: tuple[Any, ...], named: dict[str, Any], dynamic: dict[str, Any]) -> Any:
    from torch.export import Dim, export

    def axes(name: str, t: torch.Tensor) -> dict[int, Any]:
        return {a: Dim.AUTO for a in range(t.dim()) if a in dynamic.get(name, (0,))}

    names = _argument_names(model, len(args))
    shapes = tuple(axes(n, t) for n, t in zip(names, args, strict=True)) or {k: axes(k, t) for k, t in named.items()}
    said = io.StringIO()
    try:
        with _quiet(said), torch.no_grad():
            if shapes and args:  # forward(*args) wants its shapes in a tuple of its own
                return export(model, args, named, dynamic_shapes=_per_argument(model, shapes), strict=False)
            return export(model, args, named, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        details = "".join(traceback.format_exception(error)) + said.getvalue()
        raise TraceError(_explained(error), details) from error


@contextlib.contextmanager
def _quiet(said: io.StringIO) -> Iterator[None]:
    """What torch warns of, logs and prints about its graphs is for its developers: it goes to `said`, or is dropped."""
    loggers = [
        logger
        for name, logger in list(logging.root.manager.loggerDict.items())
        if name.partition(".")[0] == "torch" and isinstance(logger, logging.Logger) and not logger.disabled
    ]
    for logger in loggers:
        logger.disabled = True
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in loggers:
            logger.disabled = False


def _per_argument(model: nn.Module, shapes: Any) -> Any:
    import inspect

    kinds = [p.kind for p in inspect.signature(model.forward).parameters.values()]
    return (shapes,) if kinds and kinds[0] == inspect.Parameter.VAR_POSITIONAL else shapes


def _argument_names(model: nn.Module, count: int) -> list[str]:
    import inspect

    names = [p.name for p in inspect.signature(model.forward).parameters.values() if p.kind != p.VAR_POSITIONAL]
    return (names + [f"input{k}" for k in range(len(names), count)])[:count]


def _explained(error: Exception) -> str:
    """What to do about a module that torch.export refuses, with the last line of the user's own code."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if not any(part in f.filename for part in _NOT_THEIRS)
    ]
    where = f" at {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    kind = type(error).__name__
    advice = (
        "make it independent of the values of tensors (torch.where instead of if, tensor operations instead of .item())"
    )
    if "data-dependent" not in str(error).lower() and "GuardOnData" not in kind:
        advice = "forward must run on the example, with tensor operations alone"
    return f"the model can't be traced{where} ({kind}: {reason}): {advice}"


@dataclass
class _Builder:
    """Turns one exported program into a Network."""

    model: nn.Module
    program: Any
    positional: int
    named: tuple[str, ...]

    def build(self) -> Network:
        signature = self.program.graph_signature
        self.paths: dict[str, str] = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self.tensors: dict[str, torch.Tensor] = {}
        self.layers: dict[tuple[Any, ...], str] = {}
        self.new_of: dict[fx.Node, fx.Node] = {}
        self.graph = fx.Graph()
        places = [n for n in self.program.graph.nodes if n.op == "placeholder" and n.name not in self.paths]
        places = [n for n in places if isinstance(n.meta.get("val"), torch.Tensor)]
        names = _argument_names(self.model, self.positional) + list(self.named)
        if len(places) != len(names):
            raise TraceError("the model's inputs must be tensors, each by itself")
        self.network = Network(
            self.graph, tuple(n.name for n in places) if len(set(names)) < len(names) else tuple(names)
        )
        for node in self.program.graph.nodes:
            self._add(node)
        self.network.changed()
        return self.network

    def _add(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            if node.name not in self.paths:
                self.new_of[node] = self.graph.placeholder(node.name)
        elif node.op == "output":
            self._output(node)
        elif node.op == "call_function":
            self._call(node)
        else:
            raise TraceError(f"the graph has a node of kind {node.op} ({node.target}){_line(node)}")

    def _output(self, node: fx.Node) -> None:
        skipped = len(self.program.graph_signature.buffers_to_mutate)
        if skipped:
            raise TraceError(
                f"forward writes to buffers {sorted(self.program.graph_signature.buffers_to_mutate.values())}"
            )
        flat = [
            self.new_of[n] if isinstance(n, fx.Node) and n in self.new_of else self._value(n)
            for n in _arguments(node)[0]
        ]
        shown = (
            pytree.tree_unflatten(flat, self.program.call_spec.out_spec) if self.program.call_spec.out_spec else flat
        )
        if isinstance(shown, Mapping):
            shown = {str(k): v for k, v in shown.items() if v is not None}
        self.graph.output(shown)

    def _value(self, n: Any) -> Any:
        """An argument in the new graph: a parameter is fetched where it is used."""
        if not isinstance(n, fx.Node):
            return n
        if n in self.new_of:
            return self.new_of[n]
        path = self._path(n)
        if path is None:
            raise TraceError(f"{n.name} isn't known where it is used{_line(n)}")
        tensor = self._tensor(path)
        if not self.network._taken(path):  # noqa: SLF001
            self.network.place(path, tensor)
        self.new_of[n] = node = self.graph.get_attr(path)
        return node

    def _path(self, n: Any) -> str | None:
        return self.paths.get(n.name) if isinstance(n, fx.Node) and n.op == "placeholder" else None

    def _tensor(self, path: str) -> torch.Tensor:
        """The network's own copy of a parameter, buffer or constant; one that modules share stays one."""
        if path not in self.tensors:
            state = self.program.state_dict
            original = state[path] if path in state else self.program.constants[path]
            owned = original.detach().clone()
            trained = isinstance(original, nn.Parameter) and owned.is_floating_point()
            self.tensors[path] = nn.Parameter(owned) if trained else owned
        return self.tensors[path]

    def _get(self, argument: Any) -> torch.Tensor | None:
        path = self._path(argument)
        return None if path is None else self._tensor(path)

    def _call(self, node: fx.Node) -> None:
        name = _schema_name(node)
        if name in _DROPPED:
            return
        made = lifted(node, self._get)
        if made is not None:
            self.new_of[node] = self._layer(node, *made)
            return
        target = _pure(node)
        if not base_name(target):
            raise TraceError(f"the model calls {node.target}, which isn't on the list of functions{_line(node)}")
        args, kwargs = _portable(node, target)
        new = self.graph.call_function(target, fx.map_arg(args, self._value), fx.map_arg(kwargs, self._value))
        self.new_of[node] = new
        if isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable:  # noqa: SLF001
            self._redirect(node, new)

    def _redirect(self, node: fx.Node, new: fx.Node) -> None:
        """After a write in place, whoever reads what was written to reads the result. Raises TraceError for views."""
        written = node.args[0]
        assert isinstance(written, fx.Node)
        later = [u for u in written.users if u is not node and not _before(u, node)]
        if base_name(_pure(written)) in MOVES and any(set(s.users) - {written} for s in written.all_input_nodes):
            raise TraceError(
                f"the model writes into a part of a tensor{_line(node)}: build a new tensor (torch.cat, torch.where)"
            )
        if later or written in self.new_of:
            self.new_of[written] = new

    def _layer(self, node: fx.Node, layer: nn.Module, tensors: dict[str, Any], rest: tuple[Any, ...]) -> fx.Node:
        """A call of a layer; calls with the same tensors and settings share it."""
        turned = {k for k, v in tensors.items() if isinstance(v, Transposed)}
        given = {k: v.argument if isinstance(v, Transposed) else v for k, v in tensors.items()}
        paths = {k: self._path(v) for k, v in given.items() if v is not None}
        key = (type(layer), repr(layer), tuple(paths.items())) if paths else (node,)
        if key not in self.layers:
            self.layers[key] = where = self.network.fresh_path(self._layer_path(node, paths))
            for name, path in paths.items():
                assert path is not None
                tensor = self._tensor(path)
                if name in turned:
                    tensor = nn.Parameter(tensor.detach().T.contiguous())
                if name in layer._buffers:  # noqa: SLF001
                    setattr(layer, name, tensor)
                else:
                    setattr(
                        layer,
                        name,
                        tensor
                        if isinstance(tensor, nn.Parameter)
                        else nn.Parameter(tensor, tensor.is_floating_point()),
                    )
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
                layer.num_batches_tracked = torch.zeros((), dtype=torch.int64)
            self.network.place(where, layer)
        args = tuple(self._value(a) for a in rest)
        return self.graph.call_module(self.layers[key], args)

    def _layer_path(self, node: fx.Node, paths: dict[str, str | None]) -> str:
        """The module's own name, if its first parameter has one; else where the call was made."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        called = str(stack[-1][0]) if stack else ""
        called = called.replace("L['self'].", "").replace("[", ".").replace("]", "").strip("._") if called else ""
        first = next(iter(paths.values()), None)
        if first is not None:
            owned = first.rpartition("weight")[0].strip("._") if "weight" in first else first.rpartition(".")[0]
            return owned or called or "layer"
        return called or "dropout"


def _arguments(node: fx.Node) -> Any:
    return node.args


def _schema_name(node: fx.Node) -> str:
    target = node.target
    if isinstance(target, torch._ops.OpOverload):  # noqa: SLF001
        return target._schema.name.partition("::")[2]  # noqa: SLF001
    return getattr(target, "__name__", str(target))


def _pure(node: fx.Node) -> Any:
    """The function of a node without writing in place: relu for relu_."""
    target = node.target
    if target in (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default):  # noqa: SLF001
        return torch.ops.aten.reshape.default  # a view asks for strides that may be others in a changed network
    if not isinstance(target, torch._ops.OpOverload) or not target._schema.is_mutable:  # noqa: SLF001
        return target
    name = _schema_name(node)
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    overload = target._overloadname  # noqa: SLF001
    if name.endswith("_") and packet is not None and overload in packet.overloads():
        return getattr(packet, overload)
    return target


def _portable(node: fx.Node, target: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments without what belongs to this machine; a device stays as a mark, and is the input's when it runs."""
    kwargs = {k: v for k, v in node.kwargs.items() if k not in ("pin_memory", "layout")}
    args = node.args
    if base_name(target) == "to" and target._overloadname in ("device", "dtype_layout"):  # noqa: SLF001
        kwargs.pop("device", None)
    return tuple("cpu" if isinstance(a, torch.device) else a for a in args), {
        k: "cpu" if isinstance(v, torch.device) else v for k, v in kwargs.items()
    }


def _before(a: fx.Node, b: fx.Node) -> bool:
    return a < b


def _line(node: fx.Node) -> str:
    """Where in the user's code a node was made."""
    lines = [line.strip() for line in (node.meta.get("stack_trace") or "").strip().split("\n")]
    spots = [k for k, line in enumerate(lines) if line.startswith("File ")]
    if not spots:
        return ""
    last = spots[-1]
    return f" at {' '.join(lines[last : last + 2])}"


__all__ = ["Example", "Outputs", "TraceError", "doubled", "inputs_of", "trace"]
