"""A byte-level context-mixing model: what codes the bytes that a language model doesn't know (numba kernels, integers).

Each bit of a byte is predicted by counters in ten contexts (the last 0 to 6 bytes, the word, the word before it, and the
byte that followed the longest match), mixed in the logistic domain; as in lpaq (Mahoney 2007), with plain counters
instead of bit histories.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import range_coder
from ...entropy.fixedpoint import SQUASH, STRETCH, STRETCH_LIMIT
from ...entropy.mixing import adapted_up_to
from ...entropy.range_coder import code_bit
from ...errors import FormatError
from .decisions import learn, mix, mixed

Bytes = NDArray[np.uint8]

_ORDERS: Final = 8  # contexts hashed into the table: orders 1, 2, 3, 4, 5, 6, word, word before it
_SLOTS: Final = _ORDERS + 2  # and order 0, and the match
_INPUTS: Final = 2 * _SLOTS + 1
_MATCH_INPUT: Final = 2 * _SLOTS - 2
_MATCH_LEAST: Final = 5
_MATCH_MOST: Final = 63
_LONG: Final = 32
"""A match of so many bytes is believed as a whole: one decision a byte, which makes repetitive data fast."""
_MATCH_SLOT: Final = 256
_SETS: Final = 256 + 256 + 64  # by the bits so far, by the last byte, by the match
_UNDECIDED: Final = 1 << 31
_FIRST_WEIGHT: Final = 14 << 10
_BIAS: Final = 64
_RATE: Final = 10
_SLOW, _FAST = 1020, 60
"""How many updates a counter remembers: in stable contexts, and in those that tell of what is near."""

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")
_inlined: Any = njit(nogil=True, cache=True, forceinline=True, error_model="numpy")


class ByteModel(NamedTuple):
    """What a text has taught, and room to work."""

    table: NDArray[np.uint32]
    """Counters of hashed contexts."""
    small: NDArray[np.uint32]
    """Counters of order 0 and of the match."""
    repeats: NDArray[np.uint32]
    """Counters of long matches going on, by length."""
    heads: NDArray[np.int32]
    """Where the last five bytes were last, by their hash."""
    weights: NDArray[np.int64]
    contexts: NDArray[np.int64]
    slots: NDArray[np.int64]
    inputs: NDArray[np.int64]


@_kernel
def _is_letter(c):  # type: ignore[no-untyped-def]
    return c >= 128 or 65 <= (c & 0xDF) <= 90


@_kernel
def _begin_byte(data, i, words, contexts):  # type: ignore[no-untyped-def]
    """The hashes of what precedes byte i."""
    h = np.int64(0)
    for order in range(1, 7):
        h = mix(h + order, np.int64(data[i - order]) + 1 if i >= order else 0)
        contexts[order - 1] = h
    if i:
        c = np.int64(data[i - 1])
        if _is_letter(c):
            words[0] = mix(words[0], (c | 32) + 1)
        elif words[0]:
            words[1], words[0] = words[0], 0
    contexts[6] = mix(words[0] + 7, np.int64(data[i - 1]) if i else 0)
    contexts[7] = mix(words[0] + 8, words[1])


@_kernel
def _find_match(data, i, heads, match):  # type: ignore[no-untyped-def]
    """Keep or find the place that continues as byte i should; match is [place, length]."""
    if match[1] and data[match[0]] == data[i - 1]:
        match[0] += 1
        match[1] = min(match[1] + 1, _MATCH_MOST)
    else:
        match[1] = 0
    if i < _MATCH_LEAST:
        return
    h = np.int64(0)
    for k in range(1, _MATCH_LEAST + 1):
        h = mix(h, np.int64(data[i - k]))
    slot = h & (heads.size - 1)
    if match[1] == 0:
        place, length = np.int64(heads[slot]), 0
        while length < _MATCH_MOST and place > length and data[place - 1 - length] == data[i - 1 - length]:
            length += 1
        match[0], match[1] = place, length if place else 0
    heads[slot] = i


@_inlined
def _find_slots(slots, contexts, mask, node, match_slot):  # type: ignore[no-untyped-def]
    """The counters of a bit: `node` is a one and the byte's bits so far."""
    for j in range(_ORDERS):
        slots[j] = mix(contexts[j] + 1, node + 256 * j) & mask
    slots[_ORDERS] = node
    slots[_ORDERS + 1] = _MATCH_SLOT + match_slot


@_inlined
def _read(counters, slots, first, end, inputs):  # type: ignore[no-untyped-def]
    """Two inputs a counter: its logit, and how far it is from a half; none of a counter that was never used."""
    for j in range(first, end):
        state = np.int64(counters[slots[j]])
        used = state & 1023 > 0
        inputs[2 * j] = STRETCH[state >> 20] if used else 0
        inputs[2 * j + 1] = ((state >> 10) - (1 << 21)) >> 12 if used else 0


