"""The command line on pictures: round trips, what the verbs say, and what they refuse."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import run, run_json
from image_scenes import scene
from netweight.image.grid import encoder, refine


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "STEPS", dict.fromkeys(encoder.STEPS, 8))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(scene(40, 48)).save(path)
    return path


def test_round_trip(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipt = run_json(capsys, "compress", photo, "--bpp", "1.2")
    packed, copy = Path(f"{photo}.nw"), photo.with_name("copy.png")
    assert receipt["compressed_bytes"] == packed.stat().st_size
    assert receipt["bits_per_pixel"] == 8 * packed.stat().st_size / (40 * 48)
    assert "bytes, shipped" in receipt["receiver"]["start"]
    assert run("decompress", packed, "-o", copy) == 0
    error = np.square(np.asarray(Image.open(copy)).astype(float) - scene(40, 48)).mean()
    assert 10 * np.log10(255**2 / error) == pytest.approx(receipt["psnr_db"])
    found = run_json(capsys, "verify", packed, "--against", photo)
    assert (found["sound"], found["psnr_db"]) == (True, receipt["psnr_db"])
    about = run_json(capsys, "inspect", packed)
    assert (about["method"], about["height"], about["width"]) == ("grid", 40, 48)
    for verb in (("inspect",), ("verify",), ("decompress", "-f")):
        assert run(*verb, packed) == 0


def test_without_a_goal_the_file_itself_is_kept(photo: Path) -> None:
    original = photo.read_bytes()
    assert run("compress", photo) == 0
    photo.unlink()
    assert run("decompress", f"{photo}.nw") == 0
    assert photo.read_bytes() == original


def test_a_goal_out_of_reach_is_told(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipt = run_json(capsys, "compress", photo, "--psnr", "59")
    assert receipt["psnr_db"] < 58
    assert run("compress", photo, "--psnr", "59", "-f") == 0
    assert "instead of 59" in capsys.readouterr().err


def test_existing_output_and_damage_are_noticed(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = Path(f"{photo}.nw")
    assert run("compress", photo, "--quality", "20") == 0
    before = packed.read_bytes()
    assert run("compress", photo, "--quality", "60") != 0
    assert "exists already" in capsys.readouterr().err
    assert packed.read_bytes() == before
    packed.write_bytes(before[:-9] + b"x" + before[-8:])
    assert run("verify", packed) != 0
    assert run("decompress", packed, "-o", photo.with_name("b.png")) != 0
    assert not photo.with_name("b.png").exists()


def test_what_does_not_go_together(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "a.png"
    text.write_text("no picture")
    for arguments, why in (
        ((photo, "--bpp", "1", "--psnr", "30"), "choose one"),
        ((photo, "--bpp", "1", "--structure"), "pictures"),
        ((photo, "--bpp", "1", "--bits", "4"), "checkpoints"),
        ((photo, "--method", "grid"), "--method"),
        ((photo, "--bpp", "1", "--method", "nope"), "known are grid, siren, coin"),
        ((text, "--bpp", "1"), "isn't a picture"),
        (("-", "--bpp", "1"), "instead of -"),
        ((tmp_path / "none.png", "--bpp", "1"), "no such file"),
    ):
        assert run("compress", *arguments) != 0
        assert why in capsys.readouterr().err
    assert not list(tmp_path.glob("*.nw"))
    assert run("compress", photo, "--quality", "20") == 0
    assert run("decompress", f"{photo}.nw", "-o", tmp_path / "a.jpg") != 0
    assert "PNG" in capsys.readouterr().err


@pytest.mark.parametrize("goal", [("--bpp", "0"), ("--bpp", "-1"), ("--psnr", "0"), ("--quality", "101")])
def test_goals_out_of_range_are_errors_of_usage(photo: Path, goal: tuple[str, str]) -> None:
    assert run("compress", photo, *goal) == 2


def test_an_interrupted_file_says_so(
    photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real SIGINT in the middle of the training: a sound file, the true reason, and the handler as it was."""
    before = signal.getsignal(signal.SIGINT)
    arguments = ("compress", photo, "--psnr", "59", "-f", "--json")
    assert run(*arguments) == 0
    whole = capsys.readouterr()
    assert json.loads(whole.out)["interrupted"] is False
    assert "as near as" in whole.err
    monkeypatch.setattr(refine, "_step", lambda *_: signal.raise_signal(signal.SIGINT))
    assert run(*arguments) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["interrupted"] is True
    assert "interrupted: the best so far" in told.err
    assert run("verify", f"{photo}.nw") == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_verify_compares_alpha(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clear = photo.with_name("clear.png")
    image = Image.open(photo)
    image.putalpha(Image.fromarray(scene(40, 48, 1)[..., 0]))
    image.save(clear)
    assert run_json(capsys, "compress", clear, "--quality", "20")["alpha"] is True
    assert run_json(capsys, "verify", f"{clear}.nw", "--against", clear)["alpha_equal"] is True
    assert run("verify", f"{clear}.nw", "--against", clear) == 0
    assert "the same alpha" in capsys.readouterr().out
    assert run("verify", f"{clear}.nw", "--against", photo) == 1
    assert "alpha differs" in capsys.readouterr().err


def test_errors_name_the_file(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compress", photo, "--quality", "20") == 0
    packed, text = Path(f"{photo}.nw"), photo.with_name("t.txt")
    text.write_text("no picture")
    assert run("verify", packed, "--against", text) == 1
    said = capsys.readouterr().err
    assert f"{text}: isn't a picture" in said
    assert "BytesIO" not in said
    packed.write_bytes(packed.read_bytes()[:-9])
    for verb in (("verify",), ("inspect",), ("decompress", "-f")):
        assert run(*verb, packed) != 0
        assert f"{packed}: " in capsys.readouterr().err


def test_the_help_says_how_near_the_rate_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compress", "--help") == 0
    assert "about B bits a pixel (within 5 %)" in " ".join(capsys.readouterr().out.split())
