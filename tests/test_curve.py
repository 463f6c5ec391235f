"""`netweight curve`: every point was decoded, and no code of independent weights crosses Shannon's bound."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from netweight.cli.app import cli
from netweight.errors import InputError
from netweight.report import curve as report
from netweight.weights.lossy.curve import rungs_of_curve, trace


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory):
    path = tmp_path_factory.mktemp("curve") / "g.safetensors"
    save_file({"w": np.random.default_rng(2).normal(size=(256, 256)).astype(np.float32)}, path)
    return path


@pytest.fixture(scope="module")
def curve(gaussian):
    return trace(gaussian, (0.05, 0.003), rungs=rungs_of_curve(["trellis", "uniform"]))


def test_codes_lie_above_the_bound_and_ours_lies_nearest(curve):
    bound = dict(zip((e for _, e in curve.bound()), (b for b, _ in curve.bound()), strict=True))
    for (bits, error), (wide, _), limit in zip(curve.points("trellis"), curve.points("uniform"), bound, strict=True):
        assert error <= limit
        assert bound[limit] - 0.02 < bits < bound[limit] + 0.12
        assert bits < wide


def test_the_text_and_the_page_tell_the_same(curve):
    text, page = report.curve_text(curve, 120), report.page(curve).decode()
    for row in report.curve_table(curve).rows:
        assert all(cell.text in text and cell.text in page for cell in row)
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "").replace("https://matplotlib.org", "")
    assert report.plot(curve)[:8] == b"\x89PNG\r\n\x1a\n"


def test_errors_that_are_none_are_refused(gaussian):
    for errors in ((), (0.0,), (1.5,)):
        with pytest.raises(InputError):
            trace(gaussian, errors, rungs=rungs_of_curve(["uniform"]))


def test_the_command(gaussian, tmp_path):
    page = tmp_path / "c.html"
    result = CliRunner().invoke(
        cli, ["curve", str(gaussian), "--rel-mse", "0.01", "--codec", "uniform", "--html", str(page), "--json"],
        standalone_mode=False,
    )  # fmt: skip
    assert result.exception is None
    (weighing,) = json.loads(result.stdout)["weighings"]
    assert weighing["rows"][0]["rel_mse"] <= 0.01
    assert "<svg" in page.read_text()
