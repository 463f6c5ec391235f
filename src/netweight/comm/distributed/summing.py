"""Means over ranks through an all-reduce: for vectors that go as they are, and for linear compressors.

C(x) + C(y) = C(x + y) for one seed, so payloads are summed as the arrays that they are, and decoded once. The result has the
same bits on every rank: each part of a sum is made by one rank and handed to the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..compressor import Compressor, Vector
from ..state.base import State
from .bundle import RAW, Item

EVERY_RANK = -1
"""The sender whose seed all ranks use for a linear compressor."""


def summable(compressor: Compressor, kind: np.dtype[Any]) -> bool:
    """Whether payloads of vectors of dtype `kind` are arrays that may be summed."""
    return compressor == RAW or (compressor.linear and kind == np.float32)


def mean_of_sums(state: State, items: Sequence[Item]) -> list[Vector]:
    """The estimates of `items`, all of one dtype, by one all-reduce. Raises InputError on all ranks for what isn't finite."""
    arrays, vectors = zip(*(_array(state, item) for item in items), strict=True)
    means = all_reduced(state, [item.name for item in items], arrays)
    out = []
    for item, vector, array, mean in zip(items, vectors, arrays, means, strict=True):
        state.wire.charge(item.name, item.x.nbytes, array.nbytes)
        out.append(mean if item.compressor == RAW else _merged(state, item, vector, array, mean))
    return out


def all_reduced(state: State, names: Sequence[str], arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The mean over ranks of each array, all of one dtype, flat.

    One value a rank goes along: which of its arrays isn't finite, counted from 1, so that every rank can name it.
    """
    exchange, kind = state.session.exchange, arrays[0].dtype
    flags = np.zeros(exchange.world, kind)
    if state.on_nonfinite == "raise":
        flags[exchange.rank] = next((k + 1 for k, array in enumerate(arrays) if not np.isfinite(array).all()), 0)
    clean = [np.zeros_like(array) for array in arrays] if flags.any() else arrays
    total = exchange.add(np.concatenate([flags, *(array.reshape(-1) for array in clean)]))
    for rank, flag in enumerate(total[: exchange.world]):
        if flag:
            raise InputError(not_finite(names[int(flag) - 1], rank, state.step))
    means = total[exchange.world :] / kind.type(exchange.world)
    return np.split(means, np.cumsum([array.size for array in arrays])[:-1])


def not_finite(name: str, rank: int, step: int) -> str:
    """The message for a gradient with NaN or infinities."""
    return (
        f"the gradient of parameter {name!r} on rank {rank} isn't finite at step {step}: nothing was applied "
        "(on_nonfinite='pass' sends such gradients as they are)"
    )


def _array(state: State, item: Item) -> tuple[NDArray[Any], Vector | None]:
    """What this rank adds for `item`, and the vector that it stands for: None if it is absent or not finite."""
    if item.compressor == RAW:
        return item.x, item.x
    finite = bool(np.isfinite(item.x).all())
    vector = state.outgoing(item.name, item.x) if finite else None
    given = np.zeros_like(item.x) if vector is None else vector
    payload = item.compressor.compress(given, state.seed_of(EVERY_RANK, item.name))
    array = np.frombuffer(payload, "<f4").astype(item.x.dtype)
    return (array if finite else np.full_like(array, np.nan)), vector


def _merged(state: State, item: Item, vector: Vector | None, array: NDArray[Any], mean: NDArray[Any]) -> Vector:
    """Decode the mean. What isn't finite is passed on, and no memory learns of it."""
    if not np.isfinite(mean).all():
        return np.full_like(item.x, np.nan)
    seed, d, kind = state.seed_of(EVERY_RANK, item.name), item.x.size, item.x.dtype
    if vector is not None:
        state.sent(item.name, vector, item.compressor.decompress(array.astype("<f4").tobytes(), d, kind, seed))
    return state.received(item.name, item.compressor.decompress(mean.astype("<f4").tobytes(), d, kind, seed))
