"""Distances between texts from the lengths of their codes.

    ncd           (C(xy) - min(C(x), C(y))) / max(C(x), C(y))       Cilibrasi and Vitanyi, "Clustering by compression", 2005
    cdm           C(xy) / (C(x) + C(y))                            Keogh, Lonardi and Ratanamahatana, KDD 2004
    conditional   C(y | x) / C(y)

C(xy) depends on which text comes first. `order` says: the query ("query-first", as npc_gzip has it), the reference
("reference-first", so that a model's state after a reference serves all queries), or the mean of both ("both").
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np

from ...errors import InputError
from ..cluster import Threads, Workers
from .lengths import Bits, Indices, Lengths, Suffixes

Method = Literal["ncd", "cdm", "conditional"]
Order = Literal["query-first", "reference-first", "both"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
ORDERS: Final[tuple[Order, ...]] = get_args(Order)
Progress = Callable[[int, int], None]

_TASKS: Final = 64
"""A matrix is cut into about so many tasks."""


class Side:
    """What every task of a matrix needs: the code and the texts that follow. Prepared once in each process."""

    def __init__(self, lengths: Lengths, texts: Sequence[bytes], conditional: bool) -> None:
        self.lengths, self.texts, self.conditional = lengths, list(texts), conditional
        self.identity = lengths.identity
        self._lock = threading.Lock()
        self._prepared: Suffixes | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if not k.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock, self._prepared = threading.Lock(), None

    def suffixes(self) -> Suffixes:
        """Raises InputError on a machine whose library or model is another one: its lengths would be others too."""
        if self.lengths.identity != self.identity:
            raise InputError(f"a worker has {self.lengths.identity!r} where {self.identity!r} is wanted")
        with self._lock:
            if self._prepared is None:
                self._prepared = self.lengths.prepare(self.texts)
            return self._prepared


@dataclass(frozen=True)
class Block:
    """Some prefixes, and for each the indices of the texts that follow it (None: all)."""

    prefixes: list[bytes]
    wanted: list[Indices | None]


def block_lengths(side: Side, block: Block) -> list[Bits]:
    """The task: for each prefix C(prefix + text), or C(text | prefix), of the texts that are wanted."""
    suffixes = side.suffixes()
    work = side.lengths.given if side.conditional else side.lengths.joined
    return [work(prefix, suffixes, wanted) for prefix, wanted in zip(block.prefixes, block.wanted, strict=True)]


def pair_lengths(
    lengths: Lengths,
    prefixes: Sequence[bytes],
    texts: Sequence[bytes],
    *,
    wanted: Sequence[Indices] | None = None,
    conditional: bool = False,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> Bits:
    """C(prefix + text) of all pairs, float64 [prefixes, texts]; with `conditional` C(text | prefix).

    `wanted`: for each prefix the indices of its texts; other pairs are infinite.
    """
    out = np.full((len(prefixes), len(texts)), np.inf)
    parts = slices(len(prefixes))
    blocks = [Block(list(prefixes[part]), _chosen(wanted, part)) for part in parts]
    done = 0
    for index, rows in choose_workers(lengths, workers).run(block_lengths, Side(lengths, texts, conditional), blocks):
        for row, choice, bits in zip(out[parts[index]], blocks[index].wanted, rows, strict=True):
            row[slice(None) if choice is None else choice] = bits
        done += len(rows)
        if progress:
            progress(done, len(prefixes))
    return out


def slices(count: int) -> list[slice]:
    """The places of `count` rows in parts, one a task."""
    size = max(1, -(-count // _TASKS))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def choose_workers(lengths: Lengths, workers: Workers | None) -> Workers:
    """A model that uses all cores itself gains nothing from threads around it."""
    if workers is None or (isinstance(workers, Threads) and lengths.threaded):
        return Threads(1 if lengths.threaded else None)
    return workers


def _chosen(wanted: Sequence[Indices] | None, part: slice) -> list[Indices | None]:
    return list(wanted[part]) if wanted is not None else [None] * (part.stop - part.start)


def transposed(wanted: Sequence[Indices] | None, count: int) -> list[Indices] | None:
    """For each of `count` columns the rows that want it."""
    if wanted is None:
        return None
    rows = np.repeat(np.arange(len(wanted)), [len(w) for w in wanted])
    columns = np.concatenate([*wanted, np.empty(0, np.int64)])
    return [rows[columns == k] for k in range(count)]


def combined(method: Method, pair: Bits, query: Bits, reference: Bits) -> Bits:
    """Distances [queries, references] from lengths of pairs (for "conditional" those of the query, given the reference)."""
    x, y = query[:, None], reference[None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        if method == "ncd":
            out = (pair - np.minimum(x, y)) / np.maximum(x, y)
        elif method == "cdm":
            out = pair / (x + y)
        else:
            out = pair / np.broadcast_to(x, pair.shape)
    return np.where(np.isnan(out), np.inf, out)  # two texts that both take no bits at all


def distances(
    lengths: Lengths,
    queries: Sequence[bytes],
    references: Sequence[bytes],
    *,
    method: Method = "ncd",
    order: Order = "query-first",
    wanted: Sequence[Indices] | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> Bits:
    """Distances of every query to every reference, float64 [queries, references].

    `wanted`: for each query the indices of its references; others are infinitely far. "conditional" has the reference
    first, always. Raises InputError.
    """
    if method not in METHODS or order not in ORDERS:
        raise InputError(f"no method {method!r} with order {order!r}: {', '.join(METHODS)}; {', '.join(ORDERS)}")
    settings: dict[str, Any] = {"conditional": method == "conditional", "workers": workers}
    parts = list(_orders(method, order))
    pairs = []
    for part, first in enumerate(parts):
        settings["progress"] = _part(progress, part, len(parts))
        if first == "query":
            pairs.append(pair_lengths(lengths, queries, references, wanted=wanted, **settings))
        else:
            turned = transposed(wanted, len(references))
            pairs.append(pair_lengths(lengths, references, queries, wanted=turned, **settings).T)
    pair = pairs[0] if len(pairs) == 1 else (pairs[0] + pairs[1]) / 2
    return combined(method, pair, lengths.each(queries), lengths.each(references))


def _orders(method: Method, order: Order) -> Iterator[str]:
    if method != "conditional" and order != "reference-first":
        yield "query"
    if method == "conditional" or order != "query-first":
        yield "reference"


def _part(progress: Progress | None, part: int, parts: int) -> Progress | None:
    if progress is None or parts == 1:
        return progress
    return lambda done, total: progress(part * total + done, parts * total)
