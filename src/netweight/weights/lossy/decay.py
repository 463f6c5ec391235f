"""A small network trained under weight decay, in numpy: the weights whose code length is asked for.

Accelerated proximal gradient steps on the whole training set (Beck & Teboulle 2009, FISTA, with constant momentum): the
loss is stepped down along its gradient, the penalty by its proximal map, so that L1 decay makes weights exactly zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..coders.scales import Shape

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]

L1, L2 = "l1", "l2"
_RATE: Final = 0.3
_MOMENTUM: Final = 0.9


@dataclass(frozen=True, slots=True)
class Network:
    """Two fully connected layers with ReLU between; its parameters are one vector: weight (out, in), bias, weight, bias."""

    inputs: int
    hidden: int
    outputs: int

    @property
    def shapes(self) -> list[Shape]:
        return [
            Shape(self.hidden, self.inputs, 1),
            Shape(1, self.hidden, 1),
            Shape(self.outputs, self.hidden, 1),
            Shape(1, self.outputs, 1),
        ]

    @property
    def size(self) -> int:
        return sum(s.rows * s.columns for s in self.shapes)

    def parts(self, w: Floats) -> list[Floats]:
        """Views of the parameters `w` (float32 [size]): two (out, in) matrices, each followed by its bias (out,)."""
        ends = np.cumsum([s.rows * s.columns for s in self.shapes])[:-1]
        first, first_bias, second, second_bias = np.split(w, ends)
        return [first.reshape(self.hidden, -1), first_bias, second.reshape(self.outputs, -1), second_bias]

    def initial(self, seed: int) -> Floats:
        """He-normal weights, zero biases."""
        rng = np.random.default_rng(seed)
        w = np.zeros(self.size, np.float32)
        for part in self.parts(w)[::2]:
            part[:] = rng.standard_normal(part.shape, np.float32) * np.float32(np.sqrt(2 / part.shape[1]))
        return w

    def logits(self, w: Floats, x: Floats) -> Floats:
        """float32 [n, outputs] of inputs `x` (float32 [n, inputs])."""
        first, first_bias, second, second_bias = self.parts(w)
        out: Floats = np.maximum(x @ first.T + first_bias, 0) @ second.T + second_bias
        return out

    def gradient(self, w: Floats, x: Floats, one_hot: Floats) -> Floats:
        """Gradient (float32 [size]) of the mean cross entropy in nats."""
        first, first_bias, second, second_bias = self.parts(w)
        hidden = np.maximum(x @ first.T + first_bias, 0)
        delta = (_softmax(hidden @ second.T + second_bias) - one_hot) / np.float32(len(x))
        below = (delta @ second) * (hidden > 0)
        return np.concatenate([(below.T @ x).reshape(-1), below.sum(0), (delta.T @ hidden).reshape(-1), delta.sum(0)])

    def accuracy(self, w: Floats, x: Floats, labels: Labels) -> float:
        """Share of labels named rightly, in 0..1."""
        return float(np.mean(self.logits(w, x).argmax(1) == labels))

    def label_bits(self, w: Floats, x: Floats, labels: Labels) -> float:
        """-log2 of the labels' likelihood: what an ideal code of them takes, given inputs and network; a bound."""
        logits = self.logits(w, x).astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        nats = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
        return float(nats.sum() / np.log(2))


def _softmax(logits: Floats) -> Floats:
    likelihood = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(likelihood / likelihood.sum(1, keepdims=True))


def shrunk(w: Floats, penalty: str, amount: float) -> Floats:
    """The proximal map of amount |w| (L1: soft threshold) or amount w^2 / 2 (L2: a factor)."""
    if penalty == L2:
        return np.asarray(w / np.float32(1 + amount))
    return np.asarray(np.sign(w) * np.maximum(np.abs(w) - np.float32(amount), 0))


def train(
    network: Network, x: Floats, labels: Labels, penalty: str, strength: float, *, steps: int = 1000, seed: int = 0
) -> Floats:
    """Parameters (float32 [size]) that minimise mean cross entropy + strength ||w||_1 (L1) or strength / 2 ||w||^2 (L2).

    `x` is float32 [n, inputs], `labels` uint8 [n]. Biases decay like all other weights.
    """
    one_hot = np.eye(network.outputs, dtype=np.float32)[labels]
    w = before = network.initial(seed)
    for _ in range(steps):
        ahead = w + np.float32(_MOMENTUM) * (w - before)
        stepped = ahead - np.float32(_RATE) * network.gradient(ahead, x, one_hot)
        w, before = shrunk(stepped, penalty, _RATE * strength), w
    return w
