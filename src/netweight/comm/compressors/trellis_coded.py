"""The contractive default: rate and distortion traded along a trellis, entropy-coded by what the levels turn out to be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...errors import FormatError, InputError
from ..coding import compact, levels, scale, trellis
from ..compressor import Claim, Compressor, Vector

_SLOPE: Final = 0.3
"""Squared steps that a bit is worth; the product error 4^(bits / d) is flat around it at every rate."""
_GAUSSIAN_ERROR: Final = 0.225
"""Error in squared steps for a Gaussian vector: where the search for the step begins."""
_REACH: Final = 64
_TRIES: Final = 8
_MOST_TRIES: Final = 200
_AIM: Final = 0.97
_SLACK: Final = 0.93
"""A step is small enough if the error is at most nu, and large enough if it is at least this part of it."""
_SAMPLED: Final = 1 << 14
_CHUNK: Final = 1 << 10


@njit(nogil=True, cache=True)
def _candidates(y, rates, costs, picks):  # type: ignore[no-untyped-def]
    """The best magnitude of each set and parity for |y| in steps, by squared error + rates[set, magnitude]."""
    reach = rates.shape[1] - 1
    for i in range(y.size):
        a = abs(y[i])
        for u in range(2):
            for p in range(2):
                nearest = max(2 * np.int64(np.rint((0.5 * (a + u) - p) * 0.5)) + p, p)
                best, pick = np.float64(np.inf), np.int64(0)
                for j in range(2):
                    m = nearest if j == 0 else (nearest - 2 if p else 0)
                    if m >= 0:
                        error = a - (2 * m - u) if m else a
                        cost = error * error + rates[u, min(m, reach)]
                        if cost < best:
                            best, pick = cost, m
                costs[i, 2 * u + p], picks[i, 2 * u + p] = best, pick


@njit(nogil=True, cache=True)
def _points(magnitudes, y, union, following, points, counts):  # type: ignore[no-untyped-def]
    """Signed levels' points in steps, and how often each set has each magnitude. Returns the squared error."""
    state, error, reach = np.int64(0), 0.0, counts.shape[1] - 1
    for i in range(magnitudes.size):
        m, u = np.int64(magnitudes[i]), np.int64(union[state])
        points[i] = 2 * m - u if m else 0
        counts[u, min(m, reach)] += 1
        lost = abs(y[i]) - points[i]
        error += lost * lost
        state = following[state, m & 1]
    return error


@njit(nogil=True, cache=True)
def _decode(k, union, following, step, most, out):  # type: ignore[no-untyped-def]
    state = np.int64(0)
    for i in range(k.size):
        m, u = abs(np.int64(k[i])), np.int64(union[state])
        value = min((2 * m - u) * step if m else 0.0, most)
        out[i] = -value if k[i] < 0 else value
        state = following[state, m & 1]


