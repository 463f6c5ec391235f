"""Codes on a stack: what they push they pop, to the last bit of the message.

    code.push(stack, x);  code.pop(stack) == x     and the stack is what it was before

A code is a value that sender and receiver both have. `bits(x)` is -log2 of the probability it codes x with: what the
message grows by, up to 2^-30 or so of it (a *bound*; the message's length is what counts). Combinators (bitsback.py) make
codes of codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .stack import PRECISION, U64, Stack, pop_one, push_one, slot_of

T = TypeVar("T")
S = TypeVar("S")
Ints = NDArray[np.int64]

WHOLE: Final = 1 << PRECISION


class Code(Protocol[T]):
    """See above. `pop` raises TruncatedError when the message ends, FormatError for what can't have been pushed."""

    def push(self, stack: Stack, x: T) -> None: ...
    def pop(self, stack: Stack) -> T: ...
    def bits(self, x: T) -> float: ...


@dataclass(frozen=True)
class Uniform:
    """An integer in [0, n), 1 <= n <= 2^32: log2 n bits; each value has 2^32 / n of 2^32, rounded down or up."""

    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.n <= WHOLE:
            raise ValueError(f"no uniform code for {self.n} values")

    def _start(self, x: int) -> int:
        return (x << PRECISION) // self.n

    def push_run(self, stack: Stack, first: int, length: int) -> None:
        """Push "one of [first, first + length)", as `pop_run` pops it."""
        start = self._start(first)
        stack.push(start, self._start(first + length) - start, PRECISION)

    def push(self, stack: Stack, x: int) -> None:
        if not 0 <= x < self.n:
            raise ValueError(f"{x} isn't below {self.n}")
        self.push_run(stack, x, 1)

    def peek(self, stack: Stack) -> int:
        """What `pop` would give."""
        return ((stack.peek(PRECISION) + 1) * self.n - 1) >> PRECISION

    def pop_run(self, stack: Stack, first: int, length: int) -> None:
        """Pop no more than that `peek` lies in [first, first + length)."""
        start = self._start(first)
        stack.pop(start, self._start(first + length) - start, PRECISION)

    def pop(self, stack: Stack) -> int:
        x = self.peek(stack)
        self.pop_run(stack, x, 1)
        return x

    def bits(self, x: int) -> float:
        return PRECISION - math.log2(self._start(x + 1) - self._start(x))


@njit(nogil=True, cache=True)
def _push_symbols(head, size, words, symbols, contexts, starts, precision):  # type: ignore[no-untyped-def]
    for i in range(symbols.size - 1, -1, -1):
        row, s = np.int64(contexts[i]), np.int64(symbols[i])
        start = starts[row, s]
        head, size = push_one(head, size, words, start, starts[row, s + 1] - start, precision)
    return head, size


@njit(nogil=True, cache=True)
def _pop_symbols(head, size, words, contexts, starts, precision, out):  # type: ignore[no-untyped-def]
    for i in range(contexts.size):
        row, slot = np.int64(contexts[i]), slot_of(head, precision)
        low, high = 0, starts.shape[1] - 1
        while high - low > 1:
            middle = (low + high) >> 1
            if starts[row, middle] <= slot:
                low = middle
            else:
                high = middle
        out[i] = low
        start = starts[row, low]
        head, size = pop_one(head, size, words, start, starts[row, low + 1] - start, precision)
        if head == U64(0):
            break
    return head, size


