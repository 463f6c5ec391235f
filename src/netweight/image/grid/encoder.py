"""Pixels to a payload of the grid codec: tiles, goals, effort, and what to do when the user has had enough."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..api import Progress, Report
from . import design, refine, search, start, stream

Pixels = NDArray[np.uint8]

STEPS: Final = {"fast": 50, "balanced": 150, "max": 1500}
"""Training steps by effort; one takes about a fifth of a second for 768 x 512 pixels on one core."""
_TRAINED: Final = {"fast": 0, "balanced": 0, "max": 1}
"""Which of the networks' tensors move too (stream.SETS)."""
_MOST_PSNR: Final = 60.0


def _goal(bpp: float | None, psnr: float | None, quality: float | None) -> search.Goal:
    """Raises InputError unless exactly one, and a possible one, is given; none is quality 50."""
    given = [v for v in (bpp, psnr, quality) if v is not None]
    if len(given) > 1:
        raise InputError("one of bpp, psnr and quality can be sought, not several")
    if bpp is not None and not 0 < bpp <= 24:
        raise InputError(f"{bpp:g} bits a pixel can't be sought: it must be above 0, and 24 at most")
    if psnr is not None and not 0 < psnr <= _MOST_PSNR:
        raise InputError(f"a PSNR of {psnr:g} dB can't be sought: it must be above 0, and {_MOST_PSNR:g} at most")
    if quality is not None and not 0 <= quality <= 100:
        raise InputError(f"quality must be in 0 .. 100, not {quality:g}")
    if not given:
        quality = 50.0
    scaled = None if quality is None else quality * (design.QUALITIES - 1) / 100
    return search.Goal(bpp, psnr, scaled)


class _Shown:
    """Progress over all tiles, in the user's terms."""

    def __init__(self, report: Report | None, areas: list[int]) -> None:
        self._report, self._areas, self._at = report, areas, 0
        self._bits = self._errors = 0.0

    def __call__(self, share: float, bpp: float, psnr: float) -> None:
        if self._report is None:
            return
        done, here = sum(self._areas[: self._at]), self._areas[self._at]
        bits = self._bits + bpp * here
        error = self._errors + here * 255**2 / 10 ** (psnr / 10)
        seen = done + here
        self._report(Progress((done + share * here) / sum(self._areas), bits / seen, search.psnr_of(error / seen)))

    def finish(self, coded: refine.Coded) -> None:
        here = self._areas[self._at]
        self._bits += coded.bpp * here
        self._errors += coded.mse * here
        self._at += 1


def _one(
    known: start.Start, pixels: Pixels, goal: search.Goal, which: int, steps: int, report: refine.Report
) -> tuple[refine.Coded, bool]:
    """A tile, trained; and whether the user interrupted it."""
    trainer = refine.prepare(known, pixels, goal, which if steps else 0)
    return refine.train(trainer, steps, report), trainer.interrupted


def encode(
    pixels: Pixels, *, bpp: float | None = None, psnr: float | None = None, quality: float | None = None,
    effort: str = "balanced", steps: int | None = None, progress: Report | None = None,
) -> bytes:  # fmt: skip
    """The payload of `pixels` (uint8 [h, w] or [h, w, 3]) at the wanted rate, PSNR or quality (0..100).

    `steps` overrides the effort's. KeyboardInterrupt ends the training, not the coding: the payload is of what was
    reached. Raises InputError; MissingExtraError without torch.
    """
    import torch

    if effort not in STEPS:
        raise InputError(f"no effort {effort!r}; known are {', '.join(STEPS)}")
    goal, left = _goal(bpp, psnr, quality), STEPS[effort] if steps is None else steps
    colour = np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else pixels
    known = start.load()
    places = stream.tiles(*pixels.shape[:2])
    parts = [np.ascontiguousarray(colour[place]) for place in places]
    shown = _Shown(progress, [p.shape[0] * p.shape[1] for p in parts])
    coded = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for part, wanted in zip(parts, search.share_goal(known, parts, goal), strict=True):
            found, interrupted = _one(known, part, wanted, _TRAINED[effort], left, shown)
            left = 0 if interrupted else left
            shown.finish(found)
            coded.append(found.data)
    return stream.write(known, coded)
