"""Differentiable stand-ins for rounding, as C3 has them (Kim et al., CVPR 2024, section 3.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def soft_round(y: Tensor, temperature: float) -> Tensor:
    """Between the identity (temperature large) and rounding (small), with its fixed points (Agustsson and Theis 2020)."""
    floor = torch.floor(y)
    return floor + 0.5 + torch.tanh((y - floor - 0.5) / temperature) * (0.5 / math.tanh(0.5 / temperature))


def kumaraswamy(like: Tensor, a: float) -> Tensor:
    """Noise on [-1/2, 1/2] with its mode at 0: uniform for a = 1, narrower for larger a."""
    b = (2**a * (a - 1) + 1) / a
    u = torch.rand_like(like)
    if a > 1:
        u = (1 - (1 - u).clamp_min(1e-7) ** (1 / b)) ** (1 / a)
    return u - 0.5


def softly_rounded(y: Tensor, share: float) -> Tensor:
    """What stands for round(y) when `share` (0..1) of the training is over: noise between two soft roundings.

    Temperature falls from 0.3 to 0.1, the noise widens from a = 2 to uniform.
    """
    temperature, a = 0.3 - 0.2 * share, 2.0 - share
    return soft_round(soft_round(y, temperature) + kumaraswamy(y, a), temperature)


def straight_through(y: Tensor) -> Tensor:
    """round(y), with the gradient of y."""
    return y + (torch.round(y) - y).detach()
