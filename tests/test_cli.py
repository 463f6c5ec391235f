"""The command line: what goes where, exit codes, and that it starts quickly."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from netweight.cli import app, console
from report_samples import HOSTILE, save_tensors, small_checkpoint

COMMAND = [sys.executable, "-m", "netweight"]


class Result:
    """What a run left: exit code, standard output, standard error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


class Runner:
    """Runs the command line in this process."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *arguments: object) -> Result:
        self._capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            app.run([str(a) for a in arguments])
        out, err = self._capfd.readouterr()
        assert isinstance(stop.value.code, int)
        return Result(stop.value.code, out, err)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capfd)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return small_checkpoint(tmp_path / "model.safetensors")


# --- start ---


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom netweight.cli import app\n"
        "try:\n    app.run(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'numpy', 'numba', 'rich', 'torch', 'matplotlib', 'ml_dtypes', 'xxhash'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in ("weigh", "compress", "decompress", "inspect", "verify", "demo", "Exit codes"):
        assert verb in done.stdout


@pytest.mark.parametrize("verb", ["weigh", "compress", "decompress", "inspect", "verify", "demo"])
def test_each_verb_has_help(run: Runner, verb: str) -> None:
    got = run(verb, "--help")
    assert got.code == 0
    assert got.out.startswith(f"Usage: netweight {verb}")
    assert not got.err


def test_version(run: Runner) -> None:
    from netweight import __version__

    assert run("--version").out == f"netweight {__version__}\n"


def test_no_verb_shows_help_as_an_error(run: Runner) -> None:
    got = run()
    assert got.code == 2
    assert not got.out
    assert "Commands:" in got.err


# --- the main job ---


def test_compress_and_decompress(run: Runner, checkpoint: Path, tmp_path: Path) -> None:
    packed = run("compress", checkpoint, "--threads", 1)
    archive = Path(f"{checkpoint}.nw")
    assert packed.code == 0
    assert archive.exists()
    assert packed.out.count("\n") == 1
    assert not packed.err
    assert str(checkpoint) in packed.out
    assert " % saved, " in packed.out
    assert " bits/weight, " in packed.out
    assert packed.out.rstrip().endswith(str(archive))
    back = run("decompress", archive, "-o", tmp_path / "copy")
    assert back.code == 0
    assert back.out.count("\n") == 1
    assert (tmp_path / "copy").read_bytes() == checkpoint.read_bytes()


def test_json_is_one_object_on_standard_output(run: Runner, checkpoint: Path, tmp_path: Path) -> None:
    packed = json.loads(run("compress", checkpoint, "--effort", "fast", "--json").out)
    assert packed["original_bytes"] == checkpoint.stat().st_size
    assert packed["archive_bytes"] == Path(f"{checkpoint}.nw").stat().st_size
    shown = json.loads(run("inspect", f"{checkpoint}.nw", "--json").out)
    assert [t["name"] for t in shown["tensors"]][1] == HOSTILE
    assert json.loads(run("verify", f"{checkpoint}.nw", "--json").out)["sound"] is True
    assert json.loads(run("decompress", f"{checkpoint}.nw", "-o", tmp_path / "c", "--json").out)["files"] == 1
    weighed = json.loads(run("weigh", checkpoint, "--codec", "gzip", "--effort", "fast", "--json").out)
    assert {r["code"] for r in weighed["rows"]} == {"gzip", "netweight.fast"}
    assert weighed["bound"]["bits"] > 0


def test_output_is_not_overwritten_without_force(run: Runner, checkpoint: Path) -> None:
    assert run("compress", checkpoint, "--effort", "fast").code == 0
    again = run("compress", checkpoint, "--effort", "fast")
    assert again.code == app.OUTPUT == 4
    assert again.err.startswith("netweight: error: ")
    assert "--force" in again.err
    assert run("compress", checkpoint, "--effort", "fast", "--force").code == 0


def test_verify_against_the_original(run: Runner, checkpoint: Path, tmp_path: Path) -> None:
    run("compress", checkpoint, "--effort", "fast")
    good = run("verify", f"{checkpoint}.nw", "--against", checkpoint)
    assert good.code == 0
    assert "sound" in good.out
    assert f"same bytes as {checkpoint}" in good.out
    other = tmp_path / "other.safetensors"
    data = bytearray(checkpoint.read_bytes())
    data[-1] ^= 1
    other.write_bytes(data)
    assert run("verify", f"{checkpoint}.nw", "--against", other).code == 1


def test_base(run: Runner, checkpoint: Path, tmp_path: Path) -> None:
    tuned = tmp_path / "tuned.safetensors"
    data = bytearray(checkpoint.read_bytes())
    data[-600] ^= 1
    tuned.write_bytes(data)
    assert run("compress", tuned, "--base", checkpoint, "-o", tmp_path / "delta.nw").code == 0
    lost = run("decompress", tmp_path / "delta.nw", "-o", tmp_path / "x")
    assert lost.code == 1
    assert "--base" in lost.err
    assert run("decompress", tmp_path / "delta.nw", "--base", checkpoint, "-o", tmp_path / "x").code == 0
    assert (tmp_path / "x").read_bytes() == bytes(data)


# --- weigh and inspect ---


def test_weigh_prints_the_ladder(run: Runner, checkpoint: Path) -> None:
    got = run("weigh", checkpoint, "--codec", "raw", "--codec", "gzip", "--effort", "fast")
    assert got.code == 0
    lines = got.out.splitlines()
    places = [next(k for k, line in enumerate(lines) if line.startswith(c)) for c in ("gzip 9", "raw", "order-0 bound")]
    assert places == sorted(places)
    assert "lossless, checked" in lines[places[0]]
    assert "bound, no bytes" in lines[places[2]]
    assert lines[-1].startswith("Your network weighs ")
    assert "\x1b" not in got.out


def test_weigh_writes_its_reports(run: Runner, checkpoint: Path, tmp_path: Path) -> None:
    page, plot = tmp_path / "r.html", tmp_path / "r.png"
    arguments = ("weigh", checkpoint, "--codec", "gzip", "--effort", "fast", "--html", page, "--png", plot)
    assert run(*arguments).code == 0
    assert "Your network weighs" in page.read_text()
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert run(*arguments).code == 4
    assert run(*arguments, "--force").code == 0


def test_weigh_reads_standard_input(run: Runner, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(checkpoint.read_bytes())))
    got = run("weigh", "-", "--codec", "gzip", "--effort", "fast")
    assert got.code == 0
    assert "8,321 weights" in got.out


def test_inspect_shows_archives_and_checkpoints_alike(run: Runner, checkpoint: Path) -> None:
    run("compress", checkpoint, "--effort", "balanced")
    for path in (checkpoint, f"{checkpoint}.nw"):
        got = run("inspect", path)
        assert got.code == 0
        order = [got.out.index(word) for word in ("encoder.weight", "position_ids", "in all")]
        assert order == sorted(order)
        assert "64x96" in got.out
        assert "scalar" in got.out
        assert "\x1b" not in got.out
    assert "-" in run("inspect", f"{checkpoint}.nw", "--no-bound").out


def test_demo_tells_the_story(run: Runner) -> None:
    got = run("demo", "--json")
    story = json.loads(got.out)
    assert got.code == 0
    assert story["same_bytes"]
    assert story["digest_before"] == story["digest_after"]
    assert story["accuracy_before"] == story["accuracy_after"] > 0.9
    assert {r["code"] for r in story["weighing"]["rows"]} >= {"raw", "png", "netweight.max"}


# --- pipes ---


def test_standard_input_and_output(checkpoint: Path) -> None:
    original = checkpoint.read_bytes()
    packed = subprocess.run(
        [*COMMAND, "compress", "-", "--effort", "fast"], input=original, capture_output=True, check=True
    )
    assert len(packed.stdout) < len(original)
    assert b"standard input" in packed.stderr
    assert b"standard output" in packed.stderr
    back = subprocess.run([*COMMAND, "decompress", "-"], input=packed.stdout, capture_output=True, check=True)
    assert back.stdout == original


def test_archives_are_not_poured_into_a_terminal(
    run: Runner, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    got = run("compress", checkpoint, "-o", "-")
    assert got.code == app.OUTPUT
    assert "terminal" in got.err
    assert not got.out


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    tensors = {f"layer.{k}.weight": ("F32", np.full(4, k, np.float32)) for k in range(3000)}
    path = save_tensors(tmp_path / "many.safetensors", tensors)
    with subprocess.Popen([*COMMAND, "inspect", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == app.PIPE


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output_is_an_output_error(checkpoint: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "inspect", checkpoint], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == app.OUTPUT
    assert done.stderr.startswith(b"netweight: error: standard output")
    assert done.stderr.count(b"\n") == 1


def test_interrupting_leaves_nothing_behind(tmp_path: Path) -> None:
    path, work = tmp_path / "random.bin", tmp_path / "work"
    work.mkdir()
    path.write_bytes(np.random.default_rng(0).bytes(1 << 26))
    environment = os.environ | {"TMPDIR": str(work)}
    command = [*COMMAND, "weigh", str(path), "--codec", "xz", "--effort", "fast"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        deadline = time.monotonic() + 60
        while not list(work.glob("*/payload")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == app.INTERRUPTED == 130
    assert out == b""
    assert err.splitlines()[-1] == b"netweight: interrupted"
    assert b"Traceback" not in err
    assert list(work.iterdir()) == []


# --- errors ---


def test_a_missing_file(run: Runner, tmp_path: Path) -> None:
    for verb in ("weigh", "compress", "decompress", "inspect", "verify"):
        got = run(verb, tmp_path / "no.nw")
        assert got.code == 1
        assert not got.out
        assert got.err.startswith("netweight: error: ")
        assert got.err.count("\n") == 1
        assert "no.nw" in got.err


def test_a_damaged_archive(run: Runner, checkpoint: Path, tmp_path: Path) -> None:
    run("compress", checkpoint, "--effort", "fast")
    archive = Path(f"{checkpoint}.nw")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0x10
    archive.write_bytes(data)
    for arguments in (("verify", archive), ("decompress", archive, "-o", tmp_path / "x")):
        got = run(*arguments)
        assert got.code == app.DAMAGED == 3
        assert got.err.count("\n") == 1
    assert not (tmp_path / "x").exists()
    assert run("decompress", checkpoint, "-o", tmp_path / "x").code == 3


def test_usage_errors(run: Runner, checkpoint: Path) -> None:
    for arguments in (("weigh",), ("frobnicate",), ("compress", checkpoint, "--effort", "heroic"), ("demo", "--nope")):
        got = run(*arguments)
        assert got.code == app.USAGE == 2
        assert not got.out
        assert got.err.splitlines()[-1].startswith("netweight: error: ")
    assert run("weigh", checkpoint, "--codec", "gzap").code == 1


def test_hostile_text_in_an_error_stays_on_its_line(run: Runner, tmp_path: Path) -> None:
    got = run("inspect", tmp_path / "a\nb\x1b[31m")
    assert got.err.count("\n") == 1
    assert "\x1b" not in got.err


def test_an_unexpected_exception_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: object) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(app, "_invoke", broken)
    with pytest.raises(ZeroDivisionError):
        app.run([])


# --- progress ---


def test_progress_without_a_terminal_speaks_now_and_then(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.ProgressShow() as show:
        for k in range(1, 13):
            now[0] += 1
            show.step("xz 6: encoding", k, 12)
    assert capfd.readouterr().err.splitlines() == [
        "netweight: xz 6: encoding 42 %",
        "netweight: xz 6: encoding 83 %",
    ]


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with console.ProgressShow() as show:
        show.step("[red]one", 1, 2)
        show.step("[red]one", 2, 2)
        show.step("two", 0, 2)
    assert "[red]one" in terminal.getvalue()
    assert "two" in terminal.getvalue()
