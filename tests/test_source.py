"""Inputs: bounded reads, and files that change underneath."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from netweight.errors import InputChangedError, InputError, NotFoundError
from netweight.source import BytesSource, FileSource

CONTENT = bytes(range(256)) * 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    out = tmp_path / "model.bin"
    out.write_bytes(CONTENT)
    return out


def age(path: Path, seconds: int) -> None:
    """Move the modification time, whose grain may be coarser than a test is quick."""
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + seconds * 10**9))


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (0, 1), (7, 300), (0, len(CONTENT)), (len(CONTENT), 0)])
def test_reads_what_is_there(path: Path, offset: int, length: int) -> None:
    with FileSource(path) as file:
        for source in (file, BytesSource(CONTENT), BytesSource(np.frombuffer(CONTENT, np.uint8))):
            got = source.read(offset, length)
            assert source.size == len(CONTENT)
            assert got.dtype == np.uint8
            assert got.tobytes() == CONTENT[offset : offset + length]
        file.check_unchanged()


@pytest.mark.parametrize(
    ("offset", "length"), [(0, len(CONTENT) + 1), (-1, 1), (1, -1), (len(CONTENT), 1), (1 << 62, 1 << 62)]
)
def test_refuses_what_is_not(path: Path, offset: int, length: int) -> None:
    with FileSource(path) as file:
        for source in (file, BytesSource(CONTENT)):
            with pytest.raises(InputError, match=source.name):
                source.read(offset, length)


def test_names() -> None:
    assert BytesSource(b"").name == "<memory>"
    assert BytesSource(b"", "part 3").name == "part 3"


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"gone\.bin: no such file"):
        FileSource(tmp_path / "gone.bin")


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a regular file"):
        FileSource(tmp_path)


def test_pipe_without_a_writer_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        FileSource(tmp_path / "pipe")


def test_device() -> None:
    with pytest.raises(InputError, match="not a regular file"):
        FileSource(os.devnull)


def test_impossible_name() -> None:
    with pytest.raises(InputError, match="can't be read"):
        FileSource("a\0b")


def test_under_a_file(path: Path) -> None:
    with pytest.raises(InputError):
        FileSource(path / "x")


def test_unreadable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    path.chmod(0)
    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    with pytest.raises(InputError, match="Permission denied"):
        FileSource(path)


def test_failing_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with FileSource(path) as source:
        monkeypatch.setattr(os, "preadv", fail)
        with pytest.raises(InputError, match="Input/output error"):
            source.read(0, 10)


def test_short_reads_are_completed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, at: whole(fd, [buffers[0][:100]], at))
    with FileSource(path) as source:
        assert source.read(3, 1000).tobytes() == CONTENT[3:1003]


def test_shrinks(path: Path) -> None:
    with FileSource(path) as source:
        os.truncate(path, 100)
        assert source.read(0, 100).tobytes() == CONTENT[:100]
        with pytest.raises(InputChangedError, match="shorter"):
            source.read(50, 100)
        with pytest.raises(InputChangedError):
            source.check_unchanged()


def test_grows(path: Path) -> None:
    with FileSource(path) as source:
        with path.open("ab") as file:
            file.write(b"more")
        assert source.size == len(CONTENT)
        with pytest.raises(InputError):
            source.read(len(CONTENT), 1)
        with pytest.raises(InputChangedError, match="changed"):
            source.check_unchanged()


def test_changes_in_place(path: Path) -> None:
    with FileSource(path) as source:
        with path.open("r+b") as file:
            file.write(b"X")
        age(path, 2)
        with pytest.raises(InputChangedError, match="changed"):
            source.check_unchanged()


def test_replaced_by_another_file_stays_the_old_one(path: Path) -> None:
    with FileSource(path) as source:
        other = path.with_suffix(".new")
        other.write_bytes(b"new")
        other.replace(path)
        assert source.read(0, len(CONTENT)).tobytes() == CONTENT
        source.check_unchanged()


def test_close_closes(path: Path) -> None:
    source = FileSource(path)
    source.close()
    source.close()
    with pytest.raises(ValueError, match="closed"):
        source.read(0, 1)
