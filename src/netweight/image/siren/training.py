"""Fitting a network to a picture: lattices of pixels as mini-batches, cosine rates, and never worse than what it had.

A step sees every s-th pixel each way from a random one on: about `LATTICE` pixels, spread evenly, so that its gradient
varies less than that of as many pixels drawn at random. Late steps see four times as many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import cos, pi, sqrt
from typing import Final

import numpy as np

from .network import Network, Parameters, Picture
from .optimiser import Adam

LATTICE: Final = 6000
_LATE: Final = 0.7
_WARM: Final = 20
_KEEP_EVERY: Final = 50
_BURST: Final = 3.0  # a loss so many times its running mean is a divergence
_LOOK: Final = 0.02
Tell = Callable[[int, int, float], None]
"""tell(steps done, steps in all, running mean squared error)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`steps` of `rate` at most; `decay` is the weight of the L1 norm in the loss."""

    steps: int
    rate: float = 2e-3
    decay: float = 1e-4


def lattices(picture: Picture, steps: int, seed: int) -> Iterator[tuple[slice, slice]]:
    """Which rows and columns each step sees."""
    rng = np.random.default_rng(seed)
    for k in range(steps):
        pixels = LATTICE * (1 if k < _LATE * steps else 4)
        stride = max(1, round(sqrt(picture.height * picture.width / pixels)))
        first = [int(rng.integers(min(stride, size))) for size in (picture.height, picture.width)]
        yield slice(first[0], None, stride), slice(first[1], None, stride)


def cosine(step: int, steps: int) -> float:
    """The share of the top rate at a step: a short rise, then half a cosine down to 0."""
    return min(1.0, (step + 1) / _WARM) * (0.5 + 0.5 * cos(pi * step / steps))


def descend(
    network: Network, params: Parameters, picture: Picture, rates: Parameters, steps: int, seed: int = 0
) -> Parameters:
    """The parameters after a few steps of gradient descent, each at a rate of its own: what a start was learned for.

    `params` themselves if that made them worse, as it may for pictures unlike any photograph.
    """
    rows, columns = next(lattices(picture, 1, seed))
    before, now = network.error(params, picture, rows, columns), params
    for seen in lattices(picture, steps, seed + 1):
        _, gradients = network.gradients(now, picture, *seen)
        now = [p - r * g for p, r, g in zip(now, rates, gradients, strict=True)]
    return now if network.error(now, picture, rows, columns) < before else [p.copy() for p in params]


def fit(
    network: Network,
    params: Parameters,
    picture: Picture,
    plan: Plan,
    *,
    anchor: Parameters | None = None,
    seed: int = 0,
    tell: Tell | None = None,
) -> None:
    """Train `params`, in place, so that whoever interrupts has what there is; L1 draws them to `anchor` (default: 0).

    A step whose loss bursts goes back to the last good parameters, with half the rate from there on.
    """
    good = [p.copy() for p in params]
    optimiser, mean, scale = Adam(params), 0.0, 1.0
    for k, (rows, columns) in enumerate(lattices(picture, plan.steps, seed)):
        loss, gradients = network.gradients(params, picture, rows, columns)
        if k and not loss < _BURST * mean:
            scale, optimiser = scale / 2, Adam(params)
            for p, g in zip(params, good, strict=True):
                p[:] = g
            continue
        mean = loss if k == 0 else mean + max(_LOOK, 1 / (k + 1)) * (loss - mean)
        if k % _KEEP_EVERY == 0:
            good = [p.copy() for p in params]
        if plan.decay:
            away = params if anchor is None else [p - a for p, a in zip(params, anchor, strict=True)]
            gradients = [g + np.float32(plan.decay) * np.sign(d) for g, d in zip(gradients, away, strict=True)]
        optimiser.step(params, gradients, scale * plan.rate * cosine(k, plan.steps))
        if tell is not None:
            tell(k + 1, plan.steps, mean)
