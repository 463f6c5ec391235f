"""Outputs appear whole or not at all, inputs stay what they are, whatever the disk and others do meanwhile."""

from __future__ import annotations

import io
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from attacks_archive import bell, mixed, raw_safetensors
from netweight.errors import FormatError, InputChangedError, InputError, NotFoundError, OutputError
from netweight.weights.archive import compress_file, decompress_file, verify_file
from netweight.weights.archive import open as open_archive

ROOT = os.geteuid() == 0 if hasattr(os, "geteuid") else False


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(mixed())
    return path


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Several blocks."""
    path = tmp_path / "big"
    path.write_bytes(raw_safetensors({f"w{k}": ("F32", (300, 1000), bell(k, 300_000).tobytes()) for k in range(4)}))
    return path


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_existing_output_is_kept(model: Path) -> None:
    for target, action in ((model.with_name("x.nw"), compress_file), (model.with_name("y"), decompress_file)):
        if action is decompress_file:
            compress_file(model)
        target.write_bytes(b"precious")
        source = model if action is compress_file else model.with_name(model.name + ".nw")
        with pytest.raises(OutputError, match="exists"):
            action(source, target)
        assert target.read_bytes() == b"precious"
        action(source, target, force=True)
        assert target.read_bytes() != b"precious"


def test_output_may_not_be_an_input(model: Path) -> None:
    archive = Path(compress_file(model).archive)
    kept = archive.read_bytes()
    (model.parent / "link").symlink_to(model)
    os.link(model, model.parent / "hard")
    for target in (model, model.parent / "link", model.parent / "hard"):
        with pytest.raises(InputError, match="one of the inputs"):
            compress_file(model, target, force=True)
    (model.parent / "base").write_bytes(b"base")
    with pytest.raises(InputError, match="one of the inputs"):
        compress_file(model, model.parent / "base", base=model.parent / "base", force=True)
    for target in (archive, model.parent):
        with pytest.raises(InputError, match="one of the inputs"):
            decompress_file(archive, target, force=True)
    assert archive.read_bytes() == kept
    assert model.read_bytes() == mixed()


def test_symlinks(model: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.safetensors"
    link.symlink_to(model)
    receipt = compress_file(link)
    verify_file(receipt.archive, against=model)
    archived = tmp_path / "link.nw"
    archived.symlink_to(receipt.archive)
    decompress_file(archived, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == mixed()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotFoundError):
        compress_file(tmp_path / "dangling")
    with pytest.raises(OutputError, match="exists"):
        compress_file(model, tmp_path / "dangling")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    with pytest.raises(InputError, match="link to a folder"):
        compress_file(tmp_path / "in")


def test_inputs_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "none").mkdir()
    with pytest.raises(NotFoundError, match="absent"):
        compress_file(tmp_path / "absent")
    for name in ("pipe", "none"):
        with pytest.raises(InputError, match=name):
            compress_file(tmp_path / name, tmp_path / "x.nw")
    with pytest.raises(InputError, match="threads"):
        compress_file(tmp_path / "pipe", threads=0)
    with pytest.raises(InputError, match="no effort"):
        compress_file(tmp_path / "pipe", effort="heroic")
    with pytest.raises(NotFoundError):
        verify_file(tmp_path / "absent")
    with pytest.raises(InputError, match="not a regular file"):
        decompress_file(tmp_path / "none")


def test_outputs_that_cannot_be_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for target in (tmp_path / "absent" / "x.nw", tmp_path / "file" / "x.nw"):
        with pytest.raises(OutputError, match=r"x\.nw"):
            compress_file(model, target)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        compress_file(model, tmp_path / "folder", force=True)


@pytest.mark.skipif(ROOT, reason="root may write anywhere")
def test_read_only_places(model: Path) -> None:
    model.chmod(0o400)
    model.parent.chmod(0o500)
    try:
        with pytest.raises(OutputError):
            compress_file(model)
    finally:
        model.parent.chmod(0o700)


def test_read_only_input(model: Path, tmp_path: Path) -> None:
    model.chmod(0o400)
    before = model.stat().st_mtime_ns
    verify_file(compress_file(model, tmp_path / "x.nw").archive, against=model)
    assert model.read_bytes() == mixed()
    assert model.stat().st_mtime_ns == before


def test_disk_full(big: Path, tmp_path: Path) -> None:
    archive = tmp_path / "x.nw"
    compress_file(big, archive)
    kept = archive.read_bytes()
    old_signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "outdir").mkdir()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
        with pytest.raises(OutputError, match="can't be written"):
            compress_file(big, archive, force=True)
        with pytest.raises(OutputError, match="can't be written"):
            decompress_file(archive, tmp_path / "outdir" / "y")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, old_signal)
    assert archive.read_bytes() == kept
    assert names(tmp_path) == ["big", "outdir", "x.nw"]
    assert names(tmp_path / "outdir") == []


def test_a_failing_progress_function_leaves_nothing(big: Path, tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    compress_file(big, tmp_path / "x.nw")
    before = names(tmp_path)
    for threads in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            compress_file(big, tmp_path / "y.nw", progress=fail, threads=threads)
        with pytest.raises(KeyboardInterrupt):
            decompress_file(tmp_path / "x.nw", tmp_path / "y", progress=fail, threads=threads)
        assert names(tmp_path) == before


@pytest.mark.parametrize("action", ["compress_file", "decompress_file"])
def test_sigkill_leaves_the_old_output(action: str, big: Path, tmp_path: Path) -> None:
    compress_file(big, tmp_path / "x.nw")
    source, target = (big, tmp_path / "x.nw") if action == "compress_file" else (tmp_path / "x.nw", tmp_path / "old")
    if action == "decompress_file":
        target.write_bytes(b"old")
    kept = target.read_bytes()
    script = f"""
        import time
        from netweight.weights.archive import {action}
        def slow(done, total):
            print("working", flush=True)
            time.sleep(60)
        {action}({str(source)!r}, {str(target)!r}, force=True, progress=slow, threads=1)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"working\n"
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert target.read_bytes() == kept
    verify_file(tmp_path / "x.nw", against=big)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    time.sleep(0.02)
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"next")


