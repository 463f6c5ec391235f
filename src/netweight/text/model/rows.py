"""What happens between the products, row by row (numba kernels): norms, rotations, gates, residuals, logits.

A row is one position of one sequence. Each step is integer arithmetic or one IEEE operation (+ - * / and the square
root, which are rounded correctly everywhere); a sum is always one of integers. So a row's numbers don't depend on what
is computed with it. Units: a residual is int64 in Q24; a product is int32 times the scale of its row of activations
times the scale of its row of weights (both float64).
"""

from __future__ import annotations

from math import sqrt
from typing import Any, Final

import numpy as np
from numba import njit

from .tables import SIGMOID, SIGMOID_END, SIGMOID_STEPS

RESIDUAL_BITS: Final = 24
RESIDUAL_ONE: Final = 1 << RESIDUAL_BITS
LOGIT_BITS: Final = 12
KEY_LIMIT: Final = 127
VALUE_LIMIT: Final = 127
SCORE_BITS: Final = 24
"""A query's length times a key's is below 2^24, and so is every part of a score: exact even in float32."""
_INT16: Final = 32767.0
_ROUND: Final = 6755399441055744.0  # 1.5 * 2^52: adding and taking it off rounds to a whole number
_MOST: Final = float(1 << 50)
_LEAST: Final = 1e-30
"""Numbers beyond 2^50 are cut, rows below 1e-30 count as nothing: no step overflows or meets a subnormal number."""
_LOGIT_ONE: Final = float(1 << LOGIT_BITS)
_LOGIT_MOST: Final = float((1 << 31) - 1)
_FINE: Final = float(1 << 20)
_CUBIC: Final = 0.044715
_GELU: Final = 1.5957691216057308  # 2 sqrt(2 / pi)

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")
_inline: Any = njit(nogil=True, cache=True, error_model="numpy", forceinline=True)


@_inline
def rounded(x):  # type: ignore[no-untyped-def]
    """The nearest whole number, ties to even, as float64; |x| < 2^51."""
    return (x + _ROUND) - _ROUND


@_inline
def clamped(x):  # type: ignore[no-untyped-def]
    """`x` within +-2^50."""
    return min(max(x, -_MOST), _MOST)


@_inline
def _to_levels(buffer, limit, out, scales, r):  # type: ignore[no-untyped-def]
    """float64 [k] as integers within +-limit; `scales[r]` is what one of them stands for."""
    most = 0.0
    for i in range(buffer.size):
        most = max(most, abs(buffer[i]))
    inverse = limit / most if most > _LEAST else 0.0
    for i in range(buffer.size):
        out[r, i] = np.int16(rounded(buffer[i] * inverse))
    scales[r] = most / limit


@_kernel
def normalise(x, gain, bias, epsilon, centred, limit, out, scales):  # type: ignore[no-untyped-def]
    """RMSNorm, or LayerNorm if `centred`, of residuals (int64 [n, k]) as int16 [n, k] within +-limit and scales [n]."""
    n, k = x.shape
    buffer = np.empty(k, np.float64)
    centre = np.int64(0)
    for r in range(n):
        if centred:
            centre = np.int64(0)
            for i in range(k):
                centre += x[r, i]
            centre //= k
        most = np.int64(0)
        for i in range(k):
            most = max(most, abs(x[r, i] - centre))
        shift = 0
        while most >> shift >= 1 << 23:
            shift += 1
        squares = np.int64(0)
        for i in range(k):
            y = (x[r, i] - centre) >> shift
            squares += y * y
        unit = np.float64(np.int64(1) << shift) / RESIDUAL_ONE
        mean_square = np.float64(squares) / k * unit * unit
        inverse = 1.0 / sqrt(mean_square + epsilon) / RESIDUAL_ONE
        for i in range(k):
            buffer[i] = np.float64(x[r, i] - centre) * inverse * gain[i] + bias[i]
        _to_levels(buffer, limit, out, scales, r)


