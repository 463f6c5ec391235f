"""The yardsticks of benchmarks/lossy_rates.py: bounds against theory, simple coders against their own bytes."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = str(Path(__file__).parent.parent / "benchmarks")
RATE_OF = {"Gaussian": 0.5 * np.log2(2 * np.pi * np.e), "Laplace": np.log2(2 * np.e), "uniform": 0.0}


@pytest.fixture(autouse=True)
def benchmark_modules(monkeypatch):
    """The scripts import one another by plain names."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("lossy_") or name in ("run", "peers", "tables"):
            del sys.modules[name]


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def noise(a, b):
    return sum(float(np.square(a[k].astype(np.float64) - b[k]).sum()) for k in a)


@pytest.mark.parametrize("law", RATE_OF)
def test_entropy_estimate_is_that_of_the_density(law):
    from lossy_bounds import differential_entropy

    rng = np.random.default_rng(1)
    draw = {"Gaussian": rng.standard_normal, "Laplace": lambda n: rng.laplace(size=n), "uniform": rng.random}[law]
    values = draw(200_000).astype(np.float32)
    assert (
        -0.03 < differential_entropy(values) - RATE_OF[law] < 0.01
    )  # tails are cut off, so that it errs as a bound may
    assert differential_entropy(4 * values) == pytest.approx(differential_entropy(values) + 2, abs=1e-6)


def test_entropy_of_few_distinct_values_bounds_nothing():
    from lossy_bounds import differential_entropy, shannon_bound

    h = differential_entropy(np.repeat(gaussian(10), 1000))
    assert shannon_bound(np.array([h]), np.array([10_000]), 1e-6) == 0.0


def test_shannon_bound_fills_two_gaussians_as_theory_says():
    """Variances 1 and 1/16: at a level between them the small one is left out (Cover & Thomas, 10.3.3)."""
    from lossy_bounds import shannon_bound

    h = RATE_OF["Gaussian"] + np.array([0.0, -2.0])
    counts = np.array([1000, 3000])
    both = shannon_bound(h, counts, 4000 / 64)
    assert both == pytest.approx((0.5 * np.log2(64) * 1000 + 0.5 * np.log2(4) * 3000) / 4000, abs=1e-6)
    one = shannon_bound(h, counts, 1000 / 4 + 3000 / 16)
    assert one == pytest.approx(0.5 * np.log2(4) * 1000 / 4000, abs=1e-6)
    assert shannon_bound(h, counts, 1000 + 3000 / 16) == 0.0


def test_uniform_bound_is_a_quarter_bit_above_shannon_at_high_rate():
    """Gish & Pierce 1968: 1/2 log2(2 pi e / 12) = 0.254 bit."""
    from lossy_bounds import uniform_bound

    w = gaussian(300, 1000)
    rate = uniform_bound({"w": w}, w.size / 4**4)
    assert rate - 4 == pytest.approx(0.2546, abs=0.01)


def odd_matrices():
    return {"a": gaussian(7, 33), "b.weight": 3 * gaussian(5, 3, 3, 3, seed=1), "zero": np.zeros((4, 9), np.float32)}


def test_packed_parts_come_back():
    from lossy_parts import Part, pack, unpack

    parts = [Part("a", (2, 3), b"xyz"), Part("layer.ü", (), b""), Part("c", (0, 4), bytes(300))]
    assert unpack(pack(parts)) == parts


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("skewed", [True, False])
def test_indices_come_back(bits, skewed):
    from lossy_simple import unzstd_indices, zstd_indices

    rng = np.random.default_rng(bits)
    top = (1 << bits) - 1
    indices = np.where(rng.random(1001) < (0.95 if skewed else 0), 0, rng.integers(0, top + 1, 1001)).astype(np.uint8)
    blob = zstd_indices(indices, bits)
    assert np.array_equal(unzstd_indices(blob, bits, indices.size), indices)
    assert len(blob) < bits * 1001 / 8 + 40


