"""Claims are checked, lies are found, and the figures are those that are promised."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from netweight import comm
from netweight.cli.app import cli
from netweight.comm.certify import inputs, suite
from netweight.comm.certify.measure import below_the_limit, measure
from netweight.comm.certify.statistics import squared_bias
from netweight.comm.compressor import Claim
from netweight.errors import InputError


@dataclass(frozen=True)
class Biased(comm.SparseDithering):
    """Says it is unbiased, and rounds to nearest."""

    nu: float = 0.9

    def bound(self, _):
        return Claim("unbiased", 1.0, "a lie")


@dataclass(frozen=True)
class SlightlyBiased(comm.DitheredTrellis):
    """Says it is unbiased, and takes a tenth off."""

    def decode(self, payload, d, dtype, seed):
        return 0.9 * super().decode(payload, d, dtype, seed).astype(dtype)


@dataclass(frozen=True)
class TooSure(comm.TopK):
    """Claims half of the error that it makes."""

    def bound(self, _):
        return Claim("contractive", 0.4, "a lie", sure=True)


@dataclass(frozen=True)
class TooGood(comm.RandK):
    """Claims a variance below its own."""

    def bound(self, d):
        return Claim("unbiased", 0.7 * super().bound(d).value, "a lie")


@dataclass(frozen=True)
class Fickle(comm.SignMean):
    """Decodes with a seed that it doesn't claim to share."""

    def decode(self, payload, d, dtype, seed):
        return super().decode(payload, d, dtype, seed) * np.float32(1 + seed)


@dataclass(frozen=True)
class WrongSize(comm.SparseDithering):
    """Says how long its payloads are, and doesn't know."""

    def size(self, _):
        return 100


@dataclass(frozen=True)
class Failing(comm.SignMean):
    """Raises."""

    def encode(self, *_):
        raise ZeroDivisionError("no such thing")


LIARS = (Biased(), SlightlyBiased(), TooSure(), TooGood(), Fickle(), WrongSize(), Failing())


@pytest.mark.parametrize("liar", LIARS, ids=lambda c: type(c).__name__)
def test_a_lie_is_found(liar):
    found = measure(liar, "liar", "gaussian", 512, 2, 20)
    assert found.problems
    assert not found.to_dict()["holds"]


@pytest.mark.parametrize("kind", inputs.INPUTS)
def test_honest_compressors_hold_on_every_kind_of_vector(kind):
    chosen = (
        "RandK(count=20)",
        "QSGD(s=1)",
        "Drive()",
        "SparseDithering(nu=1.0, randomised=True)",
        "DitheredTrellis()",
        "TrellisCoded()",
    )
    for text in chosen:
        found = measure(suite.parse(text), text, kind, 300, 2, 12)
        assert found.problems == (), (text, found.problems)
        assert not below_the_limit(found)


@pytest.mark.parametrize(
    ("compressor", "most"),
    [
        (comm.TrellisCoded(0.2), 1.3),
        (comm.DitheredTrellis(0.25, shrunk=True), 1.2),
        (comm.DitheredTrellis(0.02), 1.2),
        (comm.DitheredTrellis(0.5), 1.2),
        (comm.DitheredTrellis(8.0), 1.2),
        (comm.SparseDithering(nu=4.0, randomised=True), 2.95),
        (comm.SparseDithering(nu=0.25), 1.7),
        (comm.SubtractiveDithering(0.05), 1.7),
        (comm.SignMean(), 1.6),
        (comm.TopK(fraction=0.1, values="bit"), 1.4),
    ],
)
def test_gaps_to_the_limit(compressor, most):
    found = measure(compressor, "", "gaussian", 1024, 3, 4)
    assert found.problems == ()
    assert 1 < found.gap[0] < most


def test_the_gap_of_the_best_at_length():
    for compressor, most in ((comm.best(0.2), 1.2), (comm.best(0.3, unbiased=True), 1.11)):
        found = measure(compressor, "", "gaussian", 60_000, 1, 2)
        assert 1 < found.gap[0] < most


def test_uneven_vectors_cost_the_contractive_best_less():
    gaussian, sparse, layers = (
        measure(comm.best(0.1), "", kind, 2048, 2, 2) for kind in ("gaussian", "sparse", "layers")
    )
    assert sparse.bits.value < 0.2 * gaussian.bits.value
    assert layers.bits.value < 0.4 * gaussian.bits.value


def test_kashin_does_not_grow_with_the_dimension():
    omegas = [measure(comm.Kashin(), "", "gaussian", d, 1, 3).error.value for d in (128, 1024, 16384)]
    assert max(omegas) < 0.8
    rivals = [measure(comm.TernGrad(), "", "gaussian", d, 1, 3).error.value for d in (128, 16384)]
    assert rivals[1] > 1.2 * rivals[0] > 1.2


