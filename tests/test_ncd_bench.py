"""benchmarks/ncd_r8.py and ncd_study.py on a few made texts: the race is fair, the parts fit together."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = str(Path(__file__).parent.parent / "benchmarks")


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The scripts import their neighbours by plain names."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    import ncd_r8
    import ncd_study

    yield ncd_r8, ncd_study
    for name in set(sys.modules) - before:
        if name in ("ncd_r8", "ncd_study", "run", "peers", "tables"):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    words = {"sea": ["ship", "wave", "sail", "anchor", "tide", "deck"], "farm": ["wheat", "plough", "barn", "cattle"]}
    for name in ("r8-train", "r8-test", "ag_news-test", "sms_spam", "kirundi-train", "kirundi-test"):
        texts = [(label, " ".join(generator.choice(w, 15))) for _ in range(20) for label, w in words.items()]
        (tmp_path / f"{name}.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in texts))
    return tmp_path


def test_the_race(benchmarks: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ncd_r8, _ = benchmarks
    monkeypatch.setattr(sys, "argv", ["", "--data", str(folder), "--rows", "3", "--rounds", "1", "--out", str(folder)])
    ncd_r8.main()
    report = (folder / "ncd-r8.md").read_text()
    for text in (
        "3 documents x 40 texts",
        "timed on 40 documents",
        "| npc_gzip |",
        "| nearest |",
        "0 of 40 documents have a duplicate",
    ):
        assert text in report


def test_a_wrong_distance_ends_the_race(benchmarks: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ncd_r8, _ = benchmarks
    data = ncd_r8.read_labelled(folder / "r8-train.tsv")
    monkeypatch.setattr(ncd_r8, "distances", lambda _, queries, texts, **__: np.ones((len(queries), len(texts))))
    with pytest.raises(SystemExit, match="differs"):
        ncd_r8.compare(data, data, 2, 3, 1, 1)


def test_the_study(benchmarks: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ncd_study = benchmarks
    monkeypatch.setattr(ncd_study, "CLASSIC", ("gzip", "zstd:3", "bz2"))
    monkeypatch.setattr(ncd_study, "FILES", {name: ncd_study.FILES[name] for name in ("sms", "r8")})
    arguments = ["--parts", "classic", "--seeds", "1", "--documents", "6", "--journal", str(folder / "journal")]
    monkeypatch.setattr(sys, "argv", ["", "--data", str(folder), "--out", str(folder), *arguments])
    ncd_study.main()
    assert (folder / "ncd-study.md").read_text().count("zstd:3") == 2 * 3
    assert len((folder / "journal").read_text().splitlines()) == 2 * 9
    arguments[arguments.index("--seeds") + 1] = "3"  # of which one is done
    monkeypatch.setattr(
        sys, "argv", ["", "--data", str(folder), "--out", str(folder / "again"), *arguments, "--report"]
    )
    ncd_study.main()
    assert (folder / "again" / "ncd-study.md").read_text() == (folder / "ncd-study.md").read_text()
