"""What a context coder will charge for a weight, as a differentiable penalty.

A weight is zero, or +-1, +-2, ... steps. Its price follows the rows and columns that it lies in, as the coder's contexts do: with
r, c and o the shares of non-zeros in its row, its column and its tensor, logit p = logit r + logit c - logit o, a
non-zero costs log2((1 - p) / p) + 1 bits more than a zero, and each further step about MAGNITUDE_BITS. So rows and columns that are
nearly empty become dear, and empty out.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

MAGNITUDE_BITS: Final = 1.3
_SIGN_BITS: Final = 1.0
_NEAR_PRIOR: Final = 0.2
_AROUND: Final = torch.tensor(
    [
        *(0.2, 0.4, 0.5, 0.4, 0.2),
        *(0.4, 0.8, 1.0, 0.8, 0.4),
        *(0.5, 1.0, 0.0, 1.0, 0.5),
        *(0.4, 0.8, 1.0, 0.8, 0.4),
        *(0.2, 0.4, 0.5, 0.4, 0.2),
    ]
)


def _logit(p: Tensor) -> Tensor:
    p = p.clamp(1e-5, 0.95)
    return p.log() - (-p).log1p()


def _near(alive: Tensor, side: int) -> Tensor:
    """Weighted sums over the 5x5 places around each of `alive` [rows, channels * side * side], itself left out."""
    images = alive.reshape(-1, 1, side, side)
    return F.conv2d(images, _AROUND.reshape(1, 1, 5, 5), padding=2).reshape(alive.shape)


def prices(u: Tensor, side: int) -> Tensor:
    """Bits that a non-zero costs more than a zero, float32 of the shape of `u` [rows, columns, ...], in steps.

    `side`: the columns are images of side x side, in which non-zeros lie near each other; 1 if they aren't.
    """
    alive = u.detach().abs().mul(2).clamp_(max=1).square_().flatten(1)
    rows, columns = alive.shape
    overall = alive.mean().clamp_(min=1 / alive.numel())
    row = (alive.sum(1, keepdim=True) + overall) / (columns + 1)
    column = (alive.sum(0, keepdim=True) + overall) / (rows + 1)
    p = torch.sigmoid(_logit(row) + _logit(column) - _logit(overall))
    if side > 1:
        p = p * (_near(alive, side) + _NEAR_PRIOR) / (_near(p, side) + _NEAR_PRIOR)
    return (_SIGN_BITS - _logit(p) / math.log(2)).clamp_(0.5, 16.0).reshape(u.shape)


def bits(u: Tensor, price: Tensor) -> Tensor:
    """The penalty in bits, a sum: `price` for the first step from zero, MAGNITUDE_BITS for each further one."""
    size = u.abs()
    first = size.clamp(max=1)
    return (first * price).sum() + MAGNITUDE_BITS * (size - first).sum()
