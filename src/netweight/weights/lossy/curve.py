"""Rate against distortion: the lossy ladder at several errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from ...errors import InputError
from ..bench import PathLike, Progress
from .ladder import LossyWeighing, Rung, chosen_rungs, weigh_lossy

ERRORS: Final = tuple(10 ** (-db / 10) for db in (6, 12, 18, 24, 30))
CODES: Final = ("trellis", "uniform", "kmeans", "rtn")


@dataclass(frozen=True)
class Curve:
    """Weighings of one checkpoint, from the coarsest error to the finest."""

    weighings: tuple[LossyWeighing, ...]

    @property
    def name(self) -> str:
        return self.weighings[0].name

    @property
    def labels(self) -> list[str]:
        """The codes that gave bytes, the one with the fewest bits at the finest error first."""
        return list(dict.fromkeys(r.label for w in reversed(self.weighings) for r in w.rows if r.bytes is not None))

    def points(self, label: str) -> list[tuple[float, float]]:
        """(bits a weight, relMSE that was measured) of a code."""
        return [
            (w.bits_per_weight(r.bytes) or 0.0, r.rel_mse)
            for w in self.weighings
            for r in w.rows
            if r.label == label and r.bytes is not None and r.rel_mse
        ]

    def bound(self) -> list[tuple[float, float]]:
        """(bits a weight, relMSE) of the Shannon lower bound of independent weights: no bytes."""
        return [(w.bits_per_weight(w.bound_bits / 8) or 0.0, w.rel_mse) for w in self.weighings]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "weighings": [w.to_dict() for w in self.weighings]}


def rungs_of_curve(codecs: Iterable[str] = ()) -> list[Rung]:
    """The rungs that `codecs` name; by default one of each family. Raises NotFoundError."""
    wanted = list(codecs)
    if wanted:
        return chosen_rungs(wanted)
    return [r for r in chosen_rungs(CODES) if r.label in CODES or r.code.removeprefix("netweight.lossy.") == "trellis"]


def trace(
    path: PathLike,
    errors: Iterable[float] = ERRORS,
    *,
    rungs: Iterable[Rung] | None = None,
    limit_seconds: float | None = None,
    progress: Progress | None = None,
) -> Curve:
    """Weigh `path` at each relMSE of `errors`. Raises InputError and its kin, GuaranteeError."""
    wanted = sorted(set(errors), reverse=True)
    if not wanted or not all(0 < e < 1 for e in wanted):
        raise InputError("a curve needs errors between 0 and 1")
    chosen = list(rungs_of_curve() if rungs is None else rungs)
    return Curve(
        tuple(weigh_lossy(path, e, rungs=chosen, limit_seconds=limit_seconds, progress=progress) for e in wanted)
    )
