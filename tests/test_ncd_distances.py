"""Distances and what is decided from them: identity, symmetry, ties in expectation, classes, candidates."""

from __future__ import annotations

import gzip
import pickle
from itertools import permutations

import numpy as np
import pytest

from ncd_stand_ins import LetterModel
from netweight.errors import InputError
from netweight.text.cluster import Threads
from netweight.text.ncd.codes import lengths_of
from netweight.text.ncd.decide import Rule, class_chances
from netweight.text.ncd.matrix import matrix_of, tree
from netweight.text.ncd.model_lengths import ModelLengths
from netweight.text.ncd.neighbours import chances, expected_accuracy
from netweight.text.ncd.pairs import Block, Side, block_lengths, combined, distances, pair_lengths
from netweight.text.ncd.retrieval import candidates, tfidf_distances
from netweight.text.ncd.search import nearest_distances

WORDS = {
    "sea": "ship harbour wave sail anchor tide captain fish storm deck crew island",
    "farm": "wheat plough barn cattle harvest field tractor sheep meadow seed grain milk",
    "law": "court judge appeal verdict lawyer statute jury witness clause contract oath trial",
}


def made(label: str, seed: int, words: int = 60) -> bytes:
    generator = np.random.default_rng(seed)
    return " ".join(generator.choice(WORDS[label].split(), words)).encode()


def sets(each: int) -> tuple[list[bytes], np.ndarray]:
    labels = np.repeat(np.arange(len(WORDS)), each)
    return [made(list(WORDS)[label], n) for n, label in enumerate(labels)], labels


@pytest.mark.parametrize("code", ["gzip", "zstd", "ppmd", "xz"])
def test_a_text_is_near_itself_and_far_from_noise(code: str) -> None:
    generator = np.random.default_rng(3)
    text = made("sea", 1, 300)
    queries = [text, generator.bytes(2000)]
    near, far = distances(lengths_of(code), [text], queries)[0]
    assert -0.05 < near < (0.65 if code == "ppmd" else 0.35)  # six letters are all that ppmd looks back at
    assert 0.9 < far < 1.1


def test_distances_are_the_formulas() -> None:
    lengths = lengths_of("gzip")
    x, y = made("sea", 1), made("farm", 2)
    cx, cy, cxy = (lengths.alone(t) for t in (x, y, x + b" " + y))
    cyx = lengths.alone(y + b" " + x)
    assert distances(lengths, [x], [y])[0, 0] == (cxy - min(cx, cy)) / max(cx, cy)
    assert distances(lengths, [x], [y], order="reference-first")[0, 0] == (cyx - min(cx, cy)) / max(cx, cy)
    both = ((cxy + cyx) / 2 - min(cx, cy)) / max(cx, cy)
    assert distances(lengths, [x], [y], order="both")[0, 0] == both
    assert distances(lengths, [x], [y], method="cdm")[0, 0] == cxy / (cx + cy)
    assert distances(lengths, [x], [y], method="conditional")[0, 0] == (cyx - cy) / cx


@pytest.mark.parametrize("method", ["ncd", "cdm"])
def test_both_orders_together_are_symmetric(method: str) -> None:
    texts, _ = sets(3)
    found = distances(lengths_of("gzip"), texts, texts, method=method, order="both")  # type: ignore[arg-type]
    assert np.array_equal(found, found.T)
    one = distances(lengths_of("gzip"), texts, texts, method=method)  # type: ignore[arg-type]
    assert not np.array_equal(one, one.T)


def test_threads_change_nothing() -> None:
    texts, _ = sets(30)
    lengths = lengths_of("gzip")
    assert np.array_equal(
        distances(lengths, texts, texts, workers=Threads(1)), distances(lengths, texts, texts, workers=Threads(4))
    )


