"""Interchangeable units found in a graph of operators: what must move together is joined, what isn't understood stays put.

Every value that flows has a *channel axis*, and a `Channel` says whose units it carries. An operator joins channels (an addition),
passes one on (ReLU), makes one (rows of a weight) or reads one (its columns). Channels of inputs, outputs and of
operators unknown here are fixed. onnx_graph.py and torch_graph.py feed this from files and programs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ...errors import InputError
from .architecture import ALONG, IN, OUT, Axis, Group, fit
from .canonical import owners

MAP, LAST = "map", "last"
"""Where a value has its channels: on axis 1 of a feature map, or on its last axis."""

ODD: Final = frozenset({"tanh", "sin", "identity", "average", "dropout"})
SCALABLE: Final = frozenset({"relu", "leaky_relu", "identity", "average", "max", "dropout"})
UNARY: Final = (
    ODD
    | SCALABLE
    | {"gelu", "silu", "sigmoid", "softplus", "elu", "hardswish", "hardsigmoid", "hardtanh", "exp", "abs"}
)


@dataclass
class Channel:
    """Units that move together. `count` is 0 until a weight tells it; `fixed` says why they can't move, if they can't."""

    count: int
    fixed: str = ""
    sign: bool = True
    scale: bool = True
    axes: list[Axis] = field(default_factory=list)
    joined: Channel | None = None

    def root(self) -> Channel:
        """The channel that this one was joined to, or itself."""
        channel = self
        while channel.joined is not None:
            channel = channel.joined
        return channel


@dataclass(frozen=True)
class Value:
    """What flows between operators: its channel, and where its channel axis is."""

    channel: Channel
    place: str


@dataclass(frozen=True)
class Found:
    """Groups for a checkpoint, and (units, why not) of those that were left alone."""

    groups: tuple[Group, ...]
    left: tuple[tuple[str, str], ...]


class Tracer:
    """Collects what operators say; `found` makes groups of it. `shapes` are those of all parameters."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self._shapes = shapes
        self._channels: list[Channel] = []
        self._seen: dict[tuple[str, int], Channel] = {}

    def _new(self, count: int, fixed: str = "") -> Channel:
        channel = Channel(count, fixed)
        self._channels.append(channel)
        return channel

    def _touch(self, channel: Channel, tensor: str, axis: int, role: str) -> None:
        """Let an axis of a parameter move with a channel; one that moves with another already joins both."""
        other = self._seen.get((tensor, axis))
        if other is not None:
            channel.root().sign = channel.root().scale = False
            self.join(channel, other)
            return
        self._seen[tensor, axis] = channel
        channel.root().axes.append(Axis(tensor, axis, role))

    def join(self, one: Channel, other: Channel) -> None:
        """Both move together from now on; the older one stays."""
        a, b = one.root(), other.root()
        if a is b:
            return
        if self._channels.index(b) < self._channels.index(a):
            a, b = b, a
        a.fixed = a.fixed or b.fixed or ("joined units differ in number" if a.count != b.count else "")
        a.sign, a.scale = a.sign and b.sign, a.scale and b.scale
        a.axes += b.axes
        b.joined = a

    # --- what operators say --------------------------------------------------------------------------------------------

    def source(self, why: str, place: str = LAST) -> Value:
        """A value whose channels can't move."""
        return Value(self._new(0, why), place)

    def freeze(self, value: Value, why: str) -> None:
        """The channels of a value can't move."""
        root = value.channel.root()
        root.fixed = root.fixed or why

    def weigh(self, x: Value, weight: str, axes: tuple[int, int], bias: str | None, place: str) -> Value:
        """A matrix or convolution: reads x on axes[1] of `weight`, makes units on axes[0]."""
        if x.place != place:
            self.freeze(x, f"{weight} reads another axis")
            x = self.source(f"{weight} reads another axis", place)
        self._touch(x.channel, weight, axes[1], OUT)
        made = self._new(self._shapes[weight][axes[0]])
        self._touch(made, weight, axes[0], IN)
        if bias is not None:
            self._touch(made, bias, 0, IN)
        return Value(made, place)

    def along(self, x: Value, *tensors: str) -> Value:
        """Parameters of one number a channel (a normalisation's); signs and scales no longer mean nothing."""
        for tensor in tensors:
            self._touch(x.channel, tensor, 0, ALONG)
        root = x.channel.root()
        root.sign = root.scale = False
        return x

    def shift(self, x: Value, bias: str) -> Value:
        """A bias added to what a matrix made."""
        self._touch(x.channel, bias, 0, IN)
        return x

    def unary(self, x: Value, operator: str) -> Value:
        """An operator that works on each number by itself, or on each map."""
        root = x.channel.root()
        root.sign, root.scale = root.sign and operator in ODD, root.scale and operator in SCALABLE
        return x

    def combine(self, x: Value, y: Value, *, linear: bool) -> Value:
        """Element by element, of two values: a sum (linear) keeps signs and scales, a product doesn't."""
        if x.place != y.place:
            for value in (x, y):
                self.freeze(value, "combined over different axes")
        self.join(x.channel, y.channel)
        root = x.channel.root()
        if not linear:
            root.sign = root.scale = False
        return x

    def flatten(self, x: Value) -> Value:
        """A map as a vector, each channel's places side by side."""
        return Value(x.channel, LAST)

    def unknown(self, values: list[Value], operator: str, parameters: list[str]) -> Value:
        """An operator that isn't understood: nothing that it reads can move, `parameters` neither."""
        why = f"read by {operator}, which isn't understood"
        for value in values:
            self.freeze(value, why)
        for name in parameters:
            for axis in range(len(self._shapes[name])):
                self._touch(self._new(self._shapes[name][axis], why), name, axis, IN)
        return self.source(f"comes from {operator}, which isn't understood")

    # --- groups --------------------------------------------------------------------------------------------------------

    def found(self) -> Found:
        """Groups in the order in which their units come up. Raises InputError if not one can move."""
        groups: list[Group] = []
        left: list[tuple[str, str]] = []
        for channel in self._channels:
            if channel.joined is None and channel.axes:
                self._add(channel, groups, left)
        if not groups:
            raise InputError("no interchangeable units found: " + "; ".join(f"{u}: {why}" for u, why in left[:5]))
        return Found(tuple(groups), tuple(left))

    def _add(self, channel: Channel, groups: list[Group], left: list[tuple[str, str]]) -> None:
        """The channel as a group, if it is one and the groups before it leave it something to be told by."""
        units = channel.axes[0].tensor
        why = channel.fixed or ("" if any(a.role == IN for a in channel.axes) else "nothing makes these units")
        if not why:
            group = Group(units, channel.count, tuple(channel.axes), channel.sign, channel.scale)
            try:
                owners(fit((*groups, group), self._shapes), self._shapes)
                groups.append(group)
            except InputError as error:
                why = str(error)
        if why:
            left.append((units, why))
