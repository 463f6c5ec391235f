"""Where offline training begins: networks that are a Haar wavelet transform, with small random weights beside.

Trunk features 0..2 are the low-pass image in an orthonormal colour space, 3..11 its nine details (three a colour). The
finest level has latents for luma's details alone, the coarsest also for the low-pass image.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from . import design, networks
from .model import Weights

_COLOURS: Final = torch.tensor([[3**-0.5] * 3, [2**-0.5, 0.0, -(2**-0.5)], [6**-0.5, -2 * 6**-0.5, 6**-0.5]])
"""[colour, r g b], orthonormal."""
_HAAR: Final = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
"""[low-pass, three details; pixels of a 2x2 block in raster order]."""
_SMALL: Final = 0.15
_FIRST_GAIN: Final = -2.5
_DETAILS: Final = 9


def _random(shapes: dict[str, tuple[int, ...]], seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, shape in shapes.items():
        kind = networks.kind_of(name)
        if kind.startswith(("bias", "tilt", "gain")):
            out[name] = torch.zeros(shape)
            continue
        fan = shape[0] * 4 if kind == "up" else max(1, torch.Size(shape[1:]).numel())
        root = 1.4 if kind in ("own", "before", "hidden", "residual1", "above") else _SMALL
        out[name] = torch.randn(shape, generator=generator) * root * fan**-0.5
    return out


def _latent_rows(level: int) -> list[int]:
    """The trunk features that a level's latents are."""
    if level == 0:
        return [3, 4, 5]
    details = list(range(3, 3 + _DETAILS))
    return [*details, 0, 1, 2] if level == design.LEVELS - 1 else details


def _block(kernel: Tensor, taps: Tensor) -> None:
    """Add 2x2 `taps` [4] to the middle of a 4x4 `kernel`."""
    kernel[1:3, 1:3] += taps.reshape(2, 2)


def decoder(seed: int) -> Weights:
    """Weights of the decoder."""
    out = _random(networks.shapes(), seed)
    for level in range(design.LEVELS):
        out[f"{level}.gain"] += _FIRST_GAIN + level + 1
        out[f"{level}.bias3"][1::2] = -1.0
        for latent, feature in enumerate(_latent_rows(level)):
            out[f"{level}.inject"][feature, latent, 1, 1] += 1
        if level + 1 == design.LEVELS:
            continue
        for colour in range(3):
            up = out[f"{level}.up"]
            _block(up[colour, colour], _HAAR[0])
            for d in range(3):
                _block(up[3 + 3 * colour + d, colour], _HAAR[1 + d])
    for colour in range(3):
        for c, part in enumerate(_COLOURS[colour]):
            for pixel in range(4):
                row = out["colour"][4 * c + pixel, :, 1, 1]
                row[colour] += part * _HAAR[0, pixel]
                for d in range(3):
                    row[3 + 3 * colour + d] += part * _HAAR[1 + d, pixel]
    return out


def encoder(seed: int) -> Weights:
    """Weights of the analysis."""
    out = _random(networks.analysis_shapes(), seed)
    for level in range(design.LEVELS):
        down = out[f"{level}.down"]
        for colour in range(3):
            rows = [colour, *(3 + 3 * colour + d for d in range(3))]
            for haar, row in zip(_HAAR, rows, strict=True):
                if level:
                    _block(down[row, colour], haar / 4)
                    continue
                for c, part in enumerate(_COLOURS[colour]):
                    down[row, 4 * c : 4 * c + 4, 1, 1] += part * haar / 4
        for latent, row in enumerate(_latent_rows(level)):
            out[f"{level}.latents"][latent, row, 1, 1] += 1
    return out
