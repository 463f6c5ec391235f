"""Other people's quantisers as codes at a stated error. That each registered one keeps the contract is tested there."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from contract import check_hostile, check_round_trip, gaussian, mutations
from netweight import tensors
from netweight.codec import measure_error
from netweight.errors import FormatError
from netweight.registry import create
from netweight.spec import Spec
from netweight.weights.coders.scales import Shape
from netweight.weights.lossy.codes.cells import cells_of
from netweight.weights.lossy.codes.indices import CODERS, read_indices, read_wide, write_indices, write_wide
from netweight.weights.lossy.codes.levels import best_levels, entropy_constrained, fewest_levels
from netweight.weights.lossy.codes.vectors import as_vectors, fewest_centroids, nearest, train
from netweight.wire import Reader, Writer

PREFIX = "netweight.lossy."
NAMES = ("rtn", "uniform", "kmeans", "product", "residual", "pruned")
VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("rtn", {"coder": "packed"}),
    ("rtn", {"bits": 8, "group": 32}),
    ("uniform", {"coder": "order0"}),
    ("uniform", {"rel_mse": 1e-9}),
    *(("kmeans", {"coder": coder}) for coder in CODERS if coder != "rans"),
    ("kmeans", {"design": "ecsq", "rel_mse": 0.1}),
    ("product", {"dim": 4, "coder": "packed", "rel_mse": 0.1}),
    ("residual", {"dim": 1, "centroids": 4}),
    ("residual", {"dim": 2, "coder": "packed", "centroids": 16}),
    ("pruned", {"quantiser": "lloyd", "coder": "order0"}),
    ("pruned", {"quantiser": "ecsq", "rel_mse": 0.2}),
)


@cache
def normal(rows: int = 256, columns: int = 256) -> np.ndarray:
    """Independent Gaussian weights."""
    return (np.random.default_rng(3).normal(size=(rows, columns)) * 0.02).astype(np.float32)


def coded(name: str, weights: np.ndarray, **config: Any) -> tuple[bytes, np.ndarray]:
    """(payload, what a codec that the registry builds afresh decodes), within the promise."""
    data, spec = tensors.to_bytes(weights)
    codec = create(PREFIX + name, config)
    payload = codec.encode(data, spec)
    decoded = create(PREFIX + name, codec.config()).decode(payload, spec)
    assert codec.guarantee.holds(measure_error(data, decoded, spec))
    return payload, tensors.to_array(decoded, spec)


def rel_mse(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.square(x.astype(np.float64) - y).sum() / np.square(x, dtype=np.float64).sum())


# --- every code ---


@pytest.mark.parametrize(("name", "config"), VARIANTS, ids=str)
def test_other_settings_round_trip_and_are_safe(name: str, config: dict[str, Any]) -> None:
    codec = create(PREFIX + name, config)
    assert create(codec.id, codec.config()) == codec
    data, spec = tensors.to_bytes(gaussian(np.float32, 20, 24))
    payload = check_round_trip(codec, data, spec)
    assert payload is not None
    assert payload[0] == 1, "not coded losslessly"
    for bad in mutations(payload, 80):
        check_hostile(codec, bad, spec)
    for length in range(0, len(payload), 11):
        with pytest.raises(FormatError):
            codec.decode(payload[:length], spec)
    for other in (Spec("F32", ((3, 7),)), Spec("F16", ((20, 24),)), Spec("F32", ((0,),)), Spec("F32", ((480,),))):
        check_hostile(codec, payload, other)


@pytest.mark.parametrize("name", NAMES)
def test_more_error_takes_fewer_bytes(name: str) -> None:
    sizes = [len(coded(name, normal(64, 64), rel_mse=e)[0]) for e in (0.3, 0.1, 0.01)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] < 64 * 64 * 4 * 0.4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1e-38, 1e36])
def test_tiny_and_huge_weights(name: str, scale: float) -> None:
    weights = (np.random.default_rng(1).normal(size=(32, 33)) * scale).astype(np.float32)
    coded(name, weights, rel_mse=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_refuses_settings_that_are_none(name: str) -> None:
    for config in ({"rel_mse": 0.0}, {"rel_mse": 1.5}, {"coder": "morse"}):
        with pytest.raises(FormatError):
            create(PREFIX + name, config)


# --- round to nearest ---


def test_rtn_takes_the_fewest_bits() -> None:
    """Uniform weights on [-1, 1] with b bits err by about step^2 / 12, step = 1 / (2^(b-1) - 1), of an energy of 1/3."""
    weights = np.random.default_rng(2).uniform(-1, 1, (64, 64)).astype(np.float32)
    for bits in (3, 4, 6, 8):
        error = 0.25 / ((1 << (bits - 1)) - 1) ** 2
        payload, _ = coded("rtn", weights, rel_mse=1.1 * error, group=0, coder="packed")
        assert payload[1] == bits
        assert 64 * 64 * bits // 8 + 64 < len(payload) < 64 * 64 * bits // 8 + 2 * 64 + 32, "half floats, one a row"


def test_rtn_that_cannot_is_lossless() -> None:
    payload, decoded = coded("rtn", normal(64, 64), rel_mse=1e-4, bits=4)
    assert payload[0] == 0
    assert np.array_equal(decoded, normal(64, 64))


def test_rtn_groups_keep_an_outlier_to_itself() -> None:
    weights = normal(64, 256).copy()
    weights[:, 5] = 1.0
    error = {
        g: rel_mse(np.delete(weights, 5, 1), np.delete(coded("rtn", weights, bits=4, rel_mse=0.1, group=g)[1], 5, 1))
        for g in (0, 32)
    }
    assert error[32] < 0.5 * error[0]


# --- scalar ---


@pytest.mark.parametrize("name", ["uniform", "kmeans"])
def test_scalar_codes_of_a_gaussian_take_what_theory_says(name: str) -> None:
    """At high rate an entropy-coded scalar quantiser is 1/2 log2(2 pi e / 12) = 0.2546 bit above R(D)."""
    config = {} if name == "uniform" else {"design": "ecsq"}
    payload, decoded = coded(name, normal(), rel_mse=0.01, **config)
    error = rel_mse(normal(), decoded)
    assert 0.0097 < error <= 0.01
    above = 8 * len(payload) / normal().size - 0.5 * np.log2(1 / error)
    assert 0.24 < above < 0.30


def test_entropy_constrained_levels_beat_the_others_at_low_rate() -> None:
    constrained = len(coded("kmeans", normal(), rel_mse=0.2, design="ecsq")[0])
    others = [len(coded(name, normal(), rel_mse=0.2)[0]) for name in ("kmeans", "uniform")]
    assert constrained < 0.94 * min(others)


def test_contexts_pay_where_rows_differ() -> None:
    weights = gaussian(np.float32, 200, 256)
    assert len(coded("uniform", weights)[0]) < 0.95 * len(coded("uniform", weights, coder="order0")[0])


def test_uniform_far_outliers_are_escaped() -> None:
    weights = normal(64, 256).copy()
    weights[3, 7], weights[9, 1] = 30.0, -25.0
    payload, decoded = coded("uniform", weights, rel_mse=1e-7)
    assert payload[0] == 1
    assert decoded[3, 7] == pytest.approx(30.0, rel=1e-3)
    assert decoded[9, 1] == pytest.approx(-25.0, rel=1e-3)
    assert len(payload) < 64 * 256 * 1.2


def test_uniform_low_bits_are_stored_where_symbols_run_out() -> None:
    payload, decoded = coded("uniform", normal(64, 64), rel_mse=1e-11)
    assert payload[0] == 1
    assert payload[5] > 8, "bits below the symbols"
    assert rel_mse(normal(64, 64), decoded) <= 1e-11


def test_fewest_levels_are_the_best_there_are() -> None:
    values = np.sort(np.random.default_rng(8).laplace(size=11)).astype(np.float32)
    cells = cells_of(values, 4096)

    def error(borders: tuple[int, ...]) -> float:
        parts = np.split(values.astype(np.float64), borders)
        return sum(float(np.square(p - p.mean()).sum()) for p in parts)

    for k in range(1, 6):
        least = min(error(b) for b in combinations(range(1, values.size), k - 1))
        assert best_levels(cells, k)[1] == pytest.approx(least, abs=1e-9)
        found = fewest_levels(cells, least * (1 + 1e-6) + 1e-12)
        assert found is not None
        assert found.size == k + 1


def test_entropy_constrained_levels_are_the_cheapest_at_their_price() -> None:
    """No partition of a few cells has both less error and less entropy."""
    values = np.sort(np.random.default_rng(9).normal(size=300)).astype(np.float32)
    cells = cells_of(values, 12)
    size = cells.counts.size - 1

    def figures(inner: tuple[int, ...]) -> tuple[float, float]:
        borders = np.array([0, *inner, size])
        n, s, q = (np.diff(a[borders]) for a in (cells.counts, cells.sums, cells.squares))
        return float((q - s * s / n).sum()), float((n * np.log2(values.size / n)).sum())

    every = [figures(b) for k in range(size) for b in combinations(range(1, size), k)]
    found = entropy_constrained(cells, 20.0)
    assert found is not None
    error, bits = figures(tuple(found[1:-1]))
    assert error <= 20.0
    assert not [1 for e, b in every if e < error - 1e-9 and b < bits - 1e-9]


@pytest.mark.parametrize("coder", CODERS)
def test_every_coder_gives_the_same_weights(coder: str) -> None:
    payload, decoded = coded("kmeans", normal(64, 128), coder=coder)
    levels = payload[1] + 1
    assert np.array_equal(decoded, coded("kmeans", normal(64, 128))[1])
    assert np.unique(decoded).size == levels
    if coder == "packed":
        assert len(payload) == 2 + 4 + 2 * levels + 64 * 128 * (levels - 1).bit_length() // 8


# --- vectors ---


def test_nearest_is_the_nearest() -> None:
    rng = np.random.default_rng(4)
    for dim in (1, 2, 4, 8):
        vectors, centroids = (rng.normal(size=(n, dim)).astype(np.float32) for n in (300, 40))
        centroids = centroids[np.argsort(centroids[:, 0])]
        found = np.empty(300, np.int32)
        noise = nearest(vectors, centroids, found)
        distances = np.square(vectors[:, None] - centroids[None]).sum(axis=2)
        assert np.array_equal(distances[np.arange(300), found], distances.min(axis=1))
        assert noise == pytest.approx(float(distances.min(axis=1).sum()), rel=1e-5)


def test_vectors_waste_less_space_than_scalars() -> None:
    """256 centroids of pairs err less than 16 levels twice: cells are rounder, and shaped after the density."""
    flat = normal().reshape(-1)
    pairs, scalars = as_vectors(flat, 2), as_vectors(flat, 1)
    by_pair = nearest(pairs, train(pairs, 256), np.empty(len(pairs), np.int32))
    by_scalar = nearest(scalars, train(scalars, 16), np.empty(len(scalars), np.int32))
    assert by_pair < 0.98 * by_scalar


def test_product_knows_weights_that_go_together() -> None:
    twins = np.repeat(normal(128, 64), 2, axis=1)
    assert len(coded("product", twins, rel_mse=0.05)[0]) < 0.7 * len(coded("kmeans", twins, rel_mse=0.05)[0])


def test_no_more_centroids_than_needed() -> None:
    vectors = as_vectors(normal(64, 64).reshape(-1), 2)
    energy = float(np.square(vectors).sum())
    found = [fewest_centroids(vectors, e * energy, 4096) for e in (0.5, 0.1, 0.02)]
    sizes = [len(f) for f in found if f is not None]
    assert sizes == sorted(set(sizes))
    assert len(sizes) == 3
    assert fewest_centroids(vectors, 1e-6 * energy, 256) is None


def test_residual_adds_stages_as_the_error_falls() -> None:
    stages = [coded("residual", normal(64, 128), rel_mse=e, dim=1, centroids=4)[0][2] for e in (0.2, 0.02, 0.002)]
    assert stages == sorted(set(stages))
    assert stages[0] == 1


# --- pruned ---


def test_pruned_finds_what_is_zero_already() -> None:
    rng = np.random.default_rng(6)
    weights = np.where(rng.random((128, 256)) < 0.05, normal(128, 256), 0).astype(np.float32)
    payload, decoded = coded("pruned", weights, rel_mse=0.01)
    places = -0.05 * np.log2(0.05) - 0.95 * np.log2(0.95)
    assert 8 * len(payload) / weights.size < places + 0.05 * 4.3
    assert not decoded[weights == 0].any()


def test_pruned_is_sparser_at_more_error() -> None:
    zeros = [np.count_nonzero(coded("pruned", normal(64, 128), rel_mse=e)[1] == 0) for e in (0.01, 0.1, 0.4)]
    assert zeros == sorted(set(zeros))


def test_pruned_to_nothing() -> None:
    payload, decoded = coded("pruned", normal(64, 64), rel_mse=1.0)
    assert np.count_nonzero(decoded) <= 4
    assert len(payload) < 80


# --- indices ---


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("alphabet", [1, 2, 5, 16, 200, 256])
def test_indices_come_back(coder: str, alphabet: int) -> None:
    shapes = [Shape(12, 5, 3), Shape(1, 7, 1)]
    indices = np.random.default_rng(alphabet).integers(0, alphabet, 187).astype(np.uint8)
    out = Writer()
    write_indices(out, indices, alphabet, shapes, coder, np.arange(alphabet, dtype=np.float64) ** 2)
    source = Reader(out.bytes())
    assert np.array_equal(read_indices(source, alphabet, shapes, coder), indices)
    source.end()


@pytest.mark.parametrize("coder", ["packed", "gzip", "png"])
def test_an_index_beyond_the_codebook_is_refused(coder: str) -> None:
    shapes = [Shape(8, 8, 1)]
    out = Writer()
    write_indices(out, np.full(64, 6, np.uint8), 7, shapes, coder)
    assert read_indices(Reader(out.bytes()), 7, shapes, coder).max() == 6
    with pytest.raises(FormatError):
        read_indices(Reader(out.bytes()), 6, shapes, coder)


@pytest.mark.parametrize("coder", ["rans", "packed"])
@pytest.mark.parametrize("alphabet", [256, 257, 1000, 4096])
def test_wide_indices_come_back(coder: str, alphabet: int) -> None:
    shapes = [Shape(30, 40, 1)]
    indices = np.random.default_rng(alphabet).integers(0, alphabet, 1200).astype(np.int32)
    out = Writer()
    write_wide(out, indices, alphabet, shapes, coder, np.arange(alphabet, dtype=np.float64))
    source = Reader(out.bytes())
    assert np.array_equal(read_wide(source, alphabet, shapes, coder), indices)
    source.end()
