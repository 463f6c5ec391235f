"""The unbiased default: a rotation, a dither and a trellis, within a few per cent of the limit at every rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.fixedpoint import EXP2
from ...errors import FormatError, InputError
from ..coding import dithered, random, rotation, scale, trellis
from ..coding.dithered import Span
from ..compressor import Claim, Compressor, Vector

_EVEN: Final = 160
"""The byte of a block whose coordinates have the mean energy; 8 more are twice the deviation."""
_THINNED: Final = 2.0
"""Above this nu only a part of the coordinates is sent, at this nu: the best one as the rate goes to 0."""
_MOMENT: Final = {4: 0.7949, 8: 0.7791, 16: 0.7668, 32: 0.7577, 64: 0.7499}
"""Measured mean squared error of the trellis in units of the bound, step^2 / 3."""


@dataclass(frozen=True)
class DitheredTrellis(Compressor):
    """A random rotation, a subtractive dither, trellis-coded quantisation, and indices coded given their dithers.

    The error is a random vector that doesn't depend on x: uniform in a cell of the trellis, under random signs. So E C(x) = x for
    every x, and since the best path errs no more than the one that always takes the nearest point of its set,
    omega <= d (step^2 / 3) / ||x||^2 = nu with step = sqrt(3 nu / d) ||x||; measured, 0.76 nu with 32 states. Where nu is over 2,
    k = ceil(3 d / (1 + nu)) random coordinates of the rotated vector are sent, scaled by d / k: (1 + omega) d / k <= 1 + nu.

    `shrunk` by the factor that leaves the least error, 1 / (1 + omega), it is contractive instead.

    payload = step and whether blocks differ (3 bytes), a byte a block if they do, indices
    """

    name: ClassVar[str] = "dithered trellis"
    shares_seed: ClassVar[bool] = True
    nu: float = 0.25
    states: int = 32
    shrunk: bool = False

    def __post_init__(self) -> None:
        if not 1e-9 <= self.nu <= 1e6:
            raise InputError(f"{self.name}: nu must be 1e-9 to 1e6, not {self.nu}")
        if self.states not in trellis.STATES:
            raise InputError(f"{self.name}: states must be one of {trellis.STATES}, not {self.states}")

    def bound(self, d: int) -> Claim:
        source = "dithered lattice, Zamir and Feder 1992; the bound by its sublattice is derived"
        if not self.shrunk:
            return Claim("unbiased", self.nu, source)
        omega = self._omega(d)
        return Claim("contractive", (self.nu + omega**2) / (1 + omega) ** 2, source)

    def _sent(self, d: int) -> tuple[int, float]:
        """How many coordinates are sent, and the nu that they are sent at."""
        if self.nu <= _THINNED:
            return d, self.nu
        k = min(d, math.ceil(d * (1 + _THINNED) / (1 + self.nu)))
        return k, (1 + self.nu) * k / d - 1

    def _omega(self, d: int) -> float:
        k, nu = self._sent(d)
        return (1 + _MOMENT[self.states] * nu) * d / k - 1

    def encode(self, x: Vector, seed: int) -> bytes:
        k, nu = self._sent(x.size)
        step = scale.cut(math.sqrt(3 * nu / x.size) * scale.norm(x), up=False)
        if not step:
            return scale.write(0.0)
        y = rotation.rotated(x.astype(np.float64) / step, rotation.key(seed))
        spans, places = _spans(x.size, k, seed)
        if k < x.size:
            y = y[places]
        sizes = [_size_of(y[a:b], nu) for a, b in spans]
        while True:
            code = dithered.encode(y, _with_ratios(spans, sizes, nu), random.key_of(seed, 8), self.states)
            if code is not None:
                flag = any(size != _EVEN for size in sizes)
                return scale.write(step, flag) + (bytes(sizes) if flag else b"") + code
            sizes = [min(255, size + 8) for size in sizes]

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:
        step, flag = scale.read_flagged(payload[: scale.BYTES])
        rest = payload[scale.BYTES :]
        if not step:
            if flag or len(rest):
                raise FormatError(f"{self.name}: bytes behind a vector of zeros")
            return np.zeros(d, dtype)
        k, nu = self._sent(d)
        spans, places = _spans(d, k, seed)
        head = len(spans) if flag else 0
        if len(rest) < head:
            raise FormatError(f"{self.name}: {len(rest)} bytes for {head} blocks")
        sizes = list(rest[:head]) if flag else [_EVEN] * len(spans)
        y = dithered.decode(rest[head:], _with_ratios(spans, sizes, nu), random.key_of(seed, 8), self.states)
        with np.errstate(over="ignore"):  # what isn't finite is refused after the rotation
            y *= step * (d / k / (1 + self._omega(d)) if self.shrunk else d / k)
        if k < d:
            whole = np.zeros(d)
            whole[places] = y
            y = whole
        return scale.to_dtype(rotation.rotate_back(y, rotation.key(seed)), dtype)


def _spans(d: int, k: int, seed: int) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
    """The blocks of the rotation, as ranges of the k coordinates that are sent, and which these are (all, where k = d)."""
    blocks = rotation.blocks(d)
    if k == d:
        return blocks, np.zeros(0, np.int64)
    places = np.sort(random.subset(random.key_of(seed, 9), k, d))
    ends = [int(e) for e in np.searchsorted(places, [end for _, end in blocks])]
    spans = [(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True) if a < b]
    return spans, places


def _size_of(y: NDArray[np.float64], nu: float) -> int:
    """The byte that tells the deviation of coordinates in steps; no less than the largest one needs."""
    deviation = max(math.sqrt(float(np.mean(np.square(y)))), float(np.abs(y).max()) / 7, 1e-9)
    eighths = _EVEN + round(8 * math.log2(deviation * math.sqrt(3 * nu)))
    return min(255, max(0, eighths))


def _with_ratios(spans: list[tuple[int, int]], sizes: list[int], nu: float) -> list[Span]:
    """Spans with step / deviation, by integers after the square root."""
    even = int(math.sqrt(3 * nu) * (1 << dithered.POINT))
    out = []
    for (start, end), size in zip(spans, sizes, strict=True):
        octaves, part = divmod(_EVEN - size, 8)
        wide = even * int(EXP2[32 * part])
        ratio = wide >> (16 - octaves) if octaves < 16 else wide << (octaves - 16)
        out.append(Span(start, end, min(max(1, ratio), dithered.MOST_RATIO)))
    return out
