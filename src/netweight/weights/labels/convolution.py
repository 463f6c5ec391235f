"""A small convolutional network in fixed-order arithmetic (../bits_back/fixed_order.py): float32, one picture at a time.

Maps are [height, width, channels] and kernels [ky, kx, in, out], so that the inner loop runs over channels and no sum is
reordered. Zeros, which ReLU makes many of, are skipped: adding them would change nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, inline="always")
def _add_scaled(out, vector, factor):  # type: ignore[no-untyped-def]
    for c in range(out.size):
        out[c] += factor * vector[c]


@njit(nogil=True, cache=True)
def convolve(x, kernel, bias, stride, out):  # type: ignore[no-untyped-def]
    """`out` [h, w, to] = ReLU of x [(h - 1) stride + k or more, ..., from] * kernel [k, k, from, to] + bias; x is padded."""
    size = kernel.shape[0]
    zero = np.float32(0)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            place = out[i, j]
            place[:] = bias
            for a in range(size):
                for b in range(size):
                    pixel = x[i * stride + a, j * stride + b]
                    for c in range(pixel.size):
                        if pixel[c] != zero:
                            _add_scaled(place, kernel[a, b, c], pixel[c])
            for c in range(place.size):
                place[c] = max(place[c], zero)


@njit(nogil=True, cache=True)
def convolve_back(x, out, down, stride, d_kernel, d_bias):  # type: ignore[no-untyped-def]
    """Add the gradients of kernel and bias; `down` [h, w, to] is that of `out` and becomes that of what went into ReLU."""
    size = d_kernel.shape[0]
    zero = np.float32(0)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            slope = down[i, j]
            for c in range(slope.size):
                if out[i, j, c] <= zero:
                    slope[c] = zero
            _add_scaled(d_bias, slope, np.float32(1))
            for a in range(size):
                for b in range(size):
                    pixel = x[i * stride + a, j * stride + b]
                    for c in range(pixel.size):
                        if pixel[c] != zero:
                            _add_scaled(d_kernel[a, b, c], slope, pixel[c])


@njit(nogil=True, cache=True)
def convolve_down(down, turned, stride, d_x):  # type: ignore[no-untyped-def]
    """`d_x` = gradient of the padded input; `turned` is the kernel as [k, k, to, from]."""
    size = turned.shape[0]
    zero = np.float32(0)
    d_x[:] = zero
    for i in range(down.shape[0]):
        for j in range(down.shape[1]):
            for a in range(size):
                for b in range(size):
                    place = d_x[i * stride + a, j * stride + b]
                    for c in range(down.shape[2]):
                        if down[i, j, c] != zero:
                            _add_scaled(place, turned[a, b, c], down[i, j, c])


@njit(nogil=True, cache=True)
def linear(x, weight, bias, out):  # type: ignore[no-untyped-def]
    """`out` [to] = x [from] weight [from, to] + bias."""
    out[:] = bias
    for k in range(x.size):
        if x[k] != np.float32(0):
            _add_scaled(out, weight[k], x[k])


@njit(nogil=True, cache=True)
def linear_back(x, down, weight, d_weight, d_bias, d_x):  # type: ignore[no-untyped-def]
    """Add the gradients of weight and bias; `d_x` [from] = that of x, where x isn't zero."""
    _add_scaled(d_bias, down, np.float32(1))
    for k in range(x.size):
        total = np.float32(0)
        if x[k] != np.float32(0):
            _add_scaled(d_weight[k], down, x[k])
            for c in range(down.size):
                total += weight[k, c] * down[c]
        d_x[k] = total
