"""The nearest references of each query, exactly, where most pairs needn't be known exactly.

Once k references are known, a pair whose length can't be small enough for a distance among the k least is left out: its
distance is given as infinite. All others, ties included, are what `distances` gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from ..cluster import Workers
from .distances import Method, Progress, Side, choose_workers, combined, slices
from .lengths import Bits, Indices, Lengths

_CHUNKS: Final = (256, 1024)
"""References that are looked at before the limit is set anew; then come all others."""
_SLACK: Final = 1e-6  # bits, against rounding: lengths are whole bytes


class References(Side):
    """What every task needs. `bits`: C of each reference."""

    def __init__(self, lengths: Lengths, texts: Sequence[bytes], method: Method, k: int) -> None:
        super().__init__(lengths, texts, conditional=False)
        self.method, self.k = method, k
        self.bits = lengths.each(texts)


@dataclass(frozen=True)
class Queries:
    """Some queries and C of each."""

    texts: list[bytes]
    bits: Bits


def nearest_rows(side: References, queries: Queries) -> list[Bits]:
    """The task: distances of each query to all references, infinite where they are surely not among the k least."""
    return [_row(side, text, bits) for text, bits in zip(queries.texts, queries.bits.tolist(), strict=True)]


def _row(side: References, query: bytes, bits: float) -> Bits:
    row = np.full(len(side.texts), np.inf)
    for chosen in _chunks(len(row)):
        limits = _limits(side.method, _edge(row[: chosen[0]], side.k), bits, side.bits[chosen])
        pair = side.lengths.joined(query, side.suffixes(), chosen, limits)
        row[chosen] = combined(side.method, pair[None], np.array([bits]), side.bits[chosen])[0]
    return row


def _chunks(count: int) -> Iterator[Indices]:
    bounds = [*np.minimum(np.cumsum([0, *_CHUNKS]), count).tolist(), count]
    for start, stop in pairwise(bounds):
        if start < stop:
            yield np.arange(start, stop)


def _edge(row: Bits, k: int) -> float:
    """The k-th least distance so far."""
    return float(np.partition(row, k - 1)[k - 1]) if len(row) >= k else np.inf


def _limits(method: Method, edge: float, x: float, y: Bits) -> Bits:
    """The lengths of pairs that have the distance `edge`."""
    most = edge * (x + y) if method == "cdm" else edge * np.maximum(x, y) + np.minimum(x, y)
    return np.where(np.isnan(most), np.inf, most) + _SLACK


def nearest_distances(
    lengths: Lengths,
    queries: Sequence[bytes],
    references: Sequence[bytes],
    *,
    method: Method,
    k: int,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> Bits:
    """Distances with the query first, float64 [queries, references]; infinite beyond the k nearest of a query."""
    out = np.empty((len(queries), len(references)))
    side, bits = References(lengths, references, method, k), lengths.each(queries)
    parts = slices(len(queries))
    tasks = [Queries(list(queries[part]), bits[part]) for part in parts]
    done = 0
    for index, rows in choose_workers(lengths, workers).run(nearest_rows, side, tasks):
        out[parts[index]] = rows
        done += len(rows)
        if progress:
            progress(done, len(queries))
    return out
