"""The learner of the prequential code: three strided convolutions and a linear layer, Adam, averaged weights, warped pictures.

All in fixed-order arithmetic (convolution.py), so that sender and receiver train the same network, bit for bit. Pictures
are uint8 [n, height, width]; each time one is learned it is turned, stretched, sheared and moved a little at random.
Predictions use a running average of the weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..bits_back.fixed_order import adam, below, normal, softmax, uniform
from .convolution import convolve, convolve_back, convolve_down, linear, linear_back

Pictures = NDArray[np.uint8]
Single = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """The network's sizes and how it learns: part of the receiver's knowledge.

    `channels` of the three convolutions (5 x 5, 3 x 3, 3 x 3, stride 2); Adam's `rate`, fading as (1000 / n)^0.3 from n =
    1000 labels on; `warp` 1 moves pictures by up to 2 pixels and turns or stretches them by up to a sixth.
    """

    channels: tuple[int, int, int] = (16, 32, 48)
    batch: int = 16
    rate: float = 0.002
    warp: float = 1.0
    average: float = 0.1  # of all steps so far: over how many weights are averaged
    seed: int = 1

    def to_dict(self) -> dict[str, Any]:
        """For JSON, and to be hashed."""
        return asdict(self)


def half(size: int) -> int:
    """What a strided map makes of a side."""
    return (size + 1) // 2


def shapes(height: int, width: int, classes: int, channels: tuple[int, int, int]) -> tuple[tuple[int, ...], ...]:
    """Of kernels and biases, in order."""
    a, b, c = channels
    last = half(half(half(height))) * half(half(half(width))) * c
    return ((5, 5, 1, a), (a,), (3, 3, a, b), (b,), (3, 3, b, c), (c,), (last, classes), (classes,))


def _views(flat: Single, sizes: tuple[tuple[int, ...], ...]) -> tuple[Single, ...]:
    out, at = [], 0
    for shape in sizes:
        out.append(flat[at : at + prod(shape)].reshape(shape))
        at += prod(shape)
    return tuple(out)


@njit(nogil=True, cache=True)
def _start(flat, spread, state):  # type: ignore[no-untyped-def]
    for i in range(flat.size):
        flat[i] = np.float32(spread * normal(state))


@njit(nogil=True, cache=True)
def _plain(picture, down, right, out):  # type: ignore[no-untyped-def]
    """`out` [h + 5, w + 5, 1] = the picture in 0..1, moved by at most 2 pixels, in a frame of zeros."""
    out[:] = np.float32(0)
    for i in range(picture.shape[0]):
        for j in range(picture.shape[1]):
            out[i + 2 + down, j + 2 + right, 0] = np.float32(picture[i, j]) / np.float32(255)


@njit(nogil=True, cache=True)
def _warped(picture, amount, state, out):  # type: ignore[no-untyped-def]
    """The same of a picture that is turned, stretched, sheared and moved at random, by bilinear interpolation."""
    height, width = picture.shape
    out[:] = np.float32(0)
    tall, wide = 1.0 + 0.15 * amount * uniform(state), 1.0 + 0.15 * amount * uniform(state)
    lean, turn = 0.2 * amount * uniform(state), 0.2 * amount * uniform(state)
    reach = min(2.0, height / 14.0)
    down, right = reach * amount * uniform(state), reach * amount * uniform(state)
    middle, centre = 0.5 * (height - 1), 0.5 * (width - 1)
    for i in range(height):
        for j in range(width):
            y = tall * (i - middle) + lean * (j - centre) + middle + down
            x = turn * (i - middle) + wide * (j - centre) + centre + right
            top, left = np.int64(np.floor(y)), np.int64(np.floor(x))
            if top < 0 or left < 0 or top >= height or left >= width:
                continue
            under, beside = min(top + 1, height - 1), min(left + 1, width - 1)
            b, r = y - top, x - left
            upper = (1 - r) * picture[top, left] + r * picture[top, beside]
            lower = (1 - r) * picture[under, left] + r * picture[under, beside]
            out[i + 2, j + 2, 0] = np.float32(((1 - b) * upper + b * lower) / 255.0)


@njit(nogil=True, cache=True)
def _forward(weights, maps, logits):  # type: ignore[no-untyped-def]
    """Maps 1 .. 3 and logits from map 0; maps 1 and 2 have frames of zeros."""
    k0, b0, k1, b1, k2, b2, w, b = weights
    m0, m1, m2, m3 = maps
    convolve(m0, k0, b0, 2, m1[1:-1, 1:-1])
    convolve(m1, k1, b1, 2, m2[1:-1, 1:-1])
    convolve(m2, k2, b2, 2, m3)
    linear(m3.reshape(-1), w, b, logits)


@njit(nogil=True, cache=True)
def _backward(gradients, weights, turned, maps, downs, slope):  # type: ignore[no-untyped-def]
    """Add the gradients; `slope` [classes] is that of the logits, `downs` are scratch maps."""
    g0, h0, g1, h1, g2, h2, gw, hb = gradients
    m0, m1, m2, m3 = maps
    _, d1, d2, d3 = downs
    linear_back(m3.reshape(-1), slope, weights[6], gw, hb, d3.reshape(-1))
    convolve_back(m2, m3, d3, 2, g2, h2)
    convolve_down(d3, turned[1], 2, d2)
    convolve_back(m1, m2[1:-1, 1:-1], d2[1:-1, 1:-1], 2, g1, h1)
    convolve_down(d2[1:-1, 1:-1], turned[0], 2, d1)
    convolve_back(m0, m1[1:-1, 1:-1], d1[1:-1, 1:-1], 2, g0, h0)


@njit(nogil=True, cache=True)
def _turn(kernel, out):  # type: ignore[no-untyped-def]
    for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            out[a, b] = kernel[a, b].T


@njit(nogil=True, cache=True)
def _learn(pictures, labels, seen, pace, weights, gradients, scratch, flat, state):  # type: ignore[no-untyped-def]
    """Steps on random ones of the first `seen` pictures, as `pace` tells. `flat` float32 [5, n]: weights, gradients, Adam's
    moments and the running average; weights and gradients are views of it.
    """
    done, steps, batch, rate, warp, average = pace
    turned, maps, downs = scratch
    classes = weights[7].size
    logits, likely, slope = np.zeros(classes, np.float32), np.zeros(classes), np.zeros(classes, np.float32)
    for step in range(done, done + steps):
        flat[1] = np.float32(0)
        _turn(weights[2], turned[0])
        _turn(weights[4], turned[1])
        for _ in range(batch):
            k = below(state, seen)
            _warped(pictures[k], warp, state, maps[0])
            _forward(weights, maps, logits)
            softmax(logits, likely)
            for c in range(classes):
                slope[c] = np.float32(likely[c])
            slope[labels[k]] -= np.float32(1)
            _backward(gradients, weights, turned, maps, downs, slope)
        adam(flat[0], flat[1], flat[2], flat[3], step + 1, rate, 1.0 / batch)
        part = np.float32(1.0 / min(step + 2.0, average * (step + 1) + 10.0))
        for i in range(flat.shape[1]):
            flat[4, i] += (flat[0, i] - flat[4, i]) * part


@njit(nogil=True, cache=True)
def _predict(pictures, weights, maps, views, out):  # type: ignore[no-untyped-def]
    """`out` float64 [n, classes]: mean logits of pictures moved by each of `views` (int64 [k, 2])."""
    logits = np.zeros(out.shape[1], np.float32)
    out[:] = 0.0
    for k in range(pictures.shape[0]):
        for v in range(len(views)):
            _plain(pictures[k], views[v, 0], views[v, 1], maps[0])
            _forward(weights, maps, logits)
            for c in range(logits.size):
                out[k, c] += logits[c] / len(views)


class Network:
    """One network that learns from labelled pictures as they come."""

    def __init__(self, height: int, width: int, classes: int, plan: Plan) -> None:
        self._plan, self._classes = plan, classes
        sizes = shapes(height, width, classes, plan.channels)
        self._flat = np.zeros((5, sum(map(prod, sizes))), np.float32)
        self._weights, self._gradients = _views(self._flat[0], sizes), _views(self._flat[1], sizes)
        self._averaged = _views(self._flat[4], sizes)
        self._state = np.array([plan.seed], np.uint64)
        for kernel in self._weights[::2]:
            fan_in = prod(kernel.shape[:-1])
            _start(kernel.reshape(-1), np.sqrt(2.0 / fan_in), self._state)
        self._flat[4] = self._flat[0]
        self._maps, self._downs = self._scratch(height, width), self._scratch(height, width)
        k1, k2 = (self._weights[k].transpose(0, 1, 3, 2) for k in (2, 4))
        self._turned = (np.ascontiguousarray(k1), np.ascontiguousarray(k2))
        self._steps = 0

    def _scratch(self, height: int, width: int) -> tuple[Single, ...]:
        a, b, c = self._plan.channels
        h, w = half(height), half(width)
        sizes = (
            (2 * h + 5, 2 * w + 5, 1),
            (h + 2, w + 2, a),
            (half(h) + 2, half(w) + 2, b),
            (half(half(h)), half(half(w)), c),
        )
        return tuple(np.zeros(size, np.float32) for size in sizes)

    def learn(self, pictures: Pictures, labels: Ints, seen: int, examples: int) -> None:
        """Train on about `examples` random ones of the first `seen` pictures."""
        plan = self._plan
        steps = max(1, examples // plan.batch)
        pace = (self._steps, steps, plan.batch, plan.rate * fade(seen), plan.warp, plan.average)
        scratch = (self._turned, self._maps, self._downs)
        _learn(pictures, labels, seen, pace, self._weights, self._gradients, scratch, self._flat, self._state)
        self._steps += steps

    def logits(self, pictures: Pictures, views: Ints) -> NDArray[np.float64]:
        """float64 [n, classes]: mean logits over views, each a move by (down, right) pixels."""
        out = np.empty((len(pictures), self._classes))
        _predict(pictures, self._averaged, self._maps, views, out)
        return out


def fade(seen: int) -> float:
    """About (1000 / n)^0.3 from n = 1000 on, by square roots alone: (x^(1/4) + x^(3/8)) / 2."""
    x = min(1.0, 1000.0 / seen)
    quarter = float(np.sqrt(np.sqrt(x)))
    return 0.5 * (quarter + float(np.sqrt(quarter * np.sqrt(x))))
