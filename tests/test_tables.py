from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from coder_samples import bell, below, digest, mutants
from netweight.entropy import tables
from netweight.errors import FormatError
from netweight.wire import Reader, Writer

LEVELS = hnp.arrays(
    np.int64,
    st.tuples(st.integers(1, 6), st.integers(1, 256)),
    elements=st.one_of(st.just(0), st.integers(0, tables.MAX_LEVEL)),
)


def written(levels: np.ndarray) -> bytes:
    out = Writer()
    tables.write_tables(out, levels)
    return out.bytes()


def peaked(key: object, rows: int, symbols: int, width: int) -> np.ndarray:
    """Counts (int64 [rows, symbols]) of bell curves about the middle, the width growing by row."""
    out = np.zeros((rows, symbols), np.int64)
    for r in range(rows):
        at = np.clip(symbols // 2 + (bell((key, r), 1 << 15) * width * (r + 2) >> 22), 0, symbols - 1)
        out[r] = np.bincount(at, minlength=symbols)
    return out


def description(counts: np.ndarray) -> float:
    """What `merge_contexts` minimises, of one group."""
    used = counts[counts > 0].astype(np.float64)
    return float((used * np.log2(used.sum() / used)).sum() + tables.TABLE_BITS * used.size) if used.size else 0.0


def test_levels_are_eighths_of_an_octave():
    levels = np.arange(1, tables.MAX_LEVEL + 1)
    exact = 256 * 2.0 ** ((levels - 1) / tables.PER_OCTAVE)
    assert np.abs(tables.weights_of(levels) / exact - 1).max() < 0.002
    assert tables.weights_of(np.zeros(1, np.int64)) == 0
    assert tables.levels_of(np.array([0, 1, 2, 4, 1 << 20])).tolist() == [0, 1, 9, 17, 161]


def test_a_count_is_within_half_a_level_of_its_weight():
    counts = np.unique(np.concatenate([np.arange(1, 5000), below("counts", 5000, 1 << 23) + 1]))
    ratio = tables.weights_of(tables.levels_of(counts)) / (256 * counts)
    assert np.abs(np.log2(ratio)).max() <= 1 / 16 + 0.003


@settings(deadline=None, max_examples=200)
@given(levels=LEVELS, scale=st.sampled_from([11, 12, 14]))
def test_frequencies_sum_and_no_present_symbol_gets_none(levels, scale):
    rows = tables.frequencies_of(levels, scale).reshape(len(levels), 256).astype(np.int64)
    assert (rows.sum(axis=1) == 1 << scale).all()
    present = np.zeros_like(rows, bool)
    present[:, : levels.shape[1]] = levels > 0
    present[~present.any(axis=1), 0] = True
    assert np.array_equal(rows > 0, present)


@pytest.mark.parametrize("scale", [11, 12, 14])
@pytest.mark.parametrize("rare", [1, tables.MAX_LEVEL // 2, tables.MAX_LEVEL])
@pytest.mark.parametrize("top", [0, 100, 255])
def test_frequencies_under_extreme_skew(scale, rare, top):
    levels = np.full((1, 256), rare, np.int64)
    levels[0, top] = tables.MAX_LEVEL
    row = tables.frequencies_of(levels, scale).astype(np.int64)
    assert row.sum() == 1 << scale
    assert row.min() >= 1
    if rare == 1:
        assert row[top] == (1 << scale) - 255


def test_a_dominant_symbol_stays_dominant_in_the_largest_blocks():
    counts = np.array([[(1 << 23) - 40_000, 40_000]])
    row = tables.frequencies_of(tables.levels_of(counts), 14).astype(np.float64)
    ideal = (counts * np.log2(counts.sum() / counts)).sum()
    assert (counts[0] * (14 - np.log2(row[:2]))).sum() < 1.002 * ideal


def test_quantised_levels_cost_half_a_thousandth_of_a_bit():
    """Uniform errors of an eighth of an octave: KL = (ln 2 / 8)^2 / 24 / ln 2 = 0.00045 bit."""
    losses = []
    for k in range(40):
        counts = peaked(k, 1, 64, 8 + k)[0]
        counts = counts[counts > 100] * 50
        shares, weights = counts / counts.sum(), tables.weights_of(tables.levels_of(counts)).astype(np.float64)
        losses.append(float((shares * np.log2(shares * weights.sum() / weights)).sum()))
    assert min(losses) > 0
    assert 0.0002 < np.mean(losses) < 0.0007


@settings(deadline=None, max_examples=60)
@given(levels=LEVELS)
def test_tables_come_back(levels):
    source = Reader(written(levels))
    assert np.array_equal(tables.read_tables(source, *levels.shape), levels)
    source.end()


def test_a_level_costs_about_three_bits():
    levels = tables.levels_of(peaked("cost", 16, 100, 10))
    present = int((levels > 0).sum())
    assert present > 800
    assert 8 * len(written(levels)) < 4 * present


def test_hostile_tables():
    levels = tables.levels_of(peaked("hostile", 4, 60, 10))
    refused = 0
    for mutant in mutants(written(levels), "tables", 600):
        try:
            read = tables.read_tables(Reader(mutant), 4, 60)
        except FormatError:
            refused += 1
        else:
            assert read.shape == (4, 60)
            assert read.min() >= 0
            assert read.max() <= tables.MAX_LEVEL
            assert (tables.frequencies_of(read, 11).reshape(4, 256).sum(axis=1, dtype=np.int64) == 2048).all()
    assert refused > 400


@settings(deadline=None, max_examples=80)
@given(
    histograms=hnp.arrays(
        np.uint32, st.tuples(st.integers(1, 20), st.integers(1, 12)), elements=st.sampled_from([0, 0, 1, 3, 50, 4000])
    ),
    most=st.integers(1, 20),
)
def test_merging_keeps_its_promises(histograms, most):
    before = histograms.copy()
    groups, merged, bits = tables.merge_contexts(histograms, most)
    assert np.array_equal(histograms, before)
    assert groups.dtype == np.uint8
    assert groups[0] == 0
    assert set(np.diff(groups.astype(int)).tolist()) <= {0, 1}
    assert len(merged) == int(groups[-1]) + 1 <= most
    for g, counts in enumerate(merged):
        assert np.array_equal(counts, histograms[groups == g].sum(axis=0))
    assert bits == pytest.approx(sum(map(description, merged)), abs=1e-6)
    # neighbours that pay to be one were made one
    for a, b in itertools.pairwise(merged):
        assert description(a) + description(b) <= description(a + b) + 1e-6
    assert bits <= description(histograms.sum(axis=0)) + 1e-6


def test_rows_that_pay_only_all_together_are_merged():
    """Each pair of neighbours may be as long merged as apart; all together are shorter."""
    counts = np.array([[1, 0], [0, 1]] * 6, np.uint32)
    groups, merged, bits = tables.merge_contexts(counts, 24)
    assert not groups.any()
    assert merged.tolist() == [[6, 6]]
    assert bits == description(merged[0])


@pytest.mark.parametrize("most", [1, 3, 24])
def test_merging_is_never_longer_than_one_context(most):
    for k in range(30):
        counts = below(("one", k), 64 * 20, 2 + k * k).reshape(64, 20).astype(np.uint32)
        counts[below(("none", k), 30, 64)] = 0
        assert tables.merge_contexts(counts, most)[2] <= description(counts.sum(axis=0)) * (1 + 1e-12) + 1e-6


def test_planted_groups_are_found():
    sources = peaked("planted", 3, 40, 30) * np.array([[1], [1], [1]])
    counts = np.zeros((64, 40), np.uint32)
    borders = (0, 11, 37, 64)
    for g in range(3):
        for r in range(borders[g], borders[g + 1]):
            draws = np.repeat(np.arange(40), sources[g])[below(("draw", r), 4000, int(sources[g].sum()))]
            counts[r] = np.bincount(draws, minlength=40)
    counts[[5, 20, 63]] = 0  # rows that nobody uses belong to a neighbour
    groups, _, bits = tables.merge_contexts(counts, 24)
    assert np.flatnonzero(np.diff(groups.astype(int))).tolist() == [10, 36]
    assert bits < description(counts.sum(axis=0))


def test_nothing_at_all_is_one_context():
    groups, merged, bits = tables.merge_contexts(np.zeros((64, 9), np.uint32), 24)
    assert not groups.any()
    assert merged.shape == (1, 9)
    assert bits == 0
    assert tables.frequencies_of(tables.levels_of(merged.astype(np.int64)), 11)[0] == 1 << 11


def test_pinned_bytes():
    levels = np.array([[0, 40, 41, 39, 0, 12], [3, 40, 44, 30, 0, 0]])
    assert written(levels).hex() == "0f800000015bb291f4709c1e517da841"
    assert tables.frequencies_of(levels, 11).reshape(2, 256)[:, :6].tolist() == [
        [0, 661, 722, 606, 0, 59],
        [29, 712, 1008, 299, 0, 0],
    ]
    wide = below("pin", 24 * 256, tables.MAX_LEVEL + 1).reshape(24, 256)
    assert digest(tables.frequencies_of(wide, 14)) == "8baef5251d74ef46"
    assert digest(written(wide)) == "3ff0c7630df3568a"
