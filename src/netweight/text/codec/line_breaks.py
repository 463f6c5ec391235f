"""Wrapped text as a language model would like it: paragraphs in one line, and apart from them where the lines ended.

A wrapper ends a line when the next word doesn't fit, so line ends cost little once the words are known; in the text they
cost a model two tokens each and surprise it. A single line end between two visible characters becomes a space; then one
adaptive decision for each such space (from the column and the next word's length) says which ones were line ends.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import range_coder
from ...entropy.fixedpoint import SQUASH, STRETCH, STRETCH_LIMIT
from ...entropy.mixing import adapted_up_to
from ...entropy.range_coder import Coder, code_bit
from .decisions import learn, mixed

Bytes = NDArray[np.uint8]

_CR, _LF, _SPACE = 13, 10, 32
_LEAST_BREAKS: Final = 8
_WORTH_BITS: Final = 2.0  # a line end that costs more had better stay in the text
_COLUMNS: Final = 512
_CONTEXTS: Final = 4
_INPUTS: Final = _CONTEXTS + 1
_RATE: Final = 4
_UPDATES: Final = 250

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


def has_windows_ends(data: bytes) -> bool:
    """Whether every line ends in CR LF, and neither occurs otherwise."""
    pairs = data.count(b"\r\n")
    return pairs > 0 and pairs == data.count(b"\r") == data.count(b"\n")


def unwrap(data: bytes) -> tuple[bytes, Bytes]:
    """(the text with spaces for lone line ends, uint8 [places]: which of the lone spaces that it has were line ends)."""
    text = np.frombuffer(data, np.uint8).copy()
    visible = text > _SPACE
    lone = np.zeros(text.size, bool)
    if text.size > 2:
        lone[1:-1] = visible[:-2] & visible[2:] & ((text[1:-1] == _LF) | (text[1:-1] == _SPACE))
    ends = (text[lone] == _LF).astype(np.uint8)
    text[lone] = _SPACE
    return text.tobytes(), ends


@_kernel
def _next_word(text, i):  # type: ignore[no-untyped-def]
    """Characters of the word after the space at i."""
    n, i = 0, i + 1
    while i < text.size and text[i] > _SPACE:
        n += (text[i] & 0xC0) != 0x80
        i += 1
    return n


@_kernel
def _contexts(column, word, before, slots):  # type: ignore[no-untyped-def]
    """Where the line would end without and with the next word; what ends the last one."""
    end = min(column + word, _COLUMNS - 1)
    stop = before in (44, 46, 58, 59, 33, 63)  # , . : ; ! ?
    slots[0] = end
    slots[1] = _COLUMNS + min(column, _COLUMNS - 1)
    slots[2] = 2 * _COLUMNS + (min(column, 127) >> 1) * 16 + min(word, 15)
    slots[3] = 4 * _COLUMNS + end * 2 + stop


@_kernel
def _code_ends(coder, buffer, text, ends):  # type: ignore[no-untyped-def]
    """Code `ends` (uint8 [places]) of `text`, or fill it and put the line ends into `text`."""
    slots, inputs = np.zeros(_CONTEXTS, np.int64), np.zeros(_INPUTS, np.int64)
    counters, weights = np.full(6 * _COLUMNS, 1 << 31, np.uint32), np.full(_INPUTS, 26000, np.int64)
    inputs[_CONTEXTS] = 64
    column, k = 0, 0
    for i in range(text.size):
        c = text[i]
        if c == _LF:
            column = 0
            continue
        if c == _SPACE and 0 < i < text.size - 1 and text[i - 1] > _SPACE and text[i + 1] > _SPACE:
            _contexts(column, _next_word(text, i), text[i - 1], slots)
            for j in range(_CONTEXTS):
                inputs[j] = STRETCH[counters[slots[j]] >> 20]
            x = mixed(weights, 0, inputs)
            bit = code_bit(coder, buffer, SQUASH[x + STRETCH_LIMIT], np.int64(ends[k]))
            learn(weights, 0, inputs, x, bit, _RATE)
            for j in range(_CONTEXTS):
                counters[slots[j]] = adapted_up_to(np.int64(counters[slots[j]]), bit, _UPDATES)
            ends[k] = bit
            k += 1
            if bit:
                text[i] = _LF
                column = 0
                continue
        column += (c & 0xC0) != 0x80


def encode(coder: Coder, buffer: Bytes, text: bytes, ends: Bytes) -> None:
    """Code the line ends of an unwrapped text."""
    _code_ends(coder, buffer, np.frombuffer(text, np.uint8).copy(), ends.copy())


def decode(coder: Coder, buffer: Bytes, text: bytes) -> bytes:
    """The text with its line ends, from a decoder that stands before them."""
    array = np.frombuffer(text, np.uint8).copy()
    _code_ends(coder, buffer, array, np.zeros(array.size // 2 + 1, np.uint8))
    return array.tobytes()


def worth_unwrapping(text: bytes, ends: Bytes) -> bool:
    """Whether the line ends cost less apart than they would in the text."""
    count = int(ends.sum())
    if count < _LEAST_BREAKS:
        return False
    coder, buffer = range_coder.make_encoder(), np.empty(2 * ends.size + 64, np.uint8)
    encode(coder, buffer, text, ends)
    coded = range_coder.finish(coder, buffer)
    return coded is not None and 8 * len(coded) <= _WORTH_BITS * count
