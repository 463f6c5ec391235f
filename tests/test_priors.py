"""Priors of multiples: exact tables, true code lengths, most likely parameters, hostile streams."""

from __future__ import annotations

from math import erfc, exp, log2, sqrt

import numpy as np
import pytest

from coder_samples import digest, mutants, random_words
from netweight.entropy import priors
from netweight.entropy.prior_fit import FAMILIES, fit
from netweight.entropy.priors import BOUNDS, GAUSSIAN, LAPLACE, LIMIT, RAW_BITS, Prior, masses, table
from netweight.errors import FormatError
from netweight.wire import Reader, Writer

SOME = [Prior(shape, scale, spike) for shape in (3, 8, 16, 32) for scale in (-40, 0, 37, 120, 352) for spike in (0, 40)]
ONE = 1 << 40


def tail(shape: int, scale: int, y: np.ndarray) -> np.ndarray:
    """P(|X| >= y): closed forms, and for beta = 4 a sum over a fine grid."""
    z = y / 2 ** (scale / 16)
    if shape == 16:
        return np.array([erfc(v) for v in z])
    if shape == 8:
        return np.exp(-z)
    if shape == 4:
        return (1 + np.sqrt(z)) * np.exp(-np.sqrt(z))
    grid = np.linspace(0, 5, 500_001)
    area = np.concatenate([np.zeros(1), np.cumsum((np.exp(-(grid[1:] ** 4)) + np.exp(-(grid[:-1] ** 4))) / 2)])
    return 1 - np.interp(z, grid, area / area[-1])


def analytic(shape: int, scale: int) -> np.ndarray:
    """P(symbol), of 256."""
    tails = np.concatenate([np.ones(1), tail(shape, scale, BOUNDS[1:-1] - 0.5), np.zeros(1)])
    return tails[:-1] - tails[1:]


def draw(prior: Prior, count: int, key: int = 0) -> np.ndarray:
    """int32 [count] from a prior: a power of a gamma variable has its density."""
    rng = np.random.default_rng(key)
    size = rng.gamma(8 / prior.shape, size=count) ** (8 / prior.shape) * 2 ** (prior.scale / 16)
    k = np.rint(size * rng.choice([-1, 1], count))
    k[rng.random(count) > 2 ** (-prior.spike / 16)] = 0
    return k.astype(np.int32)


def coded(k: np.ndarray, *given: Prior, contexts: np.ndarray | None = None) -> bytes:
    """Bytes that were decoded again and compared."""
    contexts = np.zeros(k.size, np.uint8) if contexts is None else contexts
    out = Writer()
    priors.write(out, k, contexts, given)
    source = Reader(out.bytes())
    assert np.array_equal(priors.read(source, contexts, given), k)
    source.end()
    return out.bytes()


# --- tables ---


def test_symbols_cover_every_magnitude_once():
    assert BOUNDS[0] == 0
    assert BOUNDS[-1] == LIMIT
    assert (np.diff(BOUNDS)[1:] == 1 << (RAW_BITS[1:].astype(np.int64) - 1)).all()
    around = np.unique(np.concatenate([BOUNDS[:-1], BOUNDS[1:] - 1])).astype(np.int32)
    symbols = priors.symbols_of(np.concatenate([around, -around]))
    expected = np.searchsorted(BOUNDS, np.tile(around, 2), side="right") - 1
    assert np.array_equal(symbols, expected)


@pytest.mark.parametrize("prior", SOME, ids=str)
def test_masses_are_whole_and_fall_with_magnitude(prior):
    mass = masses(prior)
    assert int(mass.sum()) == ONE
    assert mass.min() >= 1
    density = mass / np.diff(BOUNDS)
    floored = mass[1:-1] == 1  # where the floor begins, nothing falls any more
    assert (np.diff(density[1:-1])[~floored[1:]] <= 1).all()
    assert 2 * mass[0] >= mass[1] - 512, "what the floors take comes from zero"


@pytest.mark.parametrize("prior", SOME, ids=str)
def test_tables_sum_exactly_and_chain_to_the_last_symbol(prior):
    begin = 0
    for depth in range(priors.DEPTHS):
        made = table(prior, depth)
        frequencies = made.frequencies.astype(np.int64)
        assert frequencies.sum() == 1 << priors.SCALE
        covered = np.zeros(256, bool)
        covered[begin : made.end + 1] = True
        assert ((frequencies > 0) == covered).all()
        begin = made.end
        if begin == 256:
            return
    pytest.fail("symbols are left over")


@pytest.mark.parametrize("shape", [4, LAPLACE, GAUSSIAN, 32])
@pytest.mark.parametrize("scale", [-30, -5, 0, 23, 64, 137])
def test_probabilities_are_the_analytic_ones(shape, scale):
    exact = analytic(shape, scale)
    sure = exact > 1e-6
    assert np.abs(masses(Prior(shape, scale))[sure] / ONE / exact[sure] - 1).max() < 1e-4


