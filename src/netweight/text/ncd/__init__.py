"""Distances between texts by compression, and what can be decided from them.

    from netweight.text.ncd import NcdClassifier, distances, lengths_of

    distances(lengths_of("gzip"), queries, references)     # float64 [queries, references]
    NcdClassifier("zstd", method="per-class").fit(texts, labels).score(others, truth)

lengths.py          C(x), C(xy) and C(x | y) under a code: the one interface
compressors.py      other people's compressors; deflate*.py: zlib's lengths, quickly; model_lengths.py: a language model's
codes.py            codes by name
pairs.py            NCD and its kin; matrix.py: between all of some texts, and their tree
neighbours.py       nearest neighbours with ties in expectation; decide.py: rules; retrieval.py: tf-idf, candidates
classifier.py       the scikit-learn estimator
evaluation.py       accuracy, interval, baselines; leakage.py: what of the test set is in the training set
study.py            does compression rate predict accuracy? journal.py remembers, statistics.py judges

Importing this loads nothing; each name loads what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..._lazy import exporter

if TYPE_CHECKING:
    from .classifier import NcdClassifier
    from .codes import lengths_of
    from .decide import Rule
    from .lengths import Lengths
    from .matrix import matrix_of
    from .pairs import distances

_HOMES: Final = {
    "Lengths": "lengths",
    "NcdClassifier": "classifier",
    "Rule": "decide",
    "distances": "pairs",
    "lengths_of": "codes",
    "matrix_of": "matrix",
}

__all__ = ["Lengths", "NcdClassifier", "Rule", "distances", "lengths_of", "matrix_of"]

__getattr__ = exporter(__name__, _HOMES)
