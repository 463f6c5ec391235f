"""From a target to one strength for all steps: counted costs are found without training, bytes and drops by whole runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from ..errors import InputError
from ..weights.lossy.search import Evaluation, Knob, cheapest
from .network import Network
from .pipeline import Job, dry_costs, run
from .protocol import Step, StepError
from .result import Run
from .targets import DROP, Target
from .training import TrainingError

STRONGEST: Final = 0.995
_HALVINGS: Final = 7
_STRIDE: Final = 0.01
TRIES: Final = 6
_KNOB: Final = Knob(finest=0.02, coarsest=STRONGEST, start=0.5, step=0.2)


def is_open(step: Step) -> bool:
    """Whether a step leaves something for the target to set."""
    return step.at(0.25) != step.at(0.75)


def searched(job: Job, steps: Sequence[Step], target: Target, tries: int = TRIES) -> tuple[Network, list[Run], int]:
    """(network, all runs, index of the one taken) for the target: the weakest strength that keeps within every cost, or, where
    only the score has a limit, the strongest that keeps it.

    Raises InputError that names the nearest if nothing that was tried meets the target.
    """
    if not any(map(is_open, steps)):
        network, found = run(job, steps, 0.5)
        return _checked(target, [(network, found)], 0)
    least = _counted(job, steps, target)
    measured = "bytes" in target.limits
    if not measured and target.floor is None:
        made = _raised(job, steps, target, least, tries) if target.limits else [run(job, steps, 0.5)]
        return _checked(target, made, len(made) - 1)
    return _bisected(job, steps, target, least, tries)


def _counted(job: Job, steps: Sequence[Step], target: Target) -> float:
    """The weakest strength whose counted costs are within the limits. Raises InputError."""
    limits = target.counted()
    if not limits:
        return 0.0

    def fits(strength: float) -> bool:
        try:
            costs = dry_costs(job, [s.at(strength) for s in steps])
        except StepError:
            return False
        return not target.missed(costs, None, tuple(limits))

    if fits(0.0):
        return 0.0
    strong, weak = _strong(fits), 0.0
    if strong is None:
        raise InputError(f"the target can't be met: {_nearest(job, steps, target)}")
    for _ in range(_HALVINGS):
        middle = (weak + strong) / 2
        weak, strong = (weak, middle) if fits(middle) else (middle, strong)
    return strong


def _raised(job: Job, steps: Sequence[Step], target: Target, least: float, tries: int) -> list[tuple[Network, Run]]:
    """Runs at growing strengths until one keeps within the counted costs, which is the last.

    Training changes which channels go, and channels are of different costs: a run at the strength that was counted may come
    to a little more. Raises StepError if the first can't be run.
    """
    made: list[tuple[Network, Run]] = []
    strength, stride = least, _STRIDE
    while len(made) < max(tries, 1):
        try:
            made.append(run(job, steps, strength))
        except StepError as error:
            if not made:
                raise
            job.say(f"strength {strength:.3g}: {error}")
            break
        found = made[-1][1]
        missed = target.missed(found.end.costs, None, tuple(target.counted()))
        if not missed or strength >= STRONGEST or any(s.problem for s in found.stages):
            break
        job.say(f"strength {strength:.3g}: {'; '.join(missed)}")
        strength, stride = min(strength + stride, STRONGEST), 2 * stride
    return made


def _strong(fits: Callable[[float], bool]) -> float | None:
    """Some strength that fits: steps refuse strengths that they can't reach, so the middle is tried too."""
    return next((s for s in (0.5, 0.75, 0.9, 0.35, 0.6, 0.97, STRONGEST) if fits(s)), None)


def _nearest(job: Job, steps: Sequence[Step], target: Target) -> str:
    """What the strongest steps that can be taken come to, in words."""
    for strength in (STRONGEST, 0.97, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1):
        try:
            costs = dry_costs(job, [s.at(strength) for s in steps])
        except StepError:
            continue
        return (
            "; ".join(target.missed(costs, None, tuple(target.counted())))
            + f", the nearest, at a strength of {strength:.3g}"
        )
    return "no strength of the steps can be taken"


