"""`netweight comm bench`: what it counts, what it prints, how it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import numpy as np
import pytest

from comm_ranks import run

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from netweight.cli import app
from netweight.comm.bench.data import load
from netweight.comm.bench.worker import Plan, Row
from netweight.errors import InputError, NotFoundError
from netweight.report.comm_bench import bench_json, bench_text, bits_per_second, modelled_ms

PARAMETERS = 64 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10


def test_bytes_are_those_of_the_collectives() -> None:
    told = run("comm_bench_ranks", {"measured": 2})["measured"]
    for rank in told:
        assert "trace" not in rank, rank["trace"]
        assert rank["steps"] == 3 * 2 * 6
        assert rank["last"] == ["powersgd-torch, seed 1", 6, 6]
    none, topk, powersgd = told[0]["rows"]
    assert none["handed"] == none["received"] == 4 * PARAMETERS  # a sum over two ranks: each sends what it has
    assert 0.01 * 4 * PARAMETERS < topk["received"] < topk["handed"] < 0.02 * 4 * PARAMETERS
    assert powersgd["handed"] > none["handed"] / 3  # its first two steps are exact
    for row in told[0]["rows"]:
        assert row["identical"]
        assert len(row["accuracies"]) == 2
        assert row["wall_ms"] > 0
    assert [row["accuracies"] for row in told[1]["rows"]] == [row["accuracies"] for row in told[0]["rows"]]


def test_the_command_starts_real_processes(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "comm bench --world 2 --steps 5 --method none --method sign --batch 4 --bandwidth 100Mbit --json"
    with pytest.raises(SystemExit) as ended:
        app.run(arguments.split())
    assert ended.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert said["settings"]["world"] == 2
    none, sign = said["rows"]
    assert none["handed_bytes"] == 4 * PARAMETERS
    assert 28 < none["handed_bytes"] / sign["handed_bytes"] < 32
    assert sign["model"]["ms"] == pytest.approx(sign["cpu_ms"] + sign["received_bytes"] * 8 / 1e8 * 1e3)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--method telepathy", 1, "no method 'telepathy'"),
        ("--world 1", 2, "--world"),
        ("--bandwidth fast", 1, "no bandwidth"),
        ("--data missing.npz --steps 4 --world 2 --method none", 1, "missing.npz: no such file"),
    ],
)
def test_errors_are_told(arguments: str, code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app.run(["comm", "bench", *arguments.split()])
    assert ended.value.code == code
    said = capsys.readouterr()
    assert message in said.err
    assert not said.out


def rows() -> list[Row]:
    return [
        Row("none", "all-reduce", [0.97, 0.98], 400_000, 600_000, 30, 5, True, 0),
        Row("topk", "top 1 %", [0.96], 5_000.5, 15_000, 40, 9, False, None),
    ]


def test_tables_say_what_is_measured_and_what_is_modelled() -> None:
    plan = Plan(("none", "topk"), steps=10)
    text = bench_text(rows(), plan, 4, 1e8, 200)
    assert "97.50 %" in text
    assert "40.0x" in text
    assert "Nothing of it was measured" in text
    assert "53.0" in text  # 5 ms and 600 kB at 100 Mbit/s
    assert "replicas differ after topk" in text
    plain = bench_text(rows()[:1], plan, 4, None, 200)
    assert "odel" not in plain
    assert "differ" not in plain
    json.dumps(bench_json(rows(), plan, 4, None), allow_nan=False)
    assert modelled_ms(rows()[0], 1e8) == pytest.approx(53)


def test_fewer_is_against_no_compression() -> None:
    text = bench_text(rows()[::-1], Plan(("topk", "none"), steps=10), 4, None, 200)
    assert "40.0x" in text
    assert "against no compression" in text
    assert "against the first row" in bench_text(rows()[1:], Plan(("topk",), steps=10), 4, None, 200)


@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
def test_an_interrupt_ends_the_ranks_at_once() -> None:
    command = [
        sys.executable,
        "-m",
        "netweight",
        "comm",
        "bench",
        "--world",
        "2",
        "--steps",
        "8000",
        "--method",
        "none",
    ]
    with subprocess.Popen(command, stdout=PIPE, stderr=STDOUT, text=True, start_new_session=True) as started:
        assert started.stdout is not None
        assert started.stdout.readline().startswith("netweight: none")  # the ranks are at work
        os.killpg(started.pid, signal.SIGINT)
        said, _ = started.communicate(timeout=30)
    assert started.returncode == 130
    assert "Traceback" not in said
    assert "interrupted" in said


def test_ranks_of_torchrun_end_cleanly() -> None:
    bench = ["-m", "netweight", "comm", "bench", "--steps", "4", "--method", "none", "--method", "sign", "--batch", "4"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *bench]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "terminate called" not in ended.stderr


def test_bandwidths() -> None:
    said = {"100Mbit": 1e8, "1.5 Gbit/s": 1.5e9, "56kbit": 56e3, "9600bit": 9600}
    assert {text: bits_per_second(text) for text in said} == said
    for text in ("100", "Mbit", "-1Gbit", "0Mbit", "1MB"):
        with pytest.raises(InputError):
            bits_per_second(text)


def test_data_files(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (100, 4, 4)).astype(np.uint8)
    y = np.arange(100) % 3
    pair, four = tmp_path / "pair.npz", tmp_path / "four.npz"
    np.savez(pair, x=x, y=y)
    np.savez(four, x_train=x, y_train=y, x_test=x[:7], y_test=y[:7])
    split = load(pair)
    assert (split.x.shape, split.test_x.shape, split.classes) == ((95, 16), (5, 16), 3)
    assert np.array_equal(split.test_x, x[95:].reshape(5, 16).astype(np.float32) / np.float32(255))
    assert load(pair, 30).x.shape == (70, 16)
    assert load(four).test_y.size == 7
    digits: Any = load(None)
    assert len(digits.x) + len(digits.test_x) == 1797
    assert 0 <= digits.x.min() < digits.x.max() <= 1
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", z=x)
    for name, kind in {"text.npz": InputError, "absent.npz": NotFoundError, "other.npz": InputError}.items():
        with pytest.raises(kind, match=name):
            load(tmp_path / name)
    with pytest.raises(InputError) as told:
        load(tmp_path / "text.npz")
    assert "pickle" not in str(told.value)
    with pytest.raises(InputError, match="held out"):
        load(pair, 100)
