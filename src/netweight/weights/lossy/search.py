"""The cheapest setting of one knob whose measured score keeps a floor, in few evaluations.

The knob t is continuous, a larger t is coarser: fewer bytes, a lower score (t may be the logarithm of a relative error,
of a Lagrange multiplier, of a share of neurons). An evaluation is dear (encode, decode, run a test set), noisy and not
monotonic: near the floor every setting is a new throw of quantisation noise. So the search brackets the floor, narrows
the bracket (the drop grows about exponentially in t, hence false position on its logarithm, kept away from the ends),
and spends what is left on settings just beyond the last bad one, where a lucky throw is cheaper still. Where scores
turn out to rise with t by a good part of the allowed drop, the bracket's exact place means little: it is left wider and
more is spent on such throws. What it returns is always a setting that was itself measured and kept the floor. It is
chosen with the very score that it is then praised for, so on fresh data it may lie below the floor by about the noise
of a score.

Everything is decided by the evaluations alone, so a search whose evaluations are remembered (journal.py) goes the same
way again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One measured setting: `bytes` is the length of a real file, `score` that of what was decoded from it.

    `digest` (hex) identifies what was scored, for whoever makes it again.
    """

    t: float
    bytes: int
    score: float
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Knob:
    """Where t may lie, where to begin, and the first step away from there; all in the units of t, finest < coarsest."""

    finest: float
    coarsest: float
    start: float
    step: float

    def clip(self, t: float) -> float:
        return min(max(t, self.finest), self.coarsest)


@dataclass(frozen=True)
class Outcome:
    """`best` is the fewest bytes among the evaluations that kept `floor`, None if none did; `evaluations` in order."""

    floor: float
    evaluations: tuple[Evaluation, ...]

    @property
    def best(self) -> Evaluation | None:
        kept = [e for e in self.evaluations if e.score >= self.floor]
        return min(kept, key=lambda e: (e.bytes, -e.score), default=None)

    @property
    def nearest(self) -> Evaluation:
        """The highest score of all, and of equal ones the fewest bytes: what comes nearest when no setting will do."""
        return max(self.evaluations, key=lambda e: (e.score, -e.bytes))


Evaluate = Callable[[float], Evaluation]
Progress = Callable[[int, int, Evaluation], None]
"""Called after each evaluation with its number (from 1), the most there may be, and itself."""

PRECISION: Final = 0.005
"""A bracket is narrow enough when its ends differ by this share of bytes."""
MOST: Final = 12
"""Evaluations that a search may make."""

_BEYOND: Final = 3  # lucky throws that are tried, if the bracket is narrow before evaluations run out ...
_BEYOND_NOISY: Final = 8  # ... and where throws differ much
_NOISY_PRECISION: Final = 0.02
_NOISY: Final = 0.25  # share of the allowed drop by which a coarser setting scores more than a finer one
_MARGIN: Final = 0.2  # false position stays this far from both ends of the bracket
_SHORTEST: Final = 1e-9  # settings closer than this share of the knob's range are one
_TINY: Final = 1 / 32  # a drop of nothing counts as this share of the drop that is allowed


def cheapest(
    evaluate: Evaluate,
    knob: Knob,
    *,
    floor: float,
    reference: float,
    most: int = MOST,
    precision: float = PRECISION,
    progress: Progress | None = None,
) -> Outcome:
    """Search for the fewest bytes with a score of at least `floor`; `reference` is the score of what is compressed.

    At most `most` (>= 1) evaluations, no t twice. Whatever `evaluate` raises passes through.
    """
    if most < 1 or not knob.finest < knob.coarsest:
        raise ValueError("a search needs an evaluation and an interval")
    search = _Search(evaluate, knob, floor, reference, most, progress)
    search.bracket()
    search.narrow(precision)
    search.go_beyond()
    return Outcome(floor, tuple(search.done))


