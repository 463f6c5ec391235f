"""Causal attention over the cache: integer scores, integer weights, integer sums (numba kernels and exact BLAS).

Scores are in 1/4096 of log 2, so that a weight is a table entry shifted: 2^22 for the greatest score of a row, less for
the others. A weight times its value's scale, relative to the greatest that its query sees, is rounded to shares of 2^16
in all. The shares of at most 2^15 positions times values of seven bits stay below 2^24: exact as int32 and in float32.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .cache import Layer
from .config import MAX_POSITIONS
from .rows import VALUE_LIMIT
from .tables import EXP2, EXP_END, EXP_STEPS

DIRECT_ROWS: Final = 12
"""Fewer queries than this a sequence go to the kernel that has no matrix product."""
_BLOCK: Final = 96
_OCTAVE: Final = EXP_STEPS.bit_length() - 1
_USUAL: Final = 64
"""The size of a head in most models."""
SHARES: Final = 1 << 16
_FRACTION: Final = np.int32(EXP_STEPS - 1)
_END: Final = np.int32(EXP_END)
_SCORE_MOST: Final = np.float32(1 << 29)
_HALF: Final = np.float32(0.5)
_ONE: Final = np.float32(1)

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")
_inline: Any = njit(nogil=True, cache=True, error_model="numpy", forceinline=True)


@_inline
def _shares(scores, q_scale, k_scales, v_scales, greatest, seen, shares):  # type: ignore[no-untyped-def]
    """Products q k (float32) of the first `seen` positions to whole shares (int32); returns what a share stands for."""
    for t in range(seen):
        score = scores[t] * (q_scale * k_scales[t])
        shares[t] = np.int32(min(max(score, -_SCORE_MOST), _SCORE_MOST))
    most = shares[0]
    for t in range(seen):
        most = max(most, shares[t])
    inverse = _ONE / greatest if greatest > 0 else np.float32(0)
    total, scaled = np.int64(0), np.int64(0)
    for t in range(seen):
        below = min(np.int32(most - shares[t]), _END)
        weight = EXP2[below & _FRACTION] >> (below >> _OCTAVE)
        part = np.int32(np.float32(weight) * (v_scales[t] * inverse))
        shares[t] = part
        total += weight
        scaled += part
    if scaled == 0:
        scaled = np.int64(1)
    unit = np.float32(SHARES / np.float64(scaled))
    for t in range(seen):
        shares[t] = np.int32(np.float32(shares[t]) * unit + _HALF)
    return np.float64(greatest) * (np.float64(scaled) / np.float64(total)) / SHARES


@_kernel
def attend_direct(q, q_scales, k, k_scales, v, v_scales, v_most, start, first, last, out):  # type: ignore[no-untyped-def]
    """Tasks first..last (sequence x key head) of queries int16 [B, n, H, d] over a layer's cache; out float64 [B, n, H, d]."""
    _, count, heads, size = q.shape
    kv_heads = k.shape[1]
    group = heads // kv_heads
    scores = np.empty(start + count, np.float32)
    shares = np.empty(start + count, np.int32)
    sums = np.empty(size, np.int32)
    for task in range(first, last):
        b, h = task // kv_heads, task % kv_heads
        for i in range(count):
            seen = start + i + 1
            greatest = v_most[b, h, seen - 1]
            for g in range(h * group, (h + 1) * group):
                _products(q[b, i, g], k[b, h], seen, scores)
                unit = _shares(scores, q_scales[b, i, g], k_scales[b, h], v_scales[b, h], greatest, seen, shares)
                _sum_values(shares, v[b, h], seen, sums)
                for d in range(size):
                    out[b, i, g, d] = np.float64(sums[d]) * unit


@_inline
def _products(query, keys, seen, scores):  # type: ignore[no-untyped-def]
    """Query times each key. A width that the compiler knows makes much faster code."""
    if query.size == _USUAL:
        for t in range(seen):
            scores[t] = np.float32(_dot(query, keys, t, _USUAL))
    else:
        for t in range(seen):
            scores[t] = np.float32(_dot(query, keys, t, query.size))


