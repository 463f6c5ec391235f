"""Posterior widths from squared gradients: right on a model whose posterior is known, and messages that come back."""

from __future__ import annotations

import numpy as np
import pytest

from netweight.errors import InputError
from netweight.weights.bits_back.fisher import SquaredGradients, laplace, of_torch
from netweight.weights.labels.story import spread, ways


def random(seed):
    return np.random.Generator(np.random.PCG64(seed))


def test_a_gaussian_s_mean_is_known_as_well_as_it_should_be():
    """x_i ~ N(w, 1): the gradient in w is w - x_i, of mean square 1, and the posterior's width 1 / sqrt(N + 1 / sigma^2)."""
    w = {"w": np.array([1.0, -2.0, 0.5])}
    x = random(0).normal(w["w"], size=(4000, 3))
    seen = SquaredGradients.like(w)
    for row in x:
        seen.add({"w": w["w"] - row})
    made = laplace(w, seen.mean(), len(x))
    scale = made.scales["w"]
    np.testing.assert_allclose(made.posterior.widths * scale, 1 / np.sqrt(len(x) + scale**-2), rtol=0.05)
    np.testing.assert_allclose(made.tensors(made.posterior.means)["w"], w["w"], rtol=1e-6)


def test_weights_that_nothing_moves_cost_what_their_mean_says():
    w = {"w": np.array([[2.0, 0.0], [0.0, 0.0]])}
    made = laplace(w, {"w": np.zeros((2, 2))}, 100)
    assert made.posterior.divergences().ravel() == pytest.approx([2.0 / np.log(2), 0, 0, 0])


def test_messages_cost_the_divergence_and_come_back():
    r = random(1)
    w = {"a": r.normal(0, 3, (40, 50)), "b": r.normal(0, 0.1, (30, 50))}
    fisher = {n: np.exp(r.uniform(-14, 2, a.shape)) / a.var() for n, a in w.items()}
    made = laplace(w, fisher, 5000)
    bound = float(made.posterior.divergences().sum())
    (bits_back, drawn), (dithered, _), (plain, _) = ways(made.posterior)
    assert bits_back.weight_bits == pytest.approx(bound, rel=0.02)
    assert min(dithered.weight_bits, plain.weight_bits) > 1.3 * bound  # widths differ: one step for all is dear
    assert spread(made.posterior, drawn) == pytest.approx(1, abs=0.05)
    assert made.tensors(drawn)["b"].shape == (30, 50)


def test_a_torch_network_s_gradients_are_those_of_single_examples():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = torch.nn.Linear(4, 1, bias=False)
    examples = [(torch.randn(4), torch.randn(1)) for _ in range(6)]
    found = of_torch(network, lambda n, e: 0.5 * (n(e[0]) - e[1]).square().sum(), examples, ["weight"])
    by_hand = sum(((network(x) - y) * x).detach().numpy() ** 2 for x, y in examples) / 6
    np.testing.assert_allclose(found.mean()["weight"][0], by_hand, rtol=1e-5)
    with pytest.raises(InputError, match="no parameter"):
        of_torch(network, lambda n, e: n(e), [], ["bias"])


def test_bad_input_is_refused():
    seen = SquaredGradients.like({"w": np.zeros(3)})
    with pytest.raises(InputError, match="one example"):
        seen.mean()
    for wrong in ({}, {"w": np.zeros(2)}, {"w": np.array([0.0, np.nan, 0.0])}):
        with pytest.raises(InputError, match="'w'"):
            seen.add(wrong)
    with pytest.raises(InputError, match="no Fisher"):
        laplace({"w": np.ones(3)}, {}, 10)
    with pytest.raises(InputError, match="NaN"):
        laplace({"w": np.array([np.nan])}, {"w": np.ones(1)}, 10)
    with pytest.raises(InputError, match="no example"):
        laplace({"w": np.ones(1)}, {"w": np.ones(1)}, 0)
