"""One sequence of steps, run on one network within one budget of training."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from ..errors import InputError
from .costs import Costs, full_cost
from .finish import finish
from .network import Network
from .protocol import Context, Evaluate, Losses, Say, Step
from .result import Run, Stage
from .steps.early_exit import EarlyExit
from .store import Store
from .training import Training, TrainingError


@dataclass
class Job:
    """All that the runs of one call have in common. `budget`: training steps of a whole sequence."""

    network: Network
    args: tuple[Any, ...]
    named: dict[str, Any]
    losses: Losses | None
    evaluate: Evaluate | None
    budget: int
    seed: int
    training: Training
    store: Store | None = None
    effort: str = "max"
    say: Say = lambda _: None
    start: Stage = field(init=False)

    def begin(self) -> None:
        """Measure the network at the start."""
        known = self.store.known("start") if self.store else None
        if known is not None:
            self.start = Stage.from_dict(known[1]["stage"])
            return
        costs = full_cost(self.network, self.args, self.named, self.effort)
        self.start = Stage("start", "", costs, self.score(self.network))
        if self.store:
            self.store.remember("start", None, {"stage": self.start.to_dict()})

    def score(self, network: Network) -> float | None:
        """The user's score, a finite number. Raises InputError."""
        if self.evaluate is None:
            return None
        network.eval()
        given = self.evaluate(network)
        try:
            value = float(given)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"evaluate(model) gave {given!r:.80}; it must give one finite number") from None
        if not math.isfinite(value):
            raise InputError(f"evaluate(model) gave {value}; it must be a finite number")
        return value

    def context(self, steps: int, *, dry: bool = False) -> Context:
        """What a step sees."""
        return Context(
            self.args, self.named, self.losses, self.evaluate, self.seed, steps, self.network, self.training, dry,
            say=self.say,
        )  # fmt: skip


def shares(steps: Sequence[Step], budget: int) -> list[int]:
    """Training steps of each step; they add up to the budget."""
    total = sum(s.share for s in steps)
    if budget <= 0 or total <= 0:
        return [0] * len(steps)
    ends = [round(budget * sum(s.share for s in steps[: k + 1]) / total) for k in range(len(steps))]
    return [b - a for a, b in zip([0, *ends], ends, strict=False)]


def dry_costs(job: Job, steps: Sequence[Step]) -> Costs:
    """The counted costs that the steps come to, without training; exits, whose use training decides, don't count."""
    network = copy.deepcopy(job.network)
    for step in steps:
        if not isinstance(step, EarlyExit):
            network = step.apply(network, job.context(0, dry=True))
    return job.context(0).cost(network)


def run(job: Job, steps: Sequence[Step], strength: float) -> tuple[Network, Run]:
    """The sequence at one strength, from the start. What the store knows isn't done again.

    A step whose training comes to numbers that aren't finite is rolled back and named; the others go on.
    """
    chosen = [s.at(strength) for s in steps]
    network = copy.deepcopy(job.network)
    stages = [job.start]
    name = f"run-{fingerprint(chosen, job)}"
    known = job.store.known(name) if job.store else None
    if known is not None and known[0] is not None:
        return known[0], Run(strength, tuple(Stage.from_dict(s) for s in known[1]["stages"]))
    for number, (step, budget) in enumerate(zip(chosen, shares(chosen, job.budget), strict=True)):
        network, stage = _stage(job, network, step, budget, f"{name}-{number}")
        stages.append(stage)
    network, last = _finished(job, network, chosen)
    stages.append(last)
    if job.store:
        job.store.remember(name, network, {"stages": [s.to_dict() for s in stages]})
    return network, Run(strength, tuple(stages))


def fingerprint(steps: Sequence[Step], job: Job) -> str:
    """Names a run's files."""
    return hashlib.sha256(f"{[describe(s) for s in steps]} {job.budget} {job.seed}".encode()).hexdigest()[:16]


def describe(step: Step) -> str:
    """A step in words: its name and the settings that aren't the defaults; a student by its class."""
    told = []
    known: Any = step
    for setting in fields(known) if is_dataclass(known) else ():
        value = getattr(step, setting.name)
        if setting.name != "letter" and value != setting.default:
            told.append(f"{setting.name}={type(value).__name__ if setting.name == 'student' else _shown(value)}")
    return f"{type(step).__name__}({', '.join(told)})"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _stage(job: Job, network: Network, step: Step, budget: int, name: str) -> tuple[Network, Stage]:
    known = job.store.known(name) if job.store else None
    if known is not None and known[0] is not None:
        return known[0], Stage.from_dict(known[1]["stage"])
    started = time.perf_counter()
    job.training.store, job.training.taken = job.store, 0
    context = job.context(budget)
    job.say(f"{describe(step)}: {budget} training steps")
    problem = ""
    try:
        after = step.apply(copy.deepcopy(network), context)
    except TrainingError as error:
        problem = f"{type(step).__name__} was rolled back: {error}"
        job.say(problem)
        after = network
    after.eval()
    stage = Stage(
        describe(step), step.letter, context.cost(after), job.score(after), context.record, time.perf_counter() - started,
        problem,
    )  # fmt: skip
    if job.store:
        job.store.remember(name, after, {"stage": stage.to_dict()})
    return after, stage


def _finished(job: Job, network: Network, steps: Sequence[Step]) -> tuple[Network, Stage]:
    """Integers frozen, exits calibrated anew, everything measured."""
    started = time.perf_counter()
    context = job.context(0)
    network = finish(network, job.args, job.named)
    for step in steps:
        if isinstance(step, EarlyExit) and network.exits is not None:
            step.calibrate(network, context)
    costs = full_cost(network, job.args, job.named, job.effort)
    return network, Stage("finish", "", costs, job.score(network), {}, time.perf_counter() - started)