@_kernel
def add_residual(acc, x_scales, w_scales, bias, x):  # type: ignore[no-untyped-def]
    """X += product + bias: int32 [n, k] and float64 scales into residuals int64 [n, k]."""
    n, k = acc.shape
    for r in range(n):
        scale = x_scales[r] * RESIDUAL_ONE
        for i in range(k):
            y = acc[r, i] * (scale * w_scales[i]) + bias[i] * RESIDUAL_ONE
            x[r, i] += np.int64(rounded(clamped(y)))


@_kernel
def embed(tokens, values, scales, positions, start, count, x):  # type: ignore[no-untyped-def]
    """Residuals of tokens (int32 [n]) whose row r is at position start + r % count; `positions` may have no rows."""
    for r in range(tokens.size):
        token = tokens[r]
        scale = scales[token] * RESIDUAL_ONE
        for i in range(x.shape[1]):
            x[r, i] = np.int64(rounded(clamped(values[token, i] * scale)))
        if positions.shape[0]:
            place = start + r % count
            for i in range(x.shape[1]):
                y = np.float64(positions[place, i]) * RESIDUAL_ONE
                x[r, i] += np.int64(rounded(clamped(y)))


@_inline
def _sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + e^-x) from the table, linear between its entries."""
    at = min(abs(x) * SIGMOID_STEPS, SIGMOID_END - 0.5)
    index = np.int64(at)
    y = SIGMOID[index] + (SIGMOID[index + 1] - SIGMOID[index]) * (at - np.float64(index))
    return y if x >= 0 else 1.0 - y


@_kernel
def gate(acc, x_scales, w_scales, bias, gated, limit, out, scales):  # type: ignore[no-untyped-def]
    """Swish(first half) x second half if `gated` (Shazeer, arXiv 2002.05202), else GELU in its tanh form.

    int32 [n, 2k or k] and scales as int16 [n, k] within +-limit and scales [n].
    """
    n, k = out.shape
    buffer = np.empty(k, np.float64)
    for r in range(n):
        scale = x_scales[r]
        for i in range(k):
            x = acc[r, i] * (scale * w_scales[i]) + bias[i]
            if gated:
                up = acc[r, k + i] * (scale * w_scales[k + i]) + bias[k + i]
                buffer[i] = x * _sigmoid(x) * up
            else:
                buffer[i] = x * _sigmoid((x + x * x * x * _CUBIC) * _GELU)
        _to_levels(buffer, limit, out, scales, r)


@_kernel
def quantise(x, limit, out, scales):  # type: ignore[no-untyped-def]
    """float64 [n, k] as int16 [n, k] within +-limit and scales [n]."""
    for r in range(x.shape[0]):
        _to_levels(x[r], limit, out, scales, r)


@_kernel
def to_logits(acc, x_scales, w_scales, first, count, at, out):  # type: ignore[no-untyped-def]
    """int32 [m, V] and scales as logits in Q12 nats, into int32 [batch, n, V].

    Row r is number first + r of batch x count rows, in sequence order; its column is its number in the sequence plus `at`.
    """
    for r in range(acc.shape[0]):
        scale = x_scales[r] * _LOGIT_ONE
        b, i = (first + r) // count, at + (first + r) % count
        for j in range(acc.shape[1]):
            y = acc[r, j] * (scale * w_scales[j])
            out[b, i, j] = np.int32(rounded(min(max(y, -_LOGIT_MOST), _LOGIT_MOST)))


@_inline
def _of_length(head, length, out):  # type: ignore[no-untyped-def]
    """float64 [d] as integers whose length is below `length`; returns what one of them stands for."""
    most = 0.0
    for i in range(head.size):
        most = max(most, abs(head[i]))
    if most <= _LEAST:
        out[:] = 0
        return 0.0
    inverse = _FINE / most
    squares = np.int64(0)
    for i in range(head.size):
        y = np.int64(rounded(head[i] * inverse))
        squares += y * y
    rounding = sqrt(np.float64(head.size)) * 0.5
    factor = (length - rounding - 1.0) / sqrt(np.float64(squares))
    for i in range(head.size):
        out[i] = np.int16(rounded(rounded(head[i] * inverse) * factor))
    return most / _FINE / factor


@_inline
def _of_size(head, limit, out):  # type: ignore[no-untyped-def]
    """float64 [d] as integers within +-limit; returns what one of them stands for."""
    most = 0.0
    for i in range(head.size):
        most = max(most, abs(head[i]))
    inverse = limit / most if most > _LEAST else 0.0
    for i in range(head.size):
        out[i] = np.int8(rounded(head[i] * inverse))
    return most / limit if most > _LEAST else 0.0


@_inline
def _load_head(acc, r, at, scale, w_scales, bias, cosines, sines, place, head):  # type: ignore[no-untyped-def]
    """Head = the product's columns from `at`, rotated to its position if there are rotations."""
    size = head.size
    half = size // 2
    if cosines.shape[0] == 0:
        for i in range(size):
            head[i] = clamped(acc[r, at + i] * (scale * w_scales[at + i]) + bias[at + i])
        return
    for i in range(half):
        a, b = at + i, at + half + i
        x = clamped(acc[r, a] * (scale * w_scales[a]) + bias[a])
        y = clamped(acc[r, b] * (scale * w_scales[b]) + bias[b])
        c, s = np.float64(cosines[place, i]), np.float64(sines[place, i])
        head[i] = x * c - y * s
        head[half + i] = y * c + x * s


