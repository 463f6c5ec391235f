"""Numbers as bytes on a stack, each byte under a table of its own place in the number: exponent, mantissa's planes.

A float's bits are turned left by one, so that its exponent is the highest byte and its sign the lowest bit: bytes come low
first. Tables are counted, merged over neighbouring tensors where that pays, and sent (tables.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy.stack import U64, Stack, pop_one, push_one, slot_of
from ...entropy.tables import (
    TABLE_BITS,
    frequencies_of,
    levels_of,
    merge_contexts,
    read_borders,
    read_tables,
    write_borders,
    write_tables,
)
from ...errors import UnsupportedError
from ...spec import DTYPES
from ...tensors import dtype_name, numpy_dtype
from ...wire import Reader, Writer

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

SCALE: Final = 14  # frequencies sum to 2^14
_MOST_TABLES: Final = 256
_MOST_ROWS: Final = 1 << 16


def is_signed_float(name: str) -> bool:
    """Whether numbers of this dtype have a sign bit of their own."""
    return DTYPES[name].kind == "float" and DTYPES[name].sign == 1


def _unsigned(array: Array) -> Array:
    kind = DTYPES[dtype_name(array.dtype)].kind
    if kind in ("complex", "packed"):
        raise UnsupportedError(f"symmetries of {array.dtype} tensors aren't known")
    return np.ascontiguousarray(array).view(f"<u{array.dtype.itemsize}")


def to_words(array: Array) -> Bytes:
    """uint8 [rows, elements * width] of an array [rows, elements]: the bytes of each number, low first."""
    words = _unsigned(array)
    if is_signed_float(dtype_name(array.dtype)):
        top = 8 * array.dtype.itemsize - 1
        words = words << words.dtype.type(1) | words >> words.dtype.type(top)
    return words.view(np.uint8).reshape(len(array), -1)


def from_words(data: Bytes, dtype: str) -> Array:
    """The inverse: numbers [rows, elements] of `data` (uint8 [rows, elements * width])."""
    width = numpy_dtype(dtype).itemsize
    words = np.ascontiguousarray(data).view(f"<u{width}")
    if is_signed_float(dtype):
        words = words >> words.dtype.type(1) | words << words.dtype.type(8 * width - 1)
    return words.view(numpy_dtype(dtype))


@njit(nogil=True, cache=True)
def _push_bytes(head, size, words, data, rows, starts):  # type: ignore[no-untyped-def]
    """Byte i under row rows[i % rows.size] of `starts`."""
    at = data.size % rows.size
    for i in range(data.size - 1, -1, -1):
        at = (rows.size if at == 0 else at) - 1
        row, s = rows[at], np.int64(data[i])
        start = starts[row, s]
        head, size = push_one(head, size, words, U64(start), U64(starts[row, s + 1] - start), U64(SCALE))
    return head, size


@njit(nogil=True, cache=True)
def _pop_bytes(head, size, words, rows, starts, symbols, out):  # type: ignore[no-untyped-def]
    at = 0
    for i in range(out.size):
        row = rows[at]
        at = 0 if at + 1 == rows.size else at + 1
        s = np.int64(symbols[row, slot_of(head, U64(SCALE))])
        out[i] = s
        start = starts[row, s]
        head, size = pop_one(head, size, words, U64(start), U64(starts[row, s + 1] - start), U64(SCALE))
        if head == U64(0):
            break
    return head, size


class ByteTables:
    """`levels` int64 [tables, 256]: what a byte may be, in each context (tables.py)."""

    def __init__(self, levels: NDArray[np.int64]) -> None:
        frequencies = frequencies_of(levels, SCALE).reshape(len(levels), 256).astype(np.int64)
        self.frequencies = frequencies
        self.starts = np.zeros((len(levels), 257), np.uint32)
        np.cumsum(frequencies, axis=1, out=self.starts[:, 1:])
        self.symbols = np.stack([np.repeat(np.arange(256, dtype=np.uint8), row) for row in frequencies])


class ByteCode:
    """Bytes, byte i under table `rows[i % len(rows)]`: the code of a record, or of a run of equal records."""

    def __init__(self, tables: ByteTables, rows: NDArray[np.int64], count: int) -> None:
        self._tables, self._rows, self._count = tables, np.ascontiguousarray(rows, np.int64), count

    def push(self, stack: Stack, x: bytes) -> None:
        """Raises ValueError for another length."""
        if len(x) != self._count:
            raise ValueError(f"{len(x)} bytes, not {self._count}")
        if x:
            stack.reserve(len(x))
            data = np.frombuffer(x, np.uint8)
            stack.set_state(*_push_bytes(*stack.state(), data, self._rows, self._tables.starts))

    def pop(self, stack: Stack) -> bytes:
        out = np.zeros(self._count, np.uint8)
        if self._count:
            stack.set_state(*_pop_bytes(*stack.state(), self._rows, self._tables.starts, self._tables.symbols, out))
        return out.tobytes()

    def bits(self, x: bytes) -> float:
        """-log2 of the probability, a bound."""
        rows = self._rows[np.arange(self._count) % max(1, len(self._rows))]
        found = self._tables.frequencies[rows, np.frombuffer(x, np.uint8)]
        return float((SCALE - np.log2(found)).sum())


def plane_counts(array: Array) -> NDArray[np.int64]:
    """int64 [width, 256]: how often each byte occurs at each place of a number."""
    width = array.dtype.itemsize
    planes = to_words(array.reshape(1, -1)).reshape(-1, width)
    return np.stack([np.bincount(planes[:, k], minlength=256) for k in range(width)])


def _levels(counts: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Levels of one merged histogram; flat ones (all symbols alike) where its shape doesn't pay for a table."""
    total = counts.sum(dtype=np.float64)
    seen = counts[counts > 0].astype(np.float64)
    entropy = total * np.log2(total) - float((seen * np.log2(seen)).sum()) if total else 0.0
    if total and 8 * total - entropy < TABLE_BITS * 256 / 2:
        return np.ones(256, np.int64)
    return levels_of(counts.astype(np.int64))


