"""From a target to a grid step: a few measured trials, on a sample of a large model, and a secant in the logarithms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .encoder import Sums
from .target import BITS, REL_MSE, SIZE, Target

Trial = Callable[[float], Sums]
"""trial(step) -> sums over the quantised weights, measured on encoded blocks."""

_MOST_TRIALS: Final = 9
_CLOSE: Final = {REL_MSE: 0.008, BITS: 0.002, SIZE: 0.002}
NOISE_OF_STEP: Final = 0.25  # mean square error of a weight in grid steps squared, at high rates
_LONGEST: Final = 3.0  # octaves that one secant may go


@dataclass(frozen=True)
class Figure:
    """The quantity that a target limits, from sums: of rel_mse itself; of bits or size the bits, `fixed` of them for all
    that doesn't depend on the step.
    """

    target: Target
    fixed_bits: float = 0.0

    def of(self, sums: Sums) -> float:
        if self.target.kind == REL_MSE:
            return sums.rel_mse
        if self.target.kind == BITS:
            return sums.bits / max(sums.weights, 1)
        return (sums.bits + self.fixed_bits) / 8

    @property
    def rises(self) -> bool:
        """Whether it grows with the step."""
        return self.target.kind == REL_MSE

    def kept(self, value: float) -> bool:
        return value <= self.target.limit

    def close(self, value: float) -> bool:
        """Kept, and so nearly reached that another trial isn't worth its time."""
        return self.kept(value) and value >= self.target.limit * (1 - _CLOSE[self.target.kind])


def first_step(target: Target, energy: float, weights: int) -> float:
    """A guess from theory: D = 2^-2R of the energy, and `NOISE_OF_STEP` of the step squared."""
    rms = math.sqrt(energy / max(weights, 1)) or 1.0
    bits = 8 * target.limit / max(weights, 1) if target.kind == SIZE else target.limit
    rel_mse = target.limit if target.kind == REL_MSE else 4.0 ** -min(bits, 24.0)
    return rms * math.sqrt(min(rel_mse, 0.9) / NOISE_OF_STEP)


class Bracket:
    """Trials so far, and the next step to try. Steps and figures are compared by their logarithms."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.fine: tuple[float, float] | None = None  # (log2 step, log2 figure), on the side of small errors
        self.coarse: tuple[float, float] | None = None
        self._last: list[tuple[float, float]] = []
        self.best: tuple[float, float] | None = (
            None  # the coarsest step that keeps the target, or the finest with fewest bits
        )

    def add(self, step: float, value: float) -> None:
        point = (math.log2(step), math.log2(max(value, 1e-30)))
        self._last = [*self._last[-1:], point]
        kept = self.figure.kept(value)
        if kept == self.figure.rises:
            if self.fine is None or point[0] > self.fine[0]:
                self.fine = point
        elif self.coarse is None or point[0] < self.coarse[0]:
            self.coarse = point
        if kept and (self.best is None or (point[0] > self.best[0]) == self.figure.rises):
            self.best = point

    def next_step(self) -> float:
        """By the secant through both sides, a little within the limit; by a guessed slope while one side is unknown."""
        aim = math.log2(self.figure.target.limit * (1 - _CLOSE[self.figure.target.kind] / 2))
        if self.fine and self.coarse:
            (a, fa), (b, fb) = self.fine, self.coarse
            at = a + (b - a) * (aim - fa) / (fb - fa) if fb != fa else (a + b) / 2
            margin = 0.05 * (b - a)
            return float(2.0 ** min(max(at, a + margin), b - margin))
        here = self.fine or self.coarse
        assert here is not None
        move = (aim - here[1]) / self._slope()
        return float(2.0 ** (here[0] + max(-_LONGEST, min(_LONGEST, move))))

    def _slope(self) -> float:
        """D log2 figure / d log2 step: of the last two trials, or guessed."""
        guess = 1.8 if self.figure.rises else -0.4
        if len(self._last) < 2 or self._last[0][0] == self._last[1][0]:
            return guess
        (a, fa), (b, fb) = self._last
        slope = (fb - fa) / (b - a)
        return slope if guess / 8 <= slope <= guess * 4 or guess * 4 <= slope <= guess / 8 else guess


def find_step(trial: Trial, figure: Figure, start: float, most: int = _MOST_TRIALS) -> float | None:
    """The step whose trial comes nearest to the limit and keeps it; None if no step that was tried keeps it."""
    bracket, step = Bracket(figure), start
    for _ in range(most):
        value = figure.of(trial(step))
        bracket.add(step, value)
        if figure.close(value):
            break
        step = bracket.next_step()
    return 2.0 ** bracket.best[0] if bracket.best else None
