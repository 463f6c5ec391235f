"""COIN (Dupont et al. 2021, arXiv 2103.03123): a SIREN of the bare coordinates, its parameters as half-precision floats.

The networks are the published ones (five sine layers of 20 or 30 units, ten of 28 or 40, thirteen of 49 on a 768 x 512
picture) and, between their sizes, others of as many layers. Training is ours, so that both get the same steps: lattices
of pixels instead of 50,000 times all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from . import encoder, training
from .integers import Shape, render
from .network import Network, Parameters, Picture, initial, psnr_of
from .payload import MOST_WIDTH, MOST_WORK, check_work, read_coin, write_coin

Pixels = NDArray[np.uint8]

BITS: Final = 16
_LAYERS: Final = ((4500, 5), (19000, 10), (1 << 62, 13))
"""Parameters below which a network has so many sine layers."""
_PLAN_RATE: Final = 1e-3


def shape_for(channels: int, bits: float) -> Shape:
    """The widest network of at most `bits` in all. Raises InputError if one unit is too many."""
    layers = next(layers for most, layers in _LAYERS if bits / BITS < most)
    for width in range(MOST_WIDTH, 0, -1):
        shape = Shape(channels, width, layers, 0)
        if shape.count * BITS + 16 <= bits:
            return shape
    raise InputError(f"coin: {bits:.0f} bits are too few for any network")


def train(pixels: Pixels, shape: Shape, steps: int, tell: training.Tell | None = None) -> Parameters:
    """Fit a network (pixels uint8 [H, W, channels])."""
    params = initial(shape, 0)
    plan = training.Plan(steps, rate=_PLAN_RATE, decay=0.0)
    training.fit(Network(shape), params, Picture(pixels, 0), plan, tell=tell)
    return params


def encode(
    pixels: Pixels,
    *,
    bpp: float | None = None,
    effort: str = "balanced",
    progress: Callable[[Any], None] | None = None,
) -> bytes:
    """The payload of pixels (uint8 [H, W] or [H, W, 3]) at most at `bpp` bits a pixel (default: 0.15). Raises InputError."""
    from ..api import Progress

    if effort not in encoder.EFFORTS or (bpp is not None and not bpp > 0):
        raise InputError("coin: bpp above 0, and an effort of fast, balanced or max")
    stacked = np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1))
    height, width, channels = stacked.shape
    shape = shape_for(channels, (0.15 if bpp is None else bpp) * height * width)
    if shape.count * height * width > MOST_WORK:
        raise InputError(f"coin: {height} x {width} pixels are too many for one network; choose the method grid")

    def tell(step: int, steps: int, error: float) -> None:
        if progress is not None and step % 50 == 0:
            progress(Progress(step / steps, BITS * shape.count / (height * width), psnr_of(error)))

    return write_coin(shape, train(stacked, shape, sum(encoder.EFFORTS[effort]), tell))


def decode(payload: bytes | memoryview, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """uint8 [height, width] for one channel, else [height, width, 3]. Raises FormatError and its kin."""
    shape, tensors = read_coin(payload, channels)
    check_work(shape, height, width)
    pixels = render(shape, tensors, height, width)
    return pixels[..., 0] if channels == 1 else pixels
