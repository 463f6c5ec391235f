"""The network in floats, as the encoder trains it: sin(30 (W x + b)) layers and a linear one, with its gradients.

SIREN (Sitzmann et al. 2020, arXiv 2006.09661) on the encoded coordinates of encoding.py. The first layer is linear in
what it is told of a column and of a row, so on a grid of pixels its phases are a sum of one small matrix product each,
and it costs next to nothing. Grey levels are in [-1, 1]; the loss is the mean squared error over pixels and channels.
"""

from __future__ import annotations

from math import log10, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .encoding import encode_axis, width_of
from .integers import Shape
from .kernels import outer_gradients, outer_sum, sincos
from .sine import ONE_BITS

Floats = NDArray[np.float32]
Parameters = list[Floats]
"""One float32 array for each of `Shape.sizes`."""

OMEGA: Final = np.float32(30)
HALF_RANGE: Final = 127.5
_CHUNK: Final = 2048  # pixels at once, so that activations stay in the second-level cache
WHOLE: Final = slice(None)


def initial(shape: Shape, seed: int) -> Parameters:
    """SIREN's initialisation (its section 3.2): uniform, +-1/n in the first layer, +-sqrt(6/n)/30 beyond."""
    rng = np.random.default_rng(seed)
    out: Parameters = []
    for k, (weight, bias) in enumerate(zip(shape.sizes[::2], shape.sizes[1::2], strict=True)):
        fan = weight[1]
        bound = 1 / fan if k == 0 else sqrt(6 / fan) / float(OMEGA)
        out += [rng.uniform(-bound, bound, size).astype(np.float32) for size in (weight, bias)]
    out[-1][:] = 0
    return out


class Picture:
    """What is fitted: pixels (uint8 [H, W, channels]) as levels (float32 [channels, H, W]), and the encoded coordinates."""

    def __init__(self, pixels: NDArray[np.uint8], frequencies: int) -> None:
        self.pixels = pixels
        self.height, self.width, self.channels = pixels.shape
        self.levels = np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / np.float32(HALF_RANGE) - 1
        longest = max(self.height, self.width)
        unit = np.float32(1 << ONE_BITS)
        self.columns = encode_axis(self.width, longest, frequencies).astype(np.float32) / unit
        self.rows = encode_axis(self.height, longest, frequencies).astype(np.float32) / unit