@_inline
def _dot(query, keys, t, width):  # type: ignore[no-untyped-def]
    dot = np.int32(0)
    for d in range(width):
        dot = np.int32(dot + np.int32(query[d]) * np.int32(keys[t, d]))
    return dot


@_inline
def _sum_values(shares, values, seen, sums):  # type: ignore[no-untyped-def]
    """Sums of share x value (int32 [d])."""
    if sums.size == _USUAL:
        _sum_columns(shares, values, seen, sums, _USUAL)
    else:
        _sum_columns(shares, values, seen, sums, sums.size)


@_inline
def _sum_columns(shares, values, seen, sums, width):  # type: ignore[no-untyped-def]
    """Four positions at once, so that a sum is loaded and stored less often."""
    sums[:] = 0
    for t in range(0, seen - 3, 4):
        a, b, c, e = shares[t], shares[t + 1], shares[t + 2], shares[t + 3]
        for d in range(width):
            first = a * np.int32(values[t, d]) + b * np.int32(values[t + 1, d])
            second = c * np.int32(values[t + 2, d]) + e * np.int32(values[t + 3, d])
            sums[d] = np.int32(sums[d] + np.int32(first) + np.int32(second))
    for t in range(seen & ~3, seen):
        for d in range(width):
            sums[d] = np.int32(sums[d] + shares[t] * np.int32(values[t, d]))


@_kernel
def _weigh(scores, q_scales, k_scales, v_scales, v_most, first, group, units):  # type: ignore[no-untyped-def]
    """Products q k (float32 [n * group, T]) to shares, in place (0 for the future), and what a share stands for [n * group].

    Row r is a query at position first + r // group.
    """
    rows, width = scores.shape
    line = np.empty(width, np.int32)
    for r in range(rows):
        seen = first + r // group + 1
        units[r] = _shares(scores[r], q_scales[r], k_scales, v_scales, v_most[seen - 1], seen, line)
        for t in range(seen):
            scores[r, t] = np.float32(line[t])
        scores[r, seen:width] = 0.0


@_kernel
def _spread(sums, units, group, out):  # type: ignore[no-untyped-def]
    """Sums of values (float32 [n * group, d]) into out [n, group, d]."""
    for r in range(sums.shape[0]):
        i, g = r // group, r % group
        for d in range(sums.shape[1]):
            out[i, g, d] = np.float64(sums[r, d]) * units[r]


def attend_blocks(
    q: NDArray[np.int16],
    q_scales: NDArray[np.float32],
    layer: Layer,
    start: int,
    task: tuple[int, int],
    out: NDArray[np.float64],
) -> None:
    """One sequence and key head (`task`) by matrix products over blocks of queries; arguments as in `attend_direct`."""
    b, h = task
    count, heads, size = q.shape[1:]
    group = heads // layer.k.shape[1]
    mine = slice(h * group, (h + 1) * group)
    seen = start + count
    keys, values = layer.k[b, h, :seen].astype(np.float32), layer.v[b, h, :seen].astype(np.float32)
    scales = layer.k_scales[b, h], layer.v_scales[b, h], layer.v_most[b, h]
    for at in range(0, count, _BLOCK):
        end = min(at + _BLOCK, count)
        width, rows = start + end, (end - at) * group
        queries = q[b, at:end, mine].astype(np.float32).reshape(rows, size)
        scores = queries @ keys[:width].T
        units = np.empty(rows, np.float64)
        _weigh(scores, q_scales[b, at:end, mine].reshape(rows), *scales, start + at, group, units)
        _spread(scores @ values[:width], units, group, out[b, at:end, mine])


assert (SHARES + MAX_POSITIONS) * VALUE_LIMIT < 1 << 24
