"""Integer grids of weights and activations, trained with straight-through gradients.

A quantiser's step is learnt with the weights (LSQ: Esser et al., arXiv 1902.08153), as its base-2 logarithm so that it stays
positive. What a weight costs is told by the counts of the integers that are there: -log2 of their shares, linear between
integers, which is the code length of an order-0 adaptive coder and has a gradient.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

from ..errors import InputError

LEAST_BITS: Final = 2
MOST_BITS: Final = 8
_GRADIENT_FLOOR: Final = 1e-12


def check_bits(bits: int, what: str) -> None:
    """Raises InputError outside 2..8."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not LEAST_BITS <= bits <= MOST_BITS:
        raise InputError(f"{what} of {bits!r} bits: it must be a whole number from {LEAST_BITS} to {MOST_BITS}")


class _Round(torch.autograd.Function):
    """Round half to even; the gradient passes."""

    @staticmethod
    def forward(_context: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.round(x)

    @staticmethod
    def backward(_context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0]


def round_through(x: torch.Tensor) -> torch.Tensor:
    """Rounded, with the gradient of the identity."""
    rounded: torch.Tensor = _Round.apply(x)  # type: ignore[no-untyped-call]
    return rounded


def damped(x: torch.Tensor, factor: float) -> torch.Tensor:
    """`x` whose gradient is multiplied by `factor`."""
    return x.detach() + (x - x.detach()) * factor


class WeightGrid(nn.Module):
    """Symmetric integers in -(2^(bits-1) - 1)..2^(bits-1) - 1 with a step for each channel along `axis` of the weight.

    `log_step`: float32 [channels], base-2 logarithms of the steps.
    """

    def __init__(self, bits: int, channels: int, axis: int = 0) -> None:
        super().__init__()
        check_bits(bits, "weights")
        self.bits, self.axis = bits, axis
        self.log_step = nn.Parameter(torch.zeros(channels))

    @property
    def largest(self) -> int:
        return int(2 ** (self.bits - 1) - 1)

    def fit(self, weight: torch.Tensor) -> None:
        """Set each channel's step to the one of least squared error among some fractions of its largest weight."""
        with torch.no_grad():
            rows = weight.detach().movedim(self.axis, 0).flatten(1)
            top = rows.abs().amax(1).clamp_min(1e-8) / self.largest
            best, error = top.clone(), torch.full_like(top, float("inf"))
            for share in torch.linspace(0.2, 1.0, 33).tolist():
                step = (top * share)[:, None]
                found = ((rows / step).round().clamp(-self.largest, self.largest) * step - rows).square().sum(1)
                best = torch.where(found < error, top * share, best)
                error = torch.minimum(found, error)
            self.log_step.copy_(best.log2())

    def steps(self, weight: torch.Tensor) -> torch.Tensor:
        """The steps, shaped to multiply `weight`."""
        shape = [1] * weight.dim()
        shape[self.axis] = -1
        return torch.exp2(self.log_step).view(shape)

    def scaled(self, weight: torch.Tensor) -> torch.Tensor:
        """Weights in steps, within the grid's range."""
        return (weight / self.steps(weight)).clamp(-self.largest, self.largest)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight on its grid; gradients go to it and to the steps, damped as LSQ does."""
        count = max(weight.numel() // max(self.log_step.numel(), 1), 1)
        steps = damped(self.steps(weight), 1 / (count * self.largest) ** 0.5)
        return round_through((weight / steps).clamp(-self.largest, self.largest)) * steps

    def integers(self, weight: torch.Tensor) -> torch.Tensor:
        """int8 of `weight`'s shape: what `forward` multiplies by the steps."""
        with torch.no_grad():
            return self.scaled(weight).round().to(torch.int8)

    def rate(self, weight: torch.Tensor, kept: torch.Tensor | None = None) -> torch.Tensor:
        """Bits of the weights that `kept` marks (None: all), with a gradient that pulls towards frequent integers."""
        places = self.scaled(weight)
        chosen = places.flatten() if kept is None else places[kept.bool()]
        with torch.no_grad():
            counts = torch.bincount(chosen.round().long() + self.largest, minlength=2 * self.largest + 1).float() + 0.5
            lengths = -torch.log2(counts / counts.sum())
            below = chosen.floor().clamp(-self.largest, self.largest - 1)
            at = below.long() + self.largest
        rest = chosen - below
        return (lengths[at] * (1 - rest) + lengths[at + 1] * rest).sum()


class ActivationGrid(nn.Module):
    """Integers 0..2^bits - 1 less `zero`, times one learnt step: x becomes (clamp(round(x / step) + zero) - zero) step.

    Until `observe` has seen values it passes them through. `log_step`: float32 scalar; `zero`: int.
    """

    def __init__(self, bits: int, zero: int = 0, *, ready: bool = True) -> None:
        super().__init__()
        check_bits(bits, "activations")
        self.bits, self.zero, self.ready = bits, zero, ready
        self.log_step = nn.Parameter(torch.zeros(()))
        self.observing = False

    @property
    def largest(self) -> int:
        return int(2**self.bits - 1)

    def observe(self, x: torch.Tensor) -> None:
        """Choose zero and step for the least squared error on `x`: from one side of 0 if all of `x` lies there."""
        with torch.no_grad():
            values = x.detach().flatten().float()
            values = values[:: max(1, values.numel() // (1 << 15))]
            low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
            spread = max(high - low, 1e-8)
            best = (float("inf"), 0.0, 0)
            for share in torch.linspace(0.2 if self.bits < MOST_BITS else 0.7, 1.0, 25).tolist():
                step = spread * share / self.largest
                zero = min(max(round(-low * share / step), 0), self.largest) if low < 0 else 0
                found = float((self._on_grid(values, torch.tensor(step), zero) - values).square().mean())
                best = min(best, (found, step, zero))
            self.zero, self.ready = best[2], True
            self.log_step.fill_(float(torch.tensor(best[1]).log2()))

    def _on_grid(self, x: torch.Tensor, step: torch.Tensor, zero: int) -> torch.Tensor:
        return round_through((x / step).clamp(-zero, self.largest - zero)) * step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.observing:
            self.observe(x)
        if not self.ready:
            return x
        if not torch.is_grad_enabled():  # the same operations in place, for speed
            step = torch.exp2(self.log_step)
            return (x / step).clamp_(-self.zero, self.largest - self.zero).round_().mul_(step)
        step = damped(torch.exp2(self.log_step), 1 / (x.numel() / max(x.shape[0], 1) * self.largest) ** 0.5)
        return self._on_grid(x, step, self.zero)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, zero={self.zero}"
