"""Training a tile: latents, and the networks' differences from the start, by gradient on bits + lambda * squared error.

Two phases. First noise between soft roundings stands for rounding, and latents and networks move together; what a weight's
difference will cost is in the loss. Then the differences are rounded for good, and the latents go on.
lambda is steered on the way, so that one run ends at the wanted rate or PSNR.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import design, model, networks, quantise, search, stream, surrogate, tile
from .start import Start

Pixels = NDArray[np.uint8]
Report = Callable[[float, float, float], None]
"""Is told the share of the steps, bits a pixel (a bound) and PSNR."""

_LATENT_RATE: Final = 0.06
_WEIGHT_RATE: Final = 1e-3
_LAST_RATE: Final = 0.05
_WEIGHTS_UNTIL: Final = 0.8
"""Share of the steps after which networks stay as they are."""
_CHECKS: Final = 16
"""How often lambda is steered in a run."""
_STEERED_FROM: Final = 0.3
"""Share of the steps before which rates are still those of the noise."""
_INTEGRAL, _MOST_DRIFT = 0.3, 2.0
_TOUCHES: Final = 5
_LATE: Final = 0.9
"""The share of the training at which the touches stay."""
_TOUCH_RATE: Final = 0.02
_NEAR_RATE, _NEAR_PSNR = 0.015, 0.05
_WEIGHT_BITS: Final = 1.5
"""Bits that a doubling of a difference costs."""


@dataclass
class Coded:
    """A tile that has been coded: its bytes, what they decode to, and how good that is."""

    data: bytes
    pixels: Pixels
    bpp: float
    mse: float

    def loss(self, worth: float) -> float:
        return self.bpp + worth * self.mse


@dataclass(frozen=True)
class Snapshot:
    """Latents and networks as they were, their bits a pixel and mean squared error once rounded."""

    latents: list[Tensor]
    weights: model.Weights
    bpp: float
    mse: float


@dataclass
class Trainer:
    """The state of a tile's training; `worth` is lambda, `ratio` what latents take in a file to what the networks alone say,
    `drift` by how many octaves lambda has been moved for good.
    """

    start: Start
    pixels: Pixels
    goal: search.Goal
    quality: int
    worth: float
    target: Tensor
    latents: list[Tensor]
    weights: model.Weights
    base: model.Weights
    units: dict[str, float]
    which: int
    differences: stream.Differences = field(default_factory=stream.Differences)
    first_worth: float = 0.0
    ratio: float = 1.0
    drift: float = 0.0
    best: Snapshot | None = None
    settled: bool = False
    interrupted: bool = False

    @property
    def area(self) -> int:
        return int(self.pixels.shape[0] * self.pixels.shape[1])

    def forward(self, rounded: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Bits a pixel of the latents, and mean squared error."""
        got = model.synthesise(self.weights, rounded, search.full(self.quality), *self.pixels.shape[:2])
        parts = zip(rounded, got.locations, got.scales, strict=True)
        rate = torch.stack([model.bits(y, m, s).sum() for y, m, s in parts]).sum() / self.area
        return rate, (got.pixels - self.target).square().mean()

    def weight_bits(self) -> Tensor:
        """About what the networks' differences will cost, bits a pixel."""
        if self.settled:
            return torch.zeros(())
        names = stream.names_of(self.which)
        parts = [torch.log2(1 + (self.weights[n] - self.base[n]).abs() / self.units[n]).sum() for n in names]
        return torch.stack(parts).sum() * (_WEIGHT_BITS / self.area)

    def side_bits(self) -> float:
        """What a tile holds beside latents, bits a pixel, once the networks are settled."""
        return 8 * len(stream.write_tile(self.quality, self.differences, b"")) / self.area

    def code(self) -> Coded:
        """The tile as it would be written now."""
        values = stream.apply(self.start, self.differences)
        built = networks.build(values, self.start.fractions, self.quality)
        latents = [_whole(y) for y in self.latents]
        coded, pixels = tile.encode(built, latents, *self.pixels.shape[:2])
        data = stream.write_tile(self.quality, self.differences, coded)
        mse = float(np.square(pixels.astype(np.float64) - self.pixels).mean())
        return Coded(data, pixels, 8 * len(data) / self.area, mse)


def _whole(y: Tensor) -> NDArray[np.int32]:
    clipped = y.detach()[0].round().clamp(-design.LARGEST, design.LARGEST)
    return np.ascontiguousarray(clipped.numpy(), np.int32)


def prepare(start: Start, pixels: Pixels, goal: search.Goal, which: int = 0) -> Trainer:
    """A tile (uint8 [h, w, 3]) before its first step; `which` of stream.SETS is to be trained."""
    found = search.Search(start, pixels)
    quality, worth = found.beginning(goal)
    latents = [y.contiguous(memory_format=torch.channels_last).requires_grad_() for y in found.latents(quality)]
    weights = dict(found.decoder)
    for name in stream.names_of(which):
        weights[name] = weights[name].clone().requires_grad_()
    made = Trainer(
        start, pixels, goal, quality, worth, found.target, latents, weights, found.decoder, found.units, which
    )
    made.settled, made.first_worth = not which, worth
    return made


