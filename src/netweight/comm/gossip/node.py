"""What a gossip algorithm is: the code of one node, written as rounds of messages.

A node's `step` is a generator. It yields what it sends (one message to every neighbour, or one for each) and is given what
the neighbours sent; whoever drives it (network.py, ranks.py) decides where they live. It changes the node's state after its
last message was read and checked, never before: a step that fails leaves the node as it was.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..compressor import Vector
from .channel import Channel, Choice, Slot
from .topology import Topology

Outgoing = bytes | dict[int, bytes]
Incoming = Mapping[int, bytes | memoryview]
Rounds = Generator[Outgoing, Incoming, None]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all nodes share: parameters in order, their dtype, the seed, and how messages are made.

    `remember`: all nodes live in this process, so what their messages say is decoded once and kept: `known` and `taken` are
    the shared memory of TrackingNode.
    """

    topology: Topology
    slots: tuple[Slot, ...]
    dtype: np.dtype[Any]
    seed: int
    channel: Channel
    remember: bool = False
    known: dict[int, Vector] = field(default_factory=dict)
    taken: dict[int, tuple[bytes, Vector]] = field(default_factory=dict)


class Node(ABC):
    """One node. `x` float [d] is its parameters, changed in place; `time` counts its finished steps."""

    memory: Sequence[str] = ()
    """Names of the attributes, float [d], zero at first, that are part of the state beside `x`."""

    def __init__(self, rank: int, setting: Setting, x: Vector) -> None:
        self.rank = rank
        self.x = x
        self.time = 0
        self.setting = setting
        self.neighbours = setting.topology.neighbours[rank]
        self.weights = setting.topology.weights[rank]
        for name in self.memory:
            setattr(self, name, np.zeros_like(x))

    def step(self, update: Vector, eta: float) -> Rounds:
        """One step: `update` float [d] is what the local optimizer takes away (eta times a gradient), `eta` its step size."""
        self._check(update)
        yield from self.rounds(update, eta)
        self.time += 1

    def _check(self, update: Vector) -> None:
        """A gradient that isn't finite ends the step before anything is sent: it would reach every node."""
        if np.isfinite(update).all():
            return
        for slot in self.setting.slots:
            bad = int((~np.isfinite(update[slot.part])).sum())
            if bad:
                raise InputError(
                    f"gradient of parameter {slot.name!r} of node {self.rank} at step {self.time}: {bad} of {slot.size} values "
                    "aren't finite"
                )

    @abstractmethod
    def rounds(self, update: Vector, eta: float) -> Rounds:
        """The algorithm."""

    def mix(self, v: Vector) -> Generator[Outgoing, Incoming, tuple[Vector, Vector]]:
        """Send C(v) to all neighbours. Returns it, and sum_j w_ij (C(v_i) - C(v_j)), which is (I - W) C(v) at this node.

        Differences, summed in the order of the neighbours: what one end of an edge adds the other takes away to the last
        bit, so rounding doesn't move the mean.
        """
        message, own = self.setting.channel.encode(v, self.rank, self.time)
        incoming = yield message
        apart = np.zeros_like(v)
        for j, weight in zip(self.neighbours, self.weights, strict=True):
            apart += weight * (own - self.setting.channel.decode(incoming[j], j, self.time))
        return own, apart

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state by name, as it is (not copied)."""
        return {"x": self.x, **{name: getattr(self, name) for name in self.memory}}

    def load(self, arrays: Mapping[str, NDArray[Any]], time: int) -> None:
        """Take over a state. Raises InputError if it is of another algorithm or other parameters."""
        own = self.arrays()
        if set(arrays) != set(own):
            raise InputError(f"the state of node {self.rank} holds {sorted(arrays)}, not {sorted(own)}")
        for name, array in own.items():
            given = np.asarray(arrays[name])
            if given.shape != array.shape or given.dtype != array.dtype:
                raise InputError(
                    f"{name} of node {self.rank} is {given.dtype} {given.shape} in the state, not {array.dtype} {array.shape}"
                )
        for name, array in own.items():
            array[...] = arrays[name]
        self.time = time


class Algorithm(ABC):
    """Hyper-parameters, and how nodes are made of them. Subclasses are frozen dataclasses."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def choice(self) -> Choice:
        """The compressors of the messages."""

    @abstractmethod
    def node(self, rank: int, setting: Setting, x: Vector) -> Node:
        """A node at its start, `x` float [d]."""

    def check(self, setting: Setting) -> None:  # noqa: B027  most have nothing to refuse
        """Raises InputError if the algorithm can't work with these compressors."""

    def fingerprint(self, setting: Setting) -> str:
        """Sixteen hex digits that differ between settings that can't talk to each other."""
        marks = [c.fingerprint() for c in setting.channel.compressors]
        return hashlib.sha256(f"{self.name}:{self.constants()}:{marks}".encode()).hexdigest()[:16]

    @abstractmethod
    def constants(self) -> Sequence[float | int | bool]:
        """The hyper-parameters that all nodes must share, beside the compressors."""
