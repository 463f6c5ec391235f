"""Codes that get bits back: a message is popped under a distribution that the receiver can compute, and so returned.

Each is a bijection between (message, thing) and message like every code on the stack (codes.py). The message must hold
the bits that are taken first; `Stack.least_bits` tells how many those were.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .codes import Code, Uniform
from .stack import Stack

T = TypeVar("T")
Z = TypeVar("Z")
Record = TypeVar("Record")


@dataclass(frozen=True)
class BitsBack(Generic[T, Z]):
    """x with a latent z: pop z under `posterior(x)`, push x under `likelihood(z)`, push z under `prior`.

    The expected growth is the negative evidence lower bound, KL(posterior | prior) - E log likelihood (Hinton and van
    Camp 1993; Townsend et al. 2019, section 2). The receiver has z and then x, computes the posterior from x, and pushes
    z back: so `posterior` must be the same function of x, bit for bit, on both sides.
    """

    prior: Code[Z]
    likelihood: Callable[[Z], Code[T]]
    posterior: Callable[[T], Code[Z]]

    def push(self, stack: Stack, x: T) -> None:
        z = self.posterior(x).pop(stack)
        self.likelihood(z).push(stack, x)
        self.prior.push(stack, z)

    def pop(self, stack: Stack) -> T:
        z = self.prior.pop(stack)
        x = self.likelihood(z).pop(stack)
        self.posterior(x).push(stack, z)
        return x

    def bits(self, x: T) -> float:
        """Of one sample: the net of x depends on the z drawn. From random bits of a fixed seed."""
        stack = Stack.of_random(1 << 14, 0)
        before = stack.bits
        self.push(stack, x)
        return stack.bits - before


@dataclass(frozen=True)
class Multiset(Generic[Record]):
    """A list of records whose order means nothing (hidden units of a layer): log2(n! / prod m_i!) bits come back.

    The order is drawn from the message: for i = n, ..., 1 a place among the i records that are left, sorted by `key`, is
    popped, and that record is pushed under `code(i)`; the receiver pops the record and pushes its place among those that
    it has (Severo et al., "Compressing multisets with large alphabets", 2022). Equal records share their places, so
    that what they refund is exactly what their order could not tell. `code(i)` codes the record that is the i-th to be
    popped. `pop` gives the records sorted.
    """

    count: int
    code: Callable[[int], Code[Record]]
    key: Callable[[Record], bytes]

    def push(self, stack: Stack, x: Sequence[Record]) -> None:
        if len(x) != self.count:
            raise ValueError(f"{len(x)} records, not {self.count}")
        left = sorted(x, key=self.key)
        keys = [self.key(record) for record in left]
        for i in range(self.count, 0, -1):
            place = Uniform(i).peek(stack)
            first, length = _run(keys, place)
            Uniform(i).pop_run(stack, first, length)
            self.code(i).push(stack, left.pop(first))
            keys.pop(first)

    def pop(self, stack: Stack) -> list[Record]:
        found: list[Record] = []
        keys: list[bytes] = []
        for i in range(1, self.count + 1):
            record = self.code(i).pop(stack)
            at = bisect_left(keys, key := self.key(record))
            found.insert(at, record)
            keys.insert(at, key)
            first, length = _run(keys, at)
            Uniform(i).push_run(stack, first, length)
        return found

    def bits(self, x: Sequence[Record]) -> float:
        """Under codes that don't depend on the order; else of one order."""
        ordered = sorted(x, key=self.key)
        whole = sum(self.code(i + 1).bits(record) for i, record in enumerate(ordered))
        return whole - self.refund(x)

    def refund(self, x: Sequence[Record]) -> float:
        """log2 of how many orders x has."""
        keys = sorted(self.key(record) for record in x)
        same = [keys.count(k) for k in dict.fromkeys(keys)]
        return (math.lgamma(len(keys) + 1) - sum(math.lgamma(m + 1) for m in same)) / math.log(2)


def _run(keys: list[bytes], place: int) -> tuple[int, int]:
    """(first, length) of the equal keys around `place`; keys are sorted."""
    first = bisect_left(keys, keys[place])
    return first, bisect_right(keys, keys[place]) - first
