"""A network as one message for a receiver who has the architecture: `encode`, `decode`.

    message  := "NWO" version(1) | digest(8) | tables | initial words varint | stack | checksum(4)
    digest   := XXH3-64 of what the receiver must have: groups, names, dtypes and shapes
    checksum := of all that precedes and of the decoded tensors' bytes, in file order

The initial words are zeros at the bottom of the stack, counted, which the first records take their places from; with
tensors that no group owns there are none. Another architecture is refused by its digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from ...entropy.stack import Stack
from ...errors import BaseMismatchError, ChecksumError, FormatError, TruncatedError, UnsupportedError, VersionError
from ...frame import checksum
from ...tensors import numpy_dtype
from ...wire import Reader, Writer
from . import rotation
from .architecture import Group, fit
from .canonical import Tensors, canonical, owners
from .orbit import Orbit, Plan, layout_of
from .words import plane_counts, read_byte_tables, write_byte_tables

MAGIC: Final = b"NWO"
VERSION: Final = 1
_MOST_INITIAL: Final = 64

Array = NDArray[Any]
Layout = Mapping[str, tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Message:
    """`data` and what is in it, in bytes: tables, and the initial words that the stack began with (both are in data)."""

    data: bytes
    table_bytes: int
    initial_bytes: int


def plan_of(layout: Layout, groups: tuple[Group, ...]) -> Plan:
    """How tensors of this (folded) layout are coded, rotations aside. Raises InputError where groups and tensors don't fit."""
    _, groups = rotation.split(groups)
    shapes = {name: shape for name, (_, shape) in layout.items()}
    fitted = fit(groups, shapes)
    return Plan(layout, fitted, owners(fitted, shapes))


def digest(layout: Layout, groups: tuple[Group, ...]) -> bytes:
    """Eight bytes that name what the receiver must have."""
    tensors = [[name, dtype, list(shape)] for name, (dtype, shape) in layout.items()]
    text = json.dumps([[asdict(group) for group in groups], tensors], sort_keys=True)
    return xxhash.xxh3_64_digest(text.encode())


def canonical_of(tensors: Mapping[str, Array], groups: tuple[Group, ...]) -> Tensors:
    """The network that `decode` gives back for `tensors`. Raises InputError."""
    _, chosen = _chosen(tensors, groups)
    return rotation.unfold(chosen, layout_of(tensors), groups)


def _chosen(tensors: Mapping[str, Array], groups: tuple[Group, ...]) -> tuple[Plan, Tensors]:
    """The canonical network as it is coded, and how."""
    folded = rotation.fold(rotation.rotate(tensors, groups), groups)
    plan = plan_of(layout_of(folded), groups)
    return plan, canonical(folded, plan.groups, [list(owned) for owned in plan.owned])


def encode(tensors: Mapping[str, Array], groups: tuple[Group, ...]) -> Message:
    """`tensors` up to the symmetries of `groups`; none gives the plain code of the same bytes. Raises InputError."""
    plan, chosen = _chosen(tensors, groups)
    counted = {name: plane_counts(array) for name, array in chosen.items() if array.size}
    if not counted:
        raise UnsupportedError("a checkpoint without weights")
    tables_out = Writer()
    tables, rows = write_byte_tables(tables_out, list(counted.values()))
    code = Orbit(plan, tables, _rows(plan.tensors, list(counted), rows))
    stack, initial = _pushed(code, chosen)
    out = Writer().raw(MAGIC).raw(bytes([VERSION])).raw(digest(layout_of(tensors), groups))
    out.blob(tables_out.bytes()).varint(initial).blob(stack.to_bytes())
    return Message(out.raw(_checksum(out.bytes(), chosen)).bytes(), len(tables_out), 2 * initial)


def _rows(layout: Layout, counted: list[str], rows: list[NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """Tables by tensor; an empty one has none to speak of."""
    found = dict(zip(counted, rows, strict=True))
    return {name: found.get(name, np.zeros(1, np.int64)) for name in layout}


def _pushed(code: Orbit, chosen: Tensors) -> tuple[Stack, int]:
    """(the message, its initial words): as few as will do."""
    initial = 0
    while True:
        stack = Stack.of_zeros(initial)
        try:
            code.push(stack, chosen)
        except TruncatedError:
            initial = 2 * initial or 1
            if initial > _MOST_INITIAL:
                raise
        else:
            return stack, initial


def _checksum(message: bytes | memoryview, tensors: Mapping[str, Array]) -> bytes:
    return checksum(message, *(np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in tensors.values()))


def decode(data: bytes | memoryview, layout: Layout, groups: tuple[Group, ...]) -> Tensors:
    """The canonical network. Raises BaseMismatchError for another architecture; FormatError and its kin."""
    plan = plan_of(rotation.folded_layout(layout, groups), groups)
    source = Reader(data, "orbit message")
    if bytes(source.raw(3)) != MAGIC:
        raise FormatError("orbit message: isn't one")
    if (version := source.byte()) != VERSION:
        raise VersionError(f"orbit message: version {version}; update netweight")
    if bytes(source.raw(8)) != digest(layout, groups):
        raise BaseMismatchError("orbit message: made for another architecture, or for tensors of other shapes")
    counted = [name for name, (_, shape) in plan.tensors.items() if 0 not in shape]
    table_source = Reader(source.blob(), "orbit message: tables")
    tables, rows = read_byte_tables(table_source, [numpy_dtype(plan.tensors[name][0]).itemsize for name in counted])
    table_source.end()
    initial = source.varint(_MOST_INITIAL)
    stack = Stack.from_bytes(source.blob())
    expected = bytes(source.raw(4))
    source.end()
    out = Orbit(plan, tables, _rows(plan.tensors, counted, rows)).pop(stack)
    if stack != Stack.of_zeros(initial) or _checksum(memoryview(data)[:-4], out) != expected:
        raise ChecksumError("orbit message: the decoded network isn't the one that was coded")
    return rotation.unfold(out, layout, groups)