class Network:
    """Runs networks of one shape forwards and backwards. Holds the buffers, not the parameters."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._room: list[Floats] = []
        self._split = width_of(shape.frequencies)

    def _buffers(self, size: int) -> list[Floats]:
        """Sines and cosines of each sine layer in turn, and two spare ones (float32 [width, size])."""
        if not self._room or self._room[0].shape[1] < size:
            self._room = [np.empty((self.shape.width, size), np.float32) for _ in range(2 * self.shape.layers + 2)]
        return [b[:, :size] for b in self._room]

    def _first(self, params: Parameters, columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
        weight = params[0] * OMEGA
        by_row: Floats = weight[:, self._split :] @ rows + params[1] * OMEGA
        return np.asarray(weight[:, : self._split] @ columns, np.float32), by_row

    def _forward(self, scaled: Parameters, by_column: Floats, by_row: Floats) -> tuple[list[Floats], list[Floats]]:
        """(sines, cosines) of each sine layer on the grid. `scaled`: the parameters beyond the first layer, times 30."""
        room = self._buffers(by_column.shape[1] * by_row.shape[1])
        sines, cosines, spare = room[:-2:2], room[1:-2:2], room[-1]
        outer_sum(by_column, by_row, spare)
        sincos(spare, np.zeros((self.shape.width, 1), np.float32), sines[0], cosines[0])
        for k in range(1, self.shape.layers):
            np.matmul(scaled[2 * k - 2], sines[k - 1], out=spare)
            sincos(spare, scaled[2 * k - 1], sines[k], cosines[k])
        return sines, cosines

    def gradients(
        self, params: Parameters, picture: Picture, rows: slice = WHOLE, columns: slice = WHOLE
    ) -> tuple[float, Parameters]:
        """(mean squared error, its gradient) on the grid of pixels that `rows` and `columns` choose."""
        by_column, by_row = self._first(params, picture.columns[:, columns], picture.rows[:, rows])
        target = picture.levels[:, rows, columns]
        scaled = [p * OMEGA for p in params[2:-2]]
        out = [np.zeros_like(p) for p in params]
        sum_column, sum_row = np.zeros_like(by_column), np.zeros_like(by_row)
        total, w = 0.0, by_column.shape[1]
        for begin, end in _stretches(by_row.shape[1], w):
            sines, cosines = self._forward(scaled, by_column, by_row[:, begin:end])
            error = params[-2] @ sines[-1] + params[-1] - target[:, begin:end].reshape(target.shape[0], -1)
            total += float(np.vdot(error, error))
            delta = self._backward(params[-2], scaled, sines, cosines, error, out)
            outer_gradients(delta, sum_column, sum_row[:, begin:end])
        scale = np.float32(2 / target.size)
        for gradient in out[2:-2]:
            gradient *= OMEGA
        out[0] = OMEGA * np.concatenate(
            [sum_column @ picture.columns[:, columns].T, sum_row @ picture.rows[:, rows].T], axis=1
        )
        out[1] = OMEGA * sum_row.sum(1, keepdims=True)
        return total / target.size, [g * scale for g in out]

    def _backward(
        self,
        last: Floats,
        scaled: Parameters,
        sines: list[Floats],
        cosines: list[Floats],
        error: Floats,
        out: Parameters,
    ) -> Floats:
        """Adds the gradients beyond the first layer to `out`; that of the first layer's phases."""
        spares = self._buffers(error.shape[1])[-2:]
        out[-2] += error @ sines[-1].T
        out[-1] += error.sum(1, keepdims=True)
        delta = np.matmul(last.T, error, out=spares[0])
        for k in range(self.shape.layers - 1, 0, -1):
            delta *= cosines[k]
            out[2 * k] += delta @ sines[k - 1].T
            out[2 * k + 1] += delta.sum(1, keepdims=True)
            spares.reverse()
            delta = np.matmul(scaled[2 * k - 2].T, delta, out=spares[0])
        delta *= cosines[0]
        return delta

    def error(self, params: Parameters, picture: Picture, rows: slice = WHOLE, columns: slice = WHOLE) -> float:
        """The mean squared error alone."""
        by_column, by_row = self._first(params, picture.columns[:, columns], picture.rows[:, rows])
        target = picture.levels[:, rows, columns]
        scaled, total = [p * OMEGA for p in params[2:-2]], 0.0
        for begin, end in _stretches(by_row.shape[1], by_column.shape[1]):
            sines, _ = self._forward(scaled, by_column, by_row[:, begin:end])
            error = params[-2] @ sines[-1] + params[-1] - target[:, begin:end].reshape(target.shape[0], -1)
            total += float(np.vdot(error, error))
        return total / target.size

    def grams(self, params: Parameters, picture: Picture) -> list[Floats]:
        """Mean x x^T of the inputs x of each layer, the first one's too (float32 [inputs, inputs] each)."""
        rows, columns = (slice(0, None, max(1, size // 96)) for size in (picture.height, picture.width))
        by_column, by_row = self._first(params, picture.columns[:, columns], picture.rows[:, rows])
        out = [_outer_gram(picture.columns[:, columns], picture.rows[:, rows])]
        sums = [np.zeros((self.shape.width,) * 2, np.float32) for _ in range(self.shape.layers)]
        for begin, end in _stretches(by_row.shape[1], by_column.shape[1]):
            sines, _ = self._forward([p * OMEGA for p in params[2:-2]], by_column, by_row[:, begin:end])
            for total, s in zip(sums, sines, strict=True):
                total += s @ s.T
        pixels = np.float32(by_column.shape[1] * by_row.shape[1])
        return [*out, *(total / pixels for total in sums)]


def _outer_gram(columns: Floats, rows: Floats) -> Floats:
    """Mean of x x^T over a grid, where x is a column's part and below it a row's."""
    across = columns.mean(1, keepdims=True) @ rows.mean(1, keepdims=True).T
    left, right = columns @ columns.T / columns.shape[1], rows @ rows.T / rows.shape[1]
    return np.block([[left, across], [across.T, right]]).astype(np.float32)


def _stretches(rows: int, columns: int) -> list[tuple[int, int]]:
    """(begin, end) of runs of rows that hold about a chunk of pixels."""
    step = max(1, _CHUNK // columns)
    return [(begin, min(rows, begin + step)) for begin in range(0, rows, step)]


def psnr_of(error: float) -> float:
    """Decibels of a mean squared error of levels in [-1, 1], before they are rounded: an estimate, not a result."""
    return 10 * log10(4 / max(error, 1e-12))
