"""Logistic mixing of bit predictions and binary arithmetic coding, in integers (numba kernels).

A *slot* is an adaptive counter: P(1) in 22 bits and its number of updates in 10. Each decision has a few predictions,
in the logistic domain ("stretch", Q8 nats); two sets of weights, each chosen by a small context, mix them, and the
mean of both is squashed to a 16-bit probability (Mattern, "Linear and geometric mixtures", DCC 2013; the PAQ family).
The coder is the carry-less binary one with 32-bit bounds. The same kernels encode and decode: `work[DECODING]` says
which.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .fixedpoint import LOG2, RECIPROCAL, SQUASH, STRETCH, STRETCH_LIMIT

Work = NDArray[np.int64]
"""All that a block's kernels keep but counters and buffers, at fixed places; one array, since numba counts references
to each.
"""

LOW, HIGH, VALUE, POSITION, DECODING, OVERFLOW = 0, 1, 2, 3, 4, 5
INPUTS: Final = 8  # predictions a decision: the first two given, then one a slot, the last a constant
INPUT_AT, SLOT_AT, USER_AT, WEIGHT_AT = 16, 24, 32, 128  # 8..13 are free for a second stream, 32..127 for the model
SLOTS: Final = INPUTS - 3
_BIAS: Final = 64
_RATE: Final = 6
_COUNT_LIMIT: Final = 255
_FIRST_COUNT: Final = 6  # what a prior prediction is worth, in updates
_LEAST_P: Final = 16

_kernel: Any = njit(nogil=True, cache=True, forceinline=True, error_model="numpy")


def make_work(sets: int) -> Work:
    """Registers of an encoder, and `sets` fresh weight vectors (both kinds together)."""
    work = np.zeros(WEIGHT_AT + sets * INPUTS, np.int64)
    work[HIGH], work[INPUT_AT + INPUTS - 1] = 0xFFFFFFFF, _BIAS
    weights = work[WEIGHT_AT:].reshape(sets, INPUTS)
    weights[:, :2], weights[:, 2:-1] = 9830, 7864
    return work


def start_decoding(work: Work, payload: NDArray[np.uint8]) -> None:
    """Read `payload`, and zeros after its end."""
    head = np.zeros(4, np.uint8)
    head[: min(4, payload.size)] = payload[:4]
    work[VALUE], work[POSITION], work[DECODING] = int.from_bytes(head.tobytes(), "big"), 4, 1


def finish(work: Work, buffer: NDArray[np.uint8]) -> bytes | None:
    """The encoded bytes: one more byte lands between the bounds. None if `buffer` was too small."""
    low, position = int(work[LOW]), int(work[POSITION])
    if work[OVERFLOW] or position >= buffer.size:
        return None
    buffer[position] = (low >> 24) + 1 if low else 0
    return buffer[: position + 1].tobytes()


def consumed(work: Work) -> int:
    """Bytes that a decoder has used; the encoder wrote exactly that many."""
    return int(work[POSITION]) - 3


@_kernel
def code_bit(work, buf, p, bit):  # type: ignore[no-untyped-def]
    """Code `bit`, or decode and return one. `p`: P(1) in 16 bits, 1..65535."""
    low, high = work[LOW], work[HIGH]
    middle = low + (((high - low) * p) >> 16)
    if work[DECODING]:
        bit = 1 if work[VALUE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) < 1 << 24:
        at = work[POSITION]
        if work[DECODING]:
            byte = np.int64(buf[at]) if at < buf.size else 0
            work[VALUE] = (work[VALUE] << 8 | byte) & 0xFFFFFFFF
        elif at < buf.size:
            buf[at] = high >> 24
        else:
            work[OVERFLOW] = 1
        work[POSITION] = at + 1
        low = low << 8 & 0xFFFFFFFF
        high = high << 8 & 0xFFFFFFFF | 255
    work[LOW], work[HIGH] = low, high
    return bit


@_kernel
def log2(x):  # type: ignore[no-untyped-def]
    """log2 of an integer x >= 1 in Q8, within 1/256 or so."""
    octave, rest = np.int64(0), x
    for step in (32, 16, 8, 4, 2, 1):
        if rest >> step:
            rest >>= step
            octave += step
    fraction = (x >> (octave - 8) if octave >= 8 else x << (8 - octave)) & 255
    return (octave << 8) + LOG2[fraction]


@_kernel
def adapted_up_to(state, bit, most):  # type: ignore[no-untyped-def]
    """A counter's next state: P(1) moves towards `bit` by 1 / (updates + 1.5), updates counted up to `most`."""
    count, p = state & 1023, state >> 10
    p += (((bit << 22) - p) * RECIPROCAL[2 * count + 3]) >> 15
    p = min(max(p, 64), (1 << 22) - 64)
    return p << 10 | min(count + 1, most)


@_kernel
def adapted(state, bit):  # type: ignore[no-untyped-def]
    """The same at least by 1/256."""
    return adapted_up_to(state, bit, _COUNT_LIMIT)


@_kernel
def code_flag(work, flags, buf, at, bit):  # type: ignore[no-untyped-def]
    """Code a bit by the counter `flags[at]` alone."""
    state = np.int64(flags[at])
    if state == 0:
        state = 1 << 31
    bit = code_bit(work, buf, min(max(state >> 16, _LEAST_P), 65536 - _LEAST_P), bit)
    flags[at] = adapted(state, bit)
    return bit


@_kernel
def code_mixed(work, counters, buf, first, second, bit):  # type: ignore[no-untyped-def]
    """Code a bit by mixing the first two inputs and the counters in the slots; weight sets number `first` and
    `second`.
    """
    prior = SQUASH[((work[INPUT_AT + 0] + work[INPUT_AT + 1]) >> 1) + STRETCH_LIMIT] << 16 | _FIRST_COUNT
    for i in range(SLOTS):
        state = np.int64(counters[work[SLOT_AT + i]])
        if state == 0:
            state = prior
            counters[work[SLOT_AT + i]] = state
        work[INPUT_AT + 2 + i] = STRETCH[state >> 20]
    a, b = WEIGHT_AT + first * INPUTS, WEIGHT_AT + second * INPUTS
    dot_a = dot_b = 1 << 15
    for i in range(INPUTS):
        dot_a += work[a + i] * work[INPUT_AT + i]
        dot_b += work[b + i] * work[INPUT_AT + i]
    x = min(max(dot_a >> 16, -STRETCH_LIMIT), STRETCH_LIMIT)
    y = min(max(dot_b >> 16, -STRETCH_LIMIT), STRETCH_LIMIT)
    p = SQUASH[((x + y) >> 1) + STRETCH_LIMIT]
    bit = code_bit(work, buf, min(max(p, _LEAST_P), 65536 - _LEAST_P), bit)
    error_a = ((bit << 16) - SQUASH[x + STRETCH_LIMIT]) * _RATE
    error_b = ((bit << 16) - SQUASH[y + STRETCH_LIMIT]) * _RATE
    for i in range(INPUTS):
        work[a + i] += (work[INPUT_AT + i] * error_a + (1 << 17)) >> 18
        work[b + i] += (work[INPUT_AT + i] * error_b + (1 << 17)) >> 18
    for i in range(SLOTS):
        counters[work[SLOT_AT + i]] = adapted(np.int64(counters[work[SLOT_AT + i]]), bit)
    return bit
