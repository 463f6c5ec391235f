"""Weights at the price of what is known of them: KL by bits-back, from shared random numbers, and against a fixed step."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netweight.entropy.stack import Stack
from netweight.errors import FormatError, InputError, TruncatedError
from netweight.weights.bits_back import fixed_order, fixed_step, relative
from netweight.weights.bits_back.gaussians import Posterior, pop_sample, push_sample, weights_of
from netweight.weights.bits_back.mlp import Recipe, fit, probabilities


def posterior(n, widths, seed=0):
    """Means such that a sample is N(0, 1): the prior is right on average."""
    r = np.random.default_rng(seed)
    s = np.full(n, widths) if isinstance(widths, float) else np.exp(r.uniform(*np.log(widths), n))
    return Posterior(r.normal(size=n) * np.sqrt(1 - s * s), s, 1.0)


CASES = {"equal": (0.1, 3.32, 3.573), "unequal": ((0.01, 0.95), 3.358, 5.230)}


@pytest.mark.parametrize("case", CASES)
def test_bits_back_costs_the_divergence_and_a_fixed_step_more(case):
    widths, expected, fixed = CASES[case]
    n = 100_000
    known = posterior(n, widths)
    before = Stack.of_random(200, 1)
    stack = before.copy()
    drawn = push_sample(stack, known)
    divergence = float(known.divergences().sum())
    assert stack.bits - before.bits == pytest.approx(drawn.net_bits, abs=1e-3)
    assert drawn.net_bits == pytest.approx(divergence, rel=0.005)
    assert divergence / n == pytest.approx(expected, rel=0.01)
    assert 0 < drawn.initial_bits < 1500
    z = (weights_of(drawn.cells, 1.0) - known.means) / known.widths
    assert z.std() == pytest.approx(1, abs=0.02)
    assert abs(z.mean()) < 0.02
    assert np.abs(z).max() < 6.5
    np.testing.assert_array_equal(pop_sample(stack, known), drawn.cells)
    assert stack == before
    step = fixed_step.matched_step(known)
    stepped = fixed_step.quantised(known.means, step, 1.0)
    assert ((stepped.weights() - known.means) ** 2 / known.widths**2).mean() == pytest.approx(1, rel=0.03)
    assert 8 * len(fixed_step.encode(stepped)) / n == pytest.approx(fixed, rel=0.01)


def test_a_message_too_short_to_lend():
    with pytest.raises(TruncatedError):
        push_sample(Stack(), posterior(10, 0.5))


@pytest.mark.parametrize(
    ("means", "widths", "sigma"),
    [
        ([np.nan], [1.0], 1.0),
        ([0.0], [0.0], 1.0),
        ([0.0], [1.0], -1.0),
        ([100.0], [1.0], 1.0),
        ([0.0, 1.0], [1.0], 1.0),
    ],
)
def test_what_is_no_posterior(means, widths, sigma):
    with pytest.raises(InputError):
        Posterior(np.array(means), np.array(widths), sigma)


@pytest.mark.parametrize("seed", [None, 5])
def test_a_step_decodes_to_the_same_weights(seed):
    weights = np.random.default_rng(1).normal(0, 0.3, 5000)
    stepped = fixed_step.quantised(weights, 0.05, 0.3, seed)
    data = fixed_step.encode(stepped)
    found = fixed_step.decode(data, 0.3, seed)
    np.testing.assert_array_equal(found.weights(), stepped.weights())
    step = fixed_step.step_of(found.step, 0.3)
    assert np.abs(found.weights() - weights).max() <= step / 2 * (1 + 1e-9)


def test_a_dithers_error_is_uniform_whatever_the_weight_and_costs_its_divergence():
    weights = np.full(20_000, 0.123)  # without dither all errors would be the same
    stepped = fixed_step.quantised(weights, 0.5, 1.0, seed=3)
    step = fixed_step.step_of(stepped.step, 1.0)
    errors = (fixed_step.decode(fixed_step.encode(stepped), 1.0, 3).weights() - weights) / step
    assert errors.std() == pytest.approx(math.sqrt(1 / 12), rel=0.02)
    assert abs(np.corrcoef(errors[1:], errors[:-1])[0, 1]) < 0.03
    bound = fixed_step.dither_divergence(weights, stepped)
    assert 8 * len(fixed_step.encode(stepped)) == pytest.approx(bound, rel=0.01)
    with pytest.raises(FormatError):
        fixed_step.decode(fixed_step.encode(stepped), 1.0, 4)  # another seed


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40))
def test_no_steps_come_from_other_bytes(data):
    try:
        found = fixed_step.decode(data, 1.0)
    except FormatError:
        return
    assert fixed_step.decode(fixed_step.encode(found), 1.0).step == found.step


def test_a_step_that_is_refused():
    data = fixed_step.encode(fixed_step.quantised(np.ones(100), 0.1, 1.0))
    for cut in range(len(data)):
        with pytest.raises(FormatError):
            fixed_step.decode(data[:cut], 1.0)


def test_a_sample_named_by_its_number():
    known = posterior(600, (0.01, 0.95), seed=2)
    lengths, numbers = relative.choose(known, seed=9)
    data = relative.encode(lengths, numbers)
    weights = relative.decode(data, 9, 1.0)
    z = (weights - known.means) / known.widths
    assert z.std() == pytest.approx(1, abs=0.12)
    assert abs(z.mean()) < 0.15
    divergence = float(known.divergences().sum())
    assert divergence < 8 * len(data) < 1.8 * divergence
    assert relative.ALONE in lengths or max(known.divergences()) <= relative.LIMIT
    assert (
        np.abs((relative.decode(data, 10, 1.0) - known.means) / known.widths).max() > 10
    )  # another seed: other weights
    with pytest.raises(FormatError):
        relative.decode(data[:-3], 9, 1.0)


def test_candidates_are_samples_of_the_prior():
    found = relative.candidates(9, 2) / 2**14
    np.testing.assert_allclose(found.std(axis=0), 1, atol=0.01)
    assert np.abs(found).max() < 6.5
    np.testing.assert_array_equal(relative.candidates(9, 1)[:, 0], relative.candidates(9, 2)[:, 0])


def test_a_weight_known_too_well_goes_alone():
    known = Posterior(np.array([0.1, 3.9, 0.2]), np.array([0.5, 1e-3, 0.5]), 1.0)
    lengths, numbers = relative.choose(known, seed=9)
    assert lengths[1] == relative.ALONE
    weights = relative.decode(relative.encode(lengths, numbers), 9, 1.0)
    assert weights[1] == pytest.approx(3.9, abs=0.006)


def test_weights_that_nothing_is_known_of_cost_little():
    known = Posterior(np.zeros(100), np.ones(100), 1.0)
    lengths, numbers = relative.choose(known, seed=9)
    assert sum(lengths) == 100
    assert max(lengths) == relative.LONGEST
    assert 8 * len(relative.encode(lengths, numbers)) < 5 * 100


# --- fixed-order arithmetic ----------------------------------------------------------------------------------------------


def test_exp():
    x = np.linspace(-700, 700, 2001)
    np.testing.assert_allclose([fixed_order.exp(v) for v in x], np.exp(x), rtol=1e-15 * 8)
    assert fixed_order.exp(0.0) == 1
    assert fixed_order.exp(-1e9) == fixed_order.exp(-700.0) > 0


def test_exp_and_noise_are_pinned():
    """The same on every machine: these are bits, not approximations."""
    state = np.array([7], np.uint64)
    assert [fixed_order.exp(v).hex() for v in (1.0, -2.5, 33.3)] == PINNED_EXP
    assert [fixed_order.normal(state) for _ in range(3)] == PINNED_NOISE


PINNED_EXP = ["0x1.5bf0a8b14576ap+1", "0x1.50385c094f425p-4", "0x1.078401f5a3ec8p+48"]
PINNED_NOISE = [-0.67181396484375, -0.2457122802734375, 0.29296875]


def test_noise():
    state = np.array([1], np.uint64)
    draws = np.array([fixed_order.normal(state) for _ in range(20_000)])
    assert abs(draws.mean()) < 0.03
    assert draws.std() == pytest.approx(1, abs=0.02)
    places = np.array([fixed_order.below(state, 10) for _ in range(5000)])
    assert np.bincount(places, minlength=10).min() > 400


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=2, max_size=12))
def test_frequencies_of_probabilities(logits):
    out = np.empty((1, len(logits)))
    fixed_order.softmax(np.array(logits), out[0])
    found = fixed_order.frequencies(out, 20)
    assert found.sum() == 1 << 20
    assert found.min() >= 1
    np.testing.assert_allclose(found[0] / 2**20, out[0], atol=2e-5)


def blobs(n=120, seed=3):
    r = np.random.default_rng(seed)
    labels = r.integers(0, 3, n)
    return r.normal(size=(n, 4)) * 0.3 + np.eye(3, 4)[labels], labels


def test_a_fit_learns_and_is_the_same_again():
    inputs, labels = blobs()
    recipe = Recipe(hidden=5, steps=1500)
    first, again = (fit(inputs, labels, 3, recipe) for _ in range(2))
    np.testing.assert_array_equal(first.means, again.means)
    np.testing.assert_array_equal(first.widths, again.widths)
    likely = probabilities(inputs, first.means, 3, recipe)
    np.testing.assert_allclose(likely.sum(axis=1), 1)
    assert (likely.argmax(axis=1) == labels).mean() > 0.9
    assert first.divergences().sum() < 200
    assert first.widths.max() > 3 * first.widths.min()  # what the data don't care for stays vague
    other = fit(inputs, labels, 3, Recipe(hidden=5, steps=1500, seed=2))
    assert not np.array_equal(first.means, other.means)


def test_a_fit_is_pinned():
    """Sender and receiver need not have the same processor: the same bits come out with and without AVX."""
    known = fit(np.arange(24.0).reshape(8, 3) / 24, np.arange(8) % 2, 2, Recipe(hidden=3, steps=50))
    assert hashlib.sha256(known.means.tobytes() + known.widths.tobytes()).hexdigest()[:16] == "c3383d90740406bc"
