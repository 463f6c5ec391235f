"""Few distinct values: quantised weights kept in a wide type. The values once, then their indices as symbols in contexts.

body := number of values - 1 (1) | the values, ascending as unsigned words | symbols (scaled.py)
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ... import tensors
from ...errors import FormatError
from ...spec import Spec, dtype
from ...wire import Reader, Writer
from .scaled import read_symbols, write_symbols

Bytes = NDArray[np.uint8]
Words = NDArray[np.unsignedinteger[Any]]

_MOST: Final = 256
_LEAST: Final = 512


@njit(nogil=True, cache=True)
def _collect(words, values, slots, out):  # type: ignore[no-untyped-def]
    """out[i] = number of words[i] in order of first occurrence, `values` the words; how many, or -1 for too many.

    `slots` is a hash table (int16 [1024], all -1) with linear probing.
    """
    count = 0
    for i in range(words.size):
        w = words[i]
        h = (np.uint64(w) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(54)
        while slots[h] >= 0 and values[slots[h]] != w:
            h = (h + np.uint64(1)) & np.uint64(1023)
        if slots[h] < 0:
            if count == values.size:
                return -1
            slots[h] = count
            values[count] = w
            count += 1
        out[i] = np.uint8(slots[h])
    return count


def _indexed(words: Words) -> tuple[Words, Bytes] | None:
    """(the distinct words, ascending; the index of each word), or None if there are over 256."""
    values, slots = np.zeros(_MOST, words.dtype), np.full(1024, -1, np.int16)
    out = np.empty(words.size, np.uint8)
    count = _collect(words, values, slots, out)
    if count < 0:
        return None
    order = np.argsort(values[:count])
    rank = np.empty(_MOST, np.uint8)
    rank[order] = np.arange(count)
    return values[order], rank[out]


def _energy(values: Words, spec: Spec) -> NDArray[np.float64]:
    """Square of each value (parts of complex numbers by themselves), for the scales; the encoder alone uses it."""
    plain = {"C64": "F32", "C128": "F64"}.get(spec.dtype, spec.dtype)
    with np.errstate(all="ignore"):
        numbers = tensors.to_numbers(values.view(np.uint8), Spec(plain, ((values.size,),))).astype(np.float64)
        out = np.zeros(_MOST)
        out[: values.size] = np.nan_to_num(numbers * numbers, nan=0.0, posinf=0.0)
    return out / (out.max() or 1.0)


def encode_block(data: Bytes, spec: Spec) -> bytes | None:
    """None if there are over 256 distinct words, if they are bytes anyway, or if this would not be smaller."""
    kind = dtype(spec.dtype)
    if kind.word == 8 or data.size * 8 // kind.word < _LEAST:
        return None
    words = data.view(f"<u{kind.word // 8}")
    found = _indexed(words)
    if found is None:
        return None
    values, symbols = found
    out = Writer().raw(bytes([values.size - 1])).raw(values.view(np.uint8))
    write_symbols(out, symbols, values.size, _energy(values, spec), spec)
    return out.bytes() if len(out) < data.size else None


def decode_block(body: bytes | memoryview, spec: Spec) -> Bytes:
    """The inverse: `spec.nbytes` bytes. Raises FormatError."""
    kind, source = dtype(spec.dtype), Reader(body, "palette block")
    if kind.word == 8:
        raise FormatError("palette block: bytes have no palette")
    count = source.byte() + 1
    values = np.zeros(_MOST, f"<u{kind.word // 8}")
    values[:count] = source.array(count, f"<u{kind.word // 8}")
    symbols = read_symbols(source, spec.nbytes * 8 // kind.word, count, spec).symbols
    source.end()
    return values[symbols].view(np.uint8)
