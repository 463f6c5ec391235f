"""Metrics, rivals, the ladder of a picture, and its page."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from netweight.cli.app import cli
from netweight.errors import InputError
from netweight.image import api, ladder
from netweight.image.metrics import ms_ssim, psnr
from netweight.image.rivals import RIVALS, rival
from netweight.image.siren import encoder
from netweight.report import images

Pixels = NDArray[np.uint8]


def photo(height: int = 180, width: int = 200) -> Pixels:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:height, 0:width]
    waves = sum(np.sin((x * a + y * b) / 25 + c) / (k + 1) for k, (a, b, c) in enumerate(rng.normal(0, 2, (6, 3))))
    tinted = [128 + 45 * waves + 12 * rng.standard_normal((height, width)) + 20 * k for k in range(3)]
    return np.clip(np.stack(tinted, axis=2), 0, 255).astype(np.uint8)


# --- metrics ---


def test_psnr_by_hand() -> None:
    a, b = np.zeros((4, 4), np.uint8), np.full((4, 4), 16, np.uint8)
    assert psnr(a, b) == pytest.approx(20 * np.log10(255 / 16))
    assert psnr(a, a) == float("inf")
    with pytest.raises(InputError):
        psnr(a, b[:2])


def test_ms_ssim_by_the_definition() -> None:
    """One scale, written out with loops over windows, on a picture that has room for one alone."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (16, 17)).astype(np.uint8)
    b = np.clip(a + rng.normal(0, 30, a.shape), 0, 255).astype(np.uint8)
    taps = np.exp(-((np.arange(11) - 5.0) ** 2) / 4.5)
    window = np.outer(taps, taps) / taps.sum() ** 2
    found = []
    for r in range(6):
        for c in range(7):
            x, y = (p[r : r + 11, c : c + 11].astype(float) for p in (a, b))
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy, vxy = (
                (window * x * x).sum() - mx**2,
                (window * y * y).sum() - my**2,
                (window * x * y).sum() - mx * my,
            )
            found.append(
                (2 * mx * my + 6.5025) * (2 * vxy + 58.5225) / ((mx**2 + my**2 + 6.5025) * (vx + vy + 58.5225))
            )
    assert ms_ssim(a, b) == pytest.approx(np.mean(found), rel=1e-9)


def test_ms_ssim_orders_pictures() -> None:
    a = photo()
    little, much = (
        np.clip(a + n * np.random.default_rng(1).standard_normal(a.shape), 0, 255).astype(np.uint8) for n in (8, 40)
    )
    assert ms_ssim(a, a) == pytest.approx(1)
    assert 1 > ms_ssim(a, little) > ms_ssim(a, much) > 0.2
    with pytest.raises(InputError):
        ms_ssim(a[:10], a[:10])


# --- rivals ---


@pytest.mark.parametrize("name", list(RIVALS))
def test_rivals_keep_to_the_rate_and_are_real_files(name: str) -> None:
    pixels, codec = photo(80, 96), rival(name)
    if not codec.available:
        pytest.skip(f"this build of Pillow has no {name}")
    most = codec.code(pixels, codec.settings[-1])
    bpp = 8 * len(most.data) / pixels[..., 0].size / 4
    found = codec.at_rate(pixels, bpp)
    assert 0.7 * bpp < 8 * len(found.data) / pixels[..., 0].size <= bpp
    assert Image.open(io.BytesIO(found.data)).size == (96, 80)
    assert found.pixels.shape == pixels.shape
    if name != "AVIF":  # its search takes seconds
        reached = psnr(pixels, found.pixels)
        better = codec.at_psnr(pixels, reached)
        assert psnr(pixels, better.pixels) >= reached
        assert len(better.data) <= 1.02 * len(found.data)


def test_jpeg2000_has_its_colour_transform() -> None:
    """Without it neighbouring colours are coded three times, and a grey picture takes three times the bytes."""
    grey = np.repeat(photo()[..., :1], 3, axis=2)
    with_transform = rival("JPEG 2000").at_rate(grey, 0.5)
    alone = rival("JPEG 2000").at_rate(np.ascontiguousarray(grey[..., 0]), 0.5)
    assert psnr(grey, with_transform.pixels) > psnr(grey[..., 0], alone.pixels) - 0.5
    with pytest.raises(InputError):
        rival("HEIC")


