"""A range coder for large alphabets and changing distributions, in 64-bit integers (numba kernels).

A symbol with frequency `size` and cumulative start `start` out of any `total` narrows the interval [low, low + range) to
range // total * [start, start + size) (Martin 1979). range is kept at 2^56 or more, so a total of 2^46 wastes less than
2^-10 of it. The encoder works forwards, as adaptive models need, and carries into bytes that it has written.

Invariant: a decoder that asks with the same (start, size, total) walks through the same symbols. Bytes after the end are
read as zeros.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

LOW, RANGE, VALUE, POSITION, DECODING, OVERFLOW = 0, 1, 2, 3, 4, 5
"""Registers of a coder; VALUE is where in the interval the decoder stands, OVERFLOW says that a buffer was too small."""
BIT_BITS: Final = 16
_REGISTERS: Final = 6
_WORD_BYTES: Final = 8
_FIRST_RANGE: Final = (1 << 64) - 1

Coder = NDArray[np.uint64]
U64 = np.uint64
_BYTE: Final = U64(8)
_TOP: Final = U64(56)
_LEAST_RANGE: Final = U64(1 << 56)

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


def make_encoder() -> Coder:
    """A coder that has written nothing."""
    coder = np.zeros(_REGISTERS, np.uint64)
    coder[RANGE] = _FIRST_RANGE
    return coder


def make_decoder(payload: NDArray[np.uint8]) -> Coder:
    """A coder that reads `payload` (uint8 [n]) from its start."""
    coder, head = make_encoder(), np.zeros(_WORD_BYTES, np.uint8)
    head[: min(_WORD_BYTES, payload.size)] = payload[:_WORD_BYTES]
    coder[VALUE], coder[POSITION], coder[DECODING] = int.from_bytes(head.tobytes(), "big"), _WORD_BYTES, 1
    return coder


@_kernel
def _carry(buffer, position):  # type: ignore[no-untyped-def]
    """Add one to the number that `buffer[:position]` is; it is below all ones, since low + range stays below 1."""
    at = np.int64(position) - 1
    while at >= 0 and buffer[at] == 255:
        buffer[at] = 0
        at -= 1
    if at >= 0:
        buffer[at] += np.uint8(1)


@_kernel
def _renormalise(coder, buffer):  # type: ignore[no-untyped-def]
    """Write or read whole bytes until the range is large again."""
    while coder[RANGE] < _LEAST_RANGE:
        at = coder[POSITION]
        inside = at < U64(buffer.size)
        if coder[DECODING]:
            byte = U64(buffer[at]) if inside else U64(0)
            coder[VALUE] = (coder[VALUE] << _BYTE) | byte
        elif inside:
            buffer[at] = np.uint8(coder[LOW] >> _TOP)
        else:
            coder[OVERFLOW] = U64(1)
        coder[POSITION] = at + U64(1)
        coder[LOW] <<= _BYTE
        coder[RANGE] <<= _BYTE


@_kernel
def narrow(coder, buffer, start, size, total):  # type: ignore[no-untyped-def]
    """Code the symbol at [start, start + size) of `total` < 2^56, or step over it in decoding; size > 0."""
    part = coder[RANGE] // U64(total)
    offset = part * U64(start)
    coder[RANGE] = part * U64(size)
    if coder[DECODING]:
        coder[VALUE] -= offset
    else:
        low = coder[LOW]
        coder[LOW] = low + offset
        if coder[LOW] < low:
            _carry(buffer, min(coder[POSITION], U64(buffer.size)))
    _renormalise(coder, buffer)


@_kernel
def target(coder, total):  # type: ignore[no-untyped-def]
    """In decoding: a number in [start, start + size) of the symbol that comes next, in [0, total)."""
    part = coder[RANGE] // U64(total)
    return np.int64(min(coder[VALUE] // part, U64(total) - U64(1)))


@_kernel
def code_bit(coder, buffer, p, bit):  # type: ignore[no-untyped-def]
    """Code `bit`, or decode and return one. `p`: P(1) in 16 bits, 1..65535."""
    if coder[DECODING]:
        bit = np.int64(target(coder, 1 << BIT_BITS) < p)
    if bit:
        narrow(coder, buffer, 0, p, 1 << BIT_BITS)
    else:
        narrow(coder, buffer, p, (1 << BIT_BITS) - p, 1 << BIT_BITS)
    return bit


def finish(coder: Coder, buffer: NDArray[np.uint8]) -> bytes | None:
    """What was written: the whole bytes, and the fewest more that lie in the interval. None if `buffer` was too small."""
    low, size, position = int(coder[LOW]), int(coder[RANGE]), int(coder[POSITION])
    if coder[OVERFLOW]:
        return None
    value, count = low, _WORD_BYTES
    for n in range(_WORD_BYTES):
        mask = (1 << (64 - 8 * n)) - 1
        rounded = (low + mask) & ~mask
        if rounded - low < size:
            value, count = rounded, n
            break
    if value >> 64:
        _carry(buffer, position)
    tail = (value & _FIRST_RANGE).to_bytes(_WORD_BYTES, "big")
    return buffer[:position].tobytes() + tail[:count]


def overrun(coder: Coder, payload: NDArray[np.uint8]) -> bool:
    """Whether a decoder has read further than what `finish` would have left out."""
    return int(coder[POSITION]) > payload.size + _WORD_BYTES


def ends(coder: Coder, payload: NDArray[np.uint8]) -> bool:
    """Whether a decoder that took all symbols stands where the encoder of `payload` stood."""
    return not overrun(coder, payload) and payload.size <= int(coder[POSITION])