def test_another_library_elsewhere_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side(lengths_of("gzip"), [b"text"], conditional=False)
    there = pickle.loads(pickle.dumps(side))
    assert block_lengths(there, Block([b"prefix"], [None]))[0] == [8 * len(gzip.compress(b"prefix text"))]
    monkeypatch.setattr("zlib.ZLIB_RUNTIME_VERSION", "1.3.1.zlib-ng")
    with pytest.raises(InputError, match=r"a worker has .*zlib-ng"):
        block_lengths(pickle.loads(pickle.dumps(side)), Block([b"prefix"], [None]))


def test_nothing_of_two_texts_without_bits() -> None:
    zero = np.zeros(1)
    assert combined("ncd", np.zeros((1, 1)), zero, zero)[0, 0] == np.inf


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(InputError, match="no method"):
        distances(lengths_of("gzip"), [b"a"], [b"b"], method="other")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no method"):
        Rule("other")
    with pytest.raises(InputError, match="no neighbours"):
        Rule("per-class", k=3)


def simulated(row: np.ndarray, labels: np.ndarray, classes: int, k: int, draws: int = 20_000) -> np.ndarray:
    """Sort with random keys for ties, take k, vote, draw among the labels with most votes."""
    generator = np.random.default_rng(1)
    wins = np.zeros(classes)
    for _ in range(draws):
        order = np.lexsort((generator.random(len(row)), row))[:k]
        votes = np.bincount(labels[order], minlength=classes)
        wins[generator.choice(np.flatnonzero(votes == votes.max()))] += 1
    return wins / draws


@pytest.mark.parametrize(
    ("row", "labels", "k"),
    [
        ([1, 1, 1, 2], [0, 0, 1, 2], 1),
        ([1, 1, 2, 2], [0, 1, 2, 2], 2),
        ([1, 2, 2, 2, 2, 3], [0, 1, 1, 2, 0, 0], 3),
        ([5, 5, 5, 5, 5, 5, 5], [0, 1, 2, 0, 1, 2, 2], 4),
        ([0, 1, 1, 1, 1, 1, 9], [1, 0, 0, 0, 1, 2, 2], 4),
    ],
)
def test_chances_are_those_of_random_tie_breaking(row: list[float], labels: list[int], k: int) -> None:
    far, of = np.array(row, float), np.array(labels)
    found = chances(far[None], of, 3, k)[0]
    assert found.sum() == pytest.approx(1)
    assert found == pytest.approx(simulated(far, of, 3, k), abs=0.015)


def test_chances_by_enumeration() -> None:
    """All orders of six tied references and one nearer, k = 4."""
    labels, k = [0, 0, 1, 1, 1, 2], 4
    wins = np.zeros(3)
    orders = list(permutations(labels))
    for order in orders:
        votes = np.bincount([2, *order[: k - 1]], minlength=3)
        best = votes == votes.max()
        wins += best / best.sum()
    found = chances(np.array([[0.0, 1, 1, 1, 1, 1, 1]]), np.array([2, *labels]), 3, k)[0]
    assert found == pytest.approx(wins / len(orders), abs=1e-12)


def test_a_tied_vote_is_half_right_and_not_right() -> None:
    """npc_gzip's k = 2 counts this as right."""
    chance = chances(np.array([[1.0, 1.0, 5.0]]), np.array([0, 1, 1]), 2, 2)
    assert expected_accuracy(chance, np.array([0])) == [0.5]
    assert expected_accuracy(chance, np.array([-1])) == [0.0]


def test_far_away_is_no_neighbour() -> None:
    found = chances(np.array([[np.inf, 1.0, np.inf], [np.inf] * 3]), np.array([0, 1, 0]), 2, 3)
    assert found.tolist() == [[0.0, 1.0], [0.5, 0.5]]