class _Search:
    """The state of one search: `good` and `bad` are the ends of the bracket, good.t < bad.t once both are there."""

    def __init__(
        self, evaluate: Evaluate, knob: Knob, floor: float, reference: float, most: int, progress: Progress | None
    ) -> None:
        self.evaluate, self.knob, self.progress = evaluate, knob, progress
        self.floor, self.reference, self.most = floor, reference, most
        self.done: list[Evaluation] = []
        self.good: Evaluation | None = None
        self.bad: Evaluation | None = None
        self.first = self.span = 0.0  # width of the first bracket, and when its bad end was last set

    def try_at(self, t: float) -> Evaluation:
        found = self.evaluate(t)
        self.done.append(found)
        if self.progress is not None:
            self.progress(len(self.done), self.most, found)
        return found

    def keeps(self, evaluation: Evaluation) -> bool:
        return evaluation.score >= self.floor

    @property
    def left(self) -> int:
        return self.most - len(self.done)

    @property
    def noise(self) -> float:
        """By how much a coarser setting scored more than the next finer one, as a share of the allowed drop, 0..1.

        0 where that is too little to matter.
        """
        scores = [e.score for e in sorted(self.done, key=lambda e: e.t)]
        rise = max((b - a for a, b in itertools.pairwise(scores)), default=0.0)
        allowed = self.reference - self.floor
        return min(rise / allowed, 1.0) if rise > _NOISY * allowed > 0 else float(rise > 0 >= allowed)

    def bracket(self) -> None:
        """Walk from the start with doubling steps until one setting is good and a coarser one is bad, or to the end."""
        t, step = self.knob.clip(self.knob.start), self.knob.step
        while self.left:
            found = self.try_at(t)
            if self.keeps(found):
                self.good, end, ahead = found, self.knob.coarsest, t + step
            else:
                self.bad, end, ahead = found, self.knob.finest, t - step
            if self.good and self.bad:
                self.first = self.span = self.bad.t - self.good.t
                return
            if t == end:
                return
            t, step = self.knob.clip(ahead), 2 * step

    def narrow(self, precision: float) -> None:
        """Halve the bracket or better every other time, until its ends cost about the same."""
        bisect = False
        while self.good and self.bad and self.left:
            good, bad = self.good, self.bad
            if good.bytes - bad.bytes <= good.bytes * (max(precision, _NOISY_PRECISION) if self.noise else precision):
                return
            width = bad.t - good.t
            t = good.t + width * (0.5 if bisect else self._share(good, bad))
            if not good.t < t < bad.t:
                return
            found = self.try_at(t)
            if self.keeps(found):
                self.good = found
            else:
                self.bad, self.span = found, found.t - good.t
            bisect = self.bad.t - self.good.t > 0.5 * width

    def _share(self, good: Evaluation, bad: Evaluation) -> float:
        """Where in the bracket, 0..1, the drop will be what is allowed, if its logarithm is linear in t."""
        allowed = self.reference - self.floor
        if allowed <= 0:
            return 0.5
        low = max(self.reference - good.score, _TINY * allowed)
        high = max(self.reference - bad.score, allowed)
        if not low < high < math.inf:
            return 0.5
        share = math.log(allowed / low) / math.log(high / low)
        return min(max(share, _MARGIN), 1 - _MARGIN)

    def go_beyond(self) -> None:
        """Settings past the bad end, if a bracket was found and anything is left.

        A bad end that good ones came close to from afar may have been an unlucky throw: the first step is half of how
        far they came, or (the noisier, the more) of the first bracket. A bad setting halves the step, never below the
        width of the bracket.
        """
        if self.good is None or self.bad is None:
            return
        base, shortest = self.bad.t, _SHORTEST * (self.knob.coarsest - self.knob.finest)
        width = max(self.bad.t - self.good.t, shortest)
        step = max(width, self.span / 2, self.noise * self.first / 2)
        for _ in range(min(self.left, _BEYOND_NOISY if self.noise else _BEYOND)):
            t = base + step
            while any(abs(e.t - t) < width / 4 for e in self.done):
                t += width / 2
            if t > self.knob.coarsest:
                step /= 2
                continue
            if self.keeps(self.try_at(t)):
                base = t
            else:
                step = max(width, step / 2)
