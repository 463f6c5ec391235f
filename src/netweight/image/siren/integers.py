"""The network in integers: the same pixels on every machine, with any number of threads, in any order of sums.

A weight of a sine layer is an integer in units of 2^-18 turns (of phase, for an input of 1), inputs are in units of 2^-14;
so phases are sums of products modulo 2^32, in units of 2^-32 turns, and the wrapping of 32-bit integers *is* that of the
angle. Nothing can overflow, whatever the weights. The last layer gives grey levels in units of 2^-20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .encoding import encode_axis, width_of
from .sine import kernel, sine

Words = NDArray[np.int32]

LEVEL_BITS: Final = 20
_TILE: Final = 128


@dataclass(frozen=True, slots=True)
class Shape:
    """`channels` outputs, `layers` sine layers of `width` units, `frequencies` of the positional encoding (0: none)."""

    channels: int
    width: int
    layers: int
    frequencies: int

    @property
    def inputs(self) -> int:
        return 2 * width_of(self.frequencies)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(rows, columns) of each tensor: a weight (outputs, inputs) and a bias (outputs, 1) in turn, first layer first."""
        fans = [self.inputs] + [self.width] * self.layers
        outs = [self.width] * self.layers + [self.channels]
        return [size for n, out in zip(fans, outs, strict=True) for size in ((out, n), (out, 1))]

    @property
    def count(self) -> int:
        """Parameters."""
        return sum(rows * columns for rows, columns in self.sizes)


@kernel
def _add_products(weights, inputs, out):  # type: ignore[no-untyped-def]
    """out[c] += the sum of weights[i] inputs[i, c]; four at a time, so that `out` is loaded and stored less often."""
    width, n = inputs.shape
    whole = width // 4 * 4
    for i in range(0, whole, 4):
        a, b, c, d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for k in range(n):
            out[k] += a * inputs[i, k] + b * inputs[i + 1, k] + c * inputs[i + 2, k] + d * inputs[i + 3, k]
    for i in range(whole, width):
        a = weights[i]
        for k in range(n):
            out[k] += a * inputs[i, k]


@kernel
def _layer(weights, biases, inputs, out):  # type: ignore[no-untyped-def]
    """One sine layer of a tile: int32 [width, tile] to the same."""
    for j in range(out.shape[0]):
        phase = out[j]
        phase[:] = biases[j]
        _add_products(weights[j], inputs, phase)
        for c in range(phase.size):
            phase[c] = sine(np.uint32(phase[c]))


@kernel
def _picture(columns, rows, weights, biases, last, offsets, out):  # type: ignore[no-untyped-def]
    """All pixels. columns int32 [tiles, width, tile], rows int32 [H, width]: phases of the first layer, which add up.

    Every tile is whole, the last one past the picture's edge, so that arrays are contiguous and loops of one length.
    """
    width, w = columns.shape[1], out.shape[1]
    inputs, other = np.empty((width, _TILE), np.int32), np.empty((width, _TILE), np.int32)
    level = np.empty(_TILE, np.int32)
    for r in range(rows.shape[0]):
        for t in range(columns.shape[0]):
            for j in range(width):
                for c in range(_TILE):
                    inputs[j, c] = sine(np.uint32(columns[t, j, c] + rows[r, j]))
            for k in range(weights.shape[0]):
                _layer(weights[k], biases[k], inputs, other)
                inputs, other = other, inputs
            for k in range(last.shape[0]):
                level[:] = offsets[k]
                _add_products(last[k], inputs, level)
                for c in range(min(_TILE, w - t * _TILE)):
                    rounded = (np.int64(level[c]) + (1 << (LEVEL_BITS - 1))) >> LEVEL_BITS
                    out[r, t * _TILE + c, k] = min(max(rounded, 0), 255)


def render(shape: Shape, tensors: list[Words], height: int, width: int) -> NDArray[np.uint8]:
    """The picture (uint8 [height, width, channels]) of a network whose tensors (int32, as `shape.sizes`) are given."""
    longest, split = max(height, width), width_of(shape.frequencies)
    first, bias = tensors[0], tensors[1]
    columns = _product(first[:, :split], encode_axis(width, longest, shape.frequencies))
    rows = _product(first[:, split:], encode_axis(height, longest, shape.frequencies)) + bias
    tiles = -(-width // _TILE)
    padded = np.pad(columns, ((0, 0), (0, tiles * _TILE - width)))
    by_tile = np.ascontiguousarray(padded.reshape(shape.width, tiles, _TILE).transpose(1, 0, 2))
    hidden = tensors[2:-2]
    weights = np.array(hidden[::2], np.int32).reshape(shape.layers - 1, shape.width, shape.width)
    biases = np.array(hidden[1::2], np.int32).reshape(shape.layers - 1, shape.width)
    out = np.empty((height, width, shape.channels), np.uint8)
    _picture(
        by_tile,
        np.ascontiguousarray(rows.T),
        weights,
        biases,
        np.ascontiguousarray(tensors[-2]),
        tensors[-1].reshape(-1),
        out,
    )
    return out


@kernel
def _multiply(a, b, out):  # type: ignore[no-untyped-def]
    for j in range(a.shape[0]):
        for i in range(a.shape[1]):
            v = a[j, i]
            for c in range(b.shape[1]):
                out[j, c] += v * b[i, c]


def _product(a: Words, b: Words) -> Words:
    """The product a @ b modulo 2^32."""
    out = np.zeros((a.shape[0], b.shape[1]), np.int32)
    _multiply(np.ascontiguousarray(a), b, out)
    return out
