"""Training for `lenets.py`: a teacher's answers to be met, at a price for each bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from lenet_data import Lessons, pixels
from lenet_nets import Plan, Shape, SteppedNet
from lenet_rate import add_gradient, prices
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

BATCH: Final = 256
_PRICES_EVERY: Final = 20  # steps
_BIAS_PRICE: Final = torch.tensor(2.0)
_STEP_RATE: Final = 1e-3
_LEAST_RATE: Final = 0.01  # of the full one


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Shares are of the whole training.

    It starts with real weights. The price of a bit, in nats of mean divergence from the teachers, grows from `warm` to
    `ramp`. From `hard` on, the network runs with rounded weights, and the learning rate `rate`, in steps of the grid,
    falls as a cosine. `plain` is the share of undistorted digits in a batch.
    """

    widths: Shape
    nats_per_bit: float
    epochs: int
    rate: float
    plain: float = 0.3
    warm: float = 0.1
    hard: float = 0.2
    ramp: float = 0.5
    seed: int = 0

    def rate_at(self, done: float) -> float:
        """The learning rate's factor when the share `done` of the training is over."""
        if done < self.hard:
            return min(1.0, done / 0.02 + _LEAST_RATE)
        return max(_LEAST_RATE, 0.5 + 0.5 * math.cos(math.pi * (done - self.hard) / (1 - self.hard)))

    def price_at(self, done: float) -> float:
        """Nats per bit."""
        return self.nats_per_bit * min(1.0, max(0.0, (done - self.warm) / (self.ramp - self.warm)))


@torch.no_grad()
def logits_for(net: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What `net` says of images uint8 [n, ...]: float32 [n, 10]."""
    return torch.cat([net(pixels(part)) for part in x.split(1000)])


def wrong(logits: Tensor, y: Tensor) -> float:
    """Share of wrong answers."""
    return (logits.argmax(1) != y).float().mean().item()


def divergence(logits: Tensor, told: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence, in nats, from the teacher's answers to those of `logits`, both [n, 10]."""
    return F.kl_div(logits.log_softmax(1), told.softmax(1), reduction="batchmean")


class Training:
    """A training that goes on where its checkpoint in `path` stops."""

    def __init__(self, plan: Plan, recipe: Recipe, path: Path) -> None:
        self.plan, self.recipe, self.path = plan, recipe, path
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.net = SteppedNet(plan.narrowed(recipe.widths), self.generator)
        groups: list[dict[str, Any]] = [
            {"params": [*self.net.u, *self.net.bias_u], "full": recipe.rate},
            {"params": [self.net.log_steps, self.net.log_bias_steps], "full": _STEP_RATE},
        ]
        self.optimiser = torch.optim.Adam(groups, eps=1e-10, fused=True)
        self.epoch = 0
        if path.exists():
            self._load()

    def run(self, lessons: Lessons, report: Callable[[int, SteppedNet, float], None]) -> SteppedNet:
        """Train to the end; `report(epoch, net, seconds)` after each epoch."""
        while self.epoch < self.recipe.epochs:
            start = time.perf_counter()
            self._run_epoch(lessons)
            self.epoch += 1
            self._save()
            report(self.epoch, self.net, time.perf_counter() - start)
        self.net.hard = True
        return self.net

    def _run_epoch(self, lessons: Lessons) -> None:
        steps = lessons.plain // BATCH
        for step in range(steps):
            if step % _PRICES_EVERY == 0:
                costs = [prices(u, side) for u, side in zip(self.net.u, self.plan.sides, strict=True)]
            self._step(lessons, (self.epoch + step / steps) / self.recipe.epochs, costs)

    def _step(self, lessons: Lessons, done: float, costs: list[Tensor]) -> None:
        recipe, net = self.recipe, self.net
        net.hard = done >= recipe.hard
        for group in self.optimiser.param_groups:
            group["lr"] = group["full"] * recipe.rate_at(done)
        plain = round(BATCH * recipe.plain)
        ends = ((plain, 0, lessons.plain), (BATCH - plain, lessons.plain, len(lessons.x)))
        chosen = torch.cat([torch.randint(a, b, (n,), generator=self.generator) for n, a, b in ends])
        self.optimiser.zero_grad()
        divergence(net(pixels(lessons.x[chosen])), lessons.logits[chosen]).backward()
        nats = recipe.price_at(done)
        for u, cost in zip((*net.u, *net.bias_u), (*costs, *(_BIAS_PRICE for _ in net.bias_u)), strict=True):
            add_gradient(u, cost, nats)
        self.optimiser.step()

    def _save(self) -> None:
        part = self.path.with_suffix(".part")
        state = {"recipe": self.recipe, "epoch": self.epoch, "generator": self.generator.get_state()}
        torch.save({**state, "net": self.net.state_dict(), "optimiser": self.optimiser.state_dict()}, part)
        part.rename(self.path)

    def _load(self) -> None:
        with torch.serialization.safe_globals([Recipe]):
            state = torch.load(self.path, weights_only=True)
        if state["recipe"] != self.recipe:
            raise ValueError(f"{self.path} is of another recipe: {state['recipe']}")
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.epoch = state["epoch"]
