"""What a context coder will charge for a weight, as a penalty whose gradient is known.

A weight is zero, or +-1, +-2, ... steps. Its price follows the rows and columns that it lies in and its neighbours, as the coder's
contexts do: with r, c and o the shares of non-zeros in its row, its column and its tensor, and logit p = logit r +
logit c - logit o, a non-zero costs log2((1 - p) / p) bits more than a zero, and its sign, and each further step about
MAGNITUDE_BITS. Where rows are images, p is multiplied by how many non-zeros lie around, over how many were to be
expected. So what is nearly empty becomes dear, and empties; what is left huddles together.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

MAGNITUDE_BITS: Final = 1.3
SIGN_BITS: Final = 1.0
_NEAR_PRIOR: Final = 0.2
_AROUND: Final = torch.tensor(
    [
        *(0.2, 0.4, 0.5, 0.4, 0.2),
        *(0.4, 0.8, 1.0, 0.8, 0.4),
        *(0.5, 1.0, 0.0, 1.0, 0.5),
        *(0.4, 0.8, 1.0, 0.8, 0.4),
        *(0.2, 0.4, 0.5, 0.4, 0.2),
    ]
).reshape(1, 1, 5, 5)


def _logit(p: Tensor) -> Tensor:
    return torch.logit(p, 1e-5)


def _near(alive: Tensor, side: int) -> Tensor:
    """Weighted sums over the 5x5 places around each of `alive` [rows, channels * side * side], itself left out."""
    return F.conv2d(alive.reshape(-1, 1, side, side), _AROUND, padding=2).reshape(alive.shape)


@torch.no_grad()
def prices(u: Tensor, side: int) -> Tensor:
    """Bits that a non-zero costs more than a zero, float32 of the shape of `u` [rows, columns, ...], in steps.

    `side`: rows are images of side x side, in which non-zeros lie near each other; 1 if they aren't.
    """
    alive = u.abs().mul(2).clamp_(max=1).square_().flatten(1)
    rows, columns = alive.shape
    overall = alive.mean().clamp_(min=1 / alive.numel())
    row = (alive.sum(1, keepdim=True) + overall) / (columns + 1)
    column = (alive.sum(0, keepdim=True) + overall) / (rows + 1)
    p = torch.sigmoid(_logit(row) + _logit(column) - _logit(overall))
    if side > 1:
        p = p * (_near(alive, side) + _NEAR_PRIOR) / (_near(p, side) + _NEAR_PRIOR)
    return (SIGN_BITS - _logit(p) / math.log(2)).clamp_(0.5, 16.0).reshape(u.shape)


@torch.no_grad()
def add_gradient(u: Tensor, price: Tensor, nats_per_bit: float) -> None:
    """Add the penalty's gradient to `u.grad`: `price` up to the first step, MAGNITUDE_BITS a step beyond."""
    assert u.grad is not None
    u.grad.add_(torch.where(u.abs() < 1, price, MAGNITUDE_BITS) * u.sign(), alpha=nats_per_bit)
