"""Unsigned integers of a fixed width, one after the other, low bits first."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy.memory import load64, store64
from ...errors import FormatError

U64 = np.uint64


@njit(nogil=True, cache=True)
def _pack(values, shift, width, out):  # type: ignore[no-untyped-def]
    """Bits [shift, shift + width) of each of values [8 groups]; width <= 8; `out` has 8 bytes to spare."""
    mask, bits = U64((1 << width) - 1), U64(width)
    for g in range(values.size >> 3):
        word = U64(0)
        for j in range(8):
            word |= ((U64(values[8 * g + j]) >> U64(shift)) & mask) << (U64(j) * bits)
        store64(out, g * width, word)


@njit(nogil=True, cache=True)
def _unpack(data, width, shift, out):  # type: ignore[no-untyped-def]
    """The inverse: ORs the bits into `out`; `data` has 8 bytes to spare."""
    mask, bits = U64((1 << width) - 1), U64(width)
    for g in range(out.size >> 3):
        word = load64(data, g * width)
        for j in range(8):
            out[8 * g + j] |= np.uint32(((word >> (U64(j) * bits)) & mask) << U64(shift))


def size(n: int, width: int) -> int:
    """Bytes of `n` values of `width` bits."""
    return sum((n * part + 7) // 8 for part in _parts(width))


def _parts(width: int) -> list[int]:
    return [min(8, width - at) for at in range(0, width, 8)]


def pack(values: NDArray[np.uint32], width: int) -> bytes:
    """uint32 [n] below 2^width, width 1 .. 32: the low eight bits of all, then the next eight, the last ones fewer."""
    n = values.size
    if n & 7:
        values = np.concatenate([values, np.zeros(-n & 7, np.uint32)])
    out = []
    for i, part in enumerate(_parts(width)):
        if part == 8:
            out.append((values[:n] >> np.uint32(8 * i)).astype(np.uint8).tobytes())
            continue
        room = np.empty(values.size // 8 * part + 8, np.uint8)
        _pack(values, 8 * i, part, room)
        out.append(room[: (n * part + 7) // 8].tobytes())
    return b"".join(out)


def unpack(data: bytes | memoryview, n: int, width: int) -> NDArray[np.uint32]:
    """The inverse: uint32 [n]. Raises FormatError for another length, or bits behind the last value."""
    if len(data) != size(n, width):
        raise FormatError(f"{len(data)} bytes for {n} values of {width} bits")
    out, at = np.zeros(n + (-n & 7), np.uint32), 0
    for i, part in enumerate(_parts(width)):
        nbytes = (n * part + 7) // 8
        if part == 8:
            out[:n] |= np.frombuffer(data[at : at + n], np.uint8).astype(np.uint32) << np.uint32(8 * i)
            at += n
            continue
        room = np.zeros(out.size // 8 * part + 8, np.uint8)
        room[:nbytes] = np.frombuffer(data[at : at + nbytes], np.uint8)
        _unpack(room, part, 8 * i, out)
        at += nbytes
    if out[n:].any():
        raise FormatError("bits behind the last value")
    return out[:n]