@pytest.mark.parametrize(("bits", "group"), [(2, 128), (4, 32), (5, 128), (8, 32)])
def test_round_to_nearest_is_within_half_a_step(bits, group):
    from lossy_simple import RoundToNearest

    peer, weights = RoundToNearest(), odd_matrices()
    (setting,) = [s for s in peer.settings(weights) if s.value == (bits, group)]
    back = peer.decode(peer.encode(weights, setting))
    for name, w in weights.items():
        largest = max(np.abs(w).max(), 1e-9)
        assert back[name].shape == w.shape
        assert np.abs(back[name] - w).max() <= largest / ((1 << (bits - 1)) - 1) * 0.51


def test_codebook_is_where_lloyd_stops():
    """Each level is the mean of its cell, and the error falls as levels are added."""
    from lossy_simple import Codebook, lloyd

    w = gaussian(200, 100)
    book = lloyd(w, 8, rounds=500)
    nearest = np.abs(w.reshape(-1, 1) - book).argmin(axis=1)
    means = [w.reshape(-1)[nearest == k].mean(dtype=np.float64) for k in range(8)]
    assert np.abs(book - means).max() < 1e-3
    assert noise({"w": w}, {"w": book[nearest].reshape(w.shape)}) / w.size == pytest.approx(
        0.03454, rel=0.03
    )  # Max 1960
    peer, weights = Codebook(), odd_matrices()
    blobs = [peer.encode(weights, s) for s in peer.settings(weights)]
    errors = [noise(weights, peer.decode(b)) for b in blobs]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * errors[0]


def test_rates_are_read_off_between_points():
    from lossy_tables import rate_at

    points = [{"rel_mse": 10**-r, "bits_per_weight": 2.0 * r, "problem": ""} for r in (0.5, 1.5, 2.5)] + [
        {"rel_mse": 0.01, "bits_per_weight": 99.0, "problem": "it failed"}
    ]
    assert rate_at(points, 10**-1.5) == pytest.approx(3.0)
    assert rate_at(points, 10**-2.0) == pytest.approx(4.0)
    assert rate_at(points, 10**-0.6) == pytest.approx(1.2)
    assert rate_at(points, 10**-0.4) is None
    assert rate_at(points, 10**-2.6) is None


def test_a_second_run_replaces_its_own_rows_alone():
    from lossy_rates import merged

    def rows(*cells):
        return [{"network": n, "code": c, "value": v} for n, c, v in cells]

    old = rows(("m", "a", 1), ("m", "a", 2), ("m", "b", 3), ("n", "a", 4))
    new = merged(old, rows(("m", "a", 5)))
    assert new == rows(("m", "a", 5), ("m", "b", 3), ("n", "a", 4))
    assert merged([], old) == old


def test_a_coder_that_lies_is_found_out():
    """Altered input, other shapes and repetitions that differ are problems, not figures."""
    from lossy_parts import Setting
    from lossy_rates import Subject, blank, once

    class Liar:
        name, package = "liar", ""

        def __init__(self, fault):
            self.fault, self.calls = fault, 0

        def settings(self, _matrices):
            return [Setting("only", 0)]

        def encode(self, matrices, _setting):
            self.calls += 1
            if self.fault == "alters":
                matrices["w"][0, 0] += 1
            return bytes(4 * 6 + (self.calls if self.fault == "varies" else 0))

        def decode(self, blob):
            shape = (3, 2) if self.fault == "turns" else (2, 3)
            return {"w": np.frombuffer(blob, np.float32, 6).reshape(shape)}

    faults = {"alters": "altered", "turns": "shapes", "varies": "something else", "": ""}
    for fault, said in faults.items():
        w = gaussian(2, 3)
        subject = Subject("s", {"w": w}, 6, float(np.square(w, dtype=np.float64).sum()))
        peer = Liar(fault)
        point = blank(peer, peer.settings({})[0], subject)
        once(peer, Setting("only", 0), subject, point)
        if not point.problem:
            once(peer, Setting("only", 0), subject, point)
        assert said in point.problem
        assert bool(point.problem) == bool(fault)
    assert point.rel_mse == pytest.approx(1.0)
    assert point.bits_per_weight == 32.0
