"""Interchangeable units of an ONNX model: its initialisers are the checkpoint's tensors."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from ...errors import InputError, MissingExtraError, NotFoundError
from .graph import LAST, MAP, Found, Tracer, Value

_UNARY: Final = {
    "Relu": "relu", "LeakyRelu": "leaky_relu", "Tanh": "tanh", "Sin": "sin", "Identity": "identity", "Dropout": "dropout",
    "AveragePool": "average", "GlobalAveragePool": "average", "MaxPool": "max", "GlobalMaxPool": "max", "Sigmoid": "sigmoid",
    "Gelu": "gelu", "Softplus": "softplus", "Elu": "elu", "HardSwish": "hardswish", "HardSigmoid": "hardsigmoid", "Exp": "exp",
}  # fmt: skip


def groups_of_onnx(path: str | os.PathLike[str]) -> Found:
    """Groups of an .onnx file. Raises NotFoundError, InputError, MissingExtraError."""
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("onnx", "test") from None
    if not os.path.exists(path):
        raise NotFoundError(f"{path}: no such file")
    try:
        graph = onnx.load(os.fspath(path), load_external_data=False).graph
    except Exception as error:  # protobuf raises its own kinds
        raise InputError(f"{path}: isn't an ONNX model") from error
    return _Walk(graph).found()


class _Walk:
    """Goes through the nodes in order, which is topological in ONNX."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._shapes = {t.name: tuple(t.dims) for t in graph.initializer}
        self._tracer = Tracer(dict(self._shapes))
        self._values: dict[str, Value] = {}
        self._turned: dict[str, str] = {}  # outputs of Transpose of a matrix -> the matrix

    def found(self) -> Found:
        for node in self._graph.input:
            if node.name not in self._shapes:
                rank = len(node.type.tensor_type.shape.dim)
                self._values[node.name] = self._tracer.source("is the input", MAP if rank > 2 else LAST)
        for node in self._graph.node:
            self._step(node)
        for node in self._graph.output:
            if node.name in self._values:
                self._tracer.freeze(self._values[node.name], "is the output")
        return self._tracer.found()

    def _step(self, node: Any) -> None:
        inputs = [name for name in node.input if name]
        flowing = [self._values[name] for name in inputs if name in self._values]
        kinds: dict[str, Callable[[Any, list[str], list[Value]], Value | None]] = {
            "Conv": self._conv, "Gemm": self._gemm, "MatMul": self._matmul, "BatchNormalization": self._normalise,
            "LayerNormalization": self._normalise, "Add": self._add, "Mul": self._mul, "Flatten": self._flatten,
            "Reshape": self._flatten, "Transpose": self._transpose, "Constant": self._constant,
        }  # fmt: skip
        if node.op_type in _UNARY and len(flowing) == 1:
            out: Value | None = self._tracer.unary(flowing[0], _UNARY[node.op_type])
        elif node.op_type in kinds:
            out = kinds[node.op_type](node, inputs, flowing)
        else:
            out = self._unknown(node, inputs, flowing)
        if out is not None:
            self._values.update(dict.fromkeys(node.output, out))

    def _unknown(self, node: Any, inputs: list[str], flowing: list[Value]) -> Value:
        return self._tracer.unknown(flowing, node.op_type, [name for name in inputs if name in self._shapes])

    def _conv(self, node: Any, inputs: list[str], flowing: list[Value]) -> Value:
        weight, bias = inputs[1], inputs[2] if len(inputs) > 2 else None
        grouped = _attribute(node, "group", 1)
        if len(flowing) == 1 and weight in self._shapes:
            if grouped == 1:
                return self._tracer.weigh(flowing[0], weight, (0, 1), bias, MAP)
            if self._shapes[weight][:2] == (grouped, 1):  # depthwise
                return self._tracer.along(flowing[0], weight, *([bias] if bias else []))
        return self._unknown(node, inputs, flowing)

    def _gemm(self, node: Any, inputs: list[str], flowing: list[Value]) -> Value:
        weight, bias = inputs[1], inputs[2] if len(inputs) > 2 else None
        plain = (
            _attribute(node, "alpha", 1.0) == 1
            and _attribute(node, "beta", 1.0) == 1
            and not _attribute(node, "transA", 0)
        )
        if len(flowing) != 1 or weight not in self._shapes or not plain:
            return self._unknown(node, inputs, flowing)
        return self._tracer.weigh(flowing[0], weight, (0, 1) if _attribute(node, "transB", 0) else (1, 0), bias, LAST)

    def _matmul(self, node: Any, inputs: list[str], flowing: list[Value]) -> Value:
        weight = self._turned.get(inputs[1], inputs[1])
        if len(flowing) != 1 or inputs[0] not in self._values or len(self._shapes.get(weight, ())) != 2:
            return self._unknown(node, inputs, flowing)
        axes = (0, 1) if inputs[1] in self._turned else (1, 0)
        return self._tracer.weigh(flowing[0], weight, axes, None, LAST)

    def _normalise(self, node: Any, inputs: list[str], flowing: list[Value]) -> Value:
        maps = node.op_type == "LayerNormalization" and flowing and flowing[0].place == MAP
        if maps or len(flowing) != 1 or any(len(self._shapes.get(name, ())) != 1 for name in inputs[1:]):
            return self._unknown(node, inputs, flowing)
        return self._tracer.along(flowing[0], *inputs[1:])

    def _add(self, node: Any, inputs: list[str], flowing: list[Value]) -> Value:
        if len(flowing) == 2:
            return self._tracer.combine(*flowing, linear=True)
        biases = [name for name in inputs if len(self._shapes.get(name, ())) == 1]
        if len(flowing) == len(biases) == 1 and flowing[0].place == LAST:
            return self._tracer.shift(flowing[0], biases[0])
        return self._unknown(node, inputs, flowing)

    def _mul(self, node: Any, inputs: list[str], flowing: list[Value]) -> Value:
        if len(flowing) == 2:
            return self._tracer.combine(*flowing, linear=False)
        gains = [name for name in inputs if len(self._shapes.get(name, ())) == 1]
        if len(flowing) == len(gains) == 1 and flowing[0].place == LAST:
            return self._tracer.along(flowing[0], gains[0])
        return self._unknown(node, inputs, flowing)

    def _flatten(self, node: Any, inputs: list[str], flowing: list[Value]) -> Value:
        """Flatten from axis 1 on; Reshape only of a map to [batch, rest], as [0 or n, -1]."""
        if len(flowing) == 1 and node.op_type == "Flatten" and _attribute(node, "axis", 1) == 1:
            return self._tracer.flatten(flowing[0])
        if len(flowing) == 1 and flowing[0].place == MAP and self._targets.get(inputs[1], ())[1:] == (-1,):
            return self._tracer.flatten(flowing[0])
        return self._unknown(node, [], flowing)

    @property
    def _targets(self) -> dict[str, tuple[int, ...]]:
        """Small constant vectors: shapes to reshape to."""
        from onnx import numpy_helper

        small = [t for t in self._graph.initializer if tuple(t.dims) == (2,) and t.data_type == 7]  # int64
        return {t.name: tuple(int(n) for n in numpy_helper.to_array(t)) for t in small}

    def _transpose(self, node: Any, inputs: list[str], flowing: list[Value]) -> Value | None:
        if not flowing and len(self._shapes.get(inputs[0], ())) == 2:
            self._turned[node.output[0]] = inputs[0]
            return None
        return self._unknown(node, inputs, flowing)

    def _constant(self, _node: Any, _inputs: list[str], _flowing: list[Value]) -> None:
        """Holds no parameter."""


def _attribute(node: Any, name: str, default: Any) -> Any:
    """An integer or real attribute of a node."""
    for attribute in node.attribute:
        if attribute.name == name:
            return attribute.i if attribute.type == 2 else attribute.f
    return default
