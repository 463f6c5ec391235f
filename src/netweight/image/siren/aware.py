"""Quantisation-aware training: the loss is that of the rounded network, and what it costs in bits is part of it.

Gradients at the rounded parameters move the floats behind them (straight-through; Bengio et al. 2013, arXiv 1308.3432).
The rate of a multiple k under a Laplace prior is |k| / mean |k| nats and a constant, so each step draws k to 0 by the
same pull in its tensor: the L1 norm, weighed by what a bit is worth. Bits are counted by coding, as training goes: the
weight of the rate rises while there are too many and falls while there are too few. The best network that fits is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Final

import numpy as np

from .coding import Multiples
from .network import Network, Parameters, Picture
from .optimiser import Adam
from .quantisation import Grid, price_of_a_bit
from .training import Plan, cosine, lattices

_FINALISTS: Final = 3
_LOOK_EVERY: Final = 25
_TURN: Final = 1.3
_CHEAPEST, _FIRST, _DEAREST = 0.1, 2.0, 30.0
Tell = Callable[[int, int, float, int], None]
"""tell(steps done, steps in all, mean squared error of the rounded network, bytes)."""


class Best:
    """The payloads of at most `most` bytes with the least errors, and of all seen the smallest one."""

    def __init__(self, most: float) -> None:
        self.most = most
        self._fitting: list[tuple[float, bytes]] = []
        self._smallest: tuple[float, bytes] | None = None

    def see(self, error: float, payload: bytes) -> None:
        if self._smallest is None or len(payload) < len(self._smallest[1]):
            self._smallest = error, payload
        if len(payload) <= self.most:
            self._fitting = sorted([*self._fitting, (error, payload)], key=lambda f: f[0])[:_FINALISTS]

    def finalists(self) -> list[bytes]:
        """A few, for they were judged on some of the pixels; the smallest one if none fits. One at least was seen."""
        assert self._smallest is not None
        return [payload for _, payload in self._fitting or [self._smallest]]


def confined(params: Parameters, multiples: list[Multiples], grid: Grid) -> Parameters:
    """The parameters, moved as little as needed to round to `multiples`."""
    centres, steps = grid.floats(multiples), grid.steps()
    return [
        np.clip(p, c - np.float32(0.49 * s), c + np.float32(0.49 * s)).astype(np.float32)
        for p, c, s in zip(params, centres, steps, strict=True)
    ]


def _pull(multiples: list[Multiples], grid: Grid) -> Parameters:
    """Derivative of the rate, in bits, by each parameter."""
    out = []
    for k, step in zip(multiples, grid.steps(), strict=True):
        mean = max(float(np.abs(k).mean()), 0.25)
        out.append((np.sign(k) / (mean * log(2) * step)).astype(np.float32))
    return out


def refine(
    network: Network,
    params: Parameters,
    picture: Picture,
    grid: Grid,
    plan: Plan,
    best: Best,
    c: float,
    *,
    seed: int = 0,
    tell: Tell | None = None,
) -> None:
    """Train on from `params` for `plan.steps`, rates being in steps of the grid, and let `best` see what comes of it."""
    now, steps = [p.copy() for p in params], grid.steps()
    # moves are in steps of each tensor, so its optimiser works in those
    scaled = [p / np.float32(s) for p, s in zip(now, steps, strict=True)]
    optimiser, weight = Adam(scaled), _FIRST
    stride = tuple(max(1, size // 160) for size in (picture.height, picture.width))
    for k, (rows, columns) in enumerate(lattices(picture, plan.steps, seed)):
        now = [p * np.float32(s) for p, s in zip(scaled, steps, strict=True)]
        multiples = grid.multiples(now)
        rounded = grid.floats(multiples)
        if k % _LOOK_EVERY == 0 or k == plan.steps - 1:
            payload = grid.quantised(multiples).write()
            error = network.error(rounded, picture, slice(0, None, stride[0]), slice(0, None, stride[1]))
            best.see(error, payload)
            turn = _TURN if len(payload) > best.most else 1 / _TURN
            weight = min(max(weight * turn, _CHEAPEST), _DEAREST)
            if tell is not None:
                tell(k, plan.steps, error, len(payload))
        _, gradients = network.gradients(rounded, picture, rows, columns)
        price = np.float32(price_of_a_bit(c) * weight)
        pulls = _pull(multiples, grid)
        moves = [(g + price * pull) * np.float32(s) for g, pull, s in zip(gradients, pulls, steps, strict=True)]
        optimiser.step(scaled, moves, plan.rate * cosine(k, plan.steps))
