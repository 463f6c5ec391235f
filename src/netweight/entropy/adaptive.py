"""Adaptive binary coding of small integers: side information, where a table would cost more than it saves.

A value v is written as v ones and a zero (up to UNARY of them), then, beyond, by Exp-Golomb. Every binary decision has its own
adaptive probability (16 bits, p += (bit - p) / 2^rate, the rate slowing down from 1 to 5), chosen by context and position, and
goes through a carry-less 32-bit arithmetic coder in integers (Witten, Neal, Cleary 1987, in the form of lpaq).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import FormatError, TruncatedError

UNARY: Final = 24
CONTEXTS: Final = 8
_NODES: Final = 64  # decisions per context: UNARY, then 32 for the length in Exp-Golomb
_GAMMA_BITS: Final = 31


@njit(nogil=True, cache=True)
def _split(low, high, p):  # type: ignore[no-untyped-def]
    """Where [low, high] is divided when the probability of a one is p / 65536; low <= split < high."""
    return low + ((high - low) >> np.uint64(16)) * p + ((((high - low) & np.uint64(0xFFFF)) * p) >> np.uint64(16))


@njit(nogil=True, cache=True)
def _update(probabilities, counts, k, bit):  # type: ignore[no-untyped-def]
    rate = min(counts[k] + 1, 5)
    counts[k] += 1 if counts[k] < 5 else 0
    if bit:
        probabilities[k] += (65535 - probabilities[k]) >> rate
    else:
        probabilities[k] -= probabilities[k] >> rate
    probabilities[k] = min(max(probabilities[k], 64), 65536 - 64)


@njit(nogil=True, cache=True)
def encode_bit(out, state, p, bit):  # type: ignore[no-untyped-def]
    """Code one decision whose probability of a one is p / 65536; state is [low, high, bytes written]. Returns the bit."""
    middle = _split(state[0], state[1], p)
    if bit:
        state[1] = middle
    else:
        state[0] = middle + np.uint64(1)
    while (state[0] ^ state[1]) < np.uint64(1 << 24):
        out[state[2]] = np.uint8(state[1] >> np.uint64(24))
        state[2] += np.uint64(1)
        state[0] = (state[0] << np.uint64(8)) & np.uint64(0xFFFFFFFF)
        state[1] = ((state[1] << np.uint64(8)) & np.uint64(0xFFFFFFFF)) | np.uint64(255)
    return bit


@njit(nogil=True, cache=True)
def decode_bit(data, state, p):  # type: ignore[no-untyped-def]
    """Decode one decision; state is [low, high, bytes read, code]. Zeros are read past the end."""
    middle = _split(state[0], state[1], p)
    bit = 1 if state[3] <= middle else 0
    if bit:
        state[1] = middle
    else:
        state[0] = middle + np.uint64(1)
    while (state[0] ^ state[1]) < np.uint64(1 << 24):
        state[0] = (state[0] << np.uint64(8)) & np.uint64(0xFFFFFFFF)
        state[1] = ((state[1] << np.uint64(8)) & np.uint64(0xFFFFFFFF)) | np.uint64(255)
        byte = np.uint64(data[state[2]]) if state[2] < np.uint64(data.size) else np.uint64(0)
        state[2] += np.uint64(1)
        state[3] = ((state[3] << np.uint64(8)) & np.uint64(0xFFFFFFFF)) | byte
    return bit


@njit(nogil=True, cache=True)
def end_encoder(out, state):  # type: ignore[no-untyped-def]
    """Write the last byte; how many there are. One byte above low's first one lies in [low, high], whatever follows."""
    out[state[2]] = np.uint8((state[0] >> np.uint64(24)) + np.uint64(1))
    state[2] += np.uint64(1)
    return np.int64(state[2])


