"""Signs of a vector as bits, the first coordinate in the lowest bit of the first byte."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...errors import FormatError
from ..compressor import Vector


@njit(nogil=True, cache=True)
def _pack(x, out):  # type: ignore[no-untyped-def]
    for b in range(x.size >> 3):
        byte = 0
        for j in range(8):
            byte |= np.int64(x[8 * b + j] < 0) << j
        out[b] = byte
    for i in range(x.size & ~7, x.size):
        out[i >> 3] |= np.uint8(x[i] < 0) << np.uint8(i & 7)


@njit(nogil=True, cache=True)
def _unpack(data, value, out):  # type: ignore[no-untyped-def]
    for b in range(out.size >> 3):
        byte = np.int64(data[b])
        for j in range(8):
            out[8 * b + j] = -value if (byte >> j) & 1 else value
    for i in range(out.size & ~7, out.size):
        out[i] = -value if (data[i >> 3] >> (i & 7)) & 1 else value


def size(n: int) -> int:
    """Bytes of n signs."""
    return (n + 7) // 8


def pack(x: Vector) -> bytes:
    """A bit a coordinate, 1 for x < 0."""
    out = np.zeros(size(x.size), np.uint8)
    _pack(x, out)
    return out.tobytes()


def unpack(data: bytes | memoryview, n: int, magnitude: float, dtype: np.dtype[Any]) -> Vector:
    """+-magnitude (0 for 0, never -0) for each of n signs. Raises FormatError for a wrong length or bits behind the last one."""
    source: NDArray[np.uint8] = np.frombuffer(data, np.uint8)
    if source.size != size(n) or (n & 7 and source[-1] >> (n & 7)):
        raise FormatError(f"{source.size} bytes for {n} signs, or bits behind the last one")
    out = np.zeros(n, dtype)
    if magnitude:
        _unpack(source.copy(), dtype.type(min(magnitude, float(np.finfo(dtype).max))), out)
    return out
