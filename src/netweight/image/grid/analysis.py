"""The encoder's analysis network: pixels to latents from which an image's own training starts. Decoders don't know it."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812  as everywhere
from torch import Tensor

from . import design
from .model import Weights, gains


def analyse(weights: Weights, decoder: Weights, pixels: Tensor, quality: Tensor) -> list[Tensor]:
    """Latents (float [n, LATENTS[l], h_l, w_l] a level, in steps, not rounded) of `pixels` (float [n, 3, H, W], 0..255)."""
    height, width = pixels.shape[2:]
    x = F.pad((pixels - 128.0) / design.PIXEL_UNIT, (0, width % 2, 0, height % 2), mode="replicate")
    x, out = F.pixel_unshuffle(x, 2), []
    for level, (h, w) in enumerate(design.sizes(height, width)):
        if level:
            x = F.pad(x, (0, 2 * w - x.shape[3], 0, 2 * h - x.shape[2]), mode="replicate")
        stride = 2 if level else 1
        x = F.conv2d(x, weights[f"{level}.down"], weights[f"{level}.bias1"], stride=stride, padding=1)
        inner = F.relu(F.conv2d(x, weights[f"{level}.residual1"], weights[f"{level}.bias2"], padding=1))
        x = x + F.conv2d(inner, weights[f"{level}.residual2"][:, :, None, None])
        y = F.conv2d(x, weights[f"{level}.latents"], weights[f"{level}.bias3"], padding=1)
        out.append(y * gains(decoder, level, quality))
    return out
