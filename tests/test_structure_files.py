"""Structure in checkpoints: what `explain` tells, what `compress --structure` writes, and that both decode."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from netweight.cli import app
from netweight.weights.archive import compress_file, decompress_file
from netweight.weights.lossy.compress import compress_lossy
from netweight.weights.lossy.target import MAX_ERROR, REL_MSE, Target, Touched
from netweight.weights.structure.explain import explain


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of one command line."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        app.run([str(a) for a in arguments])
    out, err = capfd.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    circulant = rng.normal(size=40)
    first = rng.normal(size=(40, 60))
    twins = rng.normal(size=(48, 30))
    twins[24:] = -twins[:24][rng.permutation(24)]
    out = {
        "rotation": np.array([[0.587785, -0.809017], [0.809017, 0.587785]]),
        "circulant": np.stack([np.roll(circulant, k) for k in range(40)]),
        "twins": twins,
        "first": first,
        "transposed": -0.5 * first.T,
        "random": rng.normal(size=(50, 50)),
        "zeros": np.zeros((8, 8)),
        "bias": rng.normal(size=50),
    }
    return {k: np.ascontiguousarray(v, np.float32) for k, v in out.items()}


@pytest.fixture
def checkpoint(tensors: dict[str, np.ndarray], tmp_path: Path) -> Path:
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_explain_names_what_was_planted(checkpoint: Path) -> None:
    explanation = explain(checkpoint, 1e-4)
    texts = {t.name: t.text for t in explanation.tensors}
    assert texts == {
        "circulant": "circulant: one number for each of 40 diagonals",
        "first": "",
        "random": "",
        "rotation": "rotation by 54 degrees (3/20 of a turn)",
        "transposed": "like first, transposed, times -0.5",
        "twins": "duplicates: 24 of 48 rows are others (24 negated)",
        "zeros": "",
    }
    for t in explanation.tensors:
        assert t.rel_mse <= 1e-4
        assert t.bytes <= t.plain_bytes
    assert explanation.bytes == sum(t.bytes for t in explanation.tensors)
    assert [t.saved_bits for t in explanation.found] == sorted((t.saved_bits for t in explanation.found), reverse=True)


def test_a_tolerance_decides_what_is_structure(tmp_path: Path) -> None:
    """A rotation that is a thousandth of a turn off a nice one is nice at one tolerance and not at another."""
    angle = 2 * np.pi * (3 / 20 + 0.001)
    weights = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    save_file({"w": weights}, tmp_path / "w.safetensors")
    near, far = (explain(tmp_path / "w.safetensors", e).tensors[0].text for e in (1e-3, 1e-7))
    assert near == "rotation by 54 degrees (3/20 of a turn)"
    assert far == "rotation by 54.36 degrees"


def test_lossless_explanation(checkpoint: Path) -> None:
    explanation = explain(checkpoint, None)
    assert {t.name for t in explanation.found} >= {"circulant", "twins", "transposed"}
    assert all(t.rel_mse == 0 for t in explanation.tensors)


def test_nan_is_said_and_skipped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    weights = np.ones((8, 8), np.float32)
    weights[3, 4] = np.nan
    save_file({"broken": weights, "whole": np.ones((8, 8), np.float32)}, tmp_path / "m.safetensors")
    code, out, _ = run(capfd, "explain", tmp_path / "m.safetensors")
    assert code == 0
    assert "broken: has NaN or infinite weights: skipped" in out


@pytest.mark.parametrize("threads", [1, 2])
def test_lossless_archives_with_structure(checkpoint: Path, tmp_path: Path, threads: int) -> None:
    plain = compress_file(checkpoint, tmp_path / "plain.nw")
    seen = compress_file(checkpoint, tmp_path / "seen.nw", structure=True, threads=threads)
    assert seen.archive_bytes < 0.75 * plain.archive_bytes
    decompress_file(tmp_path / "seen.nw", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == checkpoint.read_bytes()


@pytest.mark.parametrize("target", [Target(REL_MSE, 1e-4), Target(MAX_ERROR, 1e-3)])
def test_lossy_archives_with_structure(
    checkpoint: Path, tensors: dict[str, np.ndarray], tmp_path: Path, target: Target
) -> None:
    rule = Touched(least=4)
    plain = compress_lossy(checkpoint, tmp_path / "plain.nw", target, touched=rule)
    seen = compress_lossy(checkpoint, tmp_path / "seen.nw", target, touched=rule, structure=True)
    assert seen.archive_bytes < 0.8 * plain.archive_bytes
    decompress_file(tmp_path / "seen.nw", tmp_path / "again.safetensors")
    again = load_file(tmp_path / "again.safetensors")
    touched = [k for k, v in tensors.items() if v.ndim > 1]
    noise = sum(float(np.square(again[k].astype(np.float64) - tensors[k]).sum()) for k in touched)
    energy = sum(float(np.square(tensors[k].astype(np.float64)).sum()) for k in touched)
    worst = max(float(np.abs(again[k].astype(np.float64) - tensors[k]).max()) for k in touched)
    assert (noise / energy if target.kind == REL_MSE else worst) <= target.limit
    assert np.array_equal(again["bias"], tensors["bias"])


def test_commands(checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capfd, "explain", checkpoint)
    assert code == 0
    assert "rotation by 54 degrees (3/20 of a turn)" in out
    assert re.search(r"Structure in 4 of 7 tensors saves [\d,]+ bits of [\d,]+", out)
    code, out, _ = run(capfd, "explain", checkpoint, "--json", "--rel-mse", "0.01")
    assert code == 0
    assert {t["name"]: t["kind"] for t in json.loads(out)["tensors"]}["transposed"] == "tied"
    code, out, _ = run(capfd, "compress", checkpoint, "--structure", "--rel-mse", "1e-4", "-o", tmp_path / "m.nw")
    assert code == 0
    assert run(capfd, "verify", tmp_path / "m.nw")[0] == 0
    assert run(capfd, "explain", checkpoint, "--lossless", "--rel-mse", "0.1")[0] == app.USAGE
    assert run(capfd, "compress", checkpoint, "--structure", "--bits", "3")[0] == app.FAILED
    assert run(capfd, "explain", tmp_path / "m.nw")[0] == app.FAILED


def test_page(checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "explain", checkpoint, "--html", tmp_path / "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/png;base64,') == 4
    assert "rotation by 54 degrees (3/20 of a turn)" in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert run(capfd, "explain", checkpoint, "--html", tmp_path / "page.html")[0] == app.OUTPUT


def test_nothing_is_said_to_be_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save_file({"w": np.random.default_rng(1).normal(size=(64, 48)).astype(np.float32)}, tmp_path / "m.safetensors")
    code, out, _ = run(capfd, "explain", tmp_path / "m.safetensors")
    assert code == 0
    assert "Nothing: no structure that was looked for makes any tensor smaller." in out
