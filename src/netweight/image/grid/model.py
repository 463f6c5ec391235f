"""The grid codec's networks in torch, for training: what the integer decoder does, in floating point.

Weights are in a flat dictionary of tensors, named as in `shapes`, so that a file can code differences to them by name.
Everything is channels-last: small convolutions run several times faster so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from torch import Tensor

from . import design

Weights = dict[str, Tensor]

_FEW = 4096


def context_kernel(weights: Weights, level: int) -> Tensor:
    """The first layers of a level's context networks as one masked convolution, float [HIDDEN K, K, 5, 5]."""
    own, before = weights[f"{level}.own"], weights[f"{level}.before"]
    k, r = design.LATENTS[level], design.REACH
    kernel = own.new_zeros(design.HIDDEN * k, k, 2 * r + 1, 2 * r + 1)
    rows = torch.arange(design.HIDDEN * k)
    grid = rows // design.HIDDEN
    dy, dx = (torch.tensor(d) + r for d in zip(*design.OWN, strict=True))
    kernel = kernel.index_put((rows[:, None], grid[:, None], dy, dx), own)
    if k == 1:
        return kernel
    dy, dx = (torch.tensor(d) + r for d in zip(*design.CROSS, strict=True))
    earlier = torch.arange(k - 1)
    seen = (earlier[None, :] < grid[:, None]).to(own.dtype)[:, :, None]
    return kernel.index_put((rows[:, None, None], earlier[None, :, None], dy, dx), before * seen, accumulate=True)


def upsampled(weights: Weights, level: int, trunk: Tensor, size: tuple[int, int]) -> Tensor:
    """Features [n, TRUNK[level+1], h', w'] of the coarser level at this level's `size`."""
    up = F.conv_transpose2d(trunk, weights[f"{level}.up"], stride=2, padding=1)
    return up[:, :, : size[0], : size[1]]


def _blocks(matrix: Tensor, groups: int) -> Tensor:
    """Matrices [groups * o, i] of separate networks as one kernel [groups * o, groups * i, 1, 1]."""
    made: Tensor = torch.block_diag(*matrix.chunk(groups))  # type: ignore[no-untyped-call]
    return made[:, :, None, None]


def _contexts_at_once(weights: Weights, level: int, seen: Tensor, above: Tensor | None, tone: Tensor) -> Tensor:
    """Outputs [n, 2 K, h, w] of a level's context networks as wide layers that are mostly zeros: quick for few pixels."""
    k = design.LATENTS[level]
    x = F.conv2d(seen, context_kernel(weights, level), weights[f"{level}.bias1"], padding=design.REACH)
    x = x + tone * weights[f"{level}.tilt1"][:, None, None]
    if above is not None:
        x = x + F.conv2d(above, weights[f"{level}.above"][:, :, None, None])
    x = F.relu(F.conv2d(F.relu(x), _blocks(weights[f"{level}.hidden"], k), weights[f"{level}.bias2"]))
    return F.conv2d(x, _blocks(weights[f"{level}.out"], k), weights[f"{level}.bias3"])


def _contexts_one_by_one(weights: Weights, level: int, seen: Tensor, above: Tensor | None, tone: Tensor) -> Tensor:
    """The same, one network after the other: torch is several times slower at grouped convolutions of few channels."""
    names = ("bias1", "tilt1", "above", "hidden", "bias2", "out", "bias3")
    parts = [weights.get(f"{level}.{name}") for name in names]
    count, out = design.LATENTS[level], []
    split = [[None] * count if p is None else p.chunk(count) for p in (context_kernel(weights, level), *parts)]
    for grid, (kernel, bias1, tilt1, mix, hidden, bias2, last, bias3) in enumerate(zip(*split, strict=True)):
        x = F.conv2d(seen[:, : grid + 1], kernel[:, : grid + 1], bias1, padding=design.REACH)
        x = x + tone * tilt1[:, None, None]
        if above is not None:
            x = x + F.conv2d(above, mix[:, :, None, None])
        x = F.relu(F.conv2d(F.relu(x), hidden[:, :, None, None], bias2))
        out.append(F.conv2d(x, last[:, :, None, None], bias3))
    return torch.cat(out, 1)


def contexts(weights: Weights, level: int, seen: Tensor, above: Tensor | None, tone: Tensor) -> tuple[Tensor, Tensor]:
    """Location and log2 scale (float [n, K, h, w] each, in quantisation steps) of latents, given `seen` [n, K, h, w].

    `tone` [n, 1, 1, 1] is the quality, scaled as `tone_of` does.
    """
    few = seen.shape[0] * seen.shape[2] * seen.shape[3] <= _FEW
    run = _contexts_at_once if few else _contexts_one_by_one
    x = run(weights, level, seen.clamp(-design.CLIP, design.CLIP), above, tone)
    return x[:, 0::2], x[:, 1::2]


def tone_of(quality: Tensor) -> Tensor:
    """Quality in [0, QUALITIES) as the networks see it: about -1 .. 1."""
    return (quality - design.QUALITIES / 2) / (design.QUALITIES / 2)


def gains(weights: Weights, level: int, quality: Tensor) -> Tensor:
    """Quantisation steps to one unit of the trunk's input, [n, K, 1, 1]; `quality` [n, 1, 1, 1]."""
    return torch.exp2(weights[f"{level}.gain"][:, None, None] + quality / 16)


@dataclass(frozen=True)
class Decoded:
    """What decoding gives: `pixels` float [n, 3, H, W] in 0..255 (not clipped), and per level the rate's parameters."""

    pixels: Tensor
    locations: list[Tensor]
    scales: list[Tensor]


def synthesise(weights: Weights, latents: list[Tensor], quality: Tensor, height: int, width: int) -> Decoded:
    """Decode `latents` (float [n, LATENTS[l], h_l, w_l] a level, in steps) as the decoder would."""
    trunk: Tensor | None = None
    locations: list[Tensor] = []
    scales: list[Tensor] = []
    tone = tone_of(quality)
    for level in reversed(range(design.LEVELS)):
        y = latents[level]
        above = None if trunk is None else upsampled(weights, level, trunk, (y.shape[2], y.shape[3]))
        location, scale = contexts(weights, level, y, above, tone)
        x = F.conv2d(
            y / gains(weights, level, quality), weights[f"{level}.inject"], weights[f"{level}.bias4"], padding=1
        )
        x = x if above is None else x + above
        inner = F.relu(F.conv2d(x, weights[f"{level}.residual1"], weights[f"{level}.bias5"], padding=1))
        trunk = x + F.conv2d(inner, weights[f"{level}.residual2"][:, :, None, None], weights[f"{level}.bias6"])
        locations.insert(0, location)
        scales.insert(0, scale)
    assert trunk is not None
    x = F.pixel_shuffle(F.conv2d(trunk, weights["colour"], weights["bias7"], padding=1), 2)
    return Decoded(x[:, :, :height, :width] * design.PIXEL_UNIT + 128.0, locations, scales)


def bits(latent: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
    """-log2 P(latent), elementwise, under a Laplace distribution of mean absolute deviation 2^log_scale, in bins of 1."""
    b = torch.exp2(log_scale.clamp(-5.0, 9.0))
    d = (latent - location).abs()
    inside = 1 - 0.5 * (torch.exp(-(0.5 - d).clamp_min(0) / b) + torch.exp(-(d + 0.5) / b))
    outside = 0.5 * torch.exp(-(d - 0.5).clamp_min(0) / b) * -torch.expm1(-1 / b)
    return -torch.log2(torch.where(d < 0.5, inside, outside).clamp_min(2.0**-16))