def settle_weights(trainer: Trainer) -> None:
    """Round the networks' differences to what a file holds, or drop them if they aren't worth it."""
    values = {}
    for name in stream.names_of(trainer.which):
        moved = (trainer.weights[name].detach() - trainer.base[name]).double() / trainer.units[name]
        values[name] = np.rint(moved.numpy()).astype(np.int64)
    plain = trainer.code()
    trainer.differences = stream.Differences(trainer.which, search.FINENESS, values)
    if trainer.code().loss(trainer.worth) >= plain.loss(trainer.worth):
        trainer.differences = stream.Differences()
    settled = quantise.floats(stream.apply(trainer.start, trainer.differences), trainer.start.fractions)
    trainer.weights = {name: torch.from_numpy(v) for name, v in settled.items()}
    trainer.settled, trainer.best = True, None


def _step(trainer: Trainer, optimiser: torch.optim.Optimizer, share: float, least_rate: float = 0.0) -> None:
    """One step of the optimiser, `share` (0..1) of the way."""
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    optimiser.param_groups[0]["lr"] = max(_LATENT_RATE * (_LAST_RATE + (1 - _LAST_RATE) * cosine), least_rate)
    optimiser.param_groups[1]["lr"] = _WEIGHT_RATE * cosine
    rate, error = trainer.forward([surrogate.softly_rounded(y, share) for y in trainer.latents])
    loss = rate + trainer.worth * error + trainer.weight_bits()
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def train(trainer: Trainer, steps: int, report: Report) -> Coded:
    """Run `steps`, or until the user interrupts; the tile as it is then.

    KeyboardInterrupt is caught, and noted in `trainer.interrupted`.
    """
    moving = [w for w in trainer.weights.values() if w.requires_grad]
    groups = [{"params": trainer.latents, "lr": 0.0}, {"params": moving, "lr": 0.0}]
    optimiser, check = torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True), max(4, steps // _CHECKS)
    try:
        if steps:
            steer(trainer, 0.0, report)
        for step in range(steps):
            share = step / steps
            if share >= _WEIGHTS_UNTIL and not trainer.settled:
                settle_weights(trainer)
            _step(trainer, optimiser, share)
            if (step + 1) % check == 0:
                steer(trainer, (step + 1) / steps, report)
        if steps:
            _touch_up(trainer, optimiser, max(4, steps // 10), report)
    except KeyboardInterrupt:
        trainer.interrupted = True
        _go_back(trainer)
    if not trainer.settled:
        settle_weights(trainer)
    return trainer.code()


def _remember(trainer: Trainer, bpp: float, mse: float) -> None:
    """Keep what there is now if it is better, at the present lambda, than what was kept."""
    best = trainer.best
    if best is not None and best.bpp + trainer.worth * best.mse <= bpp + trainer.worth * mse:
        return
    latents = [y.detach().clone() for y in trainer.latents]
    weights = {name: w.detach().clone() if w.requires_grad else w for name, w in trainer.weights.items()}
    trainer.best = Snapshot(latents, weights, bpp, mse)


def _go_back(trainer: Trainer) -> None:
    """To the best that was seen: in the middle of the noise, latents are worse than they were at first."""
    if trainer.best is not None:
        trainer.latents = trainer.best.latents
        if not trainer.settled:
            trainer.weights = trainer.best.weights


def _touch_up(trainer: Trainer, optimiser: torch.optim.Optimizer, steps: int, report: Report) -> None:
    """A few steps more while the rate or the PSNR isn't what was wanted."""
    for _ in range(_TOUCHES):
        if steer(trainer, 1.0, report):
            return
        for _ in range(steps):
            _step(trainer, optimiser, _LATE, _TOUCH_RATE)


def steer(trainer: Trainer, share: float, report: Report) -> bool:
    """Look at what rounding gives now, tell it, and move lambda towards the goal; whether that is reached."""
    with torch.no_grad():
        rate, error = trainer.forward([y.round() for y in trainer.latents])
    side = trainer.side_bits() if trainer.settled else float(trainer.weight_bits().detach())
    if share in (0.0, 1.0):  # it hardly changes in between
        trainer.ratio = (trainer.code().bpp - trainer.side_bits()) / max(float(rate), 1e-9)
    bpp = float(rate) * trainer.ratio + side
    psnr, goal = search.psnr_of(float(error)), trainer.goal
    _remember(trainer, bpp, float(error))
    if goal.quality is None and share >= _STEERED_FROM:
        # octaves of lambda that seem to be lacking: a proportional and an integral part
        lacking = math.log2(goal.bpp / bpp) if goal.bpp is not None else ((goal.psnr or 0.0) - psnr) / 2
        lacking = min(max(lacking, -1.0), 1.0)
        trainer.drift = min(max(trainer.drift + _INTEGRAL * lacking, -_MOST_DRIFT), _MOST_DRIFT)
        trainer.worth = trainer.first_worth * 2.0 ** (trainer.drift + lacking)
    report(share, bpp, psnr)
    return abs(bpp / (goal.bpp or bpp) - 1) < _NEAR_RATE and abs(psnr - (goal.psnr or psnr)) < _NEAR_PSNR