@pytest.mark.parametrize("shape", priors.SHAPES)
def test_every_shape_has_its_moment(shape):
    """E |X|^beta = alpha^beta / beta, whatever beta; steps of a 64th of alpha are fine enough to see it."""
    mass, beta = masses(Prior(shape, 96)) - 1.0, shape / 8
    middles = (BOUNDS[:-1] + BOUNDS[1:] - 1) / 2
    middles[0] = 0.25
    assert (mass * (middles / 64) ** beta).sum() / ONE == pytest.approx(1 / beta, rel=0.015)


def test_a_spike_is_mass_taken_from_the_slab():
    bare, spiked = masses(Prior(LAPLACE, 20)), masses(Prior(LAPLACE, 20, 48))
    assert spiked[1:40] == pytest.approx(bare[1:40] / 8, abs=1)
    assert spiked[0] / ONE == pytest.approx(1 - (1 - bare[0] / ONE) / 8)


def test_a_prior_moved_by_an_octave_is_twice_as_wide():
    wide, narrow = masses(Prior(GAUSSIAN, 40).moved(16)), analytic(GAUSSIAN, 40)
    assert wide[0] / ONE == pytest.approx(1 - erfc(0.25 * 2 ** (-40 / 16)), rel=1e-8)
    assert wide[0] / ONE == pytest.approx(narrow[0] / 2, rel=0.01)
    assert Prior(GAUSSIAN, 350).moved(100).scale == priors.SCALES[-1]


def test_pinned_tables():
    every = [masses(p) for p in SOME]
    assert digest(np.concatenate(every).astype("<i8").view(np.uint8)) == "48a72abde5b27e12"
    tables = [table(p, depth).frequencies for p in SOME for depth in range(priors.DEPTHS)]
    assert digest(np.concatenate(tables).astype("<u2").view(np.uint8)) == "b3902473d86bb3f3"
    exact = [ONE * (exp(0.5 - k) - exp(-0.5 - k)) for k in range(1, 5)]
    assert masses(Prior(LAPLACE, 0))[1:5].tolist() == pytest.approx(exact, abs=1)


# --- code lengths ---


@pytest.mark.parametrize(
    "prior",
    [Prior(GAUSSIAN, 8), Prior(GAUSSIAN, 70), Prior(GAUSSIAN, 180), Prior(LAPLACE, -10), Prior(LAPLACE, 24), Prior(4, 30),
     Prior(32, 50)],
    ids=str,
)  # fmt: skip
def test_bits_are_minus_log_probability(prior):
    """Against closed forms of P(k) itself, not of the symbol."""
    k = draw(prior, 40_000)
    magnitudes, counts = np.unique(np.abs(k), return_counts=True)
    inner = np.where(magnitudes, tail(prior.shape, prior.scale, np.abs(magnitudes - 0.5)), 1)
    share = (inner - tail(prior.shape, prior.scale, magnitudes + 0.5)) / np.where(magnitudes, 2, 1)
    ideal = -float(counts @ np.log2(share))
    assert 8 * len(coded(k, prior)) == pytest.approx(ideal, rel=0.01)


def test_bits_stay_true_for_data_far_wider_than_the_prior():
    """The tail costs what it should: k^2 / (2 sigma^2 ln 2) over the middle, with sigma = 8 steps, up to 6 sigma."""
    sigma, prior = 8, Prior(GAUSSIAN, 56)
    assert 2 ** (prior.scale / 16) == pytest.approx(sigma * sqrt(2))
    constant = log2(sigma * sqrt(2 * np.pi))
    for size in (8, 16, 24, 32, 40, 48):
        k = np.full(3000, size, np.int32) * np.where(random_words(size, 3000) & 1, 1, -1).astype(np.int32)
        k[::2] = draw(prior, 1500, size)
        even = 8 * len(coded(k[::2].copy(), prior))
        expected = 1500 * (constant + size**2 / (2 * sigma**2 * np.log(2)))
        assert 8 * len(coded(k, prior)) - even == pytest.approx(expected, rel=0.02), size


def test_a_context_has_its_own_width():
    offsets = [-32, 0, 32, 64]
    contexts = np.repeat(np.arange(4, dtype=np.uint8), 5000)
    given = [Prior(LAPLACE, 16).moved(o) for o in offsets]
    k = np.concatenate([draw(p, 5000, i) for i, p in enumerate(given)])
    ideal = sum(priors.bits(p)[priors.symbols_of(k[contexts == i])].sum() for i, p in enumerate(given))
    length = 8 * len(coded(k, *given, contexts=contexts))
    assert length == pytest.approx(ideal, rel=0.01)
    assert length < 0.9 * 8 * len(coded(k, Prior(LAPLACE, 56)))


