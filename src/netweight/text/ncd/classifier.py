"""A scikit-learn classifier of texts by compression."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, MissingExtraError

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.validation import check_is_fitted
except ModuleNotFoundError:
    raise MissingExtraError("scikit-learn", "ncd") from None

from ..cluster import workers
from .codes import lengths_of
from .decide import Rule, class_chances
from .lengths import Lengths
from .neighbours import expected_accuracy
from .retrieval import TFIDF


class NcdClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Labels texts (str or bytes) by normalised compression distance to labelled ones.

    `code`: "gzip", "zstd:3", "ppmd", ..., "smollm2", the path of a language model, or a `Lengths`. `method`: "ncd",
    "cdm", "conditional" (nearest neighbours) or "per-class". `order`: which text of a pair comes first. `k`: neighbours.
    `candidates`: only so many references a query, the nearest by `preselect`; 0 for all. `separator` stands between texts.
    `threads`: None for all cores. `cluster`: a Dask scheduler's address, or "local:N".

    `predict_proba` is the chance of each label where ties are broken at random; `predict` takes the likeliest label, the
    first of `classes_` where several are. `score` is the accuracy of `predict`, `expected_accuracy` that of random
    tie-breaking. `code_` is the `Lengths` in use: its `unit` says whether lengths are payloads or a model's bound.
    """

    def __init__(
        self,
        code: str | Lengths = "gzip",
        *,
        method: str = "ncd",
        order: str = "query-first",
        k: int = 1,
        candidates: int = 0,
        preselect: str = TFIDF,
        separator: str = " ",
        threads: int | None = None,
        cluster: str | None = None,
    ) -> None:
        self.code = code
        self.method = method
        self.order = order
        self.k = k
        self.candidates = candidates
        self.preselect = preselect
        self.separator = separator
        self.threads = threads
        self.cluster = cluster

    def fit(self, X: Iterable[str | bytes], y: Iterable[Any]) -> Self:  # noqa: N803  scikit-learn's name
        """Keep the texts; nothing is compressed yet. Raises InputError."""
        texts, labels = as_bytes(X), np.asarray(list(y))
        if len(texts) != len(labels) or not texts:
            raise InputError(f"{len(texts)} texts with {len(labels)} labels")
        self._rule()
        self.code_ = lengths_of(self.code, self.separator.encode(), self.threads)
        self.classes_, self.labels_ = np.unique(labels, return_inverse=True)
        self.texts_ = texts
        return self

    def _rule(self) -> Rule:
        return Rule(self.method, self.order, self.k, self.candidates, self.preselect)  # type: ignore[arg-type]

    def predict_proba(self, X: Iterable[str | bytes]) -> NDArray[np.float64]:  # noqa: N803
        """P(label), ties broken at random: float64 [texts, classes]. Raises NotFittedError, InputError."""
        check_is_fitted(self)
        with workers(self.cluster, self.threads) as mapped:
            return class_chances(
                self.code_, self._rule(), self.texts_, self.labels_, len(self.classes_), as_bytes(X), workers=mapped
            )

    def predict(self, X: Iterable[str | bytes]) -> NDArray[Any]:  # noqa: N803
        """The likeliest label of each text."""
        chance = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[np.argmax(chance, axis=1)]
        return labels

    def expected_accuracy(self, X: Iterable[str | bytes], y: Iterable[Any]) -> float:  # noqa: N803
        """The accuracy to be expected where ties are broken at random."""
        truth = places(self.classes_, list(y))
        return float(expected_accuracy(self.predict_proba(X), truth).mean())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def as_bytes(texts: Iterable[str | bytes]) -> list[bytes]:
    """Texts as UTF-8. Raises InputError for one text where many are wanted, and for what isn't a text."""
    if isinstance(texts, str | bytes):
        raise InputError("a list of texts is wanted, not one text")
    out = []
    for text in texts:
        if not isinstance(text, str | bytes):
            raise InputError(f"a text is a str or bytes, not {type(text).__name__}")
        out.append(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text))
    return out


def places(classes: NDArray[Any], labels: list[Any]) -> NDArray[np.int64]:
    """The index of each label among the classes, -1 for one that isn't there."""
    known = {label: index for index, label in enumerate(classes.tolist())}
    return np.array([known.get(label, -1) for label in np.asarray(labels).tolist()], np.int64)
