"""Integer convolutions of the synthesis (numba kernels).

Features are int32 planes [channels, rows + 2, columns + 2] with a margin of zeros, in Q10, within +-FULL; weights are
int32, biases int32 in the accumulator's units. The caller has checked (networks.check) that no sum reaches 2^31, so
32 bits hold every accumulator exactly, and the order of additions can't matter.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Planes = NDArray[np.int32]

FULL: Final = (1 << 15) - 1
"""Features are clipped to [-FULL, FULL]."""
_I = np.int32
_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


def make_planes(channels: int, rows: int, columns: int) -> Planes:
    """Zeros with the margin."""
    return np.zeros((channels, rows + 2, columns + 2), np.int32)


@_kernel
def _store(acc, shift, least, out):  # type: ignore[no-untyped-def]
    """Make out = acc / 2^shift, rounded, clipped to [least, FULL]."""
    half = _I(1 << shift >> 1)
    for x in range(out.size):
        out[x] = min(max(_I(_I(acc[x] + half) >> _I(shift)), _I(least)), _I(FULL))


@_kernel
def convolve(planes, weights, bias, shift, least, out):  # type: ignore[no-untyped-def]
    """3x3 convolution of `planes` by `weights` [co, ci, 9] into `out` (planes); sums are divided by 2^shift."""
    rows, columns = planes.shape[1] - 2, planes.shape[2] - 2
    acc = np.empty(columns, np.int32)
    for o in range(weights.shape[0]):
        for y in range(rows):
            acc[:] = bias[o]
            for c in range(weights.shape[1]):
                w = weights[o, c]
                a, b, d = planes[c, y], planes[c, y + 1], planes[c, y + 2]
                for x in range(columns):
                    acc[x] += _I(
                        _I(w[0] * a[x]) + _I(w[1] * a[x + 1]) + _I(w[2] * a[x + 2])
                        + _I(w[3] * b[x]) + _I(w[4] * b[x + 1]) + _I(w[5] * b[x + 2])
                        + _I(w[6] * d[x]) + _I(w[7] * d[x + 1]) + _I(w[8] * d[x + 2])
                    )  # fmt: skip
            _store(acc, shift, least, out[o, y + 1, 1:-1])


@_kernel
def mix(planes, weights, acc, y):  # type: ignore[no-untyped-def]
    """Add to acc row y of `planes` by `weights` [ci], four channels at a time where there are so many."""
    columns, c = acc.size, 0
    while c + 4 <= weights.size:
        w0, w1, w2, w3 = weights[c], weights[c + 1], weights[c + 2], weights[c + 3]
        r0, r1, r2, r3 = planes[c, y + 1], planes[c + 1, y + 1], planes[c + 2, y + 1], planes[c + 3, y + 1]
        for x in range(columns):
            acc[x] += _I(_I(w0 * r0[x + 1]) + _I(w1 * r1[x + 1]) + _I(w2 * r2[x + 1]) + _I(w3 * r3[x + 1]))
        c += 4
    while c < weights.size:
        row = planes[c, y + 1]
        for x in range(columns):
            acc[x] += _I(weights[c] * row[x + 1])
        c += 1


@_kernel
def add_mixed(inner, weights, bias, shift, planes):  # type: ignore[no-untyped-def]
    """Add to planes the 1x1 convolution of `inner` by `weights` [co, ci], clipped."""
    rows, columns = planes.shape[1] - 2, planes.shape[2] - 2
    acc, change = np.empty(columns, np.int32), np.empty(columns, np.int32)
    for o in range(weights.shape[0]):
        for y in range(rows):
            acc[:] = bias[o]
            mix(inner, weights[o], acc, y)
            _store(acc, shift, -FULL, change)
            row = planes[o, y + 1]
            for x in range(columns):
                row[x + 1] = min(max(_I(row[x + 1] + change[x]), _I(-FULL)), _I(FULL))


@_kernel
def add(planes, others):  # type: ignore[no-untyped-def]
    """Add others to planes, clipped."""
    for c in range(planes.shape[0]):
        for y in range(1, planes.shape[1] - 1):
            for x in range(1, planes.shape[2] - 1):
                planes[c, y, x] = min(max(_I(planes[c, y, x] + others[c, y, x]), _I(-FULL)), _I(FULL))


@_kernel
def upsample(planes, weights, shift, out):  # type: ignore[no-untyped-def]
    """Transposed 4x4 convolution of stride 2 by `weights` [ci, co, 16], cut to the size of `out`.

    Every output takes 2x2 inputs: row Y = 2i - 1 + k of the output meets row i of the input at row k of the kernel.
    """
    rows, columns, width = out.shape[1] - 2, out.shape[2] - 2, planes.shape[2] - 2
    acc, half = np.empty(width, np.int32), np.empty(width, np.int32)
    for o in range(weights.shape[1]):
        for y in range(rows):
            upper, lower = (y >> 1) + (y & 1), (y >> 1) + 1 + (y & 1)  # padded rows
            ku, kl = (2, 0) if y & 1 else (3, 1)
            for b in range(2):
                kx, kr = (2, 0) if b else (3, 1)
                acc[:] = 0
                for c in range(weights.shape[0]):
                    w, u, v = weights[c, o], planes[c, upper], planes[c, lower]
                    w0, w1, w2, w3 = w[4 * ku + kx], w[4 * ku + kr], w[4 * kl + kx], w[4 * kl + kr]
                    for x in range(width):
                        acc[x] += _I(
                            _I(w0 * u[x + b]) + _I(w1 * u[x + 1 + b]) + _I(w2 * v[x + b]) + _I(w3 * v[x + 1 + b])
                        )
                _store(acc, shift, -FULL, half)
                row = out[o, y + 1]
                for x in range((columns + 1 - b) // 2):
                    row[1 + 2 * x + b] = half[x]


@_kernel
def colours(planes, weights, bias, shift, out):  # type: ignore[no-untyped-def]
    """3x3 convolution to 12 values a pixel, by `weights` [12, ci, 9], as the colours of 2x2 pixels: uint8 [H, W, 3]."""
    rows, columns = planes.shape[1] - 2, planes.shape[2] - 2
    wide = np.zeros((1, rows + 2, columns + 2), np.int32)
    for o in range(weights.shape[0]):
        convolve(planes, weights[o : o + 1], bias[o : o + 1], shift, -FULL, wide)
        colour, dy, dx = o // 4, (o & 3) >> 1, o & 1
        for y in range((out.shape[0] + 1 - dy) // 2):
            for x in range((out.shape[1] + 1 - dx) // 2):
                out[2 * y + dy, 2 * x + dx, colour] = min(max(((wide[0, y + 1, x + 1] + 8) >> 4) + 128, 0), 255)