@njit(nogil=True, cache=True)
def start_decoder(data):  # type: ignore[no-untyped-def]
    """The state before the first decision."""
    state = np.array([0, 0xFFFFFFFF, 0, 0], np.uint64)
    for _ in range(4):
        byte = np.uint64(data[state[2]]) if state[2] < np.uint64(data.size) else np.uint64(0)
        state[2] += np.uint64(1)
        state[3] = (state[3] << np.uint64(8)) | byte
    return state


@njit(nogil=True, cache=True)
def _put(out, state, probabilities, counts, k, bit):  # type: ignore[no-untyped-def]
    encode_bit(out, state, np.uint64(probabilities[k]), bit)
    _update(probabilities, counts, k, bit)


@njit(nogil=True, cache=True)
def _get(data, state, probabilities, counts, k):  # type: ignore[no-untyped-def]
    bit = decode_bit(data, state, np.uint64(probabilities[k]))
    _update(probabilities, counts, k, bit)
    return bit


@njit(nogil=True, cache=True)
def _encode(values, contexts, out):  # type: ignore[no-untyped-def]
    probabilities, counts = np.full(CONTEXTS * _NODES, 32768, np.int64), np.zeros(CONTEXTS * _NODES, np.int64)
    state = np.array([0, 0xFFFFFFFF, 0], np.uint64)
    for i in range(values.size):
        base, v = np.int64(contexts[i]) * _NODES, np.int64(values[i])
        for u in range(min(v, UNARY)):
            _put(out, state, probabilities, counts, base + u, 1)
        if v < UNARY:
            _put(out, state, probabilities, counts, base + v, 0)
            continue
        rest, length = v - UNARY + 1, 0
        while rest >> (length + 1):
            _put(out, state, probabilities, counts, base + UNARY + length, 1)
            length += 1
        _put(out, state, probabilities, counts, base + UNARY + length, 0)
        for b in range(length - 1, -1, -1):
            _put(out, state, probabilities, counts, base + _NODES - 1, (rest >> b) & 1)
    return end_encoder(out, state)


@njit(nogil=True, cache=True)
def _decode(data, contexts, limit, values):  # type: ignore[no-untyped-def]
    """Bytes read, or -1 for a value over `limit`."""
    probabilities, counts = np.full(CONTEXTS * _NODES, 32768, np.int64), np.zeros(CONTEXTS * _NODES, np.int64)
    state = start_decoder(data)
    for i in range(values.size):
        base, v = np.int64(contexts[i]) * _NODES, 0
        while v < UNARY and _get(data, state, probabilities, counts, base + v):
            v += 1
        if v == UNARY:
            length = 0
            while length < _GAMMA_BITS and _get(data, state, probabilities, counts, base + UNARY + length):
                length += 1
            rest = 1
            for _ in range(length):
                rest = (rest << 1) | _get(data, state, probabilities, counts, base + _NODES - 1)
            v = UNARY + rest - 1
        if v > limit:
            return -1
        values[i] = v
    return np.int64(state[2])


def encode(values: NDArray[np.int64], contexts: NDArray[np.uint8]) -> bytes:
    """Code `values` (int64 [n] in [0, 2^31)), value i with the statistics of `contexts[i]` (uint8 below CONTEXTS)."""
    decisions = np.minimum(values, UNARY) + 1 + np.where(values >= UNARY, 2 * _GAMMA_BITS + 1, 0)
    out = np.empty(16 + 2 * int(decisions.sum()), np.uint8)
    return out[: _encode(values, contexts, out)].tobytes()


def decode(payload: bytes | memoryview, contexts: NDArray[np.uint8], limit: int) -> NDArray[np.int64]:
    """The inverse of `encode`; the contexts give the length. Raises FormatError, also for a value over `limit`."""
    data = np.frombuffer(payload, np.uint8)
    values = np.empty(contexts.size, np.int64)
    used = _decode(data, contexts, limit, values)
    if used < 0:
        raise FormatError(f"adaptive code: a value over {limit}")
    if used - 3 > data.size:
        raise TruncatedError("adaptive code: ends early")
    if used - 3 < data.size:
        raise FormatError("adaptive code: doesn't end where it should")
    return values
