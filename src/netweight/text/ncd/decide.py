"""From distances to labels: nearest neighbours, or the class whose texts tell most about a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..cluster import Workers
from .lengths import Lengths
from .neighbours import chances
from .pairs import METHODS, Method, Order, Progress, distances, pair_lengths
from .retrieval import TFIDF, candidates
from .search import nearest_distances

PER_CLASS: Final = "per-class"
Decision = Literal["ncd", "cdm", "conditional", "per-class"]
DECISIONS: Final[tuple[str, ...]] = (*METHODS, PER_CLASS)


@dataclass(frozen=True)
class Rule:
    """How a label is decided.

    `method`: a distance and its `k` nearest neighbours, or "per-class": the class with the least C(text | all its texts).
    `candidates`: only so many references a query, those nearest by `preselect` (tf-idf or a code's NCD); 0 for all.
    """

    method: str = "ncd"
    order: Order = "query-first"
    k: int = 1
    candidates: int = 0
    preselect: str = TFIDF

    def __post_init__(self) -> None:
        if self.method not in DECISIONS:
            raise InputError(f"no method {self.method!r}; there are {', '.join(DECISIONS)}")
        if self.k < 1 or self.candidates < 0:
            raise InputError(f"k must be 1 or more, candidates 0 or more: {self.k}, {self.candidates}")
        if self.method == PER_CLASS and (self.k != 1 or self.candidates):
            raise InputError("per-class has no neighbours: no k and no candidates")

    def describe(self) -> str:
        """All that the figures depend on, in words."""
        if self.method == PER_CLASS:
            return PER_CLASS
        order = "reference-first" if self.method == "conditional" else self.order
        chosen = f", {self.candidates} candidates by {self.preselect}" if self.candidates else ""
        return f"{self.method}, {order}, k = {self.k}{chosen}"


def class_chances(
    lengths: Lengths,
    rule: Rule,
    references: Sequence[bytes],
    labels: NDArray[np.int64],
    classes: int,
    queries: Sequence[bytes],
    *,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """P(label) of each query, ties broken at random: float64 [queries, classes]. labels: int64 [references]."""
    settings: dict[str, Any] = {"workers": workers, "progress": progress}
    if rule.method == PER_CLASS:
        texts = [lengths.separator.join(_of_class(references, labels, c)) for c in range(classes)]
        bits = pair_lengths(lengths, texts, queries, conditional=True, **settings).T
        return chances(bits, np.arange(classes), classes)
    wanted = None
    if rule.candidates:
        wanted = candidates(rule.preselect, rule.candidates, queries, references, workers)
    method = cast("Method", rule.method)
    if lengths.limited and not rule.candidates and method != "conditional" and rule.order == "query-first":
        far = nearest_distances(lengths, queries, references, method=method, k=rule.k, **settings)
        return chances(far, labels, classes, rule.k)
    far = distances(lengths, queries, references, method=method, order=rule.order, wanted=wanted, **settings)
    return chances(far, labels, classes, rule.k)


def _of_class(references: Sequence[bytes], labels: NDArray[np.int64], label: int) -> list[bytes]:
    return [text for text, of in zip(references, labels, strict=True) if of == label]
