"""Positive numbers in three bytes: the top of a float64, rounded as the claim of the compressor needs it.

That is 12 bits after the point over the whole range of float64, so a scale neither overflows nor vanishes, whatever the dtype of
the vector; and both sides multiply by the same float64. What would be the sign may carry a flag.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...errors import FormatError, InputError, TruncatedError
from ..compressor import NEGLIGIBLE, Vector

BYTES: Final = 3
ROUNDING: Final = 2.0**-24
"""What cutting a scale costs in ||error||^2 / ||x||^2, at most."""
_CUT: Final = 64 - 8 * BYTES


def cut(value: float, up: bool) -> float:
    """The nearest number at or above (`up`) or at or below `value` >= 0 that fits in BYTES.

    Raises InputError for an infinite value.
    """
    if not math.isfinite(value):
        raise InputError("the values are so large that their norm isn't a float64")
    bits = int.from_bytes(struct.pack("<d", value), "little")
    upper = bits >> _CUT
    if up and upper << _CUT != bits and math.isfinite(_from_upper(upper + 1)):
        upper += 1
    return _from_upper(upper)


def _from_upper(upper: int) -> float:
    return float(struct.unpack("<d", (upper << _CUT).to_bytes(8, "little"))[0])


def ldexp(value: float, exponent: int) -> float:
    """Value 2^exponent, the largest float64 where that is too large."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return float(np.finfo(np.float64).max)


def write(value: float, flag: bool = False) -> bytes:
    """The bytes of a number that `cut` returned."""
    return struct.pack("<d", -value if flag else value)[8 - BYTES :]


def read_flagged(data: bytes | memoryview) -> tuple[float, bool]:
    """The number and the flag. Raises FormatError for one that isn't finite."""
    if len(data) != BYTES:
        raise TruncatedError(f"scale: {len(data)} bytes of {BYTES}")
    value = _from_upper(int.from_bytes(data, "little"))
    if not math.isfinite(value):
        raise FormatError(f"scale: {value} isn't finite")
    return abs(value), math.copysign(1.0, value) < 0


def read(data: bytes | memoryview) -> float:
    """The inverse of `write` without a flag. Raises FormatError for anything but a finite number >= 0."""
    value, flag = read_flagged(data)
    if flag:
        raise FormatError(f"scale: -{value} isn't from 0 on")
    return value


def cut_up(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each of `values` >= 0, `cut` up."""
    bits = np.ascontiguousarray(values, np.float64).view(np.uint64)
    upper = (bits + np.uint64((1 << _CUT) - 1)) >> np.uint64(_CUT) << np.uint64(_CUT)
    out = upper.view(np.float64)
    return np.where(np.isfinite(out), out, (bits >> np.uint64(_CUT) << np.uint64(_CUT)).view(np.float64))


def write_all(values: NDArray[np.float64]) -> bytes:
    """`write` of each."""
    return values.astype("<f8").view(np.uint8).reshape(-1, 8)[:, 8 - BYTES :].tobytes()


def read_all(data: bytes | memoryview, count: int) -> NDArray[np.float64]:
    """`read` of each of `count` numbers. Raises FormatError."""
    if len(data) != BYTES * count:
        raise TruncatedError(f"scales: {len(data)} bytes for {count}")
    wide = np.zeros((count, 8), np.uint8)
    wide[:, 8 - BYTES :] = np.frombuffer(data, np.uint8).reshape(count, BYTES)
    values = wide.reshape(-1).view("<f8").astype(np.float64)
    if not bool(np.isfinite(values).all()) or bool(np.signbit(values).any()):
        raise FormatError("scales: one isn't a finite number from 0 on")
    return values


@njit(nogil=True, cache=True)
def _sums(x):  # type: ignore[no-untyped-def]
    """(sum |x|, sum x^2) in float64, in sixteen parts."""
    first, second, n = np.zeros(16), np.zeros(16), x.size // 16 * 16
    for i in range(0, n, 16):
        for j in range(16):
            v = np.float64(x[i + j])
            first[j] += abs(v)
            second[j] += v * v
    for i in range(n, x.size):
        v = np.float64(x[i])
        first[0] += abs(v)
        second[0] += v * v
    return first.sum(), second.sum()


def norms(x: Vector) -> tuple[float, float]:
    """(||x||_1, ||x||) in float64, without overflow or underflow on the way. The sender alone needs them.

    Raises InputError if the vector is so large that they aren't float64.
    """
    first, second = _sums(x)
    if 1e-250 < second < math.inf:
        return first, math.sqrt(second)
    largest = float(np.abs(x).max(initial=0.0))
    if largest <= NEGLIGIBLE:
        return 0.0, 0.0
    exponent = math.frexp(largest)[1]
    first, second = _sums(np.ldexp(x.astype(np.float64), -exponent))
    try:
        return math.ldexp(first, exponent), math.ldexp(math.sqrt(second), exponent)
    except OverflowError:
        raise InputError("the values are so large that their norm isn't a float64") from None


def norm(x: Vector) -> float:
    """||x||, as `norms` has it."""
    return norms(x)[1]


def to_dtype(values: NDArray[Any], dtype: np.dtype[Any]) -> Vector:
    """Float64 values as `dtype`; what rounding lifts over the largest number of it becomes that number."""
    most = float(np.finfo(dtype).max)
    if max(float(values.max(initial=0.0)), -float(values.min(initial=0.0))) > most:
        values = np.clip(values, -most, most)
    return values.astype(dtype, copy=False)
