"""The rounds driven: what is sent is counted here, whether the nodes share a process or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ...errors import NetweightError
from .node import Incoming, Outgoing, Rounds
from .topology import Topology

LENGTH_BYTES: Final = 5
"""In front of each message, its length, little-endian: the receiver has to know how much to expect."""


@dataclass
class Traffic:
    """What the nodes of this process sent: a message to each neighbour counts once for each, with its length in front.

    `handshake` is apart: what the comparison of settings cost when ranks met.
    """

    messages: int = 0
    nbytes: int = 0
    handshake: int = 0

    @property
    def bits(self) -> int:
        return 8 * self.nbytes

    def count(self, message: bytes, receivers: int) -> None:
        self.messages += receivers
        self.nbytes += receivers * (LENGTH_BYTES + len(message))


class Network(ABC):
    """Carries messages between nodes; `here` are those that live in this process, in ascending order."""

    def __init__(self, topology: Topology, here: Sequence[int]) -> None:
        self.topology = topology
        self.here = tuple(here)
        self.traffic = Traffic()

    @abstractmethod
    def exchange(self, outgoing: Sequence[Outgoing]) -> Sequence[Incoming]:
        """One round: what each node here sends, and what each is sent. Raises NetweightError."""

    def run(self, start: Callable[[int], Rounds]) -> None:
        """Drive `start(k)`, the step of the k-th node here, for all of them in lockstep."""
        nodes = [start(k) for k in range(len(self.here))]
        outgoing = [message for node in nodes for message in _next(node, None)]
        while outgoing:
            if len(outgoing) != len(nodes):
                raise NetweightError(
                    "some nodes ended their step while others still send: they run different algorithms"
                )
            for rank, message in zip(self.here, outgoing, strict=True):
                self._count(rank, message)
            incoming = self.exchange(outgoing)
            outgoing = [m for node, given in zip(nodes, incoming, strict=True) for m in _next(node, given)]

    def _count(self, rank: int, message: Outgoing) -> None:
        if isinstance(message, bytes):
            self.traffic.count(message, len(self.topology.neighbours[rank]))
        else:
            for single in message.values():
                self.traffic.count(single, 1)


def _next(node: Rounds, given: Incoming | None) -> Iterator[Outgoing]:
    """The node's next message, if it sends one."""
    try:
        yield next(node) if given is None else node.send(given)
    except StopIteration:
        return


class SimulatedNetwork(Network):
    """All nodes in one process: messages are made, counted and read as if they were sent."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology, range(topology.size))

    def exchange(self, outgoing: Sequence[Outgoing]) -> Sequence[Incoming]:
        return [_Inbox(rank, self.topology.neighbours[rank], outgoing) for rank in self.here]


class _Inbox(Mapping[int, bytes]):
    """What the others sent to `rank`, looked up when asked: a complete graph of a thousand nodes has a million messages."""

    def __init__(self, rank: int, neighbours: Sequence[int], outgoing: Sequence[Outgoing]) -> None:
        self._rank, self._neighbours, self._outgoing = rank, neighbours, outgoing

    def __getitem__(self, sender: int) -> bytes:
        message = self._outgoing[sender]
        return message if isinstance(message, bytes) else message[self._rank]

    def __iter__(self) -> Iterator[int]:
        return iter(self._neighbours)

    def __len__(self) -> int:
        return len(self._neighbours)
