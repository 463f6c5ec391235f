"""What shrinking comes to: the network, and an account of how it came about."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from ..weights.archive import ArchiveReceipt
from .costs import Costs
from .network import Network
from .saving import save


@dataclass(frozen=True)
class Stage:
    """One step of a run, or "start" or "finish": `costs` and `score` are after it. `problem`: why it was rolled back."""

    name: str
    letter: str
    costs: Costs
    score: float | None
    record: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Stage:
        """The inverse of `to_dict`."""
        return cls(**(given | {"costs": Costs(**given["costs"])}))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Run:
    """One pipeline at one strength: its stages, the last of them the finished network's. Bytes there are decoded ones."""

    strength: float
    stages: tuple[Stage, ...]

    @property
    def end(self) -> Stage:
        return self.stages[-1]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"strength": self.strength, "stages": [s.to_dict() for s in self.stages]}


@dataclass(frozen=True)
class Report:
    """The whole account. `runs`: all that were made, the one taken being `taken`; `front`: indices of those no other beats.

    `original_bytes` are those of the weights as safetensors; `lossless_bytes` of their archive; `coded_bytes` of the smallest
    archive of the unchanged network that scores as well as the shrunk one, by lossy coding alone (None: not asked for).
    """

    order: str
    sequence: str
    original_bytes: int
    lossless_bytes: int
    runs: tuple[Run, ...]
    taken: int
    front: tuple[int, ...]
    coded_bytes: int | None = None
    pairs: tuple[Any, ...] = ()
    target: dict[str, Any] = field(default_factory=dict)

    @property
    def start(self) -> Stage:
        return self.runs[self.taken].stages[0]

    @property
    def end(self) -> Stage:
        return self.runs[self.taken].end

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "order": self.order,
            "sequence": self.sequence,
            "target": self.target,
            "original_bytes": self.original_bytes,
            "lossless_bytes": self.lossless_bytes,
            "coded_bytes": self.coded_bytes,
            "taken": self.taken,
            "front": list(self.front),
            "runs": [r.to_dict() for r in self.runs],
            "pairs": [p.to_dict() for p in self.pairs],
        }


@dataclass(frozen=True)
class Result:
    """`model` runs (and would train on); `report` tells how it came about."""

    model: Network
    report: Report

    def save(self, path: str | os.PathLike[str], *, force: bool = True) -> ArchiveReceipt:
        """Write the network as a netweight archive, which `netweight.shrink.load` reads. Raises OutputError."""
        return save(self.model, path, force=force)


def pareto(runs: list[Run]) -> tuple[int, ...]:
    """Indices of runs that no other beats in bytes, MACs, BitOps and score at once."""

    def figures(run: Run) -> tuple[float, ...]:
        c = run.end.costs
        return (float(c.bytes or 0), c.macs, c.bitops, -(run.end.score or 0.0))

    points = [figures(r) for r in runs]

    def beaten(k: int) -> bool:
        return any(
            all(a <= b for a, b in zip(other, points[k], strict=True)) and (other != points[k] or j < k)
            for j, other in enumerate(points)
            if j != k
        )

    return tuple(k for k in range(len(runs)) if not beaten(k))
