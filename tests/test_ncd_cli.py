"""`netweight ncd`, `classify` and `study` from the command line's side: what they print and write, and what they refuse."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from netweight.errors import InputError, NotFoundError, OutputError

SEA, FARM = "ship harbour wave sail anchor tide captain", "wheat plough barn cattle harvest field tractor"


def netweight(verb: str, *arguments: str | Path) -> Result:
    command = import_module(f"netweight.cli.{verb}").command
    result = CliRunner().invoke(command, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    generator = np.random.default_rng(0)
    out = []
    for n, words in enumerate([SEA, FARM, SEA, FARM]):
        out.append(tmp_path / f"text{n}.txt")
        out[-1].write_text(" ".join(generator.choice(words.split(), 80)))
    return out


@pytest.fixture
def tsv(tmp_path: Path) -> Path:
    generator = np.random.default_rng(1)
    lines = [
        f"{label}\t{n} {' '.join(generator.choice(words.split(), 20))}\n"
        for n in range(30)
        for label, words in (("sea", SEA), ("farm", FARM))
    ]
    path = tmp_path / "data.tsv"
    path.write_text("".join(lines))
    return path


def test_a_matrix(texts: list[Path], tmp_path: Path) -> None:
    plot = tmp_path / "tree.png"
    shown = netweight("ncd", *texts, "--code", "zstd:3", "--png", plot).output
    assert "zstd:3, ncd, order both; lengths are payload bytes" in shown
    assert shown.count("text") >= 4
    assert plot.read_bytes().startswith(b"\x89PNG")
    found: dict[str, Any] = json.loads(netweight("ncd", *texts, "--json", "--separator", "\\n").output)
    far = np.array(found["distances"])
    assert np.array_equal(far, far.T)
    assert far[0, 2] < far[0, 1]
    assert found["unit"] == "payload bytes"
    assert len(found["bits"]) == 4
    in_folder = json.loads(netweight("ncd", texts[0].parent, "--json", "--separator", "\\n").output)
    assert len(in_folder["names"]) == 5  # the plot is a file too


def test_a_matrix_that_cant_be(texts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        netweight("ncd", tmp_path / "none", texts[0])
    with pytest.raises(InputError, match="two texts"):
        netweight("ncd", texts[0])
    (tmp_path / "there.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        netweight("ncd", *texts, "--png", tmp_path / "there.png")
    assert (tmp_path / "there.png").read_bytes() == b"mine"


def test_classifying(tsv: Path) -> None:
    shown = netweight(
        "classify",
        "--train",
        tsv,
        "--shots",
        "4",
        "--documents",
        "10",
        "--code",
        "gzip",
        "--code",
        "bz2",
        "--baselines",
    ).output
    for word in (
        "10 documents labelled by 8 texts, 2 classes",
        "gzip:9",
        "bz2:9",
        "tf-idf",
        "majority",
        "expected",
        "leakage: 0",
    ):
        assert word in shown
    found = json.loads(netweight("classify", "--train", tsv, "--test", tsv, "--method", "per-class", "--json").output)
    assert found["leakage"]["share"] == 1.0
    assert found["results"][0]["rule"] == "per-class"
    assert found["results"][0]["accuracy"] == 1.0
    assert len(found["results"][0]["right"]) == 60


def test_candidates_are_named(tsv: Path) -> None:
    found = json.loads(
        netweight(
            "classify", "--train", tsv, "--shots", "10", "--candidates", "3", "--preselect", "gzip", "--json"
        ).output
    )
    assert found["results"][0]["rule"] == "ncd, query-first, k = 1, 3 candidates by gzip"


def test_one_file_whole_cant_be_train_and_test(tsv: Path) -> None:
    with pytest.raises(InputError, match="give shots"):
        netweight("classify", "--train", tsv)


def test_a_study(tsv: Path, tmp_path: Path) -> None:
    journal, plot = tmp_path / "journal", tmp_path / "plot.png"
    arguments = [
        "--data", f"one={tsv}", "--data", f"two={tsv},{tsv}", "--code", "gzip", "--code", "zstd:3", "--code", "bz2",
        "--seeds", "2", "--shots", "3", "--documents", "8", "--journal", journal,
    ]  # fmt: skip
    shown = netweight("study", *arguments, "--png", plot).output
    assert "Rank correlation of bits/byte with accuracy" in shown
    assert plot.read_bytes().startswith(b"\x89PNG")
    found = json.loads(netweight("study", *arguments, "--json").output)
    assert len(found["rows"]) == 2 * 5
    assert {c["codes"] for c in found["correlations"]} == {3}
    assert len(journal.read_text().splitlines()) == 2 * 2 * 3
