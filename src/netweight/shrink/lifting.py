"""Calls of ATen operators with parameters become layers: what a traced graph says in functions, said in modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import fx, nn

from . import layers
from .ops import base_name


def arguments(node: fx.Node) -> dict[str, Any]:
    """A call's arguments by name, defaults included."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]  # noqa: SLF001  the only way to names
    given = dict(zip((a.name for a in schema), node.args, strict=False)) | dict(node.kwargs)
    return {a.name: given.get(a.name, a.default_value) for a in schema}


@dataclass(frozen=True)
class Transposed:
    """A parameter that a layer takes transposed."""

    argument: Any


Get = Callable[[Any], "nn.Parameter | torch.Tensor | None"]
"""The parameter that an argument is; None if it is None or computed."""
Made = tuple[nn.Module, dict[str, Any], tuple[Any, ...]]
"""(layer on the meta device, its tensors by name as arguments of the call, the arguments that remain)."""


def _linear(a: dict[str, Any], get: Get) -> Made:
    weight = get(a["weight"])
    assert weight is not None
    made = layers.Linear(weight.shape[1], weight.shape[0], a["bias"] is not None)
    return made, {"weight": a["weight"], "bias": a["bias"]}, (a["input"],)


def _addmm(a: dict[str, Any], get: Get) -> Made | None:
    """Transformers' Conv1D: bias + x weight, the weight with inputs first."""
    weight, bias = get(a["mat2"]), get(a["self"])
    if weight is None or bias is None or bias.dim() != 1 or (a["beta"], a["alpha"]) != (1, 1):
        return None
    made = layers.Linear(weight.shape[0], weight.shape[1])
    return made, {"weight": Transposed(a["mat2"]), "bias": a["self"]}, (a["mat1"],)


def _conv(rank: int) -> Callable[[dict[str, Any], Get], Made]:
    kind = (layers.Conv1d, layers.Conv2d, layers.Conv3d)[rank - 1]

    def lift(a: dict[str, Any], get: Get) -> Made:
        weight = get(a["weight"])
        assert weight is not None
        sizes = [a[k] if isinstance(a[k], str) else _spread(a[k], rank) for k in ("stride", "padding", "dilation")]
        made = kind(
            weight.shape[1] * a["groups"], weight.shape[0], tuple(weight.shape[2:]), *sizes, a["groups"], a["bias"] is not None
        )  # fmt: skip
        return made, {"weight": a["weight"], "bias": a["bias"]}, (a["input"],)

    return lift


def _spread(value: Any, rank: int) -> tuple[int, ...]:
    values = list(value)
    return tuple(values * rank if len(values) == 1 else values)


def _transposed(rank: int) -> Callable[[dict[str, Any], Get], Made]:
    kind = (layers.ConvTranspose1d, layers.ConvTranspose2d)[rank - 1]

    def lift(a: dict[str, Any], get: Get) -> Made:
        weight = get(a["weight"])
        assert weight is not None
        stride, padding, output, dilation = (
            _spread(a[k], rank) for k in ("stride", "padding", "output_padding", "dilation")
        )
        made = kind(
            weight.shape[0], weight.shape[1] * a["groups"], tuple(weight.shape[2:]), stride, padding, output,
            a["groups"], a["bias"] is not None, dilation,
        )  # fmt: skip
        return made, {"weight": a["weight"], "bias": a["bias"]}, (a["input"],)

    return lift


def _batch_norm(a: dict[str, Any], get: Get) -> Made | None:
    mean = get(a["running_mean"])
    if mean is None:
        return None
    rank = a["input"].meta["val"].dim()
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[rank]
    made = kind(mean.shape[0], a["eps"], a["momentum"], a["weight"] is not None)
    names = ("weight", "bias", "running_mean", "running_var")
    return made, {k: a[k] for k in names if a[k] is not None}, (a["input"],)


def _layer_norm(a: dict[str, Any], get: Get) -> Made | None:
    weight = get(a["weight"])
    if weight is None:
        return None
    made = nn.LayerNorm(list(weight.shape), a["eps"], bias=a["bias"] is not None)
    return made, {"weight": a["weight"], "bias": a["bias"]}, (a["input"],)


def _rms_norm(a: dict[str, Any], get: Get) -> Made | None:
    weight = get(a["weight"])
    if weight is None:
        return None
    return nn.RMSNorm(list(weight.shape), a["eps"]), {"weight": a["weight"]}, (a["input"],)


def _group_norm(a: dict[str, Any], get: Get) -> Made | None:
    weight = get(a["weight"])
    if weight is None or a["bias"] is None:
        return None
    return (
        nn.GroupNorm(a["num_groups"], weight.shape[0], a["eps"]),
        {k: a[k] for k in ("weight", "bias")},
        (a["input"],),
    )


def _embedding(a: dict[str, Any], get: Get) -> Made | None:
    weight = get(a["weight"])
    if weight is None or a["scale_grad_by_freq"] or a["sparse"]:
        return None
    padding = a["padding_idx"] if a["padding_idx"] >= 0 else None
    return layers.Embedding(*weight.shape, padding), {"weight": a["weight"]}, (a["indices"],)


def _dropout(a: dict[str, Any], _get: Get) -> Made:
    return nn.Dropout(a["p"]), {}, (a["input"],)


def _recurrent(kind: str) -> Callable[[dict[str, Any], Get], Made | None]:
    def lift(a: dict[str, Any], get: Get) -> Made | None:
        params = a["params"]
        weights = [get(p) for p in params]
        first, second = weights[0], weights[1]
        each = (4 if a["has_biases"] else 2) * a["num_layers"] * (1 + a["bidirectional"])
        if first is None or second is None or any(w is None for w in weights) or len(params) != each:
            return None  # computed weights, or a projected LSTM
        made = layers.Recurrent(
            kind, first.shape[1], second.shape[1], a["num_layers"], a["has_biases"], a["dropout"], a["bidirectional"],
            a["batch_first"],
        )  # fmt: skip
        states = tuple(a["hx"]) if kind == "lstm" else (a["hx"],)
        return made, dict(zip(made.names, params, strict=True)), (a["input"], *states)

    return lift


LIFTS: Final[dict[str, Callable[[dict[str, Any], Get], Made | None]]] = {
    "linear": _linear,
    "addmm": _addmm,
    "conv1d": _conv(1),
    "conv2d": _conv(2),
    "conv3d": _conv(3),
    "conv_transpose1d": _transposed(1),
    "conv_transpose2d": _transposed(2),
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "embedding": _embedding,
    "dropout": _dropout,
    "lstm": _recurrent("lstm"),
    "gru": _recurrent("gru"),
    "rnn_tanh": _recurrent("rnn_tanh"),
    "rnn_relu": _recurrent("rnn_relu"),
}
"""By ATen's name; a lift gives None where the call must stay a function."""


def lifted(node: fx.Node, get: Get) -> Made | None:
    """The layer of a call, or None. Layers lie on the meta device: they have shapes and no numbers."""
    name = node.target._schema.name.partition("::")[2] if isinstance(node.target, torch._ops.OpOverload) else ""  # noqa: SLF001
    lift = LIFTS.get(name)
    if lift is None:
        return None
    named = arguments(node)
    if "weight" in named and named["weight"] is not None and get(named["weight"]) is None:
        return None
    with torch.device("meta"):
        return lift(named, get)


def is_function(node: fx.Node, name: str) -> bool:
    """Whether a node calls this function of ops.py."""
    return node.op == "call_function" and base_name(node.target) == name
