"""The command line on texts: routes, round trips, damage, interrupts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netweight.text.model
from netweight.cli import app, text_files
from netweight.errors import MissingExtraError
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


def run(*arguments: object) -> int:
    return app._run([str(a) for a in arguments])


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert run(*arguments, "--json") == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


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
        assert not text_files.is_plain_text(str(path))
        assert run("compress", path, "--model", "smollm2") == app.USAGE
    assert not text_files.is_plain_text(str(tmp_path))
    assert not text_files.is_plain_text(str(tmp_path / "none"))


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
