"""Interchangeable units as one block: the tensors that make or read them, their order given back.

body    := units varint | flags(1: bit 0: signs) | tensors: axis varint, runs varint, (start, places a unit) varints of each | forms
         | initial words varint | stack
form    := as of unit_forms.py

Unit j owns places start + j b .. start + (j + 1) b - 1 of the axis in each run; all runs together tile it. A unit's record is its part of
every tensor, one after the other. Records are popped as a multiset (entropy/bitsback.py) from urns (urn.py), a tensor each, and sorted by
their keys (alphabet.py). With signs, one bit comes back for a unit that isn't all zero: its first number that isn't 0
is made positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.bitsback import Multiset
from ...entropy.codes import Uniform
from ...entropy.stack import Stack
from ...errors import FormatError, TruncatedError
from ...spec import Spec
from ...tensors import to_array, to_bytes
from ...wire import Reader, Writer
from .alphabet import FLOAT, GRID
from .canonical import Owned
from .unit_forms import Part, read_form, read_places, write_form, write_places
from .urn import Ints, Record

Array = NDArray[Any]

MOST_UNITS: Final = 1 << 16
MOST_TENSORS: Final = 32
_MOST_INITIAL: Final = 1 << 12


class _Units:
    """A unit's record (keys int64 [numbers]) under one urn a tensor, its sign given back with `signs`."""

    def __init__(self, parts: Sequence[Part], columns: Sequence[int], *, signs: bool) -> None:
        self._parts, self._signs = parts, signs
        self._urns = [part.urn(n) for part, n in zip(parts, columns, strict=True)]
        ends = np.cumsum(columns)
        self._spans = [slice(int(e) - n, int(e)) for e, n in zip(ends, columns, strict=True)]
        self._flips = np.concatenate(
            [np.full(n, part.alphabet.signs == 2) for part, n in zip(parts, columns, strict=True)]
        )

    def _split(self, keys: Ints) -> list[Record]:
        return [part.alphabet.split(keys[span]) for part, span in zip(self._parts, self._spans, strict=True)]

    def add(self, keys: Ints) -> float:
        """Put a record in. Its bits, a bound."""
        return sum(urn.add(record) for urn, record in zip(self._urns, self._split(keys), strict=True))

    def _negated(self, keys: Ints) -> Ints:
        return keys ^ (self._flips | (keys > 1))

    def _change(self, keys: Ints, *, put: bool) -> None:
        for urn, record in zip(self._urns, self._split(keys), strict=True):
            if put:
                urn.add(record)
            else:
                urn.remove(record)

    def push(self, stack: Stack, x: Ints) -> None:
        """Take a record out and push it."""
        self._change(x, put=False)
        flipped = self._signs and bool((x > 1).any()) and Uniform(2).pop(stack) == 1
        records = self._split(self._negated(x) if flipped else x)
        for urn, record in zip(reversed(self._urns), reversed(records), strict=True):
            urn.push(stack, record)

    def pop(self, stack: Stack) -> Ints:
        """The inverse: a record popped and put in. Raises FormatError, TruncatedError."""
        parts = [part.alphabet.join(urn.pop(stack)) for part, urn in zip(self._parts, self._urns, strict=True)]
        keys: Ints = np.concatenate(parts)
        told = np.flatnonzero(keys > 1) if self._signs else np.zeros(0, np.int64)
        if told.size:
            negative = int(keys[told[0]] & 1)
            Uniform(2).push(stack, negative)
            if negative:
                self._change(keys, put=False)
                keys = self._negated(keys)
                self._change(keys, put=True)
        return keys

    def bits(self, x: Ints) -> float:
        """Of a record given what is in the urns; it is put in. A bound."""
        return self.add(x)


def positive(keys: Ints) -> NDArray[np.bool_]:
    """Bool [units]: whether the first number of keys [units, numbers] that isn't 0 is positive, or there is none."""
    told = keys > 1
    first = told.argmax(axis=1)
    found: NDArray[np.bool_] = ~(told.any(axis=1) & (keys[np.arange(len(keys)), first] & 1 == 1))
    return found


