"""What a shrunk network may cost, and how far its score may drop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import InputError
from ..weights.lossy.task import MaxDrop
from .costs import COUNTED, Costs

DROP: Final = "drop"
COSTS: Final = (*COUNTED, "bytes")


def numbers_of(given: Mapping[str, Any] | None) -> dict[str, float | MaxDrop]:
    """A target's limits by cost, as they are written: shares or numbers, and the drop. Raises InputError."""
    out: dict[str, float | MaxDrop] = {}
    for kind, value in (given or {}).items():
        if kind == DROP:
            out[kind] = MaxDrop.parse(str(value))
            continue
        if kind not in COSTS:
            raise InputError(f"no target {kind!r}; there are {', '.join((*COSTS, DROP))}")
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not 0 < number < float("inf"):
            raise InputError(f"a target of {kind}={value!r}: give a share up to 1, or a number above it")
        out[kind] = number
    return out


@dataclass(frozen=True)
class Target:
    """`limits`: the most of each cost, absolute; `floor`: the least score, or None."""

    limits: dict[str, float]
    floor: float | None

    @classmethod
    def parse(cls, given: Mapping[str, Any] | None, start: Costs, score: float | None) -> Target:
        """From {"macs": 0.3, "drop": 0.01}: a cost of at most 1 is a share of the start's; a drop is as MaxDrop.parse reads it.

        Raises InputError.
        """
        limits: dict[str, float] = {}
        floor = None
        for kind, value in numbers_of(given).items():
            if isinstance(value, MaxDrop):
                if score is None:
                    raise InputError("a target of drop needs a score: give evaluate=")
                floor = value.floor(score)
            else:
                limits[kind] = value * float(getattr(start, kind)) if value <= 1 else value
        return cls(limits, floor)

    def counted(self) -> dict[str, float]:
        """The limits that are known without training."""
        return {k: v for k, v in self.limits.items() if k in COUNTED}

    def missed(self, costs: Costs, score: float | None, only: tuple[str, ...] = (*COSTS, DROP)) -> list[str]:
        """What isn't met, in words."""
        out = [
            f"{kind} {getattr(costs, kind):.6g} instead of at most {limit:.6g}"
            for kind, limit in self.limits.items()
            if kind in only and getattr(costs, kind) is not None and getattr(costs, kind) > limit * (1 + 1e-9)
        ]
        if DROP in only and self.floor is not None and (score is None or score < self.floor):
            out.append(f"score {score if score is None else format(score, '.6g')} instead of at least {self.floor:.6g}")
        return out
