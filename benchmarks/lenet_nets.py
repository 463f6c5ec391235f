"""The two LeNets of `lenets.py`, as functions of their tensors, and their tensors as small integers times a step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Shape = tuple[int, ...]
_LEAST_STEP: Final = 0.05
_BIAS_STEP: Final = 0.2


@dataclass(frozen=True)
class Plan:
    """A network: its weights' shapes [out, in, ...] by name, in order, and the sides of the square images that their
    rows are made of (1: none). "1b" [out] are the biases that go with "1w".
    """

    shapes: dict[str, Shape]
    sides: Shape

    def narrowed(self, widths: Shape) -> list[Shape]:
        """The shapes of the same network with `widths` outputs a layer, the last layer's kept."""
        found, before, before_full = [], 1, 1
        for shape, out in zip(self.shapes.values(), (*widths, 10), strict=True):
            inputs = shape[1] // before_full * before
            found.append((out, inputs, *shape[2:]))
            before, before_full = out, shape[0]
        return found


PLANS: Final = {
    "lenet-300-100": Plan({"1w": (300, 784), "2w": (100, 300), "3w": (10, 100)}, (28, 1, 1)),
    "lenet-5": Plan({"1w": (20, 1, 5, 5), "2w": (50, 20, 5, 5), "3w": (500, 800), "4w": (10, 500)}, (5, 5, 4, 1)),
}


def logits_of(weights: list[Tensor], biases: list[Tensor], images: Tensor) -> Tensor:
    """Logits [n, 10] of images float32 [n, 1, 28, 28]: ReLU after each layer but the last; after 5x5 convolutions,
    2x2 max-pooling too.
    """
    x = images
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        x = F.max_pool2d(F.conv2d(x, w, b), 2) if w.ndim == 4 else F.linear(x.flatten(1), w, b)
        x = x.relu() if i + 1 < len(weights) else x
    return x


def rounded(u: Tensor) -> Tensor:
    """Nearest integers, with the gradient passed straight through (Bengio et al., 2013)."""
    return u.detach().round() + (u - u.detach())


class SteppedNet(nn.Module):
    """A network whose tensors are steps times round(u), or times u as long as it isn't `hard`; both are trained
    (learned step sizes: Esser et al., ICLR 2020).
    """

    def __init__(self, shapes: list[Shape], generator: torch.Generator) -> None:
        super().__init__()
        self.hard = False
        spreads = [(2 / math.prod(shape[1:])) ** 0.5 for shape in shapes]
        steps = torch.tensor([max(spread, _LEAST_STEP) for spread in spreads])
        self.log_steps = nn.Parameter(steps.log())
        self.log_bias_steps = nn.Parameter(torch.full((len(shapes),), _BIAS_STEP).log())
        self.u, self.bias_u = nn.ParameterList(), nn.ParameterList()
        for shape, spread, step in zip(shapes, spreads, steps.tolist(), strict=True):
            u = torch.randn(shape, generator=generator) * (spread / step)
            self.u.append(nn.Parameter(u.contiguous(memory_format=torch.channels_last) if u.ndim == 4 else u))
            self.bias_u.append(nn.Parameter(torch.zeros(shape[0])))

    def _placed(self, u: Tensor, log_step: Tensor) -> Tensor:
        return (rounded(u) if self.hard else u) * log_step.exp()

    def forward(self, images: Tensor) -> Tensor:
        weights = [self._placed(u, s) for u, s in zip(self.u, self.log_steps, strict=True)]
        biases = [self._placed(u, s) for u, s in zip(self.bias_u, self.log_bias_steps, strict=True)]
        return logits_of(weights, biases, images)