def write_byte_tables(out: Writer, counts: Sequence[NDArray[np.int64]]) -> tuple[ByteTables, list[NDArray[np.int64]]]:
    """Tables for tensors whose planes were counted (int64 [width, 256] each); (tables, which one each plane has)."""
    widest = max(len(c) for c in counts)
    levels: list[NDArray[np.int64]] = []
    rows = [np.zeros(len(c), np.int64) for c in counts]
    for plane in range(widest):
        members = [k for k, c in enumerate(counts) if len(c) > plane]
        histograms = np.stack([counts[k][plane] for k in members]).astype(np.uint32)
        group_of, merged, _ = merge_contexts(histograms, _MOST_TABLES)
        write_borders(out, group_of, "<u2")
        for k, group in zip(members, group_of, strict=True):
            rows[k][plane] = len(levels) + int(group)
        levels += [_levels(row) for row in merged]
    table = np.stack(levels)
    write_tables(out, table)
    return ByteTables(table), rows


def read_byte_tables(source: Reader, widths: Sequence[int]) -> tuple[ByteTables, list[NDArray[np.int64]]]:
    """The inverse, told the width of each tensor's numbers. Raises FormatError."""
    rows = [np.zeros(width, np.int64) for width in widths]
    tables = 0
    for plane in range(max(widths)):
        members = [k for k, width in enumerate(widths) if width > plane]
        group_of, firsts = read_borders(source, len(members), _MOST_TABLES, "<u2")
        for k, group in zip(members, group_of, strict=True):
            rows[k][plane] = tables + int(group)
        tables += len(firsts)
    return ByteTables(read_tables(source, tables, 256)), rows
