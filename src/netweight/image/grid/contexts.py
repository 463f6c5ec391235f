"""The context networks in integers, and the coding of one grid of latents under them (numba kernels).

    first layer   pre[j] (bias, quality, trunk, earlier grids: `prepare`) + OWN causal neighbours    Q12
    hidden 1, 2   rectified, Q7, clipped to FULL
    outputs       location Q8, log2 scale in sixteenths of an octave

The same kernel encodes and decodes: a coder says which it does.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ...entropy import range_coder
from . import design, laplace, zeros
from .kernels import FULL, mix
from .networks import FIRST, RECTIFIED

_R: Final = design.REACH
_H: Final = design.HIDDEN
_OWN: Final = np.array(design.OWN, np.int64)
_CROSS: Final = np.array(design.CROSS, np.int64)
_N: Final = len(design.OWN)
_I = np.int32

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def prepare(above, weights, shift, bias, seen, before, pre):  # type: ignore[no-untyped-def]
    """Make pre [HIDDEN, h, w] (Q12) of the grid that comes after those in `seen` (int32 [g, h + 4, w + 4], clipped, with margin).

    `above`: planes of the upsampled trunk, or of no channels; `weights` [HIDDEN, channels], whose sums are divided by
    2^shift; `bias` [HIDDEN]; `before` [HIDDEN, >= g, 5].
    """
    rows, columns = pre.shape[1:]
    acc, half = np.empty(columns, np.int32), _I(1 << shift >> 1)
    for j in range(_H):
        for y in range(rows):
            acc[:] = half
            mix(above, weights[j], acc, y)
            out = pre[j, y]
            for x in range(columns):
                out[x] = _I(acc[x] >> _I(shift)) + bias[j]
            for g in range(seen.shape[0]):
                w = before[j, g]
                u, m, d = seen[g, y + _R - 1], seen[g, y + _R], seen[g, y + _R + 1]
                for x in range(columns):
                    out[x] += _I(
                        _I(w[0] * u[x + _R]) + _I(w[1] * m[x + _R - 1]) + _I(w[2] * m[x + _R])
                        + _I(w[3] * m[x + _R + 1]) + _I(w[4] * d[x + _R])
                    )  # fmt: skip


@_kernel
def _rectified(acc, shift, out):  # type: ignore[no-untyped-def]
    half = _I(1 << shift >> 1)
    for j in range(_H):
        out[j] = min(max(_I(_I(acc[j] + half) >> _I(shift)), _I(0)), _I(FULL))


@_kernel
def _parameters(h, last, bias, shift):  # type: ignore[no-untyped-def]
    """(location, log2 scale) from the second hidden layer; sums are Q(RECTIFIED + shift)."""
    location, scale = bias[0], bias[1]
    for j in range(_H):
        location += _I(h[j] * last[0, j])
        scale += _I(h[j] * last[1, j])
    drop = RECTIFIED + shift - laplace.LOCATION
    location = (np.int64(location) + (1 << drop >> 1)) >> drop
    drop += 4
    scale = (np.int64(scale) + (1 << drop >> 1)) >> drop
    limit = design.LARGEST << laplace.LOCATION
    return min(max(location, -limit), limit), min(max(scale, laplace.LEAST), laplace.MOST)


@_kernel
def _around(seen, y, x):  # type: ignore[no-untyped-def]
    """Sums of magnitudes, each at most 3, of the two nearest and of all causal neighbours."""
    near = min(abs(seen[y + _R - 1, x + _R]), 3) + min(abs(seen[y + _R, x + _R - 1]), 3)
    wide = 0
    for n in range(_N):
        wide += min(abs(seen[y + _R + _OWN[n, 0], x + _R + _OWN[n, 1]]), 3)
    return near, wide


@_kernel
def _network(pre, own, hidden, bias2, shift2, seen, y, x, acc, h1, h2):  # type: ignore[no-untyped-def]
    """The second hidden layer at a pixel, into `h2`."""
    for j in range(_H):
        acc[j] = pre[j, y, x]
    for n in range(_N):
        v = seen[y + _R + _OWN[n, 0], x + _R + _OWN[n, 1]]
        if v != 0:
            for j in range(_H):
                acc[j] += _I(v * own[n, j])
    _rectified(acc, FIRST - RECTIFIED, h1)
    for j in range(_H):
        acc[j] = bias2[j]
    for i in range(_H):
        v = h1[i]
        if v != 0:
            for j in range(_H):
                acc[j] += _I(v * hidden[i, j])
    _rectified(acc, shift2, h2)


@_kernel
def code_grid(coder, buffer, pre, own, hidden, bias2, shift2, last, bias3, shift3, busy, seen, values):  # type: ignore[no-untyped-def]
    """Code `values` (int32 [h, w]), or decode into it, in raster order. False if a decoder has run out of bytes.

    `seen` (int32 [h + 4, w + 4], zeros) becomes the clipped grid; `busy` (uint8 [h, w]) is each place's activity. own
    [12, HIDDEN], hidden [HIDDEN in, HIDDEN out], last [2, HIDDEN]: int32.
    """
    acc, h1, h2 = np.empty(_H, np.int32), np.empty(_H, np.int32), np.empty(_H, np.int32)
    counters, weights = zeros.fresh()
    inputs = np.empty(zeros.INPUTS, np.int64)
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            _network(pre, own, hidden, bias2, shift2, seen, y, x, acc, h1, h2)
            location, scale = _parameters(h2, last, bias3, shift3)
            near, wide = _around(seen, y, x)
            k = np.int64(values[y, x])
            p = laplace.zero_mass(location, scale) >> (laplace.TOTAL - range_coder.BIT_BITS)
            place = np.int64(busy[y, x])
            if zeros.code_zero(coder, buffer, counters, weights, inputs, p, near, wide, place, np.int64(k == 0)):
                values[y, x] = 0
                continue
            k = laplace.code_nonzero(coder, buffer, k, location, scale)
            values[y, x] = k
            seen[y + _R, x + _R] = min(max(k, -design.CLIP), design.CLIP)
        if coder[range_coder.DECODING] and coder[range_coder.POSITION] > np.uint64(buffer.size + 8):
            return False
    return True