@pytest.mark.parametrize("change", [grow, rewrite, lambda path: os.truncate(path, 5000)])
def test_a_file_that_changes_meanwhile(change: Callable[[Path], None], big: Path, tmp_path: Path) -> None:
    done_once: list[int] = []

    def meddle(done: int, total: int) -> None:
        if not done_once:
            done_once.append(done)
            change(big)

    with pytest.raises(InputChangedError, match="big"):
        compress_file(big, tmp_path / "x.nw", progress=meddle, threads=1)
    assert names(tmp_path) == ["big"]


def test_an_archive_that_is_cut_meanwhile(big: Path, tmp_path: Path) -> None:
    archive = Path(compress_file(big).archive)
    with open_archive(archive) as opened:
        os.truncate(archive, 3000)
        with pytest.raises(InputChangedError):
            opened.tensor("w3")
    with pytest.raises(FormatError):
        verify_file(archive)


@pytest.fixture
def stdio(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], io.BytesIO]:
    def give(content: bytes) -> io.BytesIO:
        out = io.BytesIO()
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
        return out

    return give


def test_standard_input_and_output(stdio: Callable[[bytes], io.BytesIO], model: Path) -> None:
    out = stdio(mixed())
    receipt = compress_file("-", "-")
    archive = out.getvalue()
    assert receipt.archive_bytes == len(archive)
    back = stdio(archive)
    decompress_file("-", "-")
    assert back.getvalue() == mixed()
    stdio(archive)
    verify_file("-", against=model)
    out = stdio(archive[:-9])
    with pytest.raises(FormatError, match="<stdin>"):
        decompress_file("-", "-")
    assert out.getvalue() == b"", "nothing is sent before everything is checked"
    compress_file(model.parent, model.parent.with_name("folder.nw"))
    with pytest.raises(InputError, match="standard output"):
        decompress_file(model.parent.with_name("folder.nw"), "-")


def test_verify_against_another_file(model: Path, tmp_path: Path) -> None:
    archive = compress_file(model).archive
    other = bytearray(mixed())
    other[-1] ^= 1
    for content in (bytes(other), mixed()[:-1], mixed() + b"\0", b""):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(InputError, match="differ"):
            verify_file(archive, against=tmp_path / "other")


def test_folders(tmp_path: Path) -> None:
    files = {"a/b/c/deep": b"x", "a/empty": b"", "top": mixed(), "a b/ü\n名": b"odd name", "-": b"dash"}
    for name, content in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    compress_file(tmp_path / "in")
    decompress_file(tmp_path / "in.nw", tmp_path / "out")
    found = {
        p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()
    }
    assert found == files
    (tmp_path / "out" / "mine").write_bytes(b"")
    with pytest.raises(OutputError, match="exists"):
        decompress_file(tmp_path / "in.nw", tmp_path / "out")
    assert (tmp_path / "out" / "mine").exists()
    with pytest.raises(OutputError, match="mine"):  # replacing the folder would delete it
        decompress_file(tmp_path / "in.nw", tmp_path / "out", force=True)
    assert (tmp_path / "out" / "mine").exists()
    (tmp_path / "out" / "mine").unlink()
    (tmp_path / "out" / next(iter(files))).write_bytes(b"changed")
    decompress_file(tmp_path / "in.nw", tmp_path / "out", force=True)
    verify_file(tmp_path / "in.nw", against=tmp_path / "out")
    (tmp_path / "in" / "back\\slash").write_bytes(b"")
    with pytest.raises(InputError, match="backslash"):
        compress_file(tmp_path / "in", force=True)
    assert names(tmp_path) == ["in", "in.nw", "out"]


def test_more_files_than_descriptors(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for k in range(150):
        (tmp_path / "in" / str(k)).write_bytes(np.int64(k).tobytes())
    compress_file(tmp_path / "in")
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, old[1]))
        decompress_file(tmp_path / "in.nw", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, old)
    verify_file(tmp_path / "in.nw", against=tmp_path / "out")


def test_devices_and_pipes_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"text" * 99)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="neither a file nor a folder"):
        compress_file(tmp_path / "x", tmp_path / "pipe", force=True)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_private_files_stay_private(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"text" * 99)
    (tmp_path / "x").chmod(0o600)
    compress_file(tmp_path / "x")
    decompress_file(tmp_path / "x.nw", tmp_path / "y")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("x.nw", "y")] == [0o600, 0o600]
