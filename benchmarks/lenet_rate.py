"""What a context coder will charge for a weight, as a differentiable penalty.

A weight is zero, or +-1, +-2, ... steps. Its price follows the rows and columns that it lies in, as the coder's contexts do: with
r, c and o the shares of non-zeros in its row, its column and its tensor, logit p = logit r + logit c - logit o, a
non-zero costs log2((1 - p) / p) + 1 bits more than a zero, and each further step about MAGNITUDE_BITS. So rows and columns that are
nearly empty become dear, and empty out.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

MAGNITUDE_BITS: Final = 1.3
_SIGN_BITS: Final = 1.0


def _logit(p: Tensor) -> Tensor:
    p = p.clamp(1e-5, 0.95)
    return p.log() - (-p).log1p()


def prices(u: Tensor) -> Tensor:
    """Bits that a non-zero costs more than a zero, float32, of the shape of `u` [rows, columns, ...] in steps."""
    alive = u.detach().abs().mul(2).clamp_(max=1).square_().flatten(1)
    rows, columns = alive.shape
    overall = alive.mean().clamp_(min=1 / alive.numel())
    row = (alive.sum(1, keepdim=True) + overall) / (columns + 1)
    if u.ndim == 4:  # an input channel is dear or cheap as a whole, and so is a place in the kernel
        channel = alive.reshape(*u.shape[:2], -1).mean((0, 2), keepdim=True).expand(1, u.shape[1], u[0, 0].numel())
        column = (channel.reshape(1, columns) * rows + overall) / (rows + 1)
    else:
        column = (alive.sum(0, keepdim=True) + overall) / (rows + 1)
    logit = _logit(row) + _logit(column) - _logit(overall)
    bits = -logit / torch.log(torch.tensor(2.0)) + _SIGN_BITS
    return bits.clamp_(0.5, 16.0).reshape(u.shape)


def bits(u: Tensor, price: Tensor) -> Tensor:
    """The penalty in bits, a sum: `price` for the first step from zero, MAGNITUDE_BITS for each further one."""
    size = u.abs()
    first = size.clamp(max=1)
    return (first * price).sum() + MAGNITUDE_BITS * (size - first).sum()
