"""The lossy ladder: what a row counts, what it measured, and how `weigh --rel-mse` tells it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netweight import tensors
from netweight.cli import app
from netweight.errors import GuaranteeError, NotFoundError, UnsupportedError
from netweight.frame import config_text
from netweight.report.lossy import lossy_table, lossy_text
from netweight.weights.archive import compress_file
from netweight.weights.archive.inputs import open_inputs
from netweight.weights.lossy.codes.uniform import Uniform
from netweight.weights.lossy.ladder import RUNGS, LossyRow, LossyWeighing, Rung, chosen_rungs, weigh_lossy
from netweight.weights.lossy.matrices import LEAST, matrices_of, remainder
from netweight.wire import Writer
from report_samples import HOSTILE, save_tensors

ERROR = 0.02


def weights(rows: int = 96, columns: int = 128, seed: int = 0) -> np.ndarray:
    return (0.05 * np.random.default_rng(seed).normal(size=(rows, columns))).astype(np.float32)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Two matrices, a convolution, and what isn't for lossy codes: a vector, integers, a tiny matrix."""
    return save_tensors(
        tmp_path / "model.safetensors",
        {
            "first": ("F32", weights()),
            HOSTILE: ("F16", weights(32, 64, 1).astype(np.float16)),
            "conv": ("F32", weights(16, 8 * 9, 2).reshape(16, 8, 3, 3)),
            "bias": ("F32", weights(1, 2048, 3).reshape(-1)),
            "tiny": ("F32", weights(LEAST // 32, 31, 4)),
            "ids": ("I64", np.arange(300)),
        },
    )


@cache
def sample() -> LossyWeighing:
    """A weighing as it might be, with every kind of row."""
    rows = (
        LossyRow("netweight.lossy.uniform", "", 5000, 0.1, 0.01, rel_mse=0.0099),
        LossyRow("netweight.lossy.product", "of 2", 9000, 1.0, 0.01, rel_mse=0.0, exact=2),
        LossyRow("netweight.lossy.kmeans", "png", problem="stopped after 3 s"),
    )
    return LossyWeighing("model.safetensors", ("safetensors",), (), 0.01, 2, 16_000, 64_000, 900, 800, 45_000.0, rows)


# --- what is weighed ---


def test_a_row_is_what_its_bytes_are(checkpoint: Path) -> None:
    weighing = weigh_lossy(checkpoint, ERROR, rungs=chosen_rungs(["uniform"]))
    row = next(r for r in weighing.rows if r.setting == "")
    codec = Uniform(ERROR)
    out = Writer().text(codec.id).text(config_text(codec))
    noise = energy = 0.0
    for array in (weights(), weights(32, 64, 1).astype(np.float16), weights(16, 72, 2).reshape(16, 8, 3, 3)):
        data, spec = tensors.to_bytes(array)
        payload = codec.encode(data, spec)
        out.blob(payload)
        decoded = tensors.to_array(codec.decode(payload, spec), spec).astype(np.float64)
        noise += float(np.square(array - decoded).sum())
        energy += float(np.square(array.astype(np.float64)).sum())
    assert row.bytes == len(out)
    assert row.rel_mse == pytest.approx(noise / energy)
    assert row.exact == 0
    assert weighing.matrices == 3
    assert weighing.weights == 96 * 128 + 32 * 64 + 16 * 72


def test_every_code_holds_the_error_and_is_above_the_bound(tmp_path: Path) -> None:
    """Of independent Gaussian weights no code takes fewer bits than the Shannon bound, and ours come near it."""
    path = save_tensors(tmp_path / "gauss.safetensors", {"w": ("F32", weights(64, 128))})
    weighing = weigh_lossy(path, ERROR)
    assert {r.code for r in weighing.rows} >= {r.code for r in RUNGS}
    assert all(r.bytes is not None and not r.problem for r in weighing.rows)
    assert all(r.rel_mse is not None and 0 < r.rel_mse <= ERROR for r in weighing.rows if not r.exact)
    assert [r.bytes for r in weighing.rows] == sorted(r.bytes or 0 for r in weighing.rows)
    assert weighing.bound_bits / weighing.weights == pytest.approx(0.5 * np.log2(1 / ERROR), abs=0.07)
    assert weighing.best is not None
    best = weighing.bits_per_weight(weighing.best.bytes)
    assert best is not None
    assert 0 < best - weighing.bound_bits / weighing.weights < 0.5


def test_matrices_and_the_rest_are_the_file(checkpoint: Path) -> None:
    weighing = weigh_lossy(checkpoint, ERROR, rungs=[])
    assert weighing.matrix_bytes + weighing.rest_bytes == checkpoint.stat().st_size
    assert 0 < weighing.rest_coded_bytes < weighing.rest_bytes
    with open_inputs(checkpoint) as inputs:
        (file,) = inputs.files
        parts = [m.read() for m in matrices_of(file)] + [data for data, _ in remainder(file)]
        assert [m.name for m in matrices_of(file)] == ["first", HOSTILE, "conv"]
    together = np.sort(np.concatenate(parts))
    assert np.array_equal(together, np.sort(np.frombuffer(checkpoint.read_bytes(), np.uint8)))


def test_a_matrix_that_cannot_be_coded_is_said_to_be_exact(tmp_path: Path) -> None:
    bad = weights()
    bad[3, 3] = np.nan
    path = save_tensors(tmp_path / "nan.safetensors", {"bad": ("F32", bad), "good": ("F32", weights())})
    weighing = weigh_lossy(path, ERROR, rungs=chosen_rungs(["uniform order 0"]))
    (row,) = weighing.rows
    assert row.exact == 1
    assert row.rel_mse == pytest.approx(ERROR, rel=0.01)
    assert "1 of 2 bit for bit" in lossy_text(weighing, 200)


def test_tensors_in_another_order_are_read_by_their_own_rows(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    kernel = weights(32, 16 * 9).reshape(32, 16, 3, 3)
    torch.save({"k": torch.from_numpy(kernel).to(memory_format=torch.channels_last)}, tmp_path / "model.pth")
    with open_inputs(tmp_path / "model.pth") as inputs:
        (matrix,) = matrices_of(inputs.files[0])
        assert matrix.name == "k"
        assert np.array_equal(matrix.read().view(np.float32).reshape(matrix.spec.shapes[0]), kernel)
    assert weigh_lossy(tmp_path / "model.pth", ERROR, rungs=[]).matrix_bytes == kernel.nbytes


def test_a_row_that_takes_too_long_ends(checkpoint: Path) -> None:
    (row,) = weigh_lossy(checkpoint, ERROR, rungs=chosen_rungs(["residual of 4"]), limit_seconds=1e-6).rows
    assert row.bytes is None
    assert row.problem == "stopped after 1e-06 s"


def test_a_broken_promise_is_no_row(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sloppy(self: Uniform, body: memoryview, shapes: Any) -> np.ndarray:
        return np.zeros(sum(s.rows * s.columns for s in shapes), np.float32)

    monkeypatch.setattr(Uniform, "restore", sloppy)
    with pytest.raises(GuaranteeError, match="first"):
        weigh_lossy(checkpoint, ERROR, rungs=chosen_rungs(["uniform order 0"]))


def test_an_archive_of_ours_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    compress_file(checkpoint, tmp_path / "model.nw")
    with pytest.raises(UnsupportedError):
        weigh_lossy(tmp_path / "model.nw", ERROR, rungs=[])


# --- which codes ---


def test_codes_are_named_by_id_or_label() -> None:
    assert [r.label for r in chosen_rungs(["kmeans png", "netweight.lossy.uniform"])] == [
        "uniform order 0", "uniform", "kmeans png",
    ]  # fmt: skip
    assert len(chosen_rungs(["kmeans"])) == sum(r.code == "netweight.lossy.kmeans" for r in RUNGS)
    assert len({r.label for r in chosen_rungs()}) == len(chosen_rungs())
    with pytest.raises(NotFoundError, match="uniform order 0"):
        chosen_rungs(["jpeg"])


def test_a_newly_registered_code_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netweight.weights.lossy.ladder.names", lambda: ["zip", "netweight.lossy.novel"])
    assert Rung("netweight.lossy.novel") in chosen_rungs()


# --- how it is told ---


def test_table() -> None:
    table = lossy_table(sample())
    best, exact, stopped = table.rows
    assert [c.text for c in best][:6] == ["uniform", "5,000", "2.500", "12.80x", "0.00990", "-20.04"]
    assert exact[-1].text.endswith("2 of 2 bit for bit")
    assert [c.text for c in stopped][1:] == ["-"] * 7 + ["stopped after 3 s"]
    assert table.footer[0][-1].text == "bound, no bytes"
    assert table.footer[1][1].text == "800"


def test_text_names_the_lightest_and_adds_the_rest() -> None:
    text = lossy_text(sample(), 200)
    assert "2 float matrices of 16,000 weights (64.0 kB), each at a relMSE of 0.01" in text
    assert text.endswith("Your network weighs 5.80 kB at this error, 2.500 bits per weight in its matrices (uniform).")


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        app.run([str(a) for a in arguments])
    assert isinstance(stop.value.code, int)
    return stop.value.code, *capfd.readouterr()


def test_command_prints_a_table(capfd: pytest.CaptureFixture[str], checkpoint: Path) -> None:
    code, out, _ = run(capfd, "weigh", checkpoint, "--rel-mse", ERROR, "--codec", "uniform", "--codec", "kmeans png")
    assert code == 0
    assert [line.split("  ")[0] for line in out.splitlines()[4:7]] == ["uniform", "uniform order 0", "kmeans png"]
    assert "Shannon lower bound" in out
    assert "\x1b" not in out


def test_command_prints_json(capfd: pytest.CaptureFixture[str], checkpoint: Path) -> None:
    code, out, _ = run(capfd, "weigh", checkpoint, "--rel-mse", ERROR, "--codec", "uniform", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["rel_mse"] == ERROR
    assert {r["label"] for r in told["rows"]} == {"uniform", "uniform order 0"}
    assert all(r["rel_mse"] <= ERROR and r["decibels"] < -16.9 for r in told["rows"])
    assert told["bound"]["bits_per_weight"] < told["rows"][0]["bits_per_weight"]


def test_command_of_what_has_no_matrices(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no weights here " * 50)
    code, out, _ = run(capfd, "weigh", tmp_path / "notes.txt", "--rel-mse", 0.1, "--codec", "uniform")
    assert code == 0
    assert "no float matrices" in out
    assert out.endswith("Nothing was coded with loss.\n")


@pytest.mark.parametrize("wrong", [["--html", "x.html"], ["--effort", "max"], ["--threads", "2"]])
def test_options_of_the_lossless_ladder_are_refused(
    capfd: pytest.CaptureFixture[str], checkpoint: Path, wrong: list[str]
) -> None:
    code, _, err = run(capfd, "weigh", checkpoint, "--rel-mse", ERROR, *wrong)
    assert code == 2
    assert wrong[0] in err


@pytest.mark.parametrize("error", ["0", "1.5", "-1", "nan"])
def test_errors_that_are_none_are_refused(capfd: pytest.CaptureFixture[str], checkpoint: Path, error: str) -> None:
    assert run(capfd, "weigh", checkpoint, "--rel-mse", error)[0] == 2


def test_an_unknown_code_is_said_before_any_work(capfd: pytest.CaptureFixture[str], checkpoint: Path) -> None:
    code, _, err = run(capfd, "weigh", checkpoint, "--rel-mse", ERROR, "--codec", "zip")
    assert code == 1
    assert "no lossy code 'zip'" in err