@_inlined
def _learn(counters, slots, first, end, bit, most):  # type: ignore[no-untyped-def]
    for j in range(first, end):
        state = np.int64(counters[slots[j]])
        counters[slots[j]] = adapted_up_to(state or _UNDECIDED, bit, most)


@_kernel
def _code_byte(model, coder, buffer, value, last, expected, length):  # type: ignore[no-untyped-def]
    """Code `value`, or decode and return it. `last`: the byte before it; `expected`: what a match of `length` predicts."""
    table, small, weights, slots, inputs = model.table, model.small, model.weights, model.slots, model.inputs
    mask, node = np.int64(table.size - 1), np.int64(1)
    for k in range(8):
        agrees = length > 0 and (expected + 256) >> (8 - k) == node
        predicted = (expected >> (7 - k)) & 1
        _find_slots(slots, model.contexts, mask, node, min(length, 31) * 2 + predicted if agrees else 0)
        _read(table, slots, 0, _ORDERS, inputs)
        _read(small, slots, _ORDERS, _SLOTS, inputs)
        if not agrees:
            inputs[_MATCH_INPUT] = inputs[_MATCH_INPUT + 1] = 0
        a = node * _INPUTS
        b = (256 + last) * _INPUTS
        c = (512 + (min(length, 15) * 2 + 1 + predicted if agrees else 0)) * _INPUTS
        x, y, z = mixed(weights, a, inputs), mixed(weights, b, inputs), mixed(weights, c, inputs)
        p = SQUASH[(x + y + z) // 3 + STRETCH_LIMIT]
        bit = code_bit(coder, buffer, p, (value >> (7 - k)) & 1)
        learn(weights, a, inputs, x, bit, _RATE)
        learn(weights, b, inputs, y, bit, _RATE)
        learn(weights, c, inputs, z, bit, _RATE)
        _learn(table, slots, 0, 1, bit, _SLOW)
        _learn(table, slots, 1, _ORDERS, bit, _FAST)
        _learn(small, slots, _ORDERS, _SLOTS, bit, _SLOW)
        node = node << 1 | bit
    return node & 255


@_kernel
def _code_repeat(coder, buffer, counter, repeats):  # type: ignore[no-untyped-def]
    """Code whether the match goes on, by the counter `counter[0]`."""
    p = min(max(np.int64(counter[0]) >> 16, 1), 65535)
    bit = code_bit(coder, buffer, p, np.int64(repeats))
    counter[0] = adapted_up_to(np.int64(counter[0]), bit, _SLOW)
    return bit


@_kernel
def _run(model, coder, buffer, data):  # type: ignore[no-untyped-def]
    """Code all of `data`, or fill it."""
    words, match = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for i in range(data.size):
        _begin_byte(data, i, words, model.contexts)
        _find_match(data, i, model.heads, match)
        expected, length = (np.int64(data[match[0]]), match[1]) if match[1] else (np.int64(0), np.int64(0))
        if length >= _LONG and _code_repeat(coder, buffer, model.repeats[length - _LONG :], data[i] == expected):
            data[i] = expected
        else:
            last = np.int64(data[i - 1]) if i else 0
            data[i] = _code_byte(model, coder, buffer, np.int64(data[i]), last, expected, length)


def _make(size: int) -> ByteModel:
    """For a text of `size` bytes; takes at most 21 MB."""
    bits = max(size, 1).bit_length()
    inputs = np.zeros(_INPUTS, np.int64)
    inputs[_INPUTS - 1] = _BIAS
    return ByteModel(
        table=np.zeros(1 << min(22, max(12, bits + 6)), np.uint32),
        small=np.full(_MATCH_SLOT + 64, _UNDECIDED, np.uint32),
        repeats=np.full(_MATCH_MOST + 1 - _LONG, _UNDECIDED, np.uint32),
        heads=np.zeros(1 << min(20, max(8, bits)), np.int32),
        weights=np.full(_SETS * _INPUTS, _FIRST_WEIGHT, np.int64),
        contexts=np.zeros(_ORDERS, np.int64),
        slots=np.zeros(_SLOTS, np.int64),
        inputs=inputs,
    )


def encode(data: Bytes) -> bytes | None:
    """Code uint8 [n]; n isn't told. None if that takes more than n bytes."""
    coder, buffer = range_coder.make_encoder(), np.empty(data.size, np.uint8)
    _run(_make(data.size), coder, buffer, data.copy())
    return range_coder.finish(coder, buffer)


def decode(payload: bytes | memoryview, size: int) -> Bytes:
    """The inverse of `encode` for n = `size`. Raises FormatError."""
    coded = np.frombuffer(payload, np.uint8).copy()
    coder, out = range_coder.make_decoder(coded), np.zeros(size, np.uint8)
    _run(_make(size), coder, coded, out)
    if not range_coder.ends(coder, coded):
        raise FormatError("byte model: the payload doesn't end where it should")
    return out