class Symbols:
    """Symbols int64 [n], number i under row `contexts[i]` of `frequencies` (whole numbers [contexts, symbols], rows sum to 2^p).

    p is 1 .. 32. A symbol of frequency 0 can't be coded.
    """

    def __init__(self, frequencies: NDArray[np.integer], contexts: NDArray[np.integer]) -> None:
        whole = int(frequencies[0].sum())
        self.precision = whole.bit_length() - 1
        if whole != 1 << self.precision or not 1 <= self.precision <= PRECISION or bool((frequencies < 0).any()):
            raise ValueError("frequencies must be whole numbers that sum to a power of two, 2 .. 2^32")
        self.starts = np.zeros((frequencies.shape[0], frequencies.shape[1] + 1), np.uint64)
        np.cumsum(frequencies, axis=1, out=self.starts[:, 1:])
        if bool((self.starts[:, -1] != whole).any()):
            raise ValueError("every row of frequencies must have the same sum")
        if contexts.size and not 0 <= int(contexts.min()) <= int(contexts.max()) < len(frequencies):
            raise ValueError("a context without frequencies")
        self.contexts = np.ascontiguousarray(contexts, np.int64)

    def _frequencies(self, x: Ints) -> NDArray[np.uint64]:
        if x.shape != self.contexts.shape or (
            x.size and not 0 <= int(x.min()) <= int(x.max()) < self.starts.shape[1] - 1
        ):
            raise ValueError("symbols out of range")
        found: NDArray[np.uint64] = self.starts[self.contexts, x + 1] - self.starts[self.contexts, x]
        if not bool(found.all()):
            raise ValueError("a symbol of frequency 0")
        return found

    def push(self, stack: Stack, x: Ints) -> None:
        self._frequencies(x)
        stack.reserve(x.size)
        stack.set_state(*_push_symbols(*stack.state(), x, self.contexts, self.starts, U64(self.precision)))

    def pop(self, stack: Stack) -> Ints:
        out = np.zeros(self.contexts.size, np.int64)
        stack.set_state(*_pop_symbols(*stack.state(), self.contexts, self.starts, U64(self.precision), out))
        return out

    def bits(self, x: Ints) -> float:
        return float((self.precision - np.log2(self._frequencies(x))).sum())


@dataclass(frozen=True)
class Each(Generic[T]):
    """A list, element k under `codes[k]`."""

    codes: Sequence[Code[T]]

    def push(self, stack: Stack, x: Sequence[T]) -> None:
        if len(x) != len(self.codes):
            raise ValueError(f"{len(x)} things for {len(self.codes)} codes")
        for code, element in zip(reversed(self.codes), reversed(x), strict=True):
            code.push(stack, element)

    def pop(self, stack: Stack) -> list[T]:
        return [code.pop(stack) for code in self.codes]

    def bits(self, x: Sequence[T]) -> float:
        return sum(code.bits(element) for code, element in zip(self.codes, x, strict=True))


@dataclass(frozen=True)
class Map(Generic[S, T]):
    """x as `forward(x)` under `code`; `backward` is the inverse of `forward`, exactly."""

    forward: Callable[[S], T]
    backward: Callable[[T], S]
    code: Code[T]

    def push(self, stack: Stack, x: S) -> None:
        self.code.push(stack, self.forward(x))

    def pop(self, stack: Stack) -> S:
        return self.backward(self.code.pop(stack))

    def bits(self, x: S) -> float:
        return self.code.bits(self.forward(x))


@dataclass(frozen=True)
class OneOf(Generic[T]):
    """x under the cheapest of `codes`, whose number is coded too: log2 of how many there are.

    A code that can't code x says so with ValueError from `bits`; if none can, `push` raises ValueError.
    """

    codes: Sequence[Code[T]]

    def _cheapest(self, x: T) -> tuple[float, int]:
        found = []
        for number, code in enumerate(self.codes):
            try:
                found.append((code.bits(x), number))
            except ValueError:
                continue
        if not found:
            raise ValueError("no code can code this")
        return min(found)

    def push(self, stack: Stack, x: T) -> None:
        _, number = self._cheapest(x)
        self.codes[number].push(stack, x)
        Uniform(len(self.codes)).push(stack, number)

    def pop(self, stack: Stack) -> T:
        return self.codes[Uniform(len(self.codes)).pop(stack)].pop(stack)

    def bits(self, x: T) -> float:
        return self._cheapest(x)[0] + math.log2(len(self.codes))
