"""The nearest references of each query, exactly, where most pairs needn't be known exactly.

Once k references are known, a pair whose length can't be small enough for a distance among the k least is left out: its
distance is given as infinite. All others, ties included, are what `distances` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..cluster import Workers
from .lengths import Bits, Indices, Lengths
from .pairs import Method, Progress, Side, choose_workers, combined, slices

_FIRST: Final = 32
"""References, those that look nearest, from which the first limit is known; or k, if that is more."""
_SECOND: Final = 256
"""Some more, from which a better one is; then come all others."""
_SLACK: Final = 1e-6  # bits, against rounding: lengths are whole bytes
_COMMON: Final = 8
"""A word that more than one text in so many has tells little."""


class Overlap:
    """Which texts share most words with another one, rare words first: only the order of work depends on it."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self.count = len(texts)
        places: dict[bytes, list[int]] = {}
        for k, text in enumerate(texts):
            for word in set(text.split()):
                places.setdefault(word, []).append(k)
        self._places = {
            word: np.array(where, np.int64) for word, where in places.items() if len(where) * _COMMON <= len(texts)
        }

    def first(self, text: bytes, count: int) -> Indices:
        """The indices of `count` texts, or all there are."""
        found = [where for word in set(text.split()) if (where := self._places.get(word)) is not None]
        together = np.concatenate([np.empty(0, np.int64), *found])
        rarity = np.repeat([1 / len(where) for where in found], [len(where) for where in found])
        weights = np.bincount(together, rarity, self.count)
        order: Indices = np.argsort(-weights, kind="stable")[:count]
        return order


class References(Side):
    """What every task needs. `bits`: C of each reference."""

    def __init__(self, lengths: Lengths, texts: Sequence[bytes], method: Method, k: int) -> None:
        super().__init__(lengths, texts, conditional=False)
        self.method, self.k = method, k
        self.bits = lengths.each(texts)


@dataclass(frozen=True)
class Queries:
    """Some queries, C of each, and the references that are looked at first."""

    texts: list[bytes]
    bits: Bits
    first: list[Indices]


def nearest_rows(side: References, queries: Queries) -> list[Bits]:
    """The task: distances of each query to all references, infinite where they are surely not among the k least."""
    of_each = zip(queries.texts, queries.bits.tolist(), queries.first, strict=True)
    return [_row(side, text, bits, first) for text, bits, first in of_each]


def _row(side: References, query: bytes, bits: float, first: Indices) -> Bits:
    row = np.full(len(side.texts), np.inf)
    others = np.delete(np.arange(len(row)), first)
    for chosen in (first, others[:_SECOND], others[_SECOND:]):
        limits = _limits(side.method, _edge(row, side.k), bits, side.bits[chosen])
        pair = side.lengths.joined(query, side.suffixes(), chosen, limits)
        row[chosen] = combined(side.method, pair[None], np.array([bits]), side.bits[chosen])[0]
    return row


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
    overlap, count = Overlap(references), max(_FIRST, k)
    tasks = [Queries(list(queries[p]), bits[p], [overlap.first(q, count) for q in queries[p]]) for p in parts]
    done = 0
    for index, rows in choose_workers(lengths, workers).run(nearest_rows, side, tasks):
        out[parts[index]] = rows
        done += len(rows)
        if progress:
            progress(done, len(queries))
    return out