def test_zeros_cost_next_to_nothing():
    assert len(coded(np.zeros(200_000, np.int32), Prior(GAUSSIAN, -64))) < 160


# --- streams ---


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 4095, 4096, 66_000])
def test_any_number_of_multiples_comes_back(count):
    k = draw(Prior(4, 40), count, count)
    k[: count // 3] = 0
    coded(k, Prior(GAUSSIAN, 10))


def test_the_largest_multiples_come_back_under_every_width():
    edges = np.concatenate([BOUNDS[1:-1], BOUNDS[2:] - 1])
    k = np.concatenate([edges, -edges, np.zeros(50, np.int64)]).astype(np.int32)
    assert np.abs(k).max() == LIMIT - 1
    for prior in SOME:
        coded(k, prior)


def test_most_contexts():
    given = [Prior(LAPLACE, 4 * c - 100) for c in range(priors.CONTEXTS)]
    contexts = (random_words("contexts", 5000) % np.uint64(priors.CONTEXTS)).astype(np.uint8)
    coded(draw(Prior(LAPLACE, 30), 5000), *given, contexts=contexts)


def test_pinned_stream():
    k = ((random_words("pin", 300) % np.uint64(31)).astype(np.int32) - 15) ** 3
    assert coded(k, Prior(6, 60, 3)).hex()[:32] == "03d206ec9f3600ecbfdf0352adf77fba"
    assert digest(coded(k, Prior(6, 60, 3))) == "3f99c254d0ed698a"


def test_hostile_streams():
    contexts = (random_words("hostile", 200) % np.uint64(3)).astype(np.uint8)
    given = [Prior(GAUSSIAN, 0), Prior(LAPLACE, 30), Prior(5, 10, 9)]
    out, refused = Writer(), 0
    priors.write(out, draw(Prior(4, 50), 200), contexts, given)
    for mutant in mutants(out.bytes(), "priors", 500):
        source = Reader(mutant)
        try:
            k = priors.read(source, contexts, given)
            source.end()
        except FormatError:
            refused += 1
        else:
            assert k.shape == (200,)
            assert np.abs(k.astype(np.int64)).max() < LIMIT
    assert refused > 350


def test_a_prior_comes_back_and_others_are_refused():
    for prior in (*SOME, Prior(3, -128, 255), Prior(32, 352)):
        out = Writer()
        prior.write(out)
        assert Prior.read(Reader(out.bytes())) == prior
    for body in (b"\2\0\0", b"\x21\0\0", b"\x10\xc2\5\0", b"\x10\x83\2\0", b"\x10\0"):
        with pytest.raises(FormatError):
            Prior.read(Reader(body))


# --- fits ---


def fitted(k: np.ndarray, family: str) -> Prior:
    return fit(np.bincount(priors.symbols_of(k), minlength=256)[None, :], np.zeros(1, np.int64), FAMILIES[family])


@pytest.mark.parametrize(
    ("family", "planted"),
    [("gaussian", Prior(GAUSSIAN, 40)), ("gaussian", Prior(GAUSSIAN, 0)), ("laplace", Prior(LAPLACE, 25)),
     ("laplace", Prior(LAPLACE, 200)), ("generalised-gaussian", Prior(5, 30)), ("generalised-gaussian", Prior(24, 40)),
     ("spike-gaussian", Prior(GAUSSIAN, 30, 40)), ("spike-laplace", Prior(LAPLACE, 50, 100)),
     ("spike-generalised-gaussian", Prior(12, 60, 16))],
    ids=str,
)  # fmt: skip
def test_planted_parameters_are_found(family, planted):
    found = fitted(draw(planted, 60_000), family)
    assert abs(found.scale - planted.scale) <= (1 if "generalised" not in family else 5)
    assert abs(found.shape - planted.shape) <= planted.shape // 8
    assert abs(found.spike - planted.spike) <= 1


def test_the_fit_is_the_most_likely_of_its_neighbours():
    k = draw(Prior(10, 33), 5000)
    counts = np.bincount(priors.symbols_of(k), minlength=256)
    for family in ("gaussian", "laplace"):
        found = fitted(k, family)
        best = counts @ priors.bits(found)
        for step in (-3, -1, 1, 3):
            assert counts @ priors.bits(found.moved(step)) >= best


def test_levels_of_known_width_share_one_fit():
    offsets = np.array([-24, 0, 40])
    k = [draw(Prior(GAUSSIAN, 30).moved(int(o)), 20_000, int(o) + 99) for o in offsets]
    counts = np.stack([np.bincount(priors.symbols_of(part), minlength=256) for part in k])
    assert abs(fit(counts, offsets, FAMILIES["gaussian"]).scale - 30) <= 1


def test_nothing_but_zeros_has_a_fit():
    for family in FAMILIES:
        found = fitted(np.zeros(1000, np.int32), family)
        assert priors.bits(found)[0] * 1000 < 1
