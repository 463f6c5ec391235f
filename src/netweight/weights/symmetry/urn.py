"""The price of a record that depends on which records there are beside it, not on their order.

A record is a unit's part of a tensor: tokens with a sign and raw bits each. Every binary decision of a token is predicted in contexts
that the record itself or fixed side information make: its column, what it looks like so far, its neighbours. A context predicts by
how often both answers came up in the other records (and earlier in this one), shrunk towards a more general context, and
the predictions are mixed by weights that start anew in every record. Counts are sums over records, so records are exchangeable: a
sender may code any of them last, given all others, and a receiver who has those, in whatever order they came, predicts
the same. Integers only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.stack import Stack
from ...errors import FormatError
from . import urn_walk
from .urn_walk import AROUND, CLASSES, DECODE, PRICE, REMOVE, ROWS, SETS, SIDES, UNARY_NODES

Ints = NDArray[np.int64]
Record = tuple[Ints, Ints, Ints]
"""Tokens, signs (1: negative) and raw bits, int64 [columns] each."""

LEVELS: Final = 64
MOST_COLUMNS: Final = 2048
"""Columns that are this far apart share a counter."""


@dataclass(frozen=True)
class Form:
    """What both sides know of a tensor's records of `columns` numbers.

    `widths`, `firsts`, `levels` (int64 [tokens]): raw bits of a token, its least magnitude, and (0 .. LEVELS - 1) its size in half
    octaves under the largest. `depth`: bits of a token's number, 0: in unary. `signs`: 0 (none), 1 (of what isn't 0) or 2
    (always); with `plain_signs` they aren't predicted. `classes`: int64 [columns], 0 .. CLASSES - 1. `stride`: how many columns on
    the next row of an image begins, 0: none. `next_state` (int64 [states, 2]) and `union_of` (int64 [states]) are as in
    coders/state_machine.py.
    """

    columns: int
    widths: Ints
    firsts: Ints
    levels: Ints
    depth: int
    signs: int
    plain_signs: bool
    classes: Ints
    stride: int
    next_state: Ints
    union_of: Ints

    @property
    def nodes(self) -> int:
        """Decisions of a token and its sign, in both unions if there are two."""
        return (1 << self.depth if self.depth else UNARY_NODES) << (len(self.union_of) > 1)

    def bases(self) -> Ints:
        """Where the counters of each family of contexts begin; where all end."""
        places = min(self.columns, MOST_COLUMNS)
        sizes = [1, ROWS, 0, places, SIDES**2, CLASSES * ROWS, CLASSES * AROUND, SIDES**3 if self.stride else 0]
        return np.concatenate([[0], np.cumsum(np.array(sizes, np.int64))]) * self.nodes


class Urn:
    """The counts of one tensor's records that both sides know; none at first. `weights`: int64 [CONTEXTS] of 65536, the mixer's first
    ones.
    """

    def __init__(self, form: Form, weights: Ints) -> None:
        self._form, self._weights = form, np.tile(weights, (SETS, 1))
        self._arrays = (
            form.widths, form.firsts, form.levels, np.arange(form.columns) % MOST_COLUMNS, form.classes, form.next_state,
            form.union_of,
        )  # fmt: skip
        bases = form.bases()
        self._numbers = (form.depth, form.signs, form.plain_signs, form.stride, form.nodes)
        self._bases, self._counts = bases, np.zeros((int(bases[-1]), 2), np.int32)
        self._most = form.columns * ((form.depth or form.widths.size) + 6)
        self._none = np.empty((0, 3), np.int64)

    def _walk(self, mode: int, record: Record, out: Ints, stack: Stack, *, learn: bool = False) -> int:
        head, size, words = stack.state()
        state, weights = np.array([head, size, 0], np.uint64), self._weights if learn else self._weights.copy()
        if not urn_walk.walk(
            mode, record, self._arrays, self._numbers, self._bases, self._counts, weights, out, words, state
        ):
            raise FormatError("units: a token that there isn't")
        if mode == DECODE:
            stack.set_state(state[0], state[1])
        return int(state[2])

    def _price(self, record: Record) -> Ints:
        """A record's decisions (start, frequency, precision: int64 [n, 3]) given what is in the urn; it is put in."""
        out = np.empty((self._most, 3), np.int64)
        return out[: self._walk(PRICE, record, out, Stack())]

    def add(self, record: Record) -> float:
        """Put a record in. The bits that it takes, a bound."""
        made = self._price(record)
        return float((made[:, 2] - np.log2(made[:, 1])).sum())

    def remove(self, record: Record) -> None:
        """Take a record out."""
        self._walk(REMOVE, record, self._none, Stack())

    def push(self, stack: Stack, record: Record) -> None:
        """Push a record that isn't in the urn given what is; nothing changes in it."""
        made = self._price(record)
        self.remove(record)
        stack.reserve(len(made))
        stack.set_state(*urn_walk.push_all(made, *stack.state()))

    def pop(self, stack: Stack) -> Record:
        """Pop a record and put it in. Raises FormatError, TruncatedError."""
        n = self._form.columns
        record = (np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64))
        self._walk(DECODE, record, self._none, stack)
        return record

    def learn(self, record: Record) -> None:
        """Put a record in and keep the mixer's weights for the next: how a sender finds first weights."""
        self._walk(PRICE, record, np.empty((self._most, 3), np.int64), Stack(), learn=True)

    @property
    def mean_weights(self) -> Ints:
        """The mixer's weights on average over the decisions that have changed theirs."""
        changed = (self._weights != self._weights[-1]).any(axis=1)
        rows = self._weights[changed] if changed.any() else self._weights
        found: Ints = np.rint(rows.mean(axis=0)).astype(np.int64)
        return found


def weights_of(shares: tuple[float, ...]) -> Ints:
    """A mixer's first weights from CONTEXTS exact binary fractions."""
    return np.array([round(65536 * share) for share in shares], np.int64)
