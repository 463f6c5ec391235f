"""What was put on the wire, counted where it is handed to a collective."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Line:
    """One parameter's account: bytes of its vectors as they are, and of their payloads (or of its share of a sum)."""

    raw: int = 0
    payload: int = 0
    messages: int = 0


@dataclass
class Wire:
    """Bytes that one rank handed to collectives, by what they are, since the start or the last `reset`.

    payload    of compressed vectors
    headers    lengths, checksums and marks around payloads
    lengths    of the exchange of lengths that precedes messages of their own length
    padding    of messages of fixed length
    summed     of vectors that an all-reduce sums
    handshake  of the comparison of settings at the start

    `received` is what came in: the messages of other ranks, and for a sum of n bytes over w ranks 2 n (w - 1) / w, which is
    what the ring algorithm moves (a model; gloo and NCCL choose).
    """

    payload: int = 0
    headers: int = 0
    lengths: int = 0
    padding: int = 0
    summed: int = 0
    handshake: int = 0
    received: float = 0.0
    parameters: dict[str, Line] = field(default_factory=dict)

    @property
    def handed(self) -> int:
        """All bytes handed to collectives."""
        return self.payload + self.headers + self.lengths + self.padding + self.summed + self.handshake

    @property
    def raw(self) -> int:
        """Bytes of all vectors as they are."""
        return sum(line.raw for line in self.parameters.values())

    def line(self, name: str) -> Line:
        """The account of `name`, opened if need be."""
        return self.parameters.setdefault(name, Line())

    def charge(self, name: str, raw: int, payload: int) -> None:
        """One vector of `name` went out."""
        line = self.line(name)
        line.raw += raw
        line.payload += payload
        line.messages += 1

    def ring(self, nbytes: int, world: int) -> None:
        """A sum of `nbytes` over `world` ranks."""
        self.summed += nbytes
        self.received += 2 * nbytes * (world - 1) / world

    def reset(self) -> None:
        """Count from zero again."""
        self.__dict__.update(Wire().__dict__)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        kinds = ("payload", "headers", "lengths", "padding", "summed", "handshake", "handed", "raw", "received")
        table = {name: {"raw": line.raw, "payload": line.payload} for name, line in self.parameters.items()}
        return {kind: getattr(self, kind) for kind in kinds} | {"parameters": table}
