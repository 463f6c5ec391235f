"""Logistic mixing of bit predictions and binary arithmetic coding, in integers (numba kernels).

A *slot* is an adaptive counter: P(1) in 22 bits and its number of updates in 10. Each decision has a few predictions, in the logistic
domain ("stretch", Q8 nats); two sets of weights, each chosen by a small context, mix them, and the mean of both is squashed to a
16-bit probability (Mattern, "Linear and geometric mixtures", DCC 2013; the PAQ family). The coder is the carry-less binary one
with 32-bit bounds. The same kernels encode and decode: `registers[DECODING]` says which.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .fixedpoint import STRETCH_LIMIT, Tables

LOW, HIGH, VALUE, POSITION, DECODING, OVERFLOW = 0, 1, 2, 3, 4, 5
INPUTS: Final = 8  # predictions a decision: the first two given, then one a slot, the last a constant
SLOTS: Final = INPUTS - 3
_BIAS: Final = 64
_RATE: Final = 6
_COUNT_LIMIT: Final = 255
_FIRST_COUNT: Final = 6  # what a prior prediction is worth, in updates
_LEAST_P: Final = 16

_kernel: Any = njit(nogil=True, cache=True, forceinline=True)


class Coder(NamedTuple):
    """`registers`: int64[6]; `buffer`: the coded bytes, written or read."""

    registers: NDArray[np.int64]
    buffer: NDArray[np.uint8]


class Mixer(NamedTuple):
    """Counters (uint32), weights (Q16, two sets of INPUTS each), and the inputs and slots of the decision at hand."""

    counters: NDArray[np.uint32]
    weights: NDArray[np.int64]
    inputs: NDArray[np.int64]
    slots: NDArray[np.int64]


def make_mixer(slots: int, sets: int) -> Mixer:
    """A fresh mixer with `slots` counters and `sets` weight vectors (both kinds together)."""
    weights = np.empty((sets, INPUTS), np.int64)
    weights[:, :2], weights[:, 2:-1], weights[:, -1] = 9830, 7864, 0
    inputs = np.zeros(INPUTS, np.int64)
    inputs[-1] = _BIAS
    return Mixer(np.zeros(slots, np.uint32), weights.reshape(-1), inputs, np.zeros(SLOTS, np.int64))


def encoder(capacity: int) -> Coder:
    """A coder that writes at most `capacity` bytes; more set OVERFLOW."""
    return Coder(np.array([0, 0xFFFFFFFF, 0, 0, 0, 0], np.int64), np.zeros(capacity, np.uint8))


def decoder(payload: NDArray[np.uint8]) -> Coder:
    """A coder that reads `payload`, and zeros after its end."""
    head = np.zeros(4, np.uint8)
    head[: min(4, payload.size)] = payload[:4]
    return Coder(np.array([0, 0xFFFFFFFF, int.from_bytes(head.tobytes(), "big"), 4, 1, 0], np.int64), payload)


def finish(coder: Coder) -> bytes | None:
    """The encoded bytes: one more byte lands between the bounds. None after an overflow."""
    low, _, _, position, _, overflow = (int(v) for v in coder.registers)
    if overflow or position >= coder.buffer.size:
        return None
    coder.buffer[position] = (low >> 24) + 1 if low else 0
    return coder.buffer[: position + 1].tobytes()


def consumed(coder: Coder) -> int:
    """Bytes that a decoder has used; the encoder wrote exactly that many."""
    return int(coder.registers[POSITION]) - 3


@_kernel
def code_bit(coder: Coder, p: int, bit: int) -> int:
    """Code `bit`, or decode and return one. `p`: P(1) in 16 bits, 1..65535."""
    reg, buf = coder.registers, coder.buffer
    low, high = reg[LOW], reg[HIGH]
    middle = low + (((high - low) * p) >> 16)
    if reg[DECODING]:
        bit = 1 if reg[VALUE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) < 1 << 24:
        at = reg[POSITION]
        if reg[DECODING]:
            byte = np.int64(buf[at]) if at < buf.size else 0
            reg[VALUE] = (reg[VALUE] << 8 | byte) & 0xFFFFFFFF
        elif at < buf.size:
            buf[at] = high >> 24
        else:
            reg[OVERFLOW] = 1
        reg[POSITION] = at + 1
        low = low << 8 & 0xFFFFFFFF
        high = high << 8 & 0xFFFFFFFF | 255
    reg[LOW], reg[HIGH] = low, high
    return bit


@_kernel
def adapted(state: int, bit: int, reciprocal: NDArray[np.int64]) -> int:
    """A counter's next state: it moves towards `bit` by 1 / (updates + 1.5), at least by 1/256."""
    count, p = state & 1023, state >> 10
    p += (((bit << 22) - p) * reciprocal[2 * count + 3]) >> 15
    p = min(max(p, 64), (1 << 22) - 64)
    return p << 10 | min(count + 1, _COUNT_LIMIT)


@_kernel
def code_flag(coder: Coder, flags: NDArray[np.uint32], at: int, bit: int, t: Tables) -> int:
    """Code a bit by the counter `flags[at]` alone."""
    state = np.int64(flags[at])
    if state == 0:
        state = 1 << 31
    bit = code_bit(coder, min(max(state >> 16, _LEAST_P), 65536 - _LEAST_P), bit)
    flags[at] = adapted(state, bit, t.reciprocal)
    return bit


@_kernel
def code_mixed(coder: Coder, m: Mixer, first: int, second: int, bit: int, t: Tables) -> int:
    """Code a bit by mixing `m.inputs[:2]` and the counters `m.slots`; weight sets number `first` and `second`."""
    inputs, weights, counters, slots = m.inputs, m.weights, m.counters, m.slots
    prior = t.squash[((inputs[0] + inputs[1]) >> 1) + STRETCH_LIMIT] << 16 | _FIRST_COUNT
    for i in range(SLOTS):
        state = np.int64(counters[slots[i]])
        if state == 0:
            state = prior
            counters[slots[i]] = state
        inputs[2 + i] = t.stretch[state >> 20]
    a, b = first * INPUTS, second * INPUTS
    dot_a = dot_b = 1 << 15
    for i in range(INPUTS):
        dot_a += weights[a + i] * inputs[i]
        dot_b += weights[b + i] * inputs[i]
    x = min(max(dot_a >> 16, -STRETCH_LIMIT), STRETCH_LIMIT)
    y = min(max(dot_b >> 16, -STRETCH_LIMIT), STRETCH_LIMIT)
    p = t.squash[((x + y) >> 1) + STRETCH_LIMIT]
    bit = code_bit(coder, min(max(p, _LEAST_P), 65536 - _LEAST_P), bit)
    error_a = ((bit << 16) - t.squash[x + STRETCH_LIMIT]) * _RATE
    error_b = ((bit << 16) - t.squash[y + STRETCH_LIMIT]) * _RATE
    for i in range(INPUTS):
        weights[a + i] += (inputs[i] * error_a + (1 << 17)) >> 18
        weights[b + i] += (inputs[i] * error_b + (1 << 17)) >> 18
    for i in range(SLOTS):
        counters[slots[i]] = adapted(np.int64(counters[slots[i]]), bit, t.reciprocal)
    return bit