def order_of(keys: Ints) -> Ints:
    """Int64 [units]: which unit comes first, second, ... in the order that `decode` gives."""
    rows = [key_of(row) for row in keys]
    return np.array(sorted(range(len(rows)), key=rows.__getitem__), np.int64)


def key_of(keys: Ints) -> bytes:
    """What records are sorted by."""
    return keys.astype(">u8").tobytes()


# --- the body ------------------------------------------------------------------------------------------------------------


def encode(keys: Sequence[Ints], parts: Sequence[Part], *, signs: bool) -> bytes:
    """A body of units whose keys [units, numbers of each tensor] are sorted (`order_of`), and positive if signs are given back."""
    units, columns = len(keys[0]), [k.shape[1] for k in keys]
    out = Writer().varint(units).raw(bytes([signs]))
    for part in parts:
        write_places(out, part.owned)
    for part in parts:
        write_form(out, part)
    stack, initial = _pushed(np.concatenate(keys, axis=1), parts, columns, signs=signs)
    return out.varint(initial).raw(stack.to_bytes()).bytes()


def _pushed(keys: Ints, parts: Sequence[Part], columns: Sequence[int], *, signs: bool) -> tuple[Stack, int]:
    """(the message, its initial words): about as few as will do."""
    initial = 1
    while True:
        units, stack = _Units(parts, columns, signs=signs), Stack.of_zeros(initial)
        for row in keys:
            units.add(row)
        try:
            Multiset(len(keys), lambda _, code=units: code, key_of).push(stack, list(keys))  # type: ignore[misc]
        except TruncatedError:
            initial *= 4
            if initial > _MOST_INITIAL:
                raise
        else:
            return stack, initial


def decode(body: bytes | memoryview, spec: Spec) -> NDArray[np.uint8]:
    """`spec.nbytes` bytes. Raises FormatError."""
    source = Reader(body, "units")
    if len(spec.shapes) > MOST_TENSORS:
        raise FormatError(f"units: a block of {len(spec.shapes)} tensors; at most {MOST_TENSORS} are decoded")
    units, flags = source.varint(limit=MOST_UNITS), source.byte()
    if not units or flags > 1:
        raise FormatError("units: none, or of an unknown kind")
    owned = [read_places(source, units, shape) for shape in spec.shapes]
    columns = [spec_count // units for spec_count in (int(np.prod(s, dtype=np.int64)) for s in spec.shapes)]
    parts = [read_form(source, spec.dtype, o, n) for o, n in zip(owned, columns, strict=True)]
    if flags and any(part.alphabet.kind not in (FLOAT, GRID) for part in parts):
        raise FormatError("units: signs of numbers that have none")
    initial = source.varint(limit=_MOST_INITIAL)
    stack = Stack.from_bytes(source.raw(source.remaining))
    code = _Units(parts, columns, signs=bool(flags))
    keys = np.stack(Multiset(units, lambda _: code, key_of).pop(stack))
    if stack != Stack.of_zeros(initial):
        raise FormatError("units: more in the message than units")
    ends = np.cumsum(columns)
    pieces = (
        part.owned.restore(part.alphabet.numbers(np.ascontiguousarray(keys[:, end - n : end])), shape)
        for part, end, n, shape in zip(parts, ends, columns, spec.shapes, strict=True)
    )
    return np.concatenate([to_bytes(piece)[0] for piece in pieces])


def records_of(data: NDArray[np.uint8], spec: Spec, owned: Sequence[Owned]) -> list[Array]:
    """The tensors of a block as records [units, numbers] each."""
    out, at = [], 0
    for shape, own in zip(spec.shapes, owned, strict=True):
        one = Spec(spec.dtype, (shape,))
        out.append(own.records(to_array(data[at : at + one.nbytes], one)))
        at += one.nbytes
    return out
