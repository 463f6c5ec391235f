"""A picture to a SIREN's payload: fit, choose steps, round, train on with the rounding, code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import isfinite, log2
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from . import aware, quantisation, training
from .integers import Shape, render
from .network import Network, Parameters, Picture, initial, psnr_of
from .payload import MOST_WORK, origin, read_siren
from .quantisation import Grid
from .starts import FREQUENCIES, LAYERS, Start, load_start
from .training import Plan

Pixels = NDArray[np.uint8]

WIDTHS: Final = (8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128)
BITS_A_PARAMETER: Final = 4.2
"""At which more parameters that are coarser, or fewer that are finer, would be worse."""
_FIRST_STEPS: Final = 3
"""At the learned rates of a start."""
_AWARE_RATE: Final = 0.03
_BISECTIONS: Final = 12
_TELL_EVERY: Final = 50
_MOST_OVER: Final = 1.1


@dataclass(frozen=True, slots=True)
class Settings:
    """What to train and how. Each of `start`, `adaround` and `aware` can be left out, to see what it is worth."""

    width: int
    steps: int
    aware_steps: int
    layers: int = LAYERS
    frequencies: int = FREQUENCIES
    start: bool = True
    adaround: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """A network in floats, and what its multiples will be counted from."""

    network: Network
    picture: Picture
    params: Parameters
    start: Start | None
    interrupted: bool = False

    def grid(self, levels: tuple[int, ...]) -> Grid:
        shape = self.network.shape
        if self.start is None:
            return Grid(shape, levels, origin(shape), b"")
        return Grid(shape, levels, self.start.base, self.start.digest)


def train(pixels: Pixels, settings: Settings, tell: training.Tell | None = None) -> Trained:
    """Fit a network (pixels uint8 [H, W, channels]). An interruption ends the training, and what there is is given back."""
    shape = Shape(pixels.shape[2], settings.width, settings.layers, settings.frequencies)
    network, picture = Network(shape), Picture(pixels, settings.frequencies)
    start = load_start(shape) if settings.start else None
    anchor = None if start is None else start.parameters
    if start is None:
        params = initial(shape, settings.seed)
    else:
        params = training.descend(network, start.parameters, picture, start.rates, _FIRST_STEPS)
    plan, interrupted = Plan(settings.steps), False
    try:
        training.fit(network, params, picture, plan, anchor=anchor, seed=settings.seed, tell=tell)
    except KeyboardInterrupt:
        interrupted = True
    return Trained(network, picture, params, start, interrupted)


def steps_for(trained: Trained, size: float) -> tuple[Grid, float]:
    """(grid, c) of the finest steps, by sensitivity, whose payload has at most `size` bytes."""
    sensitive = quantisation.sensitivities(trained.network, trained.params, trained.picture)
    low, high = -60.0, 0.0  # log2 c
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        grid = trained.grid(quantisation.levels_for(trained.network.shape, sensitive, 2**middle))
        if len(grid.quantised(grid.multiples(trained.params)).write()) > size:
            low = middle
        else:
            high = middle
    return trained.grid(quantisation.levels_for(trained.network.shape, sensitive, 2**high)), 2**high


def quantise(trained: Trained, size: float, settings: Settings, tell: aware.Tell | None = None) -> bytes:
    """The payload of at most about `size` bytes: of all that were seen, the one that is decoded with the least error."""
    grid, c = steps_for(trained, size)
    network, picture, params = trained.network, trained.picture, trained.params
    multiples = grid.multiples(params)
    if settings.adaround:
        multiples = quantisation.adaround(network, params, picture, grid)
    best = aware.Best(size)
    best.see(network.error(grid.floats(multiples), picture), grid.quantised(multiples).write())
    if settings.aware_steps and not trained.interrupted:
        plan, from_here = Plan(settings.aware_steps, rate=_AWARE_RATE), aware.confined(params, multiples, grid)
        with suppress(KeyboardInterrupt):  # the best so far is kept
            aware.refine(network, from_here, picture, grid, plan, best, c, seed=1, tell=tell)
    return min(best.finalists(), key=lambda p: _squared_error(picture, p))


def _squared_error(picture: Picture, payload: bytes) -> float:
    """Of what a receiver sees, in grey levels."""
    seen = decoded(payload, picture.height, picture.width, picture.channels)
    return float(np.square(seen.astype(np.float64) - picture.pixels).mean())


def width_for(channels: int, bits: float) -> int:
    """The width at which `bits` are about BITS_A_PARAMETER each."""
    counts = {w: Shape(channels, w, LAYERS, FREQUENCIES).count for w in WIDTHS}
    return min(counts, key=lambda w: abs(log2(bits / counts[w] / BITS_A_PARAMETER)))


def decoded(payload: bytes, height: int, width: int, channels: int) -> Pixels:
    """uint8 [H, W, channels]."""
    shape, tensors = read_siren(payload, channels)
    return render(shape, tensors, height, width)


EFFORTS: Final = {"fast": (500, 200), "balanced": (3000, 500), "max": (20000, 2000)}
"""Steps of fitting, and of training on with the rounding."""
_FIRST_BPP: Final = 0.08
_SLOPE: Final = 2.5
"""Decibels that twice the bits bring, about."""
_ROUNDS: Final = 5
_NEAR: Final = 0.1


@dataclass
class _Teller:
    """Turns what the stages tell into one share of the work."""

    report: Callable[[Any], None] | None
    pixels: int
    steps: int
    wanted: float
    done: int = 0

    def fitting(self, step: int, steps: int, error: float) -> None:
        if step % _TELL_EVERY == 0:
            self._say(step, self.wanted, error)
        if step == steps:
            self.done += steps

    def refining(self, step: int, _steps: int, error: float, size: int) -> None:
        self._say(self.done + step, 8 * size / self.pixels, error)

    def _say(self, done: int, bpp: float, error: float) -> None:
        from ..api import Progress

        if self.report is not None:
            self.report(Progress(min(done / self.steps, 1.0), bpp, psnr_of(error)))


def encode(
    pixels: Pixels,
    *,
    bpp: float | None = None,
    psnr: float | None = None,
    quality: float | None = None,
    effort: str = "balanced",
    progress: Callable[[Any], None] | None = None,
    settings: Settings | None = None,
) -> bytes:
    """The payload of pixels (uint8 [H, W] or [H, W, 3]) at most at `bpp` bits a pixel, at `psnr` dB or at a `quality`.

    `quality` in 0..100 stands for a rate: 0.02 bits a pixel at 0, twice that every 20. Without any of the three it is
    50. `settings` overrides the network that the rate asks for. Raises InputError.
    """
    chosen = [v for v in (bpp, psnr, quality) if v is not None]
    if len(chosen) > 1 or effort not in EFFORTS or not all(isfinite(v) and v > 0 for v in chosen):
        raise InputError("siren: one of bpp, psnr and quality, above 0, and an effort of fast, balanced or max")
    stacked = np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1))
    work = partial(_at_rate, stacked, effort=effort, settings=settings, progress=progress)
    if psnr is not None:
        return _at_psnr(work, stacked, psnr)[1]
    rate = bpp if bpp is not None else 0.02 * 2 ** ((50 if quality is None else quality) / 20)
    return work(rate)[1]


def _at_rate(
    pixels: Pixels, bpp: float, *, effort: str, settings: Settings | None, progress: Callable[[Any], None] | None
) -> tuple[float, bytes]:
    """(PSNR of the decoded pixels, payload). Raises InputError for a rate that no network goes down to."""
    from ..metrics import psnr

    height, width, channels = pixels.shape
    bits = bpp * height * width
    fit_steps, aware_steps = EFFORTS[effort]
    settings = settings or Settings(width_for(channels, bits), fit_steps, aware_steps)
    if Shape(channels, settings.width, settings.layers, settings.frequencies).count * height * width > MOST_WORK:
        raise InputError(f"siren: {height} x {width} pixels are too many for one network; choose the method grid")
    teller = _Teller(progress, height * width, settings.steps + settings.aware_steps, bpp)
    trained = train(pixels, settings, teller.fitting)
    payload = quantise(trained, bits / 8, settings, teller.refining)
    if 8 * len(payload) > max(bits, 1) * _MOST_OVER:
        raise InputError(f"siren: {bpp:g} bits a pixel are too few for any network: {len(payload)} bytes are needed")
    return psnr(pixels, decoded(payload, height, width, channels)), payload


def _at_psnr(work: Callable[[float], tuple[float, bytes]], pixels: Pixels, wanted: float) -> tuple[float, bytes]:
    """The smallest payload found that reaches `wanted` dB; the nearest below if none does."""
    rate, found = _FIRST_BPP, list[tuple[float, bytes]]()
    for _ in range(_ROUNDS):
        found.append(work(rate))
        gap = wanted - found[-1][0]
        if -_NEAR <= -gap <= _NEAR and gap <= 0:
            break
        rate = 8 * len(found[-1][1]) / (pixels.shape[0] * pixels.shape[1]) * 2 ** ((gap + _NEAR / 2) / _SLOPE)
    enough = [f for f in found if f[0] >= wanted]
    return min(enough, key=lambda f: len(f[1])) if enough else max(found, key=lambda f: f[0])
