"""The command line on texts: routes, round trips, damage, interrupts."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

import netweight.text.model
from command_line import run, run_json
from netweight.cli import app, routes, text_files
from netweight.errors import MissingExtraError
from netweight.text.codec.container import MAGIC
from text_stand_in import StandIn, story

TEXT = story(2000)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default model is the stand-in, "other" is another one."""

    def load(name: str | None = None, *, threads: int = 0) -> StandIn:
        return StandIn(seed=1 if name is None else 2)

    monkeypatch.setattr(netweight.text.model, "load", load)
    monkeypatch.setattr(text_files, "_model_bytes", lambda _: 123_456)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_bytes(TEXT)
    return path


def test_round_trip_says_what_a_receiver_needs(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipt = run_json(capsys, "compress", book)
    packed = Path(f"{book}.nw")
    assert receipt["compressed_bytes"] == packed.stat().st_size < 0.3 * len(TEXT)
    assert StandIn().digest.hex() in receipt["model"]
    assert run("verify", packed, "--against", book) == 0
    assert run("decompress", packed, "-o", book.with_name("copy")) == 0
    assert book.with_name("copy").read_bytes() == TEXT
    found = run_json(capsys, "inspect", packed)
    assert found["model"] == "stand-in"
    assert sum(b["bytes"] for b in found["blocks"]) == len(TEXT)


@pytest.mark.parametrize("verb", ["compress", "decompress", "verify", "inspect", "weigh"])
def test_lines_for_people(verb: str, book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compress", book) == 0
    capsys.readouterr()
    more = ["-f"] if verb in ("compress", "decompress") else []
    assert run(verb, book if verb in ("compress", "weigh") else f"{book}.nw", *more) == 0
    assert "book.txt" in capsys.readouterr().out


def test_weigh_shows_the_ladder(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weighing = run_json(capsys, "weigh", book, "--effort", "fast")
    rows = {f"{r['code']} {r['setting']}".strip(): r for r in weighing["rows"]}
    assert rows["netweight text fast"]["with_model"] == rows["netweight text fast"]["bytes"] + 123_456
    assert {"gzip 9", "bzip2 9", "ranks zstd", "netweight bytes"} <= rows.keys()


def test_without_a_model_the_byte_model_is_used_and_told(
    book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: object, **__: object) -> StandIn:
        raise MissingExtraError("gguf", "lm")

    monkeypatch.setattr(netweight.text.model, "load", missing)
    receipt = run_json(capsys, "compress", book)
    assert receipt["model"] == ""
    assert run("compress", book, "-f") == 0
    assert "netweight[lm]" in capsys.readouterr().err
    assert run("decompress", f"{book}.nw", "-f") == 0  # needs no model either
    assert book.read_bytes() == TEXT
    assert run("compress", book, "-f", "--model", "smollm2") == app.FAILED


def test_checkpoints_and_binary_files_go_where_they_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = tmp_path / "noise.bin"
    noise.write_bytes(np.random.default_rng(0).integers(0, 256, 3000, np.uint8).tobytes())
    array = tmp_path / "array.npy"
    np.save(array, np.arange(100.0))
    for path in (noise, array):
        assert not routes.is_plain_text(str(path))
    assert run("compress", array, "--model", "smollm2") == app.USAGE
    assert not routes.is_plain_text(str(tmp_path))
    assert not routes.is_plain_text(str(tmp_path / "none"))


def test_damage_is_named_and_the_rest_salvaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, data = tmp_path / "long.txt", story(40_000)
    path.write_bytes(data)
    assert run("compress", path, "--effort", "fast") == 0
    blocks = run_json(capsys, "inspect", f"{path}.nw")["blocks"]
    if len(blocks) == 1:
        pytest.fail("one block only")
    packed = Path(f"{path}.nw")
    damaged = bytearray(packed.read_bytes())
    damaged[blocks[0]["compressed_bytes"] // 2 + 40] ^= 1
    packed.write_bytes(damaged)
    assert run("decompress", packed, "-f") == app.DAMAGED
    assert "block 0" in capsys.readouterr().err
    assert path.read_bytes() == data  # what was there before stays
    assert run("verify", packed) == app.DAMAGED
    assert run("decompress", packed, "-o", tmp_path / "rest", "--salvage") == app.DAMAGED
    assert "lost: block 0" in capsys.readouterr().err
    assert (tmp_path / "rest").read_bytes() == data[blocks[0]["bytes"] :]


def test_another_model_is_refused(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compress", book) == 0
    assert run("decompress", f"{book}.nw", "-f", "--model", "other") == app.FAILED
    error = capsys.readouterr().err
    assert StandIn().digest[:8].hex() in error
    assert StandIn(seed=2).digest[:8].hex() in error


def test_output_is_kept_unless_forced_and_after_an_interrupt(
    book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = Path(f"{book}.nw")
    packed.write_bytes(b"precious")
    assert run("compress", book) == app.OUTPUT

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StandIn, "extend", interrupted)
    assert run("compress", book, "-f") == app.INTERRUPTED
    assert packed.read_bytes() == b"precious"
    assert sorted(p.name for p in book.parent.iterdir()) == ["book.txt", "book.txt.nw"]
    assert run("compress", book, "-f", "-o", book) == app.FAILED


def test_options_that_mean_nothing_are_refused(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("weigh", book, "--codec", "gzip") == app.USAGE
    assert run("compress", book) == 0
    assert run("decompress", f"{book}.nw", "--base", book) == app.USAGE
    assert run("verify", f"{book}.nw", "--against", f"{book}.nw") == app.FAILED


# --- any bytes, any way in ---


def noise(size: int) -> bytes:
    return np.random.default_rng(size).bytes(size)


ODD = (b"", b"\0", b"\xff", b"a", noise(99), noise(3000), noise(70_000), noise(300_000), b"\xff" * 5000, TEXT)


@pytest.mark.parametrize("data", ODD, ids=lambda d: f"{d[:1]!r} of {len(d)}")
def test_any_bytes_come_back_from_a_file_and_hardly_grow(data: bytes, tmp_path: Path) -> None:
    path, packed = tmp_path / "thing", tmp_path / "thing.nw"
    path.write_bytes(data)
    assert run("compress", path, "--effort", "fast") == 0
    assert packed.stat().st_size <= len(data) + 16 + len(data) // 1000
    path.unlink()
    assert run("decompress", packed) == 0
    assert path.read_bytes() == data


def pipe(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], data: bytes, *arguments: str
) -> bytes:
    """What a verb writes to standard output for `data` on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    capfdbinary.readouterr()
    assert run(*arguments) == 0
    return capfdbinary.readouterr().out


@pytest.mark.parametrize("data", ODD, ids=lambda d: f"{d[:1]!r} of {len(d)}")
def test_any_bytes_come_back_through_pipes(
    data: bytes, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    packed = pipe(monkeypatch, capfdbinary, data, "compress", "-", "--effort", "fast")
    assert len(packed) <= len(data) + 16 + len(data) // 1000
    assert pipe(monkeypatch, capfdbinary, packed, "decompress", "-") == data
    assert b"sound" in pipe(monkeypatch, capfdbinary, packed, "verify", "-")


def test_a_piped_text_is_coded_as_a_file_is(
    book: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("compress", book) == 0
    packed = Path(f"{book}.nw").read_bytes()
    assert pipe(monkeypatch, capfdbinary, TEXT, "compress", "-") == packed
    assert b"stand-in" in pipe(monkeypatch, capfdbinary, packed, "inspect", "-")
    assert b"<stdin>: text" in pipe(monkeypatch, capfdbinary, TEXT, "weigh", "-", "--effort", "fast")


def test_a_piped_checkpoint_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    array = io.BytesIO()
    np.save(array, np.arange(1000.0))
    packed = pipe(monkeypatch, capfdbinary, array.getvalue(), "compress", "-")
    assert not packed.startswith(MAGIC)
    assert pipe(monkeypatch, capfdbinary, packed, "decompress", "-") == array.getvalue()


def test_no_model_is_loaded_for_what_is_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(netweight.text.model, "load", None)
    path = tmp_path / "bytes"
    path.write_bytes(noise(500))
    assert run("compress", path) == 0
    assert "language model" not in capsys.readouterr().err
    assert run("verify", f"{path}.nw") == 0


# --- the files of a folder ---


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    (folder / "deep" / "er").mkdir(parents=True)
    for name, data in (("a.txt", story(900)), ("deep/er/b.txt", story(1500)), ("deep/empty", b""), ("odd", noise(500))):
        (folder / name).write_bytes(data)
    np.save(folder / "deep" / "array.npy", np.arange(50.0))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_each_file_of_a_folder(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, packed = contents(library), library.with_name("library.nw")
    receipt = run_json(capsys, "compress", library, "--each")
    made = contents(packed)
    assert made.keys() == {f"{name}.nw" for name in before}
    assert receipt["compressed_bytes"] == sum(map(len, made.values()))
    assert receipt["files"] == 5
    assert StandIn().digest.hex() in receipt["model"]
    for name in ("a.txt", "deep/er/b.txt", "odd"):
        assert run("compress", library / name, "-f") == 0
        assert (library / f"{name}.nw").read_bytes() == made[f"{name}.nw"]
    back = library.with_name("back")
    assert run("decompress", packed, "-o", back) == 0
    assert contents(back) == before
    assert run("compress", library, "--each") == app.OUTPUT
    assert run("decompress", packed, "--base", packed) == app.USAGE


def test_damage_in_a_folder_is_named_and_leaves_nothing(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compress", library, "--each") == 0
    packed = library.with_name("library.nw")
    victim = packed / "a.txt.nw"
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    assert run("decompress", packed, "-o", library.with_name("back")) == app.DAMAGED
    assert "a.txt.nw" in capsys.readouterr().err
    assert not library.with_name("back").exists()
    victim.rename(packed / "a.txt")
    assert run("decompress", packed, "-o", library.with_name("back")) == app.FAILED
    assert "isn't compressed" in capsys.readouterr().err
    assert run("compress", packed / "a.txt", "--each") == app.FAILED


def test_who_lacks_the_model_is_told_which_one(
    book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("compress", book) == 0

    def missing(*_: object, **__: object) -> StandIn:
        raise MissingExtraError("gguf", "lm")

    monkeypatch.setattr(netweight.text.model, "load", missing)
    assert run("decompress", f"{book}.nw", "-f") == app.FAILED
    error = capsys.readouterr().err
    assert "book.txt.nw: was compressed with the model 'stand-in'" in error
    assert "netweight[lm]" in error
    assert book.read_bytes() == TEXT