@_kernel
def make_queries(acc, x_scales, w_scales, bias, cosines, sines, start, unit, q, q_scales):  # type: ignore[no-untyped-def]
    """Queries (int16 [B, n, H, d]) and the scales of their scores (float32 [B, n, H], times `unit`)."""
    batch, count, heads, size = q.shape
    head = np.empty(size, np.float64)
    length = min((1 << SCORE_BITS) / (KEY_LIMIT * sqrt(np.float64(size))), _INT16)
    for b in range(batch):
        for i in range(count):
            r = b * count + i
            for h in range(heads):
                _load_head(acc, r, h * size, x_scales[r], w_scales, bias, cosines, sines, start + i, head)
                q_scales[b, i, h] = np.float32(_of_length(head, length, q[b, i, h]) * unit)


@_kernel
def store_keys(acc, x_scales, w_scales, bias, cosines, sines, start, at, k, k_scales):  # type: ignore[no-untyped-def]
    """Keys into the cache of one layer: int8 [B, K, T, d] and float32 [B, K, T], from column `at` of the product."""
    batch, heads, _, size = k.shape
    count = acc.shape[0] // batch
    head = np.empty(size, np.float64)
    for b in range(batch):
        for i in range(count):
            r, place = b * count + i, start + i
            for h in range(heads):
                _load_head(acc, r, at + h * size, x_scales[r], w_scales, bias, cosines, sines, place, head)
                k_scales[b, h, place] = np.float32(_of_size(head, KEY_LIMIT, k[b, h, place]))


@_kernel
def store_values(acc, x_scales, w_scales, bias, unturned, start, at, v, v_scales, v_most):  # type: ignore[no-untyped-def]
    """Values into the cache of one layer: int8 [B, K, T, d], float32 [B, K, T], and the greatest scale so far."""
    batch, heads, _, size = v.shape
    count = acc.shape[0] // batch
    head = np.empty(size, np.float64)
    for b in range(batch):
        for i in range(count):
            r, place = b * count + i, start + i
            for h in range(heads):
                _load_head(acc, r, at + h * size, x_scales[r], w_scales, bias, unturned, unturned, place, head)
                scale = np.float32(_of_size(head, VALUE_LIMIT, v[b, h, place]))
                v_scales[b, h, place] = scale
                v_most[b, h, place] = max(scale, v_most[b, h, place - 1]) if place else scale
