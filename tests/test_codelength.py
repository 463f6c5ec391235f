"""Decay as a code length: bits of decodable bytes against the norm, and how it is told."""

from __future__ import annotations

import json
from functools import cache, partial

import numpy as np
import pytest

from netweight.cli import app
from netweight.data import demo_test_set
from netweight.report import priors as report
from netweight.report import priors_plots
from netweight.weights.lossy import codelength
from netweight.weights.lossy.codelength import STEP, WIDTH, Data, Sweep, sweep, theory
from netweight.weights.lossy.decay import L1, L2, Network, shrunk, train

QUICK = partial(sweep, hidden=32, steps=120, strengths=(0.0, 2**-6, 2**-4, 2**-2, 1.0))


def digits() -> Data:
    pixels, labels = demo_test_set()
    inputs = pixels.astype(np.float32) / np.float32(16)
    return Data(inputs[:120], labels[:120], inputs[300:], labels[300:])


@cache
def swept(kind: str) -> Sweep:
    return QUICK(kind, digits())


@pytest.mark.parametrize("kind", [L1, L2])
def test_bits_rise_with_the_penalty_as_theory_says(kind: str) -> None:
    line = swept(kind).line
    assert abs(line.slope_error) < 0.02
    assert line.r_squared > 0.99
    assert line.theory_slope == pytest.approx(1 / (2 * WIDTH**2 * np.log(2)) if kind == L2 else 1 / (WIDTH * np.log(2)))
    assert abs(line.constant - line.theory_constant) < 160, "header and coder's state, in bits"


@pytest.mark.parametrize("kind", [L1, L2])
def test_each_size_is_near_its_theory_and_decay_lowers_it(kind: str) -> None:
    points = swept(kind).points
    for p in points:
        assert 8 * p.fixed_bytes == pytest.approx(p.theory_bits, abs=240)
    assert [p.fixed_bytes for p in points] == sorted((p.fixed_bytes for p in points), reverse=True)
    assert points[0].penalty > 4 * points[-1].penalty


def test_only_l1_makes_zeros_and_zeros_make_fitted_codes_short() -> None:
    assert swept(L1).points[-1].zeros > 0.5
    assert swept(L2).points[-1].zeros < 0.1
    undecayed, sparse = swept(L1).points[0], swept(L1).points[-1]
    assert sparse.fitted_bytes < 0.5 * undecayed.fitted_bytes
    assert sparse.lossy_bytes < 0.5 * undecayed.lossy_bytes
    assert all(p.fitted_bytes < p.fixed_bytes for p in swept(L1).points)


def test_a_wrong_slope_would_be_seen() -> None:
    """The bound on the slope has teeth: sizes under the other penalty's prior don't pass it."""
    slope = swept(L1).line.slope
    assert abs(slope / theory(L2, 1)[0] - 1) > 0.3


def test_a_step_half_as_wide_is_a_bit_a_weight() -> None:
    for kind in (L1, L2):
        slope, constant = theory(kind, 1000)
        exact = np.log2(WIDTH / STEP * (np.sqrt(2 * np.pi) if kind == L2 else 2))
        assert constant == pytest.approx(1000 * exact)
        assert slope > 0


def test_proximal_maps_minimise_what_they_should() -> None:
    """argmin over v of (v - w)^2 / 2 + amount * penalty(v), found by trying."""
    w, grid = np.array([-2.0, -0.3, 0.0, 0.1, 1.5], np.float32), np.linspace(-3, 3, 60_001)
    for kind, penalty in ((L1, np.abs(grid)), (L2, grid**2 / 2)):
        tried = grid[np.argmin((grid - w[:, None]) ** 2 / 2 + 0.25 * penalty, axis=1)]
        assert shrunk(w, kind, 0.25) == pytest.approx(tried, abs=1e-3)


def test_gradient_is_the_slope_of_the_loss() -> None:
    network, data = Network(64, 5, 10), digits()
    w = network.initial(3)
    x, labels = data.inputs[:20], data.labels[:20]
    gradient = network.gradient(w, x, np.eye(10, dtype=np.float32)[labels])
    for at in (0, 100, 322, 330, 375):
        ends = []
        for sign in (1, -1):
            moved = w.copy()
            moved[at] += sign * 1e-2
            ends.append(network.label_bits(moved, x, labels) * np.log(2) / len(x))
        assert gradient[at] == pytest.approx((ends[0] - ends[1]) / 2e-2, abs=2e-3)


def test_training_learns_and_repeats() -> None:
    network, data = Network(64, 16, 10), digits()
    once, again = (train(network, data.inputs, data.labels, L2, 1e-4, steps=150) for _ in range(2))
    assert np.array_equal(once, again)
    assert network.accuracy(once, data.test_inputs, data.test_labels) > 0.75
    assert network.label_bits(once, data.inputs, data.labels) < 0.2 * 120 * np.log2(10)


# --- how it is told ---


def quick_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "sweep", lambda kind, _data, **_: swept(kind))


def test_text_and_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    quick_tell(monkeypatch)
    text = report.text(report.tell(), 200)
    for found in (swept(L2), swept(L1)):
        assert f"{found.line.slope:.3f} bits per unit" in text
        for p in found.points:
            assert f"{p.fixed_bytes:,}" in text
    assert "a bound" in text
    assert "the step's choice" in text
    with pytest.raises(SystemExit) as stop:
        app.run(["priors", "--json"])
    assert stop.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert [s["kind"] for s in told["sweeps"]] == ["l2", "l1"]
    assert told["sweeps"][0]["points"][0]["fixed_bytes"] == swept(L2).points[0].fixed_bytes


def test_plot(monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    quick_tell(monkeypatch)
    path = tmp_path / "plot.png"
    with pytest.raises(SystemExit) as stop:
        app.run(["priors", "--png", str(path)])
    assert stop.value.code == 0
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert priors_plots.render(report.tell()) == path.read_bytes(), "drawing is deterministic"
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        app.run(["priors", "--png", str(path)])
    assert stop.value.code == app.OUTPUT


def test_damage_between_writing_and_reading_is_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    from netweight.errors import GuaranteeError

    monkeypatch.setattr(codelength.codes, "read_multiples", lambda *_: np.zeros(1, np.int32))
    monkeypatch.setattr(codelength.Reader, "end", lambda _: None)
    with pytest.raises(GuaranteeError):
        sweep(L2, digits(), hidden=4, steps=1, strengths=(1.0,))
