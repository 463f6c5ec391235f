"""Posterior widths of networks too large to be fitted: from the empirical Fisher information.

The diagonal Laplace approximation (MacKay 1992; Kirkpatrick et al. 2017): near a trained network each weight is Gaussian around
its value, of width 1 / sqrt(N F + 1 / sigma^2), N examples, F the mean square of one example's gradient of the loss in nats,
sigma the prior's. A weight that no example moves is as wide as the prior, and costs what its mean alone says.

Tensors are measured in their own root mean squares, so that one prior N(0, 1) serves all; those scales are the receiver's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..as_torch import library
from .gaussians import Posterior

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

_FARTHEST = 50.0  # standard deviations of the prior that a mean may lie away


@dataclass
class SquaredGradients:
    """The sum of squared gradients by tensor name (float64, the tensor's shape), of `count` examples so far."""

    sums: dict[str, Floats]
    count: int = 0

    @classmethod
    def like(cls, tensors: Arrays) -> SquaredGradients:
        """None seen."""
        return cls({name: np.zeros(np.shape(array)) for name, array in tensors.items()})

    def add(self, gradients: Arrays) -> None:
        """One example's gradient of its loss in nats. Raises InputError for missing tensors, other shapes, NaN or infinity."""
        for name, total in self.sums.items():
            if name not in gradients or np.shape(gradients[name]) != total.shape:
                raise InputError(f"the gradient of {name!r} is missing or has another shape than {list(total.shape)}")
            square = np.square(np.asarray(gradients[name], np.float64))
            if not bool(np.isfinite(square).all()):
                raise InputError(f"the gradient of {name!r} holds NaN or infinity")
            total += square
        self.count += 1

    def mean(self) -> dict[str, Floats]:
        """F of every weight. Raises InputError if no example was seen."""
        if not self.count:
            raise InputError("the Fisher information needs the gradient of one example at least")
        return {name: total / self.count for name, total in self.sums.items()}


def of_torch(
    network: torch.nn.Module, loss: Callable[[torch.nn.Module, Any], torch.Tensor], examples: Iterable[Any],
    names: Iterable[str],
) -> SquaredGradients:  # fmt: skip
    """Squared gradients of the parameters `names`: `loss(network, example)` is one example's loss in nats, a scalar.

    Raises InputError for a name that is no parameter; MissingExtraError without torch.
    """
    grad = library().autograd.grad
    parameters = dict(network.named_parameters())
    wanted = list(names)
    if unknown := [name for name in wanted if name not in parameters]:
        raise InputError(f"{unknown[0]!r} is no parameter of the network")
    found = SquaredGradients.like({name: parameters[name].detach().numpy() for name in wanted})
    for example in examples:
        gradients = grad(loss(network, example), [parameters[name] for name in wanted])
        found.add({name: g.numpy() for name, g in zip(wanted, gradients, strict=True)})
    return found


@dataclass(frozen=True)
class Laplace:
    """A posterior of all weights end to end, each tensor in units of its `scales` entry, under N(0, 1)."""

    posterior: Posterior
    shapes: dict[str, tuple[int, ...]]
    scales: dict[str, float]

    def tensors(self, weights: Floats) -> dict[str, NDArray[np.float32]]:
        """Weights (float64 [n], as drawn) as float32 tensors."""
        out, at = {}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape, dtype=np.int64))
            out[name] = (weights[at : at + size] * self.scales[name]).astype(np.float32).reshape(shape)
            at += size
        return out


def laplace(tensors: Arrays, fisher: Mapping[str, Floats], examples: int) -> Laplace:
    """The posterior around `tensors`, which `examples` examples were learnt from; `fisher` is F by name.

    Raises InputError for a tensor without F, and for weights that aren't finite.
    """
    if examples < 1:
        raise InputError("a network that learnt from no example has no posterior")
    means, widths, scales = [], [], {}
    for name, array in tensors.items():
        if name not in fisher or np.shape(fisher[name]) != np.shape(array):
            raise InputError(f"there is no Fisher information of {name!r}, or it has another shape")
        wide = np.asarray(array, np.float64).reshape(-1)
        if not bool(np.isfinite(wide).all()):
            raise InputError(f"tensor {name!r} holds NaN or infinity")
        scale = float(np.sqrt(np.mean(wide * wide))) or 1.0
        scales[name] = scale
        means.append(np.clip(wide / scale, -_FARTHEST, _FARTHEST))
        widths.append(1.0 / np.sqrt(examples * fisher[name].reshape(-1) * scale * scale + 1.0))
    posterior = Posterior(np.concatenate(means), np.concatenate(widths), 1.0)
    return Laplace(posterior, {name: np.shape(array) for name, array in tensors.items()}, scales)
