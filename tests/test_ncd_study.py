"""Data, leakage, statistics, the journal and the study as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from netweight.errors import FormatError, InputError, NotFoundError, OutputError
from netweight.text.ncd import statistics, study
from netweight.text.ncd.codes import lengths_of
from netweight.text.ncd.data import Labelled, read_labelled, split
from netweight.text.ncd.decide import Rule
from netweight.text.ncd.evaluation import evaluate
from netweight.text.ncd.journal import Journal
from netweight.text.ncd.leakage import audit
from netweight.text.ncd.statistics import bootstrap, kendall, permutation_p, ranks, spearman, wilson
from netweight.text.ncd.study import Cell, DataSet, Plan, correlations, rows, run


def labelled(count: int, seed: int = 0) -> Labelled:
    generator = np.random.default_rng(seed)
    words = {"sea": "ship wave sail anchor tide captain deck", "farm": "wheat plough barn cattle harvest field grain"}
    labels = [list(words)[n % 2] for n in range(count)]
    texts = [f"{n} {' '.join(generator.choice(words[label].split(), 20))}".encode() for n, label in enumerate(labels)]
    return Labelled(tuple(texts), tuple(labels))


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "some.tsv"
    path.write_bytes(b"a\tone\ttab more\r\n\nb\t\xff\xfe\nc\t\n")
    found = read_labelled(path)
    assert found.labels == ("a", "b", "c")
    assert found.texts == (b"one\ttab more", b"\xff\xfe", b"")
    path.write_bytes(b"a\tone\nno label\n")
    with pytest.raises(FormatError, match="line 2"):
        read_labelled(path)
    path.write_bytes(b"\n\n")
    with pytest.raises(InputError, match="no labelled text"):
        read_labelled(path)
    with pytest.raises(NotFoundError, match="can't be read"):
        read_labelled(tmp_path / "none")
    with pytest.raises(NotFoundError, match="can't be read"):
        read_labelled(tmp_path)


def test_draws_are_disjoint_balanced_and_repeatable() -> None:
    data = labelled(60)
    known, asked = split(data, None, 5, 20, seed=1)
    assert sorted(known.labels) == ["farm"] * 5 + ["sea"] * 5
    assert len(asked) == 20
    assert not set(known.texts) & set(asked.texts)
    assert split(data, None, 5, 20, seed=1) == (known, asked)
    assert split(data, None, 5, 20, seed=2) != (known, asked)
    everything, others = split(data, labelled(9, 1), 0, 0, seed=0)
    assert everything == data
    assert len(others) == 9
    with pytest.raises(InputError, match="give shots"):
        split(data, None, 0, 5, 0)
    with pytest.raises(InputError, match="no document is left"):
        split(data, None, 40, 5, 0)


def test_leaks_are_found() -> None:
    generator = np.random.default_rng(4)
    words = ["".join(generator.choice(list("abcdefgh"), 6)) for _ in range(500)]
    train = [" ".join(generator.choice(words, 80)).encode() for _ in range(60)]
    same = train[3].upper().replace(b" ", b",  ")
    near = b" ".join([*train[7].split()[:74], *(b"x y z w".split())])
    other = " ".join(generator.choice(words, 80)).encode()
    half = b" ".join([*train[9].split()[:40], *other.split()[:40]])
    found = audit(train, [other, same, near, half, b""])
    assert found.exact == (1,)
    assert found.near == (2,)
    assert found.of_train == (3, 7)
    assert found.share == pytest.approx(2 / 5)
    assert audit([], [b"a"]).share == 0


def test_what_leaked_can_be_left_out() -> None:
    train, test = labelled(40), labelled(10, 1)
    leaky = Labelled(
        (*train.texts, *test.texts), (*train.labels, *("farm" if x == "sea" else "sea" for x in test.labels))
    )
    gzip = [lengths_of("gzip")]
    assert evaluate(gzip, Rule(), leaky, test).judged[0].expected == 0.0  # each document finds itself, wrongly labelled
    clean = evaluate(gzip, Rule(), leaky, test, drop_duplicates=True, with_baselines=True)
    assert clean.trains == 40
    assert clean.leakage.share == 1.0
    assert clean.judged[0].expected == 1.0
    assert [j.name for j in clean.judged] == ["gzip:9", "tf-idf", "majority"]
    assert clean.judged[1].expected == 1.0
    assert clean.judged[2].expected == 0.5
    with pytest.raises(InputError, match="is left"):
        evaluate(gzip, Rule(), test, test, drop_duplicates=True)


def test_statistics_against_scipy() -> None:
    generator = np.random.default_rng(2)
    x, y = generator.integers(0, 5, 12).astype(float), generator.normal(size=12)
    assert ranks(x).tolist() == stats.rankdata(x).tolist()
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)
    exact = stats.permutation_test((y,), lambda some: stats.spearmanr(x, some).statistic, permutation_type="pairings",
                                   n_resamples=2000, rng=1)  # fmt: skip
    assert permutation_p([(x, y)]) == pytest.approx(exact.pvalue, abs=0.05)
    low, high = wilson(0.9, 50)
    assert (low, high) == pytest.approx(tuple(stats.binomtest(45, 50).proportion_ci(method="wilson")))
    assert wilson(0.5, 0) == (0.0, 1.0)
    assert spearman(np.ones(4), y[:4]) == 0.0
    assert kendall(np.ones(4), y[:4]) == 0.0


def test_a_bootstrap_interval_has_the_width_of_theory() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap(lambda index: float(values[index].mean()), 400)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert low < values.mean() < high


def test_a_journal_is_gone_on_with(tmp_path: Path) -> None:
    path, made = tmp_path / "journal", []

    def make(n: int) -> dict[str, int]:
        made.append(n)
        return {"n": n}

    journal = Journal(path)
    assert [journal.remember({"of": n}, lambda n=n: make(n))["n"] for n in (1, 2, 1)] == [1, 2, 1]
    path.write_bytes(path.read_bytes()[:-9])  # killed while it wrote
    again = Journal(path)
    assert len(again) == 1
    assert [again.remember({"of": n}, lambda n=n: make(n))["n"] for n in (1, 2, 3)] == [1, 2, 3]
    assert made == [1, 2, 2, 3]
    assert len(Journal(path)) == 3
    stranger = tmp_path / "thesis.txt"
    stranger.write_text("years of work\n")
    with pytest.raises(OutputError, match="not a journal"):
        Journal(stranger)
    with pytest.raises(OutputError, match="can't be written"):
        Journal(tmp_path / "none" / "journal").remember({}, dict)


def plan() -> Plan:
    return Plan([DataSet("made", labelled(60))], ["gzip", "zstd:3", "bz2"], shots=(2,), seeds=(0, 1), documents=10)


def test_a_study_runs_once_and_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, int]] = []
    path = tmp_path / "journal"
    cells = run(plan(), Journal(path), progress=lambda _, done, total: steps.append((done, total)))
    assert steps[-1][0] == len(cells) == 2 * (3 + 2)
    monkeypatch.setattr(study, "judge", None)  # nothing is judged again
    assert run(plan(), Journal(path))[0] == cells[0]
    table = rows(cells)
    assert [row.code for row in table] == ["gzip:9", "zstd:3", "bz2:9", "tf-idf", "majority"]
    assert {row.documents for row in table} == {20}
    assert table[0].accuracy > 0.8
    low, high = table[0].interval
    assert low <= table[0].accuracy <= high
    assert table[0].bits_per_byte == pytest.approx(sum(sum(c.bits) for c in cells if c.code == "gzip:9") /
                                                   sum(sum(c.sizes) for c in cells if c.code == "gzip:9"))  # fmt: skip
    assert table[3].bits_per_byte is None
    json.dumps([c.to_dict() for c in cells], allow_nan=False)


def test_correlation_of_rate_and_accuracy() -> None:
    """Three codes, the better compressor always right more often: -1, or +1 the other way round."""
    generator = np.random.default_rng(0)

    def cell(code: str, accuracy: float, rate: float) -> Cell:
        right = tuple((generator.random(400) < accuracy).astype(float).tolist())
        return Cell("made", code, "rule", "payload bytes", 5, 0, right, (100 * rate,) * 400, (100,) * 400, 1.0)

    good = [cell("a", 0.9, 2), cell("b", 0.6, 3), cell("c", 0.3, 4)]
    (found,) = correlations(good)
    assert (found.codes, found.spearman, found.kendall) == (3, -1.0, -1.0)
    assert found.interval == (-1.0, -1.0)
    bad = [cell("a", 0.3, 2), cell("b", 0.6, 3), cell("c", 0.9, 4)]
    assert correlations(bad)[0].spearman == 1.0
    assert correlations(good[:2]) == []


def test_the_mean_correlation_is_over_sets_with_the_same_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_DRAWS", 200)

    def cells(dataset: str, accuracies: tuple[float, ...]) -> list[Cell]:
        right = [tuple(float(n < 100 * a) for n in range(100)) for a in accuracies]
        return [
            Cell(dataset, "abcd"[k], "rule", "payload bytes", 5, 0, r, (100.0 * (k + 2),) * 100, (100,) * 100, 1.0)
            for k, r in enumerate(right)
        ]

    good, bad, more = cells("one", (0.9, 0.6, 0.3)), cells("two", (0.3, 0.6, 0.9)), cells("three", (0.9, 0.6, 0.4, 0.3))
    assert [c.spearman for c in correlations([*good, *more])] == [-1.0, -1.0]  # other codes: no mean
    *_, mean = correlations([*good, *bad])
    assert (mean.dataset, mean.codes, mean.spearman, mean.p) == ("mean of 2 sets", 3, 0.0, 1.0)
    again = [Cell(**{**c.to_dict(), "dataset": "again"}) for c in good]
    *_, mean = correlations([*good, *again])
    assert (mean.spearman, mean.kendall, mean.interval) == (-1.0, -1.0, (-1.0, -1.0))
    assert mean.p < correlations(good)[0].p