def _bisected(
    job: Job, steps: Sequence[Step], target: Target, least: float, tries: int
) -> tuple[Network, list[Run], int]:
    """Runs at strengths from `least` on, halving towards the border of what is met."""
    costs_only = tuple(k for k in target.limits)
    made: list[tuple[Network, Run]] = []

    def attempt(strength: float) -> tuple[bool, bool]:
        """(costs met, score met)."""
        try:
            network, found = run(job, steps, strength)
        except StepError as error:
            job.say(f"strength {strength:.3g}: {error}")
            return True, False
        made.append((network, found))
        end = found.end
        return not target.missed(end.costs, end.score, costs_only), not target.missed(end.costs, end.score, (DROP,))

    if target.limits and "bytes" not in target.limits:
        made += _raised(job, steps, target, least, tries)  # a stronger one would only score less
    elif target.limits:
        _to_bytes(attempt, least, tries)
    else:
        _to_drop(made, attempt, target, job.start.score or 0.0, tries)
    if not made:
        raise InputError("no strength of the steps could be run")
    return _checked(target, made, _best(target, [r for _, r in made]))


def _to_bytes(attempt: Callable[[float], tuple[bool, bool]], least: float, tries: int) -> None:
    """Halve towards the weakest strength that keeps within the costs."""
    low, high = least, STRONGEST
    strength = least if least > 0 else 0.5
    for _ in range(tries):
        cheap, _ = attempt(strength)
        low, high = (low, strength) if cheap else (strength, high)
        strength = (low + high) / 2


def _to_drop(
    made: list[tuple[Network, Run]], attempt: Callable[[float], tuple[bool, bool]], target: Target, reference: float,
    tries: int,
) -> None:  # fmt: skip
    """The search of `--task --max-drop`, its knob the strength: fewest bytes with the score that is allowed."""
    assert target.floor is not None

    def evaluate(strength: float) -> Evaluation:
        before = len(made)
        attempt(strength)
        if len(made) == before:  # steps that can't go so far
            return Evaluation(strength, 0, -math.inf)
        end = made[-1][1].end
        return Evaluation(strength, int(end.costs.bytes or 0), float(end.score or 0.0))

    cheapest(evaluate, _KNOB, floor=target.floor, reference=reference, most=tries)


def _best(target: Target, runs: list[Run]) -> int:
    """Among those that meet the target, the best score (or, if only the score is limited, the fewest bytes); else the nearest."""
    good = [k for k, r in enumerate(runs) if not target.missed(r.end.costs, r.end.score)]
    if not good:
        return min(
            range(len(runs)),
            key=lambda k: (len(target.missed(runs[k].end.costs, runs[k].end.score)), -runs[k].strength),
        )
    if target.limits:
        return min(good, key=lambda k: (-(runs[k].end.score or 0.0), runs[k].strength))
    return min(good, key=lambda k: (runs[k].end.costs.bytes or 0, runs[k].strength))


def _checked(target: Target, made: list[tuple[Network, Run]], index: int) -> tuple[Network, list[Run], int]:
    """Raises InputError with the nearest if the run taken misses the target, TrainingError if it left nothing of any step."""
    network, found = made[index]
    missed = target.missed(found.end.costs, found.end.score)
    problems = [s.problem for s in found.stages if s.problem]
    if len(problems) == len(found.stages) - 2:  # but for the start and the finish
        raise TrainingError(f"nothing was shrunk: every step was rolled back ({'; '.join(problems)})")
    if missed:
        runs = "the only run" if len(made) == 1 else f"the nearest of {len(made)} runs"
        raise InputError(f"the target isn't met: {'; '.join(missed + problems)} ({runs})")
    return network, [r for _, r in made], index
