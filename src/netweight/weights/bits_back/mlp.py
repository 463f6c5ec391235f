"""A network of one hidden layer whose weights are Gaussians, trained in fixed-order arithmetic.

Weights lie in one float64 vector: hidden [hidden, inputs + 1] (the last column is the bias), then output [classes, hidden + 1].
Bayes by backprop (Blundell et al. 2015): a step samples weights = mean + width * noise, and follows the gradient of
labels' nats + KL(posterior || prior). With the same inputs, labels and settings it ends in the same bits on
every machine, so a receiver can do it again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .fixed_order import adam, below, exp, normal, softmax
from .gaussians import Posterior

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """How to fit: all of it is the receiver's knowledge. `sigma` is the prior's; widths start at e^`first_log_width`."""

    hidden: int = 10
    sigma: float = 1.0
    first_log_width: float = -4.0
    steps: int = 20_000
    batch: int = 32
    rate: float = 0.02
    seed: int = 1

    def to_dict(self) -> dict[str, float]:
        """For JSON, and to be hashed."""
        return asdict(self)


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    inputs: int
    hidden: int
    classes: int

    @property
    def weights(self) -> int:
        return self.hidden * (self.inputs + 1) + self.classes * (self.hidden + 1)


@njit(nogil=True, cache=True)
def _forward(x, w, hidden, activations, logits):  # type: ignore[no-untyped-def]
    """Activations [hidden] and logits [classes] of one input [inputs]."""
    n, at = x.size, 0
    for h in range(hidden):
        total = w[at + n]
        for k in range(n):
            total += w[at + k] * x[k]
        activations[h] = max(total, 0.0)
        at += n + 1
    for c in range(logits.size):
        total = w[at + hidden]
        for h in range(hidden):
            total += w[at + h] * activations[h]
        logits[c] = total
        at += hidden + 1


@njit(nogil=True, cache=True)
def _backward(x, w, hidden, activations, down, slope, gradient):  # type: ignore[no-untyped-def]
    """Add to `gradient`; `down` [classes] is the gradient of the logits, `slope` [hidden] scratch."""
    n, at = x.size, hidden * (x.size + 1)
    slope[:] = 0.0
    for c in range(down.size):
        for h in range(hidden):
            gradient[at + h] += down[c] * activations[h]
            slope[h] += down[c] * w[at + h]
        gradient[at + hidden] += down[c]
        at += hidden + 1
    at = 0
    for h in range(hidden):
        if activations[h] > 0.0:
            for k in range(n):
                gradient[at + k] += slope[h] * x[k]
            gradient[at + n] += slope[h]
        at += n + 1


@njit(nogil=True, cache=True)
def _fit(x, y, hidden, classes, means, rhos, sigma, steps, batch, rate, state):  # type: ignore[no-untyped-def]
    size, count = means.size, x.shape[0]
    w, g, noise, widths = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    down, activations, slope, logits = np.empty(classes), np.empty(hidden), np.empty(hidden), np.empty(classes)
    moments = np.zeros((4, size))
    g_rho = np.empty(size)
    for step in range(steps):
        for i in range(size):
            widths[i] = exp(rhos[i])
            noise[i] = normal(state)
            w[i] = means[i] + widths[i] * noise[i]
        g[:] = 0.0
        for _ in range(batch):
            k = below(state, count)
            _forward(x[k], w, hidden, activations, logits)
            softmax(logits, down)
            down[y[k]] -= 1.0
            _backward(x[k], w, hidden, activations, down, slope, g)
        scale = count / batch
        for i in range(size):
            g[i] *= scale
            g_rho[i] = g[i] * noise[i] * widths[i] + widths[i] * widths[i] / (sigma * sigma) - 1.0
            g[i] += means[i] / (sigma * sigma)
        pace = rate * min(1.0, 2.0 * (steps - step) / steps)
        adam(means, g, moments[0], moments[1], step + 1, pace, 1.0 / count)
        adam(rhos, g_rho, moments[2], moments[3], step + 1, pace, 1.0 / count)


@njit(nogil=True, cache=True)
def _predict(x, w, hidden, out):  # type: ignore[no-untyped-def]
    activations, logits = np.empty(hidden), np.empty(out.shape[1])
    for k in range(x.shape[0]):
        _forward(x[k], w, hidden, activations, logits)
        softmax(logits, out[k])


def _first(shape: Shape, recipe: Recipe) -> Floats:
    """Starting means: a uniform spread by fan-in, from the seed."""
    words = np.random.PCG64(recipe.seed).random_raw(shape.weights)
    spread = (words >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
    fan_in = np.full(shape.weights, shape.inputs + 1)
    fan_in[shape.hidden * (shape.inputs + 1) :] = shape.hidden + 1
    return spread * np.sqrt(3.0 / fan_in)


def fit(inputs: Floats, labels: Ints, classes: int, recipe: Recipe) -> Posterior:
    """The posterior of the weights given float64 inputs [n, inputs] and labels [n]; a function of them, bit for bit."""
    shape = Shape(inputs.shape[1], recipe.hidden, classes)
    means, state = _first(shape, recipe), np.array([recipe.seed], np.uint64)
    rhos = np.full(shape.weights, recipe.first_log_width)
    _fit(
        np.ascontiguousarray(inputs, np.float64), labels.astype(np.int64), recipe.hidden, classes, means, rhos,
        recipe.sigma, recipe.steps, recipe.batch, recipe.rate, state,
    )  # fmt: skip
    widths = np.array([exp(rho) for rho in rhos])
    return Posterior(means, widths, recipe.sigma)


def probabilities(inputs: Floats, weights: Floats, classes: int, recipe: Recipe) -> Floats:
    """float64 [n, classes] of a network with these weights, in fixed order."""
    out = np.empty((len(inputs), classes))
    _predict(np.ascontiguousarray(inputs, np.float64), weights, recipe.hidden, out)
    return out