@pytest.mark.parametrize("kind", ["gaussian", "one-hot", "constant", "layers"])
def test_a_kashin_representation_is_even_and_exact(kind):
    compressor, d = comm.Kashin(), 50_000
    x = inputs.vector(kind, d, 0).astype(np.float64)
    a = compressor.spread(inputs.vector(kind, d, 0), 1)
    assert float(np.abs(a).max()) < 3 * np.linalg.norm(x) / np.sqrt(a.size)  # 4.5 for Gaussian coefficients
    fine = comm.Kashin(s=1 << 16)
    y = fine.decompress(fine.compress(inputs.vector(kind, d, 0), 1), d, np.float32, 1)
    assert np.linalg.norm(y - x) < 1e-4 * np.linalg.norm(x)


def test_subtractive_dithering_errs_the_same_on_every_vector():
    for kind in ("gaussian", "one-hot", "constant"):
        found = measure(comm.SubtractiveDithering(0.2), "", kind, 1000, 2, 10)
        assert abs(found.error.value / 0.2 - 1) < 0.05


def test_the_test_of_bias_is_calibrated():
    rng = np.random.default_rng(0)
    for scale in (np.ones(200), np.eye(1, 200)[0]):
        scores = [squared_bias(scale * rng.standard_normal((16, 200))) for _ in range(300)]
        z = np.array([s.value / s.error for s in scores])
        assert abs(float(z.mean())) < 0.25
        assert not any(s.is_real(10.0) for s in scores)
    shifted = squared_bias(0.2 + rng.standard_normal((16, 200)))
    assert abs(shifted.value - 8) < 5
    assert shifted.is_real(200.0)


def test_a_rare_event_that_was_not_seen_is_no_bias():
    same = np.tile(np.eye(1, 50)[0], (20, 1))
    assert not squared_bias(same).is_real(9.0)  # once in ten times the coordinate may come ten times as large
    assert squared_bias(same).is_real(0.5)


def test_compressors_are_named_as_in_python():
    assert suite.parse("TopK(0.2, values='bit')") == comm.TopK(0.2, values="bit")
    assert suite.parse("SignMean") == comm.SignMean()
    for text in (
        "Nothing()",
        "TopK(fraction=__import__('os'))",
        "TopK(",
        "TopK(depth=3)",
        "Claim('none', 0.0, '')",
        "1 + 1",
        "TopK().k",
    ):
        with pytest.raises(InputError):
            suite.parse(text)


USERS = """
from dataclasses import dataclass
from netweight.comm import SignMean
from netweight.comm.compressor import Claim

@dataclass(frozen=True)
class Half(SignMean):
    name = "half"

    def bound(self, d):
        return Claim("contractive", 0.3, "wishful", sure=True)

honest = SignMean()
number = 3
"""


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "netweight", "comm", "certify", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def test_a_users_compressor_on_the_command_line(tmp_path):
    (tmp_path / "mine.py").write_text(USERS)
    found = run("mine:Half", "mine:honest", "--d", "100", "--seeds", "4", "--json", folder=tmp_path)
    assert found.returncode == 1
    told = json.loads(found.stdout)
    assert told["holds"] is False
    assert {m["compressor"]: m["holds"] for m in told["measurements"] if m["input"] == "gaussian"} == {
        "mine:Half": False, "mine:honest": True,
    }  # fmt: skip


RAISES = """
from netweight.comm import SignMean

class Raises(SignMean):
    def encode(self, x, seed):
        raise ZeroDivisionError("no such thing")
"""


def test_what_a_users_compressor_raises_is_told_once_with_its_line(tmp_path):
    (tmp_path / "mine.py").write_text(RAISES)
    found = run("mine:Raises", "--d", "10", "--d", "20", "--seeds", "2", folder=tmp_path)
    assert found.returncode == 1
    assert found.stdout.count("ZeroDivisionError: no such thing") == 2  # once a length
    assert "mine.py, line 6" in found.stdout
    assert "e+3" not in found.stdout
    assert "1 compressor of 1 broke" in found.stdout


@pytest.mark.parametrize(
    ("target", "word"),
    [("mine:Nothing", "has no"), ("mine:number", "int"), ("nowhere:X", "no module"), ("broken:X", "ValueError")],
)
def test_what_cannot_be_loaded_is_said(tmp_path, monkeypatch, target, word):
    (tmp_path / "mine.py").write_text(USERS)
    (tmp_path / "broken.py").write_text("raise ValueError('out of order')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with pytest.raises(InputError, match=word):
        cli.main(["comm", "certify", target], standalone_mode=False)


def test_the_verb_writes_table_plot_and_page(tmp_path, capsys):
    page, plot = tmp_path / "page.html", tmp_path / "plot.png"
    arguments = [
        "comm",
        "certify",
        "SignMean",
        "TopK(values='bit')",
        "QSGD(s=1)",
        "--d",
        "64",
        "--seeds",
        "3",
        "--vectors",
        "1",
    ]
    assert cli.main([*arguments, "--html", str(page), "--png", str(plot)], standalone_mode=False) == 0
    told = capsys.readouterr().out
    assert "QSGD(s=1)" in told
    assert "holds (8)" in told
    assert "Every claim holds" in told
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in page.read_text()
    assert "QSGD" in page.read_text()