class _Path(NamedTuple):
    """What one pass of the Viterbi algorithm gave: magnitudes, squared error in squared steps, counts by set."""

    magnitudes: NDArray[np.int32]
    error: float
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class TrellisCoded(Compressor):
    """Entropy-coded trellis-coded quantisation at the largest step whose error is within `nu`.

    ||C(x) - x||^2 <= nu ||x||^2 for every x, since the sender has measured it; close to nu, unlike with schemes that bound the worst
    case by the step. Nothing is shared or rotated: the coder adapts to the levels' statistics, so sparse and uneven vectors take
    fewer bits than Gaussian ones, which take the most.

    payload = step (3 bytes), levels; only the step, 0, for a vector of zeros
    """

    name: ClassVar[str] = "trellis-coded"
    nu: float = 0.1
    states: int = 32

    def __post_init__(self) -> None:
        if not 1e-12 <= self.nu < 1:
            raise InputError(f"{self.name}: nu must be 1e-12 or more and under 1, not {self.nu}")
        if self.states not in trellis.STATES:
            raise InputError(f"{self.name}: states must be one of {trellis.STATES}, not {self.states}")

    def bound(self, d: int) -> Claim:  # noqa: ARG002  dimension-free
        return Claim("contractive", self.nu, "measured by the sender", sure=True)

    def encode(self, x: Vector, seed: int) -> bytes:  # noqa: ARG002  nothing is drawn
        norm = scale.norm(x)
        if not norm:
            return scale.write(0.0)
        unit = scale.cut(norm / math.sqrt(x.size), up=True)
        y = x.astype(np.float64) / unit if unit else x.astype(np.float64)
        step, path = self._search(y, float(np.sum(np.square(y))), unit)
        k = np.where(np.signbit(x), -path.magnitudes, path.magnitudes)
        return scale.write(step) + compact.encode(k, trellis.machine(self.states))

    def _search(self, y: NDArray[np.float64], energy: float, unit: float) -> tuple[float, _Path]:
        """The step (of x, as the payload has it) and the path of `y` = x / unit."""
        sample = _sample(y)
        ratio, rates = self._guess(sample, float(np.sum(np.square(sample))))
        kept: tuple[float, _Path] | None = None
        for tried in range(_MOST_TRIES):
            step = scale.cut(ratio * unit, up=False)
            path = self._path(y * (unit / step), rates)
            error = path.error * (step / unit) ** 2 / energy
            if error <= self.nu:
                kept = step, path
            if kept is not None and (error >= _SLACK * self.nu or tried >= _TRIES):
                return kept
            rates = _rates(path.counts)
            ratio *= self._factor(error)
        raise InputError(f"{self.name}: no step keeps the error within {self.nu} of the energy")

    def _factor(self, error: float) -> float:
        """What to multiply a step by that leaves this error."""
        return min(2.0, max(0.5, math.sqrt(_AIM * self.nu / error))) if error else 2.0

    def _guess(self, y: NDArray[np.float64], energy: float) -> tuple[float, NDArray[np.float64]]:
        """About the step for float64 [n] of that energy, and the rates that go with it."""
        ratio, rates = math.sqrt(self.nu / _GAUSSIAN_ERROR), np.zeros((2, _REACH), np.float64)
        for tried in range(_TRIES if energy else 0):
            path = self._path(y / ratio, rates)
            rates = _rates(path.counts)
            error = path.error * ratio**2 / energy
            if tried and _SLACK * self.nu <= error <= self.nu:
                break
            ratio *= self._factor(error)
        return ratio, rates

    def _path(self, y: NDArray[np.float64], rates: NDArray[np.float64]) -> _Path:
        """The best path of float64 [n] in steps under bits x _SLOPE by set and magnitude."""
        lower, machine = trellis.lower(self.states), trellis.machine(self.states)
        size = min(y.size, trellis.SEGMENT)
        costs, picks = np.empty((size, 4), np.float32), np.empty((size, 4), np.int32)
        choices, work = np.empty((size, self.states), np.bool_), np.empty((2, self.states), np.float32)
        state, out = 0, np.empty(y.size, np.int32)
        for first in range(0, y.size, trellis.SEGMENT):
            part = slice(first, first + trellis.SEGMENT)
            _candidates(y[part], rates, costs, picks)
            state = trellis.follow(costs, picks, *lower, state, work, choices, out[part])
        counts = np.zeros((2, _REACH), np.int64)
        error = _points(out, y, *machine, np.empty(y.size, np.int64), counts)
        return _Path(out, error, counts)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:  # noqa: ARG002
        step, rest = scale.read(payload[: scale.BYTES]), payload[scale.BYTES :]
        out = np.zeros(d, dtype)
        if not step:
            if len(rest):
                raise FormatError(f"{self.name}: bytes behind a vector of zeros")
            return out
        machine = trellis.machine(self.states)
        k = compact.decode(rest, d, levels.MOST, machine)
        _decode(k, *machine, step, float(np.finfo(dtype).max), out)
        return out


def _sample(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chunks from all over a long vector."""
    if y.size <= _SAMPLED:
        return y
    starts = np.linspace(0, y.size - _CHUNK, _SAMPLED // _CHUNK).astype(np.int64)
    return np.concatenate([y[s : s + _CHUNK] for s in starts])


def _rates(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """_SLOPE x bits of a magnitude and its sign, by set, from counts (int64 [2, _REACH])."""
    smooth = counts + 0.1 / (1 + np.arange(_REACH))
    bits = -np.log2(smooth / smooth.sum(axis=1, keepdims=True)) + (np.arange(_REACH) > 0)
    out: NDArray[np.float64] = _SLOPE * np.minimum(bits, 40.0)
    return out
