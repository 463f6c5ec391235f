"""Laplace distributions on integers, with exact integer masses, for the range coder (numba kernels).

A latent k has P(k) = F(k + 1) - F(k) + 2^-TOTAL, where F(k) = P(X < k - 1/2) for X ~ Laplace(location, scale) comes from the
pinned table of entropy/fixedpoint.py: one monotone integer function, so encoder and decoder agree everywhere. The added
2^-TOTAL lets every k in [-LARGEST, LARGEST] be coded.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import range_coder
from ...entropy.fixedpoint import EXP2, SURVIVAL, SURVIVAL_END
from ...errors import FormatError
from . import design

TOTAL: Final = 24
LOCATION: Final = 8
"""Locations are in 2^-8 steps."""
FINENESS: Final = 16
"""Log2 scales are in sixteenths of an octave."""
LEAST, MOST = -5 * FINENESS, 9 * FINENESS
"""Log2 of a scale (mean absolute deviation, in steps), in 1/FINENESS, is clipped to [LEAST, MOST]."""
_K: Final = design.LARGEST
_FREE: Final = (1 << TOTAL) - (2 * _K + 1)
_POINT: Final = 16
_WIDE: Final = SURVIVAL_END << _POINT

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


def _inverses() -> NDArray[np.int64]:
    """1 / (2^(i / FINENESS) sqrt 2), Q24, for i = LEAST .. MOST: steps to standard deviations."""
    out = []
    for i in range(LEAST, MOST + 1):
        octaves, part = divmod(-256 * i // FINENESS - 128, 256)
        out.append(int(EXP2[part]) << 8 + octaves if 8 + octaves >= 0 else int(EXP2[part]) >> -8 - octaves)
    return np.array(out, np.int64)


_INVERSE: Final = _inverses()
_TAIL: Final = SURVIVAL[1].copy()


@_kernel
def _below(k, location, scale):  # type: ignore[no-untyped-def]
    """2^TOTAL P(X < k - 1/2), plus k + LARGEST; 0 at k = -LARGEST and 2^TOTAL at LARGEST + 1."""
    if k <= -_K:
        return np.int64(0)
    if k > _K:
        return np.int64(1 << TOTAL)
    distance = (k << LOCATION) - (1 << LOCATION >> 1) - location  # below 2^22
    # Q8 + Q24 = Q32 standard deviations, to Q24: eight bits of index and POINT bits between two entries
    size = min((abs(distance) * _INVERSE[scale - LEAST]) >> 8, _WIDE)
    at, part = size >> _POINT, size & ((1 << _POINT) - 1)
    tail = _TAIL[at]
    if part:
        tail -= (tail - _TAIL[at + 1]) * part >> _POINT
    tail = (tail >> (40 - TOTAL)) * _FREE >> TOTAL
    return (tail if distance < 0 else _FREE - tail) + k + _K


@_kernel
def _find(slot, location, scale):  # type: ignore[no-untyped-def]
    """The k that covers `slot`: tried around the location, then by halving."""
    low, high = -_K, _K + 1
    guess = min(max((location + (1 << LOCATION >> 1)) >> LOCATION, -_K), _K)
    reach = 1
    if _below(guess, location, scale) <= slot:
        low = guess
        while low + reach < high and _below(low + reach, location, scale) <= slot:
            low += reach
            reach *= 2
        high = min(high, low + reach)
    else:
        high = guess
        while high - reach > low and _below(high - reach, location, scale) > slot:
            high -= reach
            reach *= 2
        low = max(low, high - reach)
    while high - low > 1:
        middle = (low + high) >> 1
        if _below(middle, location, scale) <= slot:
            low = middle
        else:
            high = middle
    return low


@_kernel
def zero_mass(location, scale):  # type: ignore[no-untyped-def]
    """2^TOTAL P(0)."""
    return _below(1, location, scale) - _below(0, location, scale)


@_kernel
def code_nonzero(coder, buffer, k, location, scale):  # type: ignore[no-untyped-def]
    """Code k, known not to be 0, or decode and return one. `location` in 2^-LOCATION steps, |location| <= LARGEST; `scale`
    in [LEAST, MOST].
    """
    before, mass = _below(0, location, scale), zero_mass(location, scale)
    total = (1 << TOTAL) - mass
    if coder[range_coder.DECODING]:
        slot = range_coder.target(coder, total)
        k = _find(slot + mass if slot >= before else slot, location, scale)
    start = _below(k, location, scale)
    size = _below(k + 1, location, scale) - start
    range_coder.narrow(coder, buffer, start - mass if k > 0 else start, size, total)
    return k


@_kernel
def code(coder, buffer, k, location, scale):  # type: ignore[no-untyped-def]
    """Code any k, or decode and return one."""
    if coder[range_coder.DECODING]:
        k = _find(range_coder.target(coder, 1 << TOTAL), location, scale)
    start = _below(k, location, scale)
    range_coder.narrow(coder, buffer, start, _below(k + 1, location, scale) - start, 1 << TOTAL)
    return k


@_kernel
def _code_many(coder, buffer, values, scales):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        values[i] = code(coder, buffer, np.int64(values[i]), np.int64(0), np.int64(scales[i]))


def scale_of(values: NDArray[np.int32]) -> int:
    """The scale (LEAST .. MOST) of integers (any shape) around 0; the encoder alone computes it."""
    deviation = float(np.abs(values).mean()) if values.size else 0.0
    return int(min(max(round(FINENESS * float(np.log2(max(deviation, 1e-9)))), LEAST), MOST))


def encode(values: NDArray[np.int32], scales: NDArray[np.int16]) -> bytes:
    """`values` (int32 [n], magnitudes up to LARGEST) as Laplace variables around 0 of scales[i]."""
    if int(np.abs(values).max(initial=0)) > _K:
        raise ValueError("a value is out of range")
    buffer = np.empty(4 * values.size + 64, np.uint8)
    coder = range_coder.make_encoder()
    _code_many(coder, buffer, values.copy(), scales)
    out = range_coder.finish(coder, buffer)
    assert out is not None
    return out


def decode(data: bytes | memoryview, scales: NDArray[np.int16]) -> NDArray[np.int32]:
    """The inverse of `encode`: int32 [n]. Raises FormatError for scales out of range or another length."""
    if scales.size and not LEAST <= int(scales.min()) <= int(scales.max()) <= MOST:
        raise FormatError("Laplace variables: a scale is out of range")
    buffer, values = np.frombuffer(data, np.uint8).copy(), np.zeros(scales.size, np.int32)
    coder = range_coder.make_decoder(buffer)
    _code_many(coder, buffer, values, scales)
    if not range_coder.ends(coder, buffer):
        raise FormatError("Laplace variables: they don't end where they should")
    return values
