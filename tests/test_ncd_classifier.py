"""The scikit-learn estimator: parameters, clones, pipelines, searches, what it refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from netweight.errors import InputError, NotFoundError
from netweight.text.ncd.classifier import NcdClassifier

SEA, FARM = "ship harbour wave sail anchor tide captain", "wheat plough barn cattle harvest field tractor"


def made(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    generator = np.random.default_rng(seed)
    labels = [("sea", "farm")[n % 2] for n in range(count)]
    texts = [" ".join(generator.choice((SEA if label == "sea" else FARM).split(), 25)) for label in labels]
    return texts, labels


@pytest.mark.parametrize("method", ["ncd", "cdm", "conditional", "per-class"])
def test_it_learns(method: str) -> None:
    texts, labels = made(20)
    classifier = NcdClassifier("gzip", method=method).fit(texts, labels)
    others, truth = made(20, seed=1)
    assert classifier.classes_.tolist() == ["farm", "sea"]
    assert classifier.score(others, truth) == 1.0
    assert classifier.expected_accuracy(others, truth) == 1.0
    assert classifier.expected_accuracy(others, ["moon"] * 20) == 0.0
    chance = classifier.predict_proba(others)
    assert chance.shape == (20, 2)
    assert chance.sum(axis=1) == pytest.approx(np.ones(20))
    assert (classifier.predict(others) == truth).all()
    assert classifier.predict([]).tolist() == []


def test_ties_are_chances_and_the_first_label_is_predicted() -> None:
    classifier = NcdClassifier("gzip").fit(["same text", "same text", "same text"], [2, 1, 2])
    assert classifier.predict_proba(["a text"]) == pytest.approx(np.array([[1 / 3, 2 / 3]]))
    even = NcdClassifier("gzip").fit(["same text", "same text"], ["b", "a"])
    assert even.predict_proba(["a text"]).tolist() == [[0.5, 0.5]]
    assert even.predict(["a text"]).tolist() == ["a"]
    assert even.expected_accuracy(["a text"], ["b"]) == 0.5


def test_it_is_an_estimator_among_others() -> None:
    classifier = NcdClassifier("zstd:3", method="conditional", k=3, candidates=10)
    assert is_classifier(classifier)
    copy = clone(classifier)
    assert copy is not classifier
    assert copy.get_params() == classifier.get_params()
    assert copy.set_params(k=1, code="gzip").get_params()["k"] == 1
    assert "k=3" in repr(classifier)
    texts, labels = made(12)
    fitted = classifier.fit(texts, labels)
    assert fitted is classifier
    back = pickle.loads(pickle.dumps(fitted))
    assert back.predict_proba(texts[:3]).tolist() == fitted.predict_proba(texts[:3]).tolist()
    assert fitted.fit(*made(6)).predict(texts[:1]).tolist() == ["sea"]  # fitted anew


def test_it_works_in_searches_and_pipelines() -> None:
    texts, labels = made(16)
    found = GridSearchCV(NcdClassifier(), {"code": ["gzip", "zstd:3"], "k": [1, 3]}, cv=2).fit(texts, labels)
    assert found.best_score_ == 1.0
    lower = make_pipeline(FunctionTransformer(lambda some: [t.lower() for t in some]), NcdClassifier())
    assert lower.fit([t.upper() for t in texts], labels).score(texts, labels) == 1.0
    assert cross_val_score(NcdClassifier(), texts, labels, cv=2).mean() == 1.0


def test_bytes_arrays_and_other_characters_are_texts() -> None:
    texts = ["caf\u00e9 \u4e2d\u6587", "caf\u00e9 \u4e2d", "plain words", "plain word"]
    as_text = NcdClassifier().fit(texts, [0, 0, 1, 1]).predict_proba(texts)
    as_bytes = NcdClassifier().fit([t.encode() for t in texts], [0, 0, 1, 1]).predict_proba(np.array(texts))
    assert as_text.tolist() == as_bytes.tolist()
    assert NcdClassifier().fit([b"\xff\xfe", b"", "\udcff"], [0, 1, 2]).predict([b"\xff\xfe"]).tolist() == [0]


def test_what_it_refuses() -> None:
    with pytest.raises(NotFittedError):
        NcdClassifier().predict(["a"])
    with pytest.raises(InputError, match="2 texts with 1 labels"):
        NcdClassifier().fit(["a", "b"], [1])
    with pytest.raises(InputError, match="0 texts"):
        NcdClassifier().fit([], [])
    with pytest.raises(InputError, match="a list of texts"):
        NcdClassifier().fit("text", [1])
    with pytest.raises(InputError, match="not int"):
        NcdClassifier().fit([1, 2], [1, 2])
    with pytest.raises(InputError, match="no method"):
        NcdClassifier(method="other").fit(["a"], [1])
    with pytest.raises(InputError, match="k must be"):
        NcdClassifier(k=0).fit(["a"], [1])
    with pytest.raises(NotFoundError, match="no code"):
        NcdClassifier("none").fit(["a"], [1])
