"""The fixed shape of the grid codec: levels, channels, contexts. What a file may vary is the numbers in it, never this.

Level l = 0 .. LEVELS-1 holds LATENTS[l] integer grids of ceil(height / 2^(l+1)) x ceil(width / 2^(l+1)), the finest
first, and the trunk of the synthesis has TRUNK[l] features there. Coarse levels are coded first; each grid is coded
in raster order, its pixels given OWN causal neighbours, a cross of five pixels of every grid before it on its level, and
the trunk's features upsampled from the level below it.
"""

from __future__ import annotations

from typing import Final

LATENTS: Final = (3, 9, 9, 9, 12)
TRUNK: Final = (16, 24, 24, 24, 24)
ANALYSIS: Final = (24, 24, 24, 32, 32)
LEVELS: Final = len(LATENTS)
HIDDEN: Final = 16
"""Units in each of a context network's two hidden layers."""
OUTPUTS: Final = 12
"""Three colours of the four pixels that one pixel of the finest level stands for."""
REACH: Final = 2
OWN: Final = tuple((dy, dx) for dy in range(-REACH, 1) for dx in range(-REACH, REACH + 1) if (dy, dx) < (0, 0))
"""Causal neighbours (row, column) of a pixel in its own grid: 12 of them."""
CROSS: Final = ((-1, 0), (0, -1), (0, 0), (0, 1), (1, 0))
"""Neighbours in the grids that came before."""
CLIP: Final = 127
"""What a context network sees of a latent is clipped to [-CLIP, CLIP]."""
LARGEST: Final = 4095
"""Latents lie in [-LARGEST, LARGEST]."""
QUALITIES: Final = 64
"""Steps of quality, each of 2^(1/8) in lambda."""
PIXEL_UNIT: Final = 64.0
"""The synthesis gives (colour - 128) / PIXEL_UNIT."""


def lambda_of(quality: float) -> float:
    """What a squared error of one grey level (mean over pixels and colours) is worth, in bits a pixel."""
    return float(2.0 ** (quality / 8 - 12))


def sizes(height: int, width: int) -> list[tuple[int, int]]:
    """(rows, columns) of the grids of each level, for an image of `height` x `width` >= 1 x 1."""
    out = []
    for _ in range(LEVELS):
        height, width = (height + 1) // 2, (width + 1) // 2
        out.append((height, width))
    return out
