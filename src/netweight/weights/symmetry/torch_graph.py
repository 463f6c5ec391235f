"""Interchangeable units of a PyTorch program: `torch.export.export(module, inputs)` says what its parameters do."""

from __future__ import annotations

from typing import Any, Final

from .graph import LAST, MAP, Found, Tracer, Value

_UNARY: Final = {
    "relu": "relu", "leaky_relu": "leaky_relu", "tanh": "tanh", "sin": "sin", "dropout": "dropout", "avg_pool2d": "average",
    "adaptive_avg_pool2d": "average", "max_pool2d": "max", "gelu": "gelu", "silu": "silu", "sigmoid": "sigmoid",
    "hardswish": "hardswish", "hardtanh": "hardtanh", "elu": "elu", "softplus": "softplus", "exp": "exp", "clone": "identity",
    "contiguous": "identity", "alias": "identity", "detach": "identity",
}  # fmt: skip


def groups_of_program(program: Any) -> Found:
    """Groups of a `torch.export.ExportedProgram`; tensors have their names in its state dict. Raises InputError."""
    return _Walk(program).found()


class _Walk:
    """Goes through the nodes of the graph in order."""

    def __init__(self, program: Any) -> None:
        signature = program.graph_signature
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        shapes = {name: tuple(tensor.shape) for name, tensor in program.state_dict.items()}
        self._parameters = {node: name for node, name in names.items() if name in shapes}
        self._shapes, self._tracer = shapes, Tracer(shapes)
        self._program, self._values = program, dict[str, Value]()

    def found(self) -> Found:
        for node in self._program.graph.nodes:
            if node.op == "placeholder" and node.name not in self._parameters:
                rank = len(node.meta["val"].shape) if hasattr(node.meta.get("val"), "shape") else 0
                self._values[node.name] = self._tracer.source("is the input", MAP if rank > 2 else LAST)
            elif node.op == "call_function":
                self._values[node.name] = self._call(node, _name(node.target))
            elif node.op == "output":
                for value in self._flowing(node):
                    self._tracer.freeze(value, "is the output")
        return self._tracer.found()

    def _flowing(self, node: Any) -> list[Value]:
        return [self._values[n.name] for n in node.all_input_nodes if n.name in self._values]

    def _read(self, node: Any) -> list[str]:
        """Parameters that a node reads."""
        return [self._parameters[n.name] for n in node.all_input_nodes if n.name in self._parameters]

    def _unknown(self, node: Any) -> Value:
        return self._tracer.unknown(self._flowing(node), str(node.target), self._read(node))

    def _call(self, node: Any, name: str) -> Value:
        flowing, read = self._flowing(node), self._read(node)
        name = name.removesuffix("_")
        if name in _UNARY and len(flowing) == 1 and not read:
            return self._tracer.unary(flowing[0], _UNARY[name])
        if name in ("linear", "conv2d", "conv1d") and len(flowing) == 1 and read:
            return self._weigh(node, name, flowing[0], read)
        if name == "batch_norm" and len(flowing) == 1:
            return self._tracer.along(flowing[0], *read)
        if (
            name in ("layer_norm", "rms_norm")
            and len(flowing) == 1
            and flowing[0].place == LAST
            and len(node.args[1]) == 1
        ):
            return self._tracer.along(flowing[0], *read)
        if name in ("add", "sub", "mul") and len(flowing) == 2 and self._alike(node):
            return self._tracer.combine(flowing[0], flowing[1], linear=name != "mul")
        if name in ("flatten", "view", "reshape") and len(flowing) == 1 and self._flattens(node):
            return self._tracer.flatten(flowing[0])
        return self._unknown(node)

    def _weigh(self, node: Any, name: str, x: Value, read: list[str]) -> Value:
        weight, bias = read[0], read[1] if len(read) > 1 else None
        grouped = node.args[6] if name != "linear" and len(node.args) > 6 else 1
        if grouped == 1:
            return self._tracer.weigh(x, weight, (0, 1), bias, LAST if name == "linear" else MAP)
        if self._shapes[weight][:2] == (grouped, 1):  # depthwise
            return self._tracer.along(x, *read)
        return self._unknown(node)

    def _alike(self, node: Any) -> bool:
        """Whether both operands have the shape of the result: nothing is broadcast."""
        shapes = {tuple(n.meta["val"].shape) for n in node.all_input_nodes}
        return shapes == {tuple(node.meta["val"].shape)}

    def _flattens(self, node: Any) -> bool:
        """Whether a map becomes [batch, rest]."""
        before, after = (tuple(n.meta["val"].shape) for n in (node.all_input_nodes[0], node))
        return len(after) == 2 and len(before) > 2 and before[0] == after[0]


def _name(target: Any) -> str:
    """An operator's name without its library and overload: aten.relu.default is relu."""
    parts = str(target).split(".")
    return parts[1] if len(parts) > 1 else parts[0]
