"""Classification judged: accuracy with its interval, what the code compresses to, baselines, what leaked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..cluster import Workers
from .data import Labelled
from .decide import Rule, class_chances
from .leakage import Leakage, audit
from .lengths import Lengths
from .neighbours import chances, expected_accuracy
from .pairs import Progress
from .retrieval import tfidf_distances
from .statistics import Interval, wilson

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """One way to label the documents.

    `accuracy`: of the likeliest label (the first in alphabetical order where several are). `expected`: with ties broken at
    random; `interval` is its 95 % (Wilson). `right`: P(right) of each document. `bits_per_byte`: of the documents alone
    under the code, in `unit`; None for baselines. `seconds` of the whole.
    """

    name: str
    rule: str
    unit: str
    accuracy: float
    expected: float
    interval: Interval
    bits_per_byte: float | None
    seconds: float
    right: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Evaluation:
    """Several ways to label the same documents from the same texts."""

    classes: tuple[str, ...]
    trains: int
    tests: int
    judged: tuple[Judged, ...]
    leakage: Leakage

    def to_dict(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes), "train": self.trains, "test": self.tests,
            "leakage": self.leakage.to_dict(), "results": [j.to_dict() for j in self.judged],
        }  # fmt: skip


def classes_of(train: Labelled) -> tuple[str, ...]:
    return tuple(sorted(set(train.labels)))


def indices_of(labels: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """The index of each label, -1 for one that isn't a class."""
    known = {label: k for k, label in enumerate(classes)}
    return np.array([known.get(label, -1) for label in labels], np.int64)


def judge(
    lengths: Lengths,
    rule: Rule,
    train: Labelled,
    test: Labelled,
    *,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> Judged:
    """Label the documents of `test` by the texts of `train` with one code."""
    start = time.perf_counter()
    classes = classes_of(train)
    labels = indices_of(train.labels, classes)
    chance = class_chances(
        lengths, rule, train.texts, labels, len(classes), test.texts, workers=workers, progress=progress
    )
    rate = float(lengths.each(test.texts).sum()) / max(1, test.nbytes)
    return _judged(lengths.name, rule.describe(), lengths.unit, chance, classes, test, rate, start)


def _judged(
    name: str, rule: str, unit: str, chance: Floats, classes: Sequence[str], test: Labelled, rate: float | None,
    start: float,
) -> Judged:  # fmt: skip
    truth = indices_of(test.labels, classes)
    right = expected_accuracy(chance, truth)
    expected = float(right.mean())
    accuracy = float((chance.argmax(axis=1) == truth).mean())
    took = time.perf_counter() - start
    return Judged(name, rule, unit, accuracy, expected, wilson(expected, len(test)), rate, took, tuple(right.tolist()))


def baselines(train: Labelled, test: Labelled) -> list[Judged]:
    """What is had without any compression: the nearest neighbour by tf-idf, and always the commonest label."""
    classes = classes_of(train)
    labels = indices_of(train.labels, classes)
    start = time.perf_counter()
    near = chances(tfidf_distances(test.texts, train.texts), labels, len(classes))
    out = [_judged("tf-idf", "cosine, k = 1", "", near, classes, test, None, start)]
    start = time.perf_counter()
    counts = Counter(train.labels)
    most = np.array([float(counts[c] == max(counts.values())) for c in classes])
    common = np.tile(most / most.sum(), (len(test), 1))
    return [*out, _judged("majority", "the commonest label", "", common, classes, test, None, start)]


def evaluate(
    codes: Sequence[Lengths],
    rule: Rule,
    train: Labelled,
    test: Labelled,
    *,
    drop_duplicates: bool = False,
    with_baselines: bool = False,
    workers: Workers | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """The documents of `test` labelled by the texts of `train` under each code.

    With `drop_duplicates` texts are left out that a document repeats, or nearly; the audit is of what was there before.
    Raises InputError, and what a code raises.
    """
    leakage = audit(train.texts, test.texts)
    if drop_duplicates:
        train = train.take(np.setdiff1d(np.arange(len(train)), np.array(leakage.of_train, np.int64)))
    if not len(train) or not len(test):
        raise InputError("no text to learn from, or no document, is left")
    judged = []
    for code in codes:
        step = partial(progress, code.name) if progress else None
        judged.append(judge(code, rule, train, test, workers=workers, progress=step))
    if with_baselines:
        judged += baselines(train, test)
    return Evaluation(classes_of(train), len(train), len(test), tuple(judged), leakage)
