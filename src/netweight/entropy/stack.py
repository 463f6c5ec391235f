"""One-stack ANS: a message that symbols are pushed onto and popped from, the last one first.

The message is a head in [2^48, 2^64) and 16-bit words. A symbol of frequency f out of M = 2^precision, after c others, is
pushed by head -> (head // f) M + c + head % f, and popped by the inverse (Duda 2013, arXiv 1311.2540); words are moved
out before the head would overflow and back in when it falls under 2^48. Both are one bijection: pop(push(s, x)) == (x, s),
and push(pop(s)) == s as long as the stack isn't empty. So symbols may be *popped from a message under any
distribution*: that draws a sample of it, and pushing the sample again gives the message back. Bits-back coding is this
(Townsend, Bird and Barber, ICLR 2019).

M is at most 2^32, so that the head holds 2^16 M or more: a symbol costs at most 2^-15 bit more than its share, and slots
popped from random words are uniform to 2^-16.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import FormatError, TruncatedError
from ..wire import Reader

PRECISION: Final = 32
"""Most bits of a frequency's whole."""
_LOW: Final = 1 << 48
U64 = np.uint64


@njit(nogil=True, cache=True, inline="always")
def push_one(head, size, words, start, frequency, precision):  # type: ignore[no-untyped-def]
    """(head, size) after a symbol of `frequency` in 1 .. 2^precision; `words` has room for two more. All uint64."""
    if frequency >> precision:  # certain: no information
        return head, size
    while head >> (U64(64) - precision) >= frequency:
        words[size] = np.uint16(head & U64(0xFFFF))
        size += U64(1)
        head >>= U64(16)
    return ((head // frequency) << precision) + start + head % frequency, size


@njit(nogil=True, cache=True, inline="always")
def slot_of(head, precision):  # type: ignore[no-untyped-def]
    """The place among 2^precision that the symbol on top covers."""
    return head & ((U64(1) << precision) - U64(1))


@njit(nogil=True, cache=True, inline="always")
def pop_one(head, size, words, start, frequency, precision):  # type: ignore[no-untyped-def]
    """(head, size) below the symbol on top, whose `start` and `frequency` hold its slot; the head is 0 if words ran out."""
    if frequency >> precision:
        return head, size
    head = frequency * (head >> precision) + slot_of(head, precision) - start
    while head < U64(_LOW):
        if size == U64(0):
            return U64(0), size
        size -= U64(1)
        head = head << U64(16) | U64(words[size])
    return head, size


@njit(nogil=True, cache=True)
def _push(head, size, words, start, frequency, precision):  # type: ignore[no-untyped-def]
    return push_one(head, size, words, start, frequency, precision)


@njit(nogil=True, cache=True)
def _pop(head, size, words, start, frequency, precision):  # type: ignore[no-untyped-def]
    return pop_one(head, size, words, start, frequency, precision)


def _bits(size: int, head: int) -> float:
    return 16.0 * size + math.log2(head) - 48.0


class Stack:
    """A message: a head in [2^48, 2^64) and 16-bit words below it. Empty at first, with nothing to pop.

    Equal stacks have equal bytes. Not for several threads at once.
    """

    def __init__(self) -> None:
        self._head, self._size, self._words = U64(_LOW), U64(0), np.zeros(64, np.uint16)
        self._least = (0, _LOW)

    @classmethod
    def of_random(cls, words: int, seed: int) -> Stack:
        """A message of `words` random words (PCG64 of `seed`): initial bits for those who pop before they push."""
        stack = cls()
        raw = np.asarray(
            np.random.PCG64(seed).random_raw(-(-words // 4)), np.uint64
        )  # a stream that numpy promises to keep
        stack._words = raw.astype("<u8").view("<u2").astype(np.uint16)[:words]
        stack._size, stack._least = U64(words), (words, _LOW)
        return stack

    @property
    def bits(self) -> float:
        """Length in bits as a real number: 0 for an empty stack, whose bytes take 56."""
        return _bits(int(self._size), int(self._head))

    @property
    def least_bits(self) -> float:
        """The shortest that the message has been since this object was made. Bits-back takes `bits` at first less this
        before it gives anything back: its initial bits.
        """
        return _bits(*self._least)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stack) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> Stack:
        """Another stack of the same message."""
        other = Stack()
        other._head, other._size, other._words = self._head, self._size, self._words.copy()
        other._least = (int(self._size), int(self._head))
        return other

    def push(self, start: int, frequency: int, precision: int) -> None:
        """Push the symbol that covers [start, start + frequency) of 2^precision, precision 1 .. 32."""
        self.reserve(1)
        self._set(*_push(*self.state(), U64(start), U64(frequency), U64(precision)))

    def peek(self, precision: int) -> int:
        """Where in 2^precision the symbol on top lies."""
        return int(self._head) & ((1 << precision) - 1)

    def pop(self, start: int, frequency: int, precision: int) -> None:
        """Pop the symbol that covers `peek(precision)`. Raises TruncatedError if the message ends."""
        self._set(*_pop(*self.state(), U64(start), U64(frequency), U64(precision)))

    # --- for kernels ---------------------------------------------------------------------------------------------------

    def reserve(self, count: int) -> None:
        """Make room for `count` more pushes."""
        need = int(self._size) + 2 * count
        if need > self._words.size:
            grown = np.zeros(max(need, 2 * self._words.size), np.uint16)
            grown[: int(self._size)] = self._words[: int(self._size)]
            self._words = grown

    def state(self) -> tuple[np.uint64, np.uint64, NDArray[np.uint16]]:
        """(head, words in use, the array of words), as kernels take it; `reserve` before they push."""
        return self._head, self._size, self._words

    def _set(self, head: int, size: int) -> None:
        if not head:
            raise TruncatedError("stack: popped from an empty message")
        self._head, self._size = U64(head), U64(size)
        self._least = min(self._least, (int(size), int(head)))

    def set_state(self, head: int, size: int) -> None:
        """Take what a kernel returned. Raises TruncatedError for a head of 0: the message ended."""
        self._set(head, size)

    # --- bytes ---------------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The words, bottom first (2 each), then the head (7 or 8, least first: an odd length says 7)."""
        head, words = int(self._head), self._words[: int(self._size)]
        return words.astype("<u2").tobytes() + head.to_bytes((head.bit_length() + 7) // 8, "little")

    @classmethod
    def of_zeros(cls, words: int) -> Stack:
        """One that begins with so many words of zeros, to pop from."""
        return cls.from_bytes(bytes(2 * words) + _LOW.to_bytes(7, "little"))

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Stack:
        """The inverse. Raises FormatError."""
        source = Reader(data, "stack")
        count = 7 if source.remaining & 1 else 8
        words = source.array(max(0, source.remaining - count) // 2, "<u2").astype(np.uint16)
        head = int.from_bytes(source.raw(count), "little")
        if (head.bit_length() + 7) // 8 != count:
            raise FormatError("stack: impossible head")
        stack = cls()
        stack._words, stack._size, stack._head = words, U64(words.size), U64(head)
        stack._least = (int(words.size), head)
        return stack
