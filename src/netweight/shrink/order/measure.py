"""Which of two steps goes first: measured at equal total training, over several seeds, paired, ties told as ties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Final

import numpy as np

from ...errors import InputError
from ..pipeline import Job, run
from ..protocol import Step
from .statistics import paired_p, t_interval

SIGNIFICANT: Final = 0.05
LEAST_SEEDS: Final = 3


@dataclass(frozen=True)
class Pair:
    """Two steps in both orders: scores by seed, `first` then `second` and the other way about.

    `gain` is the mean score of first-then-second less the other, with its 95 % interval; `p` of a two-sided paired t-test;
    `decided` after Holm's correction over all pairs.
    """

    first: str
    second: str
    forth: tuple[float, ...]
    back: tuple[float, ...]
    gain: float
    low: float
    high: float
    p: float
    decided: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measured(steps: Sequence[Step], job: Job, seeds: int) -> tuple[list[Step], list[Pair]]:
    """(the steps in an order that contradicts no decided pair, the pairs). What isn't decided keeps its given order.

    Each pair trains as long in both orders. Raises InputError without evaluate or with fewer than three seeds.
    """
    if job.evaluate is None:
        raise InputError("an order is measured by scores: give evaluate=")
    if seeds < LEAST_SEEDS:
        raise InputError(f"an order is measured over at least {LEAST_SEEDS} seeds")
    if len({s.letter for s in steps}) < len(steps):
        raise InputError("an order is measured among steps of different kinds")
    pairs = [_pair(a, b, job, seeds, _budget(a, b, steps, job)) for a, b in combinations(steps, 2)]
    pairs = holm(pairs)
    return sorted_by(steps, pairs), pairs


def _budget(a: Step, b: Step, steps: Sequence[Step], job: Job) -> int:
    """What the two would have in the whole sequence."""
    total = sum(s.share for s in steps)
    return round(job.budget * (a.share + b.share) / total) if total else 0


def _pair(a: Step, b: Step, job: Job, seeds: int, budget: int) -> Pair:
    scores: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(seeds):
        for forth in (True, False):
            job.say(f"order: {a.letter}{b.letter} against {b.letter}{a.letter}, seed {seed + 1} of {seeds}")
            here = replace(job, budget=budget, seed=job.seed + 1000 * (seed + 1))
            here.start = job.start
            _, found = run(here, [a, b] if forth else [b, a], 0.5)
            scores[forth].append(found.end.score or 0.0)
    return compared(a.letter, b.letter, scores[True], scores[False])


def compared(first: str, second: str, forth: Sequence[float], back: Sequence[float]) -> Pair:
    """Paired statistics of scores by seed."""
    difference = np.array(forth, np.float64) - np.array(back, np.float64)
    low, high = t_interval(difference)
    return Pair(first, second, tuple(forth), tuple(back), float(difference.mean()), low, high, paired_p(difference))


def holm(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with `decided` set where Holm's step-down test at 5 % rejects a tie."""
    order = sorted(range(len(pairs)), key=lambda k: pairs[k].p)
    decided: set[int] = set()
    for rank, k in enumerate(order):
        if pairs[k].p > SIGNIFICANT / (len(pairs) - rank):
            break
        decided.add(k)
    return [replace(p, decided=k in decided) for k, p in enumerate(pairs)]


def sorted_by(steps: Sequence[Step], pairs: Sequence[Pair]) -> list[Step]:
    """A topological sort: decided pairs decide, the given order fills in. Of a cycle the least certain pair is dropped."""
    edges = {(p.first, p.second) if p.gain > 0 else (p.second, p.first): p.p for p in pairs if p.decided}
    while True:
        left, out = list(steps), []
        while left:
            free = next((s for s in left if not any((o.letter, s.letter) in edges for o in left)), None)
            if free is None:
                break
            out.append(free)
            left.remove(free)
        if not left:
            return out
        inside = {s.letter for s in left}
        worst = max((e for e in edges if e[0] in inside and e[1] in inside), key=lambda e: edges[e])
        del edges[worst]
