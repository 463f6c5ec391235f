"""One step for all weights: w as the nearest multiple of it, the multiples entropy coded. The plain scalar baseline.

body    := step (float32) | shift(1) | first zigzag varint | window - 1 (1) | escapes(1: 0 or 1) | indices | [escaped] | low
indices := the multiple's bits above `shift`, minus `first`, below `window`; `window` itself for one outside (indices.py)
escaped := blob: how far outside, below (odd) or above (even) the window in turn (adaptive.py)
low     := the multiples' `shift` low bits, eight at a time from the low end (lowbits.py)
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ....entropy import adaptive
from ....errors import FormatError
from ....wire import Reader, Writer, from_zigzag, zigzag
from ...coders.lowbits import pack_bits, unpack_bits
from ...coders.scales import Shape
from ..code import LossyCode
from ..values import Floats, squares
from .indices import checked, count_of, read_indices, write_indices

Multiples = NDArray[np.int64]

_WINDOW: Final = 255
_RARE: Final = 512  # one escape in so many weights is as cheap as it needs to be
_MOST_SHIFT: Final = 24
_LARGEST: Final = (1 << 30) - 1
_BISECTIONS: Final = 14


@njit(nogil=True, cache=True)
def _noise(values, step):  # type: ignore[no-untyped-def]
    """Squared error of rounding to multiples of `step`."""
    total = 0.0
    for i in range(values.size):
        w = np.float64(values[i])
        d = w - np.rint(w / step) * step
        total += d * d
    return total


def step_for(values: Floats, noise: float) -> float:
    """The largest step (within 0.01 %) whose squared error is at most `noise`."""
    low = np.sqrt(noise / values.size)  # an error of step / 2 at worst, so this one holds
    high = 4 * float(np.abs(values).max())
    if _noise(values, high) <= noise:
        return high
    ceiling = 2 * low * np.sqrt(12)
    while _noise(values, ceiling) <= noise:
        low, ceiling = ceiling, 2 * ceiling
    high = min(high, ceiling)
    for _ in range(_BISECTIONS):
        middle = float(np.sqrt(low * high))
        if _noise(values, middle) <= noise:
            low = middle
        else:
            high = middle
    return float(low)


class Uniform(LossyCode):
    """A uniform quantiser at the largest step that holds the error; `coder` as in indices.py."""

    id = "netweight.lossy.uniform"

    def __init__(self, rel_mse: float = 0.01, coder: str = "rans") -> None:
        """Raises ValueError for an error or a coder that isn't one."""
        super().__init__(rel_mse)
        self.coder = checked(coder)

    def config(self) -> dict[str, Any]:
        return super().config() | {"coder": self.coder}

    def quantise(self, values: Floats, shapes: list[Shape], rel_mse: float) -> tuple[bytes, Floats] | None:
        step = np.nextafter(np.float32(step_for(values, rel_mse * squares(values))), np.float32(0))
        if not float(np.abs(values).max()) < _LARGEST * float(step) < np.inf:
            return None
        multiples = np.rint(values.astype(np.float64) / np.float64(step)).astype(np.int64)
        out = Writer().raw(np.array([step], "<f4").view(np.uint8))
        _write_multiples(out, multiples, shapes, self.coder)
        return out.bytes(), restored_of(multiples, step)

    def restore(self, body: memoryview, shapes: list[Shape]) -> Floats:
        source = Reader(body, self.id)
        step = source.array(1, "<f4").astype(np.float32)[0]
        multiples = _read_multiples(source, shapes, self.coder)
        source.end()
        restored = restored_of(multiples, step)
        if not bool(np.isfinite(restored).all()):
            raise FormatError(f"{self.id}: a weight that isn't finite")
        return restored


def restored_of(multiples: NDArray[np.signedinteger[Any]], step: np.float32) -> Floats:
    """One IEEE product a weight, in float64, rounded to float32."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return np.asarray((multiples * np.float64(step)).astype(np.float32))


def _window(multiples: Multiples) -> tuple[int, int, int]:
    """(shift, first, window) such that hardly any multiple, shifted, lies outside first .. first + window - 1."""
    low, high = int(multiples.min()), int(multiples.max())
    if high - low <= _WINDOW:
        return 0, low, high - low + 1
    for shift in range(_MOST_SHIFT + 1):
        first, last = low >> shift, high >> shift
        if last - first < _WINDOW:
            return shift, first, last - first + 1
        first = -(_WINDOW // 2)
        coarse = multiples >> shift
        if np.count_nonzero((coarse < first) | (coarse >= first + _WINDOW)) * _RARE <= multiples.size:
            return shift, first, _WINDOW
    raise AssertionError("multiples are below 2^30")


def _write_multiples(out: Writer, multiples: Multiples, shapes: list[Shape], coder: str) -> None:
    shift, first, window = _window(multiples)
    coarse = (multiples >> shift) - first
    outside = (coarse < 0) | (coarse >= window)
    escapes = bool(outside.any())
    out.raw(bytes([shift])).varint(zigzag(first)).raw(bytes([window - 1, escapes]))
    symbols = np.where(outside, window, coarse).astype(np.uint8)
    energy = (np.arange(window + escapes, dtype=np.float64) + (first + 0.5 * (shift > 0))) ** 2
    write_indices(out, symbols, window + escapes, shapes, coder, energy)
    if escapes:
        far = coarse[outside]
        distances = np.where(far < 0, -2 * far - 1, 2 * (far - window))
        out.blob(adaptive.encode(distances, np.zeros(distances.size, np.uint8)))
    for at in range(0, shift, 8):
        width = min(8, shift - at)
        out.raw(pack_bits((multiples >> at & ((1 << width) - 1)).astype(np.uint8), width))


def _read_multiples(source: Reader, shapes: list[Shape], coder: str) -> Multiples:
    """Raises FormatError."""
    shift, first = source.byte(), from_zigzag(source.varint(limit=1 << 31))
    window, escapes = source.byte() + 1, source.byte()
    if shift > _MOST_SHIFT or escapes > 1 or window + escapes > 256:
        raise FormatError("uniform: an impossible window")
    symbols = read_indices(source, window + escapes, shapes, coder)
    coarse = symbols.astype(np.int64)
    if escapes:
        outside = np.flatnonzero(symbols == window)
        distances = adaptive.decode(source.blob(), np.zeros(outside.size, np.uint8), 1 << 31)
        coarse[outside] = np.where(distances & 1, -(distances >> 1) - 1, (distances >> 1) + window)
    coarse = (coarse + first) << shift
    for at in range(0, shift, 8):
        coarse |= unpack_bits(source, min(8, shift - at), count_of(shapes)).astype(np.int64) << at
    return coarse
