"""A canonical network on a stack, its symmetries refunded: units in an order and with signs that the message itself chose.

What no group owns is pushed first, last in file order; then each group's records, the last group's first, as a multiset
(entropy/bitsback.py). A unit that may be negated takes one bit from the message before it is pushed and is negated by
it; the receiver sees the sign of the record's first number, makes it positive and gives the bit back. So n units refund
log2 n! bits and, with signs, n more. Popping gives the canonical network, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...entropy.bitsback import Multiset
from ...entropy.codes import Uniform
from ...entropy.stack import Stack
from ...tensors import dtype_name, numpy_dtype
from .architecture import Fitted
from .canonical import Owned, Tensors, records_of, sign_bits
from .words import ByteCode, ByteTables, from_words, to_words

Array = NDArray[Any]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Plan:
    """What both sides know: every tensor's (dtype, shape) in file order, the groups and what they own."""

    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    groups: Sequence[Fitted]
    owned: Sequence[Sequence[Owned]]

    @property
    def loose(self) -> list[str]:
        """The tensors that no group owns."""
        taken = {own.tensor for owned in self.owned for own in owned}
        return [name for name in self.tensors if name not in taken]


@dataclass(frozen=True)
class SignedRecord:
    """A record whose sign means nothing: one bit comes back. `signs` is 1 in the bytes whose lowest bit is a sign."""

    code: ByteCode
    signs: Bytes

    def _negated(self, x: bytes) -> bytes:
        return (np.frombuffer(x, np.uint8) ^ self.signs).tobytes()

    def push(self, stack: Stack, x: bytes) -> None:
        self.code.push(stack, self._negated(x) if Uniform(2).pop(stack) else x)

    def pop(self, stack: Stack) -> bytes:
        x = self.code.pop(stack)
        negative = x[0] & 1
        Uniform(2).push(stack, negative)
        return self._negated(x) if negative else x

    def bits(self, x: bytes) -> float:
        """Of the record as it is, less the bit."""
        return self.code.bits(x) - 1


class Orbit:
    """The code of a plan's canonical networks (name -> array), byte planes under `tables`, tensor by tensor `rows`."""

    def __init__(self, plan: Plan, tables: ByteTables, rows: Mapping[str, NDArray[np.int64]]) -> None:
        self._plan, self._tables, self._rows = plan, tables, rows

    def push(self, stack: Stack, x: Tensors) -> None:
        for name in reversed(self._plan.loose):
            self._loose(name).push(stack, to_words(x[name].reshape(1, -1)).tobytes())
        for number in range(len(self._plan.groups) - 1, -1, -1):
            records = records_of(x, self._plan.owned[number])
            self._units(number).push(stack, [record.tobytes() for record in records])

    def pop(self, stack: Stack) -> Tensors:
        out: Tensors = {}
        for number in range(len(self._plan.groups)):
            self._take_apart(b"".join(self._units(number).pop(stack)), number, out)
        for name in self._plan.loose:
            dtype, shape = self._plan.tensors[name]
            data = np.frombuffer(self._loose(name).pop(stack), np.uint8)
            out[name] = from_words(data.reshape(1, -1), dtype).reshape(shape)
        return {name: out[name] for name in self._plan.tensors}

    def bits(self, x: Tensors) -> float:
        """A bound."""
        loose = sum(self._loose(name).bits(to_words(x[name].reshape(1, -1)).tobytes()) for name in self._plan.loose)
        units = (
            self._units(number).bits([r.tobytes() for r in records_of(x, owned)])
            for number, owned in enumerate(self._plan.owned)
        )
        return loose + sum(units)

    def _elements(self, name: str) -> int:
        return int(np.prod(self._plan.tensors[name][1], dtype=np.int64))

    def _loose(self, name: str) -> ByteCode:
        rows = self._rows[name]
        return ByteCode(self._tables, rows, self._elements(name) * len(rows))

    def _units(self, number: int) -> Multiset[bytes]:
        group, owned = self._plan.groups[number].group, self._plan.owned[number]
        parts = [np.tile(self._rows[own.tensor], self._elements(own.tensor) // group.count) for own in owned]
        pattern = np.concatenate(parts)
        code = ByteCode(self._tables, pattern, len(pattern))
        if not group.sign:
            return Multiset(group.count, lambda _: code, bytes)
        empty = {
            o.tensor: np.empty(shape, numpy_dtype(dtype))
            for o in owned
            for dtype, shape in [self._plan.tensors[o.tensor]]
        }
        signed = SignedRecord(code, sign_bits(empty, owned))
        return Multiset(group.count, lambda _: signed, bytes)

    def _take_apart(self, data: bytes, number: int, out: Tensors) -> None:
        """Records, end to end, as the tensors that group `number` owns."""
        count = self._plan.groups[number].group.count
        records, at = np.frombuffer(data, np.uint8).reshape(count, -1), 0
        for own in self._plan.owned[number]:
            dtype, shape = self._plan.tensors[own.tensor]
            width = self._elements(own.tensor) // count * numpy_dtype(dtype).itemsize
            out[own.tensor] = own.restore(from_words(records[:, at : at + width], dtype), shape)
            at += width


def layout_of(tensors: Mapping[str, Array]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """(dtype, shape) of every tensor. Raises UnsupportedError for arrays that no checkpoint holds."""
    return {name: (dtype_name(array.dtype), array.shape) for name, array in tensors.items()}
