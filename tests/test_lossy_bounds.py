"""The Shannon lower bound against what it is for densities whose entropy is known."""

from __future__ import annotations

import numpy as np
import pytest

from netweight.weights.lossy.bounds import differential_entropy, shannon_lower_bound

N = 1 << 17
E = float(np.e)


def samples(name: str, size: int = N) -> tuple[np.ndarray, float, float]:
    """(float32 samples, their differential entropy in bits, their mean square), all with a scale of 0.05."""
    rng, scale = np.random.default_rng(5), 0.05
    if name == "gaussian":
        return rng.normal(0, scale, size), 0.5 * np.log2(2 * np.pi * E * scale**2), scale**2
    if name == "laplace":
        return rng.laplace(0, scale, size), np.log2(2 * E * scale), 2 * scale**2
    return rng.uniform(-scale, scale, size), np.log2(2 * scale), scale**2 / 3


@pytest.mark.parametrize("name", ["gaussian", "laplace", "uniform"])
@pytest.mark.parametrize("rel_mse", [0.1, 0.01, 1e-4])
def test_is_the_analytic_bound(name: str, rel_mse: float) -> None:
    values, entropy, energy = samples(name)
    exact = max(entropy - 0.5 * np.log2(2 * np.pi * E * rel_mse * energy), 0.0)
    assert shannon_lower_bound(values.astype(np.float32), rel_mse) == pytest.approx(exact, abs=0.02)


def test_a_gaussian_has_the_highest_bound_at_its_variance() -> None:
    names = ("gaussian", "laplace", "uniform")
    bounds = {name: shannon_lower_bound(samples(name)[0].astype(np.float32), 0.01) for name in names}
    assert max(bounds, key=bounds.__getitem__) == "gaussian"
    assert bounds["gaussian"] == pytest.approx(0.5 * np.log2(100), abs=0.02)


def test_halving_the_error_amplitude_costs_one_bit() -> None:
    values = samples("laplace")[0].astype(np.float32)
    assert shannon_lower_bound(values, 1e-4 / 4) == pytest.approx(shannon_lower_bound(values, 1e-4) + 1, abs=1e-9)


def test_scale_does_not_matter() -> None:
    values = samples("gaussian", 4096)[0]
    small, large = (shannon_lower_bound((values * s).astype(np.float32), 0.01) for s in (2.0**-30, 2.0**30))
    assert small == pytest.approx(large, abs=1e-6)


def test_small_samples_are_near_too() -> None:
    values, entropy, _ = samples("gaussian", 2048)
    assert differential_entropy(values.astype(np.float32)) == pytest.approx(entropy, abs=0.1)


def test_outliers_far_away_change_little() -> None:
    values = samples("gaussian")[0].astype(np.float32)
    before = differential_entropy(values)
    values[:3] = 1e6
    assert differential_entropy(values) == pytest.approx(before, abs=0.01)


@pytest.mark.parametrize("values", [np.zeros(100), np.ones(1), np.full(1000, 3.0), np.repeat([0.0, 1.0], [900, 100])])
def test_atoms_need_no_bits_by_this_bound(values: np.ndarray) -> None:
    assert shannon_lower_bound(values.astype(np.float32), 0.01) == 0.0


def test_no_error_beyond_the_energy() -> None:
    assert shannon_lower_bound(samples("uniform")[0].astype(np.float32), 1.0) == 0.0
