"""Levels, positions, scales, rotations and trellises: the parts of compressors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netweight.comm.coding import compact, grouped, levels, packing, positions, random, rotation, scale, signs, trellis
from netweight.comm.compressors.rotated import CENTROIDS, DISTORTION
from netweight.comm.compressors.trellis import _MOMENT
from netweight.errors import FormatError

SHAPES = ("gaussian", "ternary", "sparse", "one", "zeros", "wide", "counts", "runs")


def some_levels(shape: str, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, n])
    made = {
        "gaussian": lambda: np.rint(2 * rng.standard_normal(n)),
        "ternary": lambda: rng.integers(-1, 2, n),
        "sparse": lambda: (rng.random(n) < 0.003) * rng.integers(-4, 5, n),
        "one": lambda: np.eye(1, n, n // 2)[0] * -70_000,
        "zeros": lambda: np.zeros(n),
        "wide": lambda: np.rint(1e6 * rng.standard_normal(n)),
        "counts": lambda: rng.poisson(1.5, n),
        "runs": lambda: np.rint(np.repeat([0.1, 5, 0.5, 20], -(-n // 4))[:n] * rng.standard_normal(n)),
    }
    return made[shape]().astype(np.int32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 5, 700, levels.SHORT + 1, 70_001])
def test_levels_come_back(shape, n):
    k = some_levels(shape, n)
    payload = levels.encode(k)
    assert np.array_equal(levels.decode(payload, n, levels.MOST), k)
    most = int(np.abs(k).max())
    if most:
        with pytest.raises(FormatError):
            levels.decode(payload, n, most - 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-levels.MOST, levels.MOST), min_size=1, max_size=60))
def test_any_short_levels_come_back(values):
    k = np.array(values, np.int32)
    assert np.array_equal(levels.decode(levels.encode(k), k.size, levels.MOST), k)


@pytest.mark.parametrize("n", [1024, 100_000])
@pytest.mark.parametrize("deviation", [0.2, 0.7, 3.0, 40.0])
def test_gaussian_levels_cost_their_entropy(n, deviation):
    rng = np.random.default_rng(3)
    k = np.rint(deviation * rng.standard_normal(n)).astype(np.int32)
    edges = (np.arange(-400, 401) + 0.5) / deviation
    below = np.array([0.5 * math.erfc(-e / math.sqrt(2)) for e in edges])
    p = np.diff(below)[k + 399]
    bits, ideal = 8 * len(levels.encode(k)), float(-np.log2(p).sum())
    assert bits < 1.03 * ideal + 24


def test_uneven_levels_cost_less_than_one_distribution_for_all():
    k = some_levels("runs", 80_000)
    counts = np.bincount(k - k.min())
    p = counts[counts > 0] / k.size
    assert 8 * len(grouped.encode(k)) < 0.9 * k.size * float(-(p * np.log2(p)).sum())


def test_levels_of_one_sign_pay_for_no_signs():
    k = some_levels("counts", 50_000)
    signed = np.where(np.arange(k.size) % 2, -k, k).astype(np.int32)
    saved = 8 * (len(levels.encode(signed)) - len(levels.encode(k)))
    assert saved > 0.95 * int((k > 0).sum())


@pytest.mark.parametrize("n", [500, 20_000])
@pytest.mark.parametrize("shape", ["gaussian", "sparse", "wide"])
def test_damaged_levels_are_refused_or_decode(n, shape):
    payload, rng = levels.encode(some_levels(shape, n)), np.random.default_rng(n)
    refused = 0
    for _ in range(60):
        data = bytearray(payload)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(min(len(data), 40))] = rng.integers(256)
        try:
            k = levels.decode(bytes(data), n, 1 << 26)
        except FormatError:
            refused += 1
        else:
            assert k.shape == (n,)
            assert int(np.abs(k).max()) <= 1 << 26
    assert refused


@pytest.mark.parametrize("d", [1, 2, 60, 5000, 40_000, 300_000])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.03, 0.5, 1.0])
def test_positions_cost_the_logarithm_of_their_number(d, share):
    k = max(1, round(share * d))
    places = np.sort(np.random.default_rng([d, k]).permutation(d)[:k])
    payload = positions.encode(places, d)
    assert np.array_equal(positions.decode(payload, k, d), places)
    ideal = (math.lgamma(d + 1) - math.lgamma(k + 1) - math.lgamma(d - k + 1)) / math.log(2)
    assert 8 * len(payload) < 1.02 * ideal + 48


def test_damaged_positions_are_refused_or_decode():
    rng = np.random.default_rng(0)
    for d, k in ((1000, 30), (100_000, 500)):
        payload = positions.encode(np.sort(rng.permutation(d)[:k]), d)
        for _ in range(60):
            data = bytearray(payload)
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
            try:
                places = positions.decode(bytes(data), k, d)
            except FormatError:
                continue
            assert places.size == k
            assert int(places[0]) >= 0
            assert int(places[-1]) < d
            assert bool((np.diff(places) > 0).all())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 32), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_packed_numbers_come_back(width, n, seed):
    values = (np.random.default_rng(seed).integers(0, 1 << 32, n) >> (32 - width)).astype(np.uint32)
    data = packing.pack(values, width)
    assert len(data) == packing.size(n, width)
    assert np.array_equal(packing.unpack(data, n, width), values)
    with pytest.raises(FormatError):
        packing.unpack(data + b"\0", n, width)


def test_signs_come_back():
    x = np.random.default_rng(0).standard_normal(1003)
    assert np.array_equal(signs.unpack(signs.pack(x), x.size, 2.0, np.dtype(np.float64)), np.copysign(2.0, x))
    with pytest.raises(FormatError):
        signs.unpack(b"\xff", 3, 1.0, np.dtype(np.float32))


@settings(max_examples=100, deadline=None)
@given(st.floats(min_value=1e-300, max_value=1.7e308), st.booleans())
def test_scales_are_cut_to_the_side_that_was_asked_for(value, up):
    cut = scale.cut(value, up=up)
    assert scale.read(scale.write(cut)) == cut
    assert abs(cut / value - 1) <= 2.0**-12
    assert cut >= value or not up or value > 1.79e308
    assert cut <= value or up


def test_many_scales_are_cut_as_one():
    values = np.array([0.0, 1.0, 1 + 2.0**-30, 3e-290, 1.7e308])
    cut = scale.cut_up(values)
    assert list(cut) == [scale.cut(float(v), up=True) for v in values]
    assert np.array_equal(scale.read_all(scale.write_all(cut), values.size), cut)


@pytest.mark.parametrize("data", [b"\0\0", b"\xff\xff\xff", b"\0\xf0\x7f", b"\0\0\x80"])
def test_what_is_no_scale_is_refused(data):
    with pytest.raises(FormatError):
        scale.read(data)


def test_norms_neither_overflow_nor_vanish():
    for unit in (1e-300, 1.0, 1e300):
        first, second = scale.norms(unit * np.array([3.0, -4.0]))
        assert math.isclose(first, 7 * unit)
        assert math.isclose(second, 5 * unit)


@pytest.mark.parametrize("d", [1, 2, 3, 12, 16, 37, 1000, 1024, 40_000])
def test_rotations_are_orthogonal_and_spread(d):
    rng, key = np.random.default_rng(d), rotation.key(3)
    x = rng.standard_normal(d)
    y = rotation.rotated(x, key)
    assert math.isclose(float(y @ y), float(x @ x), rel_tol=1e-12)
    assert np.allclose(rotation.rotate_back(y, key), x, atol=1e-12)
    if d >= 1000:
        spike = np.zeros(d)
        spike[[1, d // 3]] = 1.0
        assert float(np.abs(rotation.rotated(spike, key)).max()) < 6 * math.sqrt(2 / min(d, rotation.BLOCK // 2))


def test_the_hadamard_transform_is_the_matrix():
    for n in (1, 2, 8, 64, 512):
        matrix = np.ones((1, 1))
        while len(matrix) < n:
            matrix = np.kron(np.array([[1, 1], [1, -1]]), matrix)
        x = np.random.default_rng(n).standard_normal(n)
        y = x.copy()
        rotation.hadamard(y)
        assert np.allclose(y, matrix @ x)


def test_blocks_of_a_rotation_cover_it():
    for d in (
        1,
        rotation.BLOCK - 1,
        rotation.BLOCK,
        2 * rotation.BLOCK - 1,
        2 * rotation.BLOCK,
        5 * rotation.BLOCK + 3,
    ):
        blocks = rotation.blocks(d)
        assert blocks[0][0] == 0
        assert blocks[-1][1] == d
        assert all(a[1] == b[0] for a, b in itertools.pairwise(blocks))
        x = np.zeros(d)
        x[blocks[-1][0] :] = 1  # what lies in one block stays there
        assert not rotation.rotated(x, rotation.key(1))[: blocks[-1][0]].any()


def test_random_numbers_are_uniform_and_their_own():
    u = random.units(random.key_of(1, 0), 100_000)
    counts = np.bincount((16 * u).astype(int), minlength=16)
    assert float(((counts - 6250) ** 2 / 6250).sum()) < 45  # chi-square of 15 degrees
    assert abs(float(np.corrcoef(u[1:], u[:-1])[0, 1])) < 0.02
    assert np.array_equal(u[:10], random.units(random.key_of(1, 0), 10))
    others = [random.key_of(2, 0), random.key_of(1, 1), random.key_of(-1, 0)]
    assert all(abs(float(np.corrcoef(u, random.units(key, u.size))[0, 1])) < 0.02 for key in others)


def test_subsets_are_sets_and_equally_likely():
    counts = np.zeros(6)
    for seed in range(3000):
        chosen = random.subset(random.key_of(seed, 0), 2, 6)
        assert len(set(chosen.tolist())) == 2
        counts[chosen] += 1
    assert float(np.abs(counts - 1000).max()) < 130


@pytest.mark.parametrize("states", trellis.STATES)
def test_a_trellis_errs_by_what_is_said_of_it(states):
    from netweight.comm.coding import dithered

    y, key = np.zeros(120_000), random.key_of(4, 0)
    spans = [dithered.Span(0, y.size, 1 << dithered.POINT)]
    code = dithered.encode(y, spans, key, states)
    assert code is not None
    error = dithered.decode(memoryview(code), spans, key, states)
    assert math.isclose(3 * float(np.mean(error**2)), _MOMENT[states], rel_tol=0.01)
    assert abs(float(error.mean())) < 5 * 0.51 / math.sqrt(y.size)


def test_eden_has_the_levels_of_lloyd_and_max():
    def density(t: float) -> float:
        return math.exp(-t * t / 2) / math.sqrt(2 * math.pi)

    for bits, centroids in CENTROIDS.items():
        edges = [0.0, *(0.5 * (a + b) for a, b in itertools.pairwise(centroids)), math.inf]
        error = 1.0
        for centroid, low, high in zip(centroids, edges, edges[1:], strict=False):
            mass = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
            assert math.isclose(centroid, (density(low) - density(high)) / mass, rel_tol=1e-4)
            error -= 2 * mass * centroid**2
        assert math.isclose(error, DISTORTION[bits], rel_tol=1e-3)


def test_compact_codes_take_a_byte_for_the_model():
    zeros = np.zeros(1000, np.int32)
    assert len(compact.encode(zeros)) <= 4
