"""Texts compared by the words they share: a baseline, and a cheap choice of candidates for dear distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError
from ..cluster import Workers
from .codes import lengths_of
from .lengths import Indices
from .pairs import distances

TFIDF: Final = "tf-idf"


def tfidf_distances(queries: Sequence[bytes], references: Sequence[bytes]) -> NDArray[np.float64]:
    """One minus the cosine of tf-idf vectors of words, fitted to the references: float64 [queries, references]."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ModuleNotFoundError:
        raise MissingExtraError("scikit-learn", "ncd") from None
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", sublinear_tf=True)  # noqa: S106  no password
    try:
        known = vectorizer.fit_transform([text.decode("utf-8", "replace") for text in references])
    except ValueError:  # not a word in any of them
        return np.ones((len(queries), len(references)))
    asked = vectorizer.transform([text.decode("utf-8", "replace") for text in queries])
    return np.asarray(1.0 - (asked @ known.T).toarray(), np.float64)


def candidates(
    how: str, count: int, queries: Sequence[bytes], references: Sequence[bytes], workers: Workers | None = None
) -> list[Indices]:
    """For each query the indices of the `count` nearest references by tf-idf or by the NCD of a code called `how`.

    Of references that are equally far the first ones are taken. Raises what `lengths_of` does.
    """
    if count >= len(references):
        return [np.arange(len(references))] * len(queries)
    far = (
        tfidf_distances(queries, references)
        if how == TFIDF
        else distances(lengths_of(how), queries, references, workers=workers)
    )
    return [np.sort(np.argsort(row, kind="stable")[:count]) for row in far]
