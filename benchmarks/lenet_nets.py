"""The two LeNets of `lenets.py`, as functions of their tensors, and their tensors as small integers times a step."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Shapes = dict[str, tuple[int, ...]]

NETS: Final[dict[str, Shapes]] = {
    "lenet-300-100": {"1w": (300, 784), "2w": (100, 300), "3w": (10, 100)},
    "lenet-5": {"1w": (20, 1, 5, 5), "2w": (50, 20, 5, 5), "3w": (500, 800), "4w": (10, 500)},
}
"""Weights [out, in, ...] by name, in order; "1b" [out] are the biases that go with "1w"."""

LARGEST: Final = 127


def forward(weights: list[Tensor], biases: list[Tensor], images: Tensor) -> Tensor:
    """Logits [n, 10] of images float32 [n, 1, 28, 28]: ReLU after each layer but the last; after 5x5 convolutions,
    2x2 max-pooling too.
    """
    x = images
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        x = F.max_pool2d(F.conv2d(x, w, b), 2) if w.ndim == 4 else F.linear(x.flatten(1), w, b)
        x = x.relu() if i + 1 < len(weights) else x
    return x


class Rounded(torch.autograd.Function):
    """Nearest integers, with the gradient passed straight through (Bengio et al., 2013)."""

    @staticmethod
    def forward(_ctx: object, u: Tensor) -> Tensor:
        return u.round()

    @staticmethod
    def backward(_ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


class SteppedNet(nn.Module):
    """A LeNet whose tensors are steps[t] * round(u[t]); both are trained (learned step sizes: Esser et al., 2020)."""

    def __init__(self, shapes: Shapes, generator: torch.Generator) -> None:
        super().__init__()
        self.names = list(shapes)
        self.u = nn.ParameterList()
        self.bias_u = nn.ParameterList()
        self.log_steps = nn.Parameter(torch.empty(len(shapes)))
        self.log_bias_steps = nn.Parameter(torch.empty(len(shapes)))
        self.hard = False
        for i, shape in enumerate(shapes.values()):
            fan_in = int(torch.tensor(shape[1:]).prod())
            spread = (2 / fan_in) ** 0.5
            step = max(spread, 0.05)
            w = torch.randn(shape, generator=generator) * spread / step
            self.u.append(nn.Parameter(w.contiguous(memory_format=torch.channels_last) if w.ndim == 4 else w))
            self.bias_u.append(nn.Parameter(torch.zeros(shape[0])))
            self.log_steps.data[i] = self.log_bias_steps.data[i] = float(torch.tensor(step).log())

    def tensors(self) -> tuple[list[Tensor], list[Tensor]]:
        """The weights and biases that the network runs with: on the grid if `hard`."""

        def placed(u: Tensor, log_step: Tensor) -> Tensor:
            return (Rounded.apply(u) if self.hard else u) * log_step.exp()

        weights = [placed(u, s) for u, s in zip(self.u, self.log_steps, strict=True)]
        return weights, [placed(u, s) for u, s in zip(self.bias_u, self.log_bias_steps, strict=True)]

    def forward(self, images: Tensor) -> Tensor:
        weights, biases = self.tensors()
        return forward(weights, biases, images)
