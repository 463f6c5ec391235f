"""Before training: a goal, the analysis at several qualities, and the one from which to begin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import analysis, design, model, quantise
from .start import Start

Pixels = NDArray[np.uint8]

FINENESS: Final = 2
"""Differences of weights are in units of 2^FINENESS of the start's."""
_EXPECTED_BITS: Final = 1.21
"""Bits of the analysis to those after training at its lambda."""
_EXPECTED_GAIN: Final = -0.4
"""dB that training adds at that lambda, where it saves bits."""
_ELASTICITY: Final = 1.6
"""Octaves of lambda to one of the rate, or to half a dB."""


@dataclass(frozen=True)
class Goal:
    """What is sought: exactly one of bits a pixel (of the tile's bytes), PSNR in dB, and a quality of design.QUALITIES."""

    bpp: float | None = None
    psnr: float | None = None
    quality: float | None = None


def psnr_of(mse: float) -> float:
    """dB; 99 for (next to) no error."""
    return min(99.0, 10 * math.log10(255**2 / max(mse, 1e-9)))


def full(quality: float) -> Tensor:
    return torch.full((1, 1, 1, 1), float(quality))


def to_tensor(pixels: Pixels) -> Tensor:
    """uint8 [h, w, 3] as float [1, 3, h, w], channels last."""
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float()[None]
    return planes.contiguous(memory_format=torch.channels_last)


def _float_start(start: Start) -> tuple[model.Weights, model.Weights, dict[str, float]]:
    """Decoder and analysis as tensors, and what a unit of a coded difference is worth, by name."""
    decoder = {k: torch.from_numpy(v) for k, v in quantise.floats(start.values, start.fractions).items()}
    encoder = {k: torch.from_numpy(v) for k, v in start.analysis.items()}
    units = {name: 2.0 ** (FINENESS - fraction) for name, fraction in start.fractions.items()}
    return decoder, encoder, units


class Search:
    """The analysis at several qualities, to find the one from which to begin."""

    def __init__(self, start: Start, pixels: Pixels) -> None:
        self.decoder, self.encoder, self.units = _float_start(start)
        self.pixels, self.target = pixels, to_tensor(pixels)

    def latents(self, quality: float) -> list[Tensor]:
        with torch.no_grad():
            return analysis.analyse(self.encoder, self.decoder, self.target, full(quality))

    def measure(self, quality: float) -> tuple[float, float]:
        """Bits a pixel (a bound) and PSNR of what the analysis gives."""
        with torch.no_grad():
            rounded = [y.round() for y in self.latents(quality)]
            got = model.synthesise(self.decoder, rounded, full(quality), *self.pixels.shape[:2])
            parts = zip(rounded, got.locations, got.scales, strict=True)
            bits = sum(float(model.bits(y, m, s).sum()) for y, m, s in parts)
            error = float((got.pixels.clamp(0, 255) - self.target).square().mean())
        return bits / (self.pixels.shape[0] * self.pixels.shape[1]), psnr_of(error)

    def beginning(self, goal: Goal) -> tuple[int, float]:
        """The quality whose analysis comes nearest to the goal but for what training changes, and lambda for that goal."""
        if goal.quality is not None:
            return min(max(round(goal.quality), 0), design.QUALITIES - 1), design.lambda_of(goal.quality)
        low, high = 0, design.QUALITIES - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._lacking(goal, middle) <= 0 else (middle + 1, high)
        lacking = min(max(self._lacking(goal, low), -0.5), 0.5)
        return low, design.lambda_of(low) * 2.0 ** (_ELASTICITY * lacking)

    def _lacking(self, goal: Goal, quality: int) -> float:
        """Octaves of the rate, or half dBs, that training from this quality would probably end below the goal."""
        bpp, psnr = self.measure(quality)
        if goal.bpp is not None:
            return math.log2(_EXPECTED_BITS * goal.bpp / max(bpp, 1e-9))
        return ((goal.psnr or 0.0) - _EXPECTED_GAIN - psnr) / 2


def share_goal(start: Start, parts: list[Pixels], goal: Goal) -> list[Goal]:
    """A goal for each of several tiles, so that together they reach `goal` at about one lambda.

    Each tile is to be as much above or below the whole as its analysis is, at one quality for all.
    """
    if len(parts) == 1 or goal.quality is not None:
        return [goal] * len(parts)
    searches = [Search(start, part) for part in parts]
    areas = np.array([part.shape[0] * part.shape[1] for part in parts], np.float64)
    low, high = 0, design.QUALITIES - 1
    while True:
        found = np.array([search.measure((low + high) // 2) for search in searches])
        bpp = float(found[:, 0] @ areas / areas.sum())
        psnr = psnr_of(float(255**2 * 10 ** (-found[:, 1] / 10) @ areas / areas.sum()))
        if low >= high:
            break
        enough = bpp >= goal.bpp if goal.bpp is not None else psnr >= (goal.psnr or 0)
        low, high = (low, (low + high) // 2) if enough else ((low + high) // 2 + 1, high)
    if goal.bpp is not None:
        return [Goal(bpp=goal.bpp * max(float(b) / bpp, 1e-3)) for b in found[:, 0]]
    return [Goal(psnr=(goal.psnr or 0) + float(p) - psnr) for p in found[:, 1]]
