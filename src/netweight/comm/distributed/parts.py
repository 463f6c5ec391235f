"""Means whose parts are made by one rank each: a reduce-scatter of messages, and a gather of what it made.

Rank r is sent the r-th part of every vector and averages what it hears. For FSDP2 that is all. For DDP the means are compressed
once more and sent to all ranks, with a memory of their own for what that loses (as DoubleSqueeze, arXiv 1905.05957): what a rank
receives doesn't grow with the number of ranks, nor does what it decodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import NetweightError
from ..compressor import Vector
from ..message import Address
from ..state.base import State
from . import bundle
from .averaging import Coded, coded, exchanged, mean_of, read_from
from .bundle import CODED, Decoded, Item


def reduce_parts(state: State, parts: Sequence[Sequence[Item]]) -> list[Vector]:
    """The estimates of `parts[rank]`; `parts[r]` are this rank's vectors for rank r, alike on all ranks but for their values.

    Collective. Raises what `averaging.average` raises; memories change when the caller completes its step.
    """
    exchange = state.session.exchange
    where = Address(exchange.rank, "", state.step, "")
    failure: NetweightError | None = None
    mine: list[list[Coded]] = []
    try:
        mine = [[coded(state, item, exchange.rank) for item in items] for items in parts]
        messages = [
            bundle.build(items, [c.payload for c in own], [c.mark for c in own], where, state.wire)
            for items, own in zip(parts, mine, strict=True)
        ]
    except NetweightError as error:
        failure, messages = error, [bundle.fault(error)] * exchange.world
    here = parts[exchange.rank]
    heard = exchange.scatter(messages, bundle.limit_of(here))
    if failure is not None:
        raise failure
    said = [read_from(state, here, message, r) for r, message in enumerate(heard)]
    for items, own in zip(parts, mine, strict=True):
        _remember(state, items, own, exchange.rank)
    return [_estimate(state, item, [of[k] for of in said]) for k, item in enumerate(here)]


def average_in_parts(state: State, items: Sequence[Item]) -> list[Vector]:
    """The estimate of the mean over ranks of each item: reduced in parts, compressed again, gathered. Collective."""
    exchange = state.session.exchange
    rank, world = exchange.rank, exchange.world
    split: list[list[Any]] = [np.array_split(item.x, world) for item in items]
    parts = [[_part(items[k], k_split[r], r) for k, k_split in enumerate(split)] for r in range(world)]
    kept = [
        [k for k, item in enumerate(of) if item.x.size] for of in parts
    ]  # a short vector has fewer parts than ranks
    means = reduce_parts(state, [[of[k] for k in ks] for of, ks in zip(parts, kept, strict=True)])
    made = [
        Item(f"{parts[rank][k].name} mean", mean, items[k].compressor, items[k].name)
        for k, mean in zip(kept[rank], means, strict=True)
    ]
    mine, heard = exchanged(state, made, Address(rank, "", state.step, ""))
    for r, message in enumerate(heard):
        theirs = [Item(f"{parts[r][k].name} mean", parts[r][k].x, items[k].compressor) for k in kept[r]]
        for k, said in zip(kept[r], read_from(state, theirs, message, r), strict=True):
            split[k][r] = np.zeros_like(split[k][r]) if said.vector is None else said.vector
    _remember(state, made, mine, rank)
    return [np.concatenate(pieces) for pieces in split]


def _part(item: Item, x: Vector, r: int) -> Item:
    return Item(f"{item.name}/{r}", x, item.compressor, item.name)


def _remember(state: State, items: Sequence[Item], mine: Sequence[Coded], rank: int) -> None:
    """What the receivers of `items` saw of them."""
    for item, own in zip(items, mine, strict=True):
        if own.mark == CODED and own.payload is not None and item.compressor != bundle.RAW:
            seed = state.seed_of(rank, item.name)
            seen = item.compressor.decompress(own.payload, item.x.size, item.x.dtype, seed)
            state.sent(item.name, own.vector, seen)


def _estimate(state: State, item: Item, said: Sequence[Decoded]) -> Vector:
    mean = mean_of(said, item.x)
    exact = item.compressor == bundle.RAW or any(decoded.passed for decoded in said)
    return mean if exact else state.received(item.name, mean)
