"""Indices of a dithered trellis, coded with the probability that each has given its dither.

Coordinate i, in steps, is x_i + u_i = its point + error, with u_i uniform on [0, 4) known to both sides. Given u_i and the set S,
the points x may come back to are those of S, moved by -u_i, two steps apart; for x_i of variance s^2 the probability of a point p
is taken as P(p - 1 <= X < p + 1), X Gaussian but for 2^-12 of flat probability out to 8 deviations or 4 steps. By theorem 1 of
Zamir and Feder, "On universal quantization by randomized uniform / lattice quantizers" (IEEE Trans. Inf. Theory 1992), a dithered
lattice so coded is within log2(2 pi e G)/2 bits a coordinate of the rate-distortion function at every rate, G its second moment.

All is integers: dithers and points in Q16 steps, step / deviation in Q24.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import range_coder
from ...entropy.fixedpoint import SURVIVAL, SURVIVAL_END
from ...entropy.range_coder import U64, narrow, target
from ...errors import FormatError
from . import trellis
from .random import word

POINT: Final = 24
"""Step / deviation is in Q24."""
MOST_RATIO: Final = 1 << (POINT + 10)
"""Larger ones would overflow, and cost the same bits."""
_ONE: Final = 1 << 16
_WHOLE: Final = 1 << 40
_LEAST_END: Final = 8 << 16
_GAUSSIAN: Final = SURVIVAL[0].copy()


@njit(nogil=True, cache=True)
def _dither(key, i):  # type: ignore[no-untyped-def]
    """Number i of the dithers: uniform on [0, 4) steps, Q16."""
    return np.int64(word(key, U64(i)) >> U64(46))


@njit(nogil=True, cache=True)
def _below(edge, r, wide):  # type: ignore[no-untyped-def]
    """P(X < edge), Q40, for an edge in Q16 steps and step / deviation r in Q24; 0 and 2^40 from 8 * 2^wide deviations on."""
    z, end = (abs(edge) * r) >> 24, np.int64(_LEAST_END) << wide
    tail = np.int64(0)
    if z < end:
        at = min(z >> 8, SURVIVAL_END - 1)
        tail = _GAUSSIAN[at] - (((_GAUSSIAN[at] - _GAUSSIAN[at + 1]) * (z & 255)) >> 8)
        tail += ((end - z) << 8 >> wide) - (tail >> 12)
    return tail if edge < 0 else _WHOLE - tail


@njit(nogil=True, cache=True)
def _search(wanted, shift, r, wide):  # type: ignore[no-untyped-def]
    """The index k whose cell [2k - 1, 2k + 1) steps + shift holds the probability `wanted`; (k, P below it, P below its end)."""
    k, step, first = (-shift) >> 17, np.int64(1), shift - _ONE
    if _below((k << 17) + first, r, wide) > wanted:
        while _below((k << 17) + first, r, wide) > wanted:
            k -= step
            step *= 2
    else:
        while _below(((k + step) << 17) + first, r, wide) <= wanted:
            k += step
            step *= 2
    end = k + step
    while end - k > 1:
        middle = (k + end) >> 1
        if _below((middle << 17) + first, r, wide) <= wanted:
            k = middle
        else:
            end = middle
    return k, _below((k << 17) + first, r, wide), _below((k << 17) + shift + _ONE, r, wide)


@njit(nogil=True, cache=True)
def _code(coder, buffer, indices, points, key, first, r, union, following, state):  # type: ignore[no-untyped-def]
    """Code `indices` (int32 [n]) of coordinates `first` on, or decode them; `points` gets what they stand for, in Q16 steps.

    Returns the state, or -1 if an index has no probability.
    """
    decoding, wide = coder[range_coder.DECODING] != U64(0), np.int64(0)
    while (8 << wide) << 24 < 4 * r:
        wide += 1
    for i in range(indices.size):
        shift = (np.int64(union[state]) << 16) - _dither(key, first + i)
        k = np.int64(indices[i])
        if decoding:
            k, low, high = _search(target(coder, _WHOLE), shift, r, wide)
            indices[i] = k
        else:
            low, high = _below((k << 17) + shift - _ONE, r, wide), _below((k << 17) + shift + _ONE, r, wide)
            if high <= low:
                return np.int64(-1)
        narrow(coder, buffer, low, high - low, _WHOLE)
        points[i] = (k << 17) + shift
        state = following[state, k & 1]
    return state


@njit(nogil=True, cache=True)
def _candidates(x, key, first, costs, picks):  # type: ignore[no-untyped-def]
    """For coordinates `first` on, float64 [n] in steps: the nearest index of each set and parity, and the squared error."""
    for i in range(x.size):
        y = x[i] + _dither(key, first + i) * (1.0 / 65536)
        for u in range(2):
            for p in range(2):
                k = 2 * np.rint((y - u - 2 * p) * 0.25) + p
                error = np.float32(y - (2 * k + u))
                costs[i, 2 * u + p] = error * error
                picks[i, 2 * u + p] = np.int32(k)


class Span(NamedTuple):
    """Coordinates [start, end) and their step / deviation, Q24."""

    start: int
    end: int
    ratio: int


def _path(y: NDArray[np.float64], key: np.uint64, states: int) -> NDArray[np.int32]:
    """The best path's indices."""
    union, twist = trellis.lower(states)
    size = min(y.size, trellis.SEGMENT)
    costs, picks = np.empty((size, 4), np.float32), np.empty((size, 4), np.int32)
    choices, work = np.empty((size, states), np.bool_), np.empty((2, states), np.float32)
    state, out = 0, np.empty(y.size, np.int32)
    for first in range(0, y.size, trellis.SEGMENT):
        part = slice(first, first + trellis.SEGMENT)
        _candidates(y[part], key, first, costs, picks)
        state = trellis.follow(costs, picks, union, twist, state, work, choices, out[part])
    return out


def encode(y: NDArray[np.float64], spans: list[Span], key: np.uint64, states: int) -> bytes | None:
    """The bytes of float64 [n] in steps; None if a span's deviation is too small for one of its points."""
    indices, room = _path(y, key, states), 64 + y.size
    union, following = trellis.machine(states)
    points = np.empty(max(span.end - span.start for span in spans), np.int64)
    while True:
        coder, buffer, state = range_coder.make_encoder(), np.empty(room, np.uint8), 0
        for start, end, ratio in spans:
            state = _code(coder, buffer, indices[start:end], points, key, start, ratio, union, following, state)
            if state < 0:
                return None
        code = range_coder.finish(coder, buffer)
        if code is not None:
            return code
        room *= 2


def decode(payload: memoryview, spans: list[Span], key: np.uint64, states: int) -> NDArray[np.float64]:
    """What the points stand for: float64 [n] in steps. Raises FormatError."""
    data = np.frombuffer(payload, np.uint8).copy()
    coder, state, points = range_coder.make_decoder(data), 0, np.empty(spans[-1].end, np.int64)
    union, following = trellis.machine(states)
    for start, end, ratio in spans:
        indices = np.zeros(end - start, np.int32)
        state = _code(coder, data, indices, points[start:end], key, start, ratio, union, following, state)
    if not range_coder.ends(coder, data):
        raise FormatError("dithered indices: the code doesn't end where it should")
    return points / float(_ONE)
