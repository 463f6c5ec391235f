"""The mean over ranks of what their messages say: the same bits on every rank.

Each rank decodes every rank's message, its own as well, and adds in the order of ranks. What isn't compressed goes through an
all-reduce when there is enough of it (as what is summable does), else along with the messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ...errors import InputError, NetweightError
from ..compressor import Vector
from ..message import Address, as_it_is
from ..state.base import State
from . import bundle
from .bundle import ABSENT, CODED, PASSED, Decoded, Item
from .summing import mean_of_sums, not_finite, summable

_WORTH_A_SUM: Final = 4096
"""Bytes of uncompressed vectors from which a collective of their own is cheaper than a copy to every rank."""


@dataclass(frozen=True, slots=True)
class Coded:
    """This rank's side of one item: what it compressed, its payload (None: absent), its mark."""

    vector: Vector
    payload: bytes | None
    mark: int


def average(state: State, names: Sequence[str], vectors: Sequence[Vector]) -> list[Vector]:
    """The estimate of the mean over ranks of each vector: new arrays of its length and dtype.

    Collective. The state's memory changes when the caller completes its step. Raises InputError or PeerError on every rank
    where a vector isn't finite, FormatError for messages that are damaged.
    """
    items = [Item(name, x, state.compressor(name, x.size, "gradient")) for name, x in zip(names, vectors, strict=True)]
    full = [k for k, item in enumerate(items) if item.x.size]
    summed = [k for k in full if summable(items[k].compressor, items[k].x.dtype)]
    rest = sorted({*full} - {*summed})
    if rest and sum(items[k].x.nbytes for k in summed) < _WORTH_A_SUM:
        rest, summed = full, []
    out = [np.zeros_like(x) for x in vectors]
    for dtype in sorted({items[k].x.dtype.name for k in summed}):
        chosen = [k for k in summed if items[k].x.dtype.name == dtype]
        for k, mean in zip(chosen, mean_of_sums(state, [items[k] for k in chosen]), strict=True):
            out[k] = mean
    for k, mean in zip(rest, _compressed(state, [items[k] for k in rest]), strict=True):
        out[k] = mean
    return out


def _compressed(state: State, items: Sequence[Item]) -> list[Vector]:
    if not items:
        return []
    if state.in_parts:
        from .parts import average_in_parts

        return average_in_parts(state, items)
    return _messages(state, items)


def exchanged(state: State, items: Sequence[Item], where: Address) -> tuple[list[Coded], list[memoryview]]:
    """This rank's items as it coded them, and every rank's message of its own items. Raises this rank's error after the
    others have been told of it.
    """
    failure: NetweightError | None = None
    mine: list[Coded] = []
    try:
        mine = [coded(state, item, where.sender) for item in items]
        message = bundle.build(items, [c.payload for c in mine], [c.mark for c in mine], where, state.wire)
        _check_capacity(state.capacity, message, items)
    except NetweightError as error:
        failure, message = error, bundle.fault(error)
    heard = _gathered(state, message, items)
    if failure is not None:
        raise failure
    return mine, heard


def _messages(state: State, items: Sequence[Item]) -> list[Vector]:
    rank = state.session.exchange.rank
    mine, heard = exchanged(state, items, Address(rank, "", state.step, ""))
    said = [read_from(state, items, message, r) for r, message in enumerate(heard)]
    return [_merged(state, item, mine[k], [of[k] for of in said], rank) for k, item in enumerate(items)]


def coded(state: State, item: Item, rank: int) -> Coded:
    """Raises InputError where `item` isn't finite and that isn't to be passed on."""
    if not np.isfinite(item.x).all():
        if state.on_nonfinite == "raise":
            raise InputError(not_finite(item.name, rank, state.step))
        return Coded(item.x, as_it_is(item.x), PASSED)
    vector = item.x if item.compressor == bundle.RAW else state.outgoing(item.name, item.x)
    if vector is None:
        return Coded(item.x, None, ABSENT)
    try:
        return Coded(vector, item.compressor.compress(vector, state.seed_of(rank, item.name)), CODED)
    except InputError as error:
        raise InputError(f"parameter {item.name!r} on rank {rank} at step {state.step}: {error}") from None


def _check_capacity(capacity: int | None, message: bytes, items: Sequence[Item]) -> None:
    if capacity is not None and len(message) > capacity:
        raise InputError(
            f"a message of {len(message)} bytes ({len(items)} vectors, {items[0].name!r} first) doesn't fit in the "
            f"capacity of {capacity}: raise it, or leave it out"
        )


def _gathered(state: State, message: bytes, items: Sequence[Item]) -> list[memoryview]:
    exchange = state.session.exchange
    if state.capacity is None:
        return exchange.gather(message, bundle.limit_of(items))
    return exchange.gather_fixed(message[: state.capacity], state.capacity)


def read_from(state: State, items: Sequence[Item], message: memoryview, rank: int) -> list[Decoded]:
    """What `rank` said. A damaged message is a fault of the wire or of that rank: nothing of the step is kept."""
    seeds = [state.seed_of(rank, item.name) for item in items]
    return bundle.read(message, items, seeds, Address(rank, "", state.step, ""))


def mean_of(said: Sequence[Decoded], like: Vector) -> Vector:
    """The mean of what the ranks said, in their order; absent vectors are zeros."""
    mean = np.zeros_like(like)
    for decoded in said:
        if decoded.vector is not None:
            mean += decoded.vector
    mean /= like.dtype.type(len(said))
    return mean


def _merged(state: State, item: Item, mine: Coded, said: Sequence[Decoded], rank: int) -> Vector:
    mean = mean_of(said, item.x)
    if item.compressor == bundle.RAW or any(decoded.passed for decoded in said):
        return mean
    own = said[rank].vector
    if own is not None:
        state.sent(item.name, mine.vector, own)
    return state.received(item.name, mean)