@pytest.mark.parametrize("method", ["ncd", "cdm", "conditional", "per-class"])
@pytest.mark.parametrize("code", ["gzip", "zstd", "model"])
def test_texts_are_labelled_by_what_they_compress_with(method: str, code: str) -> None:
    references, labels = sets(4)
    queries = [made(label, 100 + n) for n, label in enumerate(WORDS)]
    lengths = ModelLengths(LetterModel()) if code == "model" else lengths_of(code)
    chance = class_chances(lengths, Rule(method), references, labels, 3, queries)
    right = expected_accuracy(chance, np.arange(3)).mean()
    assert right == 1.0 if code != "model" else right > 1 / 3  # it knows letters, not words


def test_candidates_are_the_nearest_and_all_candidates_change_nothing() -> None:
    references, labels = sets(4)
    queries = [made(label, 100 + n) for n, label in enumerate(WORDS)]
    for how in ("tf-idf", "gzip"):
        found = candidates(how, 4, queries, references)
        assert all(set(labels[some]) == {n} for n, some in enumerate(found))
    lengths = lengths_of("zstd")
    plain = class_chances(lengths, Rule(k=3), references, labels, 3, queries)
    assert np.array_equal(class_chances(lengths, Rule(k=3, candidates=12), references, labels, 3, queries), plain)
    assert "4 candidates by gzip" in Rule(candidates=4, preselect="gzip").describe()
    far = distances(lengths, queries, references, order="both", wanted=found)
    assert np.isfinite(far).sum() == 3 * 4
    whole = distances(lengths, queries, references, order="both")
    assert np.array_equal(far[np.isfinite(far)], whole[np.isfinite(far)])


def test_tfidf_sees_shared_words_only() -> None:
    far = tfidf_distances([b"ship wave", b"wheat"], [b"ship wave", b"anchor", b"wheat barn"])
    assert far[0] == pytest.approx([0, 1, 1], abs=1e-9)
    assert far[1, 2] < 0.5
    assert (tfidf_distances([b"a"], [b"...", b"?!"]) == 1).all()


@pytest.mark.parametrize("method", ["ncd", "cdm"])
@pytest.mark.parametrize("k", [1, 3, 40])
def test_a_search_finds_the_nearest_exactly(method: str, k: int) -> None:
    references, labels = sets(120)
    references += references[:40]  # ties
    labels = np.concatenate([labels, 2 - labels[:40]])
    queries = [made(label, 900 + n, 40) for n, label in enumerate([*WORDS] * 3)] + [references[5], b"", b"zz"]
    lengths = lengths_of("gzip")
    whole = distances(lengths, queries, references, method=method)  # type: ignore[arg-type]
    found = nearest_distances(lengths, queries, references, method=method, k=k)  # type: ignore[arg-type]
    known = np.isfinite(found)
    assert np.array_equal(found[known], whole[known])
    assert (whole[~known] > np.sort(whole, axis=1)[:, k - 1].repeat((~known).sum(axis=1))).all()
    assert lengths.limited is False or known.mean() < (0.8 if k < 40 else 1)
    assert np.array_equal(chances(found, labels, 3, k), chances(whole, labels, 3, k))


def test_progress_counts_prefixes() -> None:
    seen: list[tuple[int, int]] = []
    texts, _ = sets(2)
    distances(lengths_of("gzip"), texts, texts, order="both", progress=lambda *step: seen.append(step))
    assert seen[-1] == (12, 12)
    pair_lengths(lengths_of("gzip"), [], texts, progress=lambda *step: seen.append(step))
    assert seen[-1] == (12, 12)


def test_a_tree_joins_what_is_alike() -> None:
    texts, labels = sets(2)
    matrix = matrix_of(lengths_of("gzip"), texts, [f"{n}" for n in range(6)])
    joined = tree(matrix)
    assert [set(labels[row[:2].astype(int)]) for row in joined[:3]] == [{n} for n in labels[joined[:3, 0].astype(int)]]
    with pytest.raises(InputError, match="two texts or more"):
        matrix_of(lengths_of("gzip"), texts[:1], ["one"])
