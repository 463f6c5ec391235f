"""A message that is one whole number: for parameters of a few dozen bits, where a stack's head would outweigh them.

The same arithmetic as entropy/stack.py without its head and words: pushing a symbol that covers [start, start + f) of M takes
s to (s // f) M + start + s % f. An empty message is 0 and takes no bytes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.normal import CELLS, Normals
from ...entropy.stack import PRECISION, Stack
from ...errors import FormatError

Ints = NDArray[np.int64]

_FEW: Final = 768  # symbols: more are coded on a stack, whose 7 bytes they don't feel


class Whole:
    """A message as one whole number; as `Stack` to codes that push and pop one symbol at a time."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def push(self, start: int, frequency: int, precision: int) -> None:
        above, rest = divmod(self.number, frequency)
        self.number = (above << precision) + start + rest

    def peek(self, precision: int) -> int:
        return self.number & ((1 << precision) - 1)

    def pop(self, start: int, frequency: int, precision: int) -> None:
        self.number = frequency * (self.number >> precision) + self.peek(precision) - start

    def to_bytes(self) -> bytes:
        """Least first, as few as there can be."""
        return self.number.to_bytes((self.number.bit_length() + 7) // 8, "little")

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Whole:
        """The inverse. Raises FormatError."""
        if len(data) and not data[-1]:
            raise FormatError("message: longer than it needs to be")
        return cls(int.from_bytes(data, "little"))


def pack_cells(cells: Ints, widths: Ints | int) -> bytes:
    """Integers (int64 [n], below CELLS in size) under normal distributions of mean 0 and `widths` (2^-16 cells)."""
    code = Normals(cells.size, 0, widths, floor=True)
    if cells.size > _FEW:
        stack = Stack()
        code.push(stack, cells)
        return stack.to_bytes()
    whole = Whole()
    for i in range(cells.size - 1, -1, -1):
        whole.push(*code.span(i, int(cells[i])), PRECISION)
    return whole.to_bytes()


def unpack_cells(payload: bytes | memoryview, count: int, widths: Ints | int) -> Ints:
    """The inverse: int64 [count]. Raises FormatError."""
    code = Normals(count, 0, widths, floor=True)
    if count > _FEW:
        stack = Stack.from_bytes(payload)
        cells = code.pop(stack)
        if stack != Stack():
            raise FormatError("message: longer than its numbers")
        return cells
    if len(payload) > 4 * count:
        raise FormatError("message: longer than its numbers could be")
    whole, out = Whole.from_bytes(payload), np.empty(count, np.int64)
    for i in range(count):
        out[i] = code.at(i, whole.peek(PRECISION))
        whole.pop(*code.span(i, int(out[i])), PRECISION)
    if whole.number:
        raise FormatError("message: longer than its numbers")
    return out


def fits(cells: NDArray[np.floating]) -> bool:
    """Whether numbers of cells (before they are integers) can be packed."""
    return bool((np.abs(cells) < CELLS - 1).all())
