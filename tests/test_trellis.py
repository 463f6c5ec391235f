"""The trellis coder: what it promises of bits and errors, and that its decoder trusts nothing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from contract import mutations
from netweight.errors import FormatError
from netweight.weights.coders import trellis, trellis_points, trellis_search, trellis_stream, trellis_symbols
from netweight.weights.coders.scales import Shape
from netweight.weights.coders.state_machine import STATES, branches, machine
from netweight.weights.coders.trellis import Settings
from netweight.weights.coders.trellis_symbols import BUCKETS_FROM, FIRST_INDEX

GAUSSIAN = np.random.default_rng(7).normal(size=1 << 17).astype(np.float32)


def scaled_matrix(rows: int, columns: int) -> np.ndarray:
    r = np.random.default_rng((rows, columns))
    scale = np.exp(r.normal(size=(rows, 1)) * 0.6 + r.normal(size=columns) * 0.6)
    return (r.normal(size=(rows, columns)) * scale).astype(np.float32).reshape(-1)


def encode(values: np.ndarray, shapes: list[Shape], settings: Settings) -> tuple[bytes, np.ndarray]:
    made = trellis.encode(values, shapes, settings)
    assert made is not None
    return made


@pytest.mark.parametrize("states", [s for s in STATES if s > 1])
def test_the_codes_are_those_of_ungerboeck(states):
    """Both branches into a state come from one union and different cosets, and every state is reached twice."""
    union, twist = branches(states)
    half = states // 2
    assert np.array_equal(union[:half], union[half:])
    assert bool((twist[:half] ^ twist[half:]).all())
    assert sorted(machine(states).next_state.reshape(-1).tolist()) == sorted(2 * list(range(states)))
    assert union.sum() == half


def test_bits_and_error_of_a_gaussian_are_near_its_rate_distortion_function():
    """Never under 1/2 log2(1 / D), and at 64 states at most 0.06 above it, with everything counted."""
    shapes = [Shape(256, 512, 1)]
    for step in (1.0, 0.5, 0.25):
        gaps = []
        for states in (1, 8, 64):
            body, restored = encode(GAUSSIAN, shapes, Settings((step,), states))
            noise = float(np.mean((GAUSSIAN.astype(np.float64) - restored) ** 2) / np.mean(GAUSSIAN.astype(float) ** 2))
            gaps.append(8 * len(body) / GAUSSIAN.size + 0.5 * np.log2(noise))
        assert 0 < gaps[2] < 0.06
        assert gaps[2] < gaps[1] < gaps[0], "more states, fewer bits at the same error"
        assert gaps[0] < 0.27, "the scalar quantiser loses a quarter of a bit"


def test_rows_and_columns_of_different_scale_are_worth_bits():
    values = scaled_matrix(256, 512)
    shuffled = np.random.default_rng(0).permutation(values)
    sizes = [len(encode(v, [Shape(256, 512, 1)], Settings((0.3,)))[0]) for v in (values, shuffled)]
    assert sizes[0] < 0.93 * sizes[1]


@pytest.mark.parametrize("states", [1, 4, 64, 256])
@pytest.mark.parametrize(
    "shapes", [[Shape(1, 1, 1)], [Shape(3, 5, 1), Shape(1, 7, 1)], [Shape(70, 9, 9)], [Shape(300, 260, 1)]]
)
def test_decoding_gives_what_the_encoder_said(shapes, states):
    values = np.concatenate([scaled_matrix(s.rows, s.columns) for s in shapes])
    before = values.copy()
    for steps in {(0.1,), tuple(0.05 * (k + 1) for k in range(len(shapes)))}:
        for down in (False, True)[: 2 if len(shapes) == 1 else 1]:
            body, restored = encode(values, shapes, Settings(steps, states, down=down))
            decoded = trellis.decode(body, shapes)
            assert np.array_equal(decoded.view(np.uint32), restored.view(np.uint32))
            assert np.abs(decoded - values).max() < 8 * max(steps)
    assert np.array_equal(values, before)


def test_one_state_without_lambda_keeps_every_error_within_the_step():
    values = scaled_matrix(50, 61) * 100
    for step in (0.7, 1e-3):
        _, restored = encode(values, [Shape(50, 61, 1)], Settings((step,), 1, 0.0))
        assert np.abs(values.astype(np.float64) - restored).max() <= step * (1 + 1e-6) + np.abs(values).max() * 2**-23


def test_weights_too_large_for_the_step_are_refused():
    assert trellis.encode(np.array([1e30, 1], np.float32), [Shape(1, 2, 1)], Settings((1e-9,))) is None


def test_every_index_has_its_symbol():
    k = np.concatenate([np.arange(-5000, 5001), 2 ** np.arange(5, 28), -(2 ** np.arange(5, 28)) + 1]).astype(np.int32)
    symbols = np.empty(k.size, np.uint8)
    large = trellis_symbols.to_symbols(k, symbols)
    assert large == int((np.abs(k) >= trellis_symbols.EXACT).sum())
    assert np.array_equal(trellis_symbols.PARITY[symbols], k & 1)
    raw = np.zeros(k.size * 4, np.uint8)
    used = trellis_symbols.pack_raw(k, symbols, trellis_symbols.RAW_WIDTH, raw)
    back = np.empty_like(k)
    assert (
        trellis_symbols.from_symbols(symbols, trellis_symbols.RAW_WIDTH, trellis_symbols.FIRST_INDEX, raw[:used], back)
        == used
    )
    assert np.array_equal(back, k)


def test_segments_tile_a_block():
    for count in (0, 1, 4095, 4097, 65_536, 65_571):
        parts = trellis_stream.segments(count)
        assert parts[0][0] == 0
        assert parts[-1][1] == count
        assert all(a[1] == b[0] for a, b in pairwise(parts))


def test_the_search_finds_the_best_path():
    """Against all paths of a short block, with rates that favour small indices."""
    r = np.random.default_rng(3)
    reach, n = 5, 6
    rates = np.abs(np.arange(-reach, reach + 1)).astype(np.float32)[None].repeat(2, 0) * np.float32(0.3)
    points = np.stack([2.0 * np.arange(-reach, reach + 1), 2.0 * np.arange(-reach, reach + 1) - 1]).astype(np.float32)
    union, twist = (b[:2].astype(np.bool_) for b in branches(4))
    m = machine(4)

    def best(values: np.ndarray, state: int) -> float:
        if not values.size:
            return 0.0
        u = int(m.union_of[state])
        k = np.arange(-reach, reach + 1)
        costs = (values[0] - points[u]) ** 2 + rates[u]
        by_parity = [min(float(c) for c, i in zip(costs, k, strict=True) if i & 1 == p) for p in (0, 1)]
        return min(by_parity[p] + best(values[1:], int(m.next_state[state, p])) for p in (0, 1))

    for _ in range(20):
        values = (2.5 * r.normal(size=n)).astype(np.float32)
        out = np.empty(n, np.int32)
        trellis_search.search(values, np.zeros(n, np.uint8), rates, points, union, twist, 0, out)
        state, cost = 0, 0.0
        for v, k in zip(values, out, strict=True):
            u = int(m.union_of[state])
            cost += float((v - points[u, k + reach]) ** 2 + rates[u, k + reach])
            state = int(m.next_state[state, k & 1])
        # nearest points of each coset are candidates, so a dearer index far away may be missed: hardly ever
        assert cost <= best(values, 0) + 0.35


@pytest.mark.parametrize("shapes", [[Shape(8, 24, 1)], [Shape(90, 60, 1)], [Shape(2, 9, 9), Shape(1, 5, 1)]])
def test_hostile_bodies(shapes):
    values = np.concatenate([scaled_matrix(s.rows, s.columns) for s in shapes])
    body, _ = encode(values, shapes, Settings((0.02,)))
    for damaged in mutations(body, 400):
        try:
            decoded = trellis.decode(damaged, shapes)
        except FormatError:
            continue
        assert decoded.shape == values.shape


def test_points_are_the_same_from_symbols_as_from_indices():
    """Decoding goes by a table of symbols; encoding, and decoding of large indices, by the indices."""
    groups, rng = 3, np.random.default_rng(4)
    offsets = rng.integers(-64, 32, groups * trellis_points.PER_GROUP)
    symbols = rng.integers(0, BUCKETS_FROM, 5000).astype(np.uint8)
    contexts = rng.integers(0, 2 * groups, 5000).astype(np.uint8)
    unit, by_index, by_symbol = np.float32(0.0137), np.empty(5000, np.float32), np.empty(5000, np.float32)
    trellis_points.restore(FIRST_INDEX[symbols], contexts, groups, offsets, unit, by_index)
    sizes = trellis_points.of_symbols(offsets, groups, FIRST_INDEX[:BUCKETS_FROM])
    trellis_points.restore_symbols(symbols, contexts, sizes, unit, by_symbol)
    np.testing.assert_array_equal(by_symbol.view(np.uint32), by_index.view(np.uint32))