# --- the ladder ---


@pytest.fixture(scope="module")
def weighing() -> ladder.ImageWeighing:
    codes = ("coin", "jpeg", "jpeg2000", "webp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(encoder.EFFORTS, "fast", (10, 0))
        return ladder.weigh_picture(photo(), "<b>&photo.png", 1.5, codes=codes, effort="fast", note="a <note>")


def test_rows_are_what_files_decode_to(weighing: ladder.ImageWeighing) -> None:
    assert [r.psnr for r in weighing.rows] == sorted((r.psnr or 0 for r in weighing.rows), reverse=True)
    for row in weighing.rows:
        assert row.bytes is not None
        assert row.pixels is not None
        assert row.bpp == pytest.approx(8 * row.bytes / (180 * 200))
        assert row.bpp <= 1.5
        assert row.psnr == psnr(photo(), row.pixels)
    assert {r.code for r in weighing.rows} == {"COIN", "JPEG", "JPEG 2000", "WebP"}


def test_a_code_that_cannot_says_why() -> None:
    found = ladder.weigh_picture(photo(24, 24), "x", 0.5, codes=("coin", "jpeg"), effort="fast")
    row = next(r for r in found.rows if r.code == "COIN")
    assert row.bytes is None
    assert "too few" in row.problem
    assert "too few" in images.ladder_text(found, 120)
    with pytest.raises(InputError):
        ladder.weigh_picture(photo(24, 24), "x", 0.0)


def test_networks_go_through_the_one_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """The grid codec and SIREN rows are what `netweight.image.encode` makes, its whole file counted."""
    asked = list[Any]()

    def encode(pixels: Pixels, method: str, *, bpp: float, effort: str, progress: Any) -> bytes:
        asked.append((method, bpp, effort))
        progress(api.Progress(0.5, bpp, 20.0))
        return b"file of " + method.encode()

    monkeypatch.setattr(api, "encode", encode)
    monkeypatch.setattr(api, "decode", lambda _: photo())
    steps = list[Any]()
    found = ladder.weigh_picture(
        photo(), "x", 0.2, codes=("netweight grid", "netweight siren"), progress=lambda *s: steps.append(s)
    )
    assert asked == [("grid", 0.2, "balanced"), ("siren", 0.2, "balanced")]
    assert {r.bytes for r in found.rows} == {12, 13}
    assert steps == [("netweight grid", 500, 1000), ("netweight siren", 500, 1000)]
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["rows"][0]["psnr"] is None


def test_the_text(weighing: ladder.ImageWeighing) -> None:
    text = images.ladder_text(weighing, 200)
    for row in weighing.rows:
        assert f"{row.bytes:,}" in text
        assert f"{row.psnr:.2f}" in text
    assert "a <note>" in text


def test_the_page_holds_every_picture_and_no_address(weighing: ladder.ImageWeighing) -> None:
    page = images.page(weighing).decode()
    assert "is nearest to the original" in page
    without = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", without, re.IGNORECASE)
    assert page.count("data:image/png;base64,") == 1 + len(weighing.rows)
    assert "<b>&photo" not in page
    assert "&lt;b&gt;&amp;photo.png" in page
    assert "a &lt;note&gt;" in page


def test_the_verb(tmp_path: Path) -> None:
    path, page = tmp_path / "photo.png", tmp_path / "page.html"
    Image.fromarray(photo()).save(path)
    run = CliRunner().invoke(
        cli, ["weigh", str(path), "--bpp", "0.8", "--codec", "jpeg", "--codec", "webp", "--json", "--html", str(page)],
        catch_exceptions=False, standalone_mode=False,
    )  # fmt: skip
    told = json.loads(run.stdout)
    assert {r["code"] for r in told["rows"]} == {"JPEG", "WebP"}
    assert page.read_text().startswith("<!doctype html>")
