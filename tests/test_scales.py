from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coder_samples import bell, below, digest, mutants
from netweight.errors import FormatError
from netweight.spec import DTYPES, Spec, dtype
from netweight.weights.coders import scales
from netweight.weights.coders.scales import CHANNELS, COLUMNS, NO_COLUMNS, NONE, Estimator, Scales, Shape
from netweight.wire import Reader, Writer

SHAPES = [Shape(5, 7, 1), Shape(1, 4, 9), Shape(3, 0, 5), Shape(2, 3, 4), Shape(1, 1, 1)]


def words(spec: Spec) -> int:
    return spec.nbytes * 8 // dtype(spec.dtype).word


def some(mode: int, rows: bool, shapes: list[Shape]) -> Scales:
    """Steps over the whole range that the wire allows."""
    sent = [(below((mode, k), n, 128) - 64).astype(np.int8) for k, n in
            enumerate((sum(s.rows for s in shapes), scales.sent_columns(mode, shapes)))]  # fmt: skip
    return Scales(sent[0] if rows else None, mode, sent[1] if mode else None)


def naive_levels(given_scales: Scales, shapes: list[Shape]) -> np.ndarray:
    out, row, column = [], 0, 0
    for s in shapes:
        for r in range(s.rows):
            for j in range(s.columns):
                level = 32 + (0 if given_scales.rows is None else int(given_scales.rows[row + r]))
                if given_scales.mode == COLUMNS:
                    level += int(given_scales.columns[column + j])
                elif given_scales.mode == CHANNELS:
                    level += int(given_scales.columns[column + j // s.kernel])
                    level += int(given_scales.columns[column + s.inner + j % s.kernel])
                out.append(min(max(level, 0), 63))
        row += s.rows
        column += {NO_COLUMNS: 0, COLUMNS: s.columns, CHANNELS: s.inner + s.kernel}[given_scales.mode]
    return np.array(out, np.uint8)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize(
    "shapes",
    [(), ((),), ((0,),), ((7,),), ((1, 9),), ((9, 1),), ((6, 3, 0, 2),), ((0, 3, 3),), ((8, 4, 3, 3),),
     ((5, 3), (), (2, 5, 7), (0, 4)), ((1,),) * 2100],
)  # fmt: skip
def test_shapes_cover_every_word(name, shapes):
    """A symbol stands for a word: a byte of a packed dtype, a part of a complex number."""
    spec = Spec(name, shapes)
    found = scales.shapes_of(spec)
    assert sum(s.rows * s.columns for s in found) == words(spec)
    assert all(s.rows > 0 and s.kernel > 0 for s in found)


def test_shapes_follow_the_tensors():
    assert scales.shapes_of(Spec("F32", ((8, 4, 3, 3), (5, 6), (7,)))) == [
        Shape(8, 4, 9),
        Shape(5, 6, 1),
        Shape(1, 7, 1),
    ]
    assert scales.shapes_of(Spec("C64", ((8, 4, 3), (5, 6)))) == [Shape(8, 4, 6), Shape(5, 6, 2)]
    assert scales.shapes_of(Spec("F4", ((8, 6, 2),))) == [Shape(8, 6, 1)]
    assert scales.shapes_of(Spec("F6_E2M3", ((8, 4),))) == [Shape(8, 3, 1)]
    assert scales.shapes_of(Spec("F4", ((8, 3),))) == [Shape(1, 12, 1)]


@pytest.mark.parametrize("mode", [NO_COLUMNS, COLUMNS, CHANNELS])
@pytest.mark.parametrize("rows", [False, True])
def test_levels_are_row_plus_column_clipped(mode, rows):
    given_scales = some(mode, rows, SHAPES)
    assert np.array_equal(scales.all_levels(given_scales, SHAPES), naive_levels(given_scales, SHAPES))


def test_rows_of_the_same_step_have_the_same_levels():
    shapes = [Shape(40, 30, 1)]
    given_scales = Scales(
        (below("twins", 40, 3) * 60 - 60).astype(np.int8), COLUMNS, (below("columns", 30, 128) - 64).astype(np.int8)
    )
    assert np.array_equal(scales.all_levels(given_scales, shapes), naive_levels(given_scales, shapes))


@settings(deadline=None)
@given(steps=st.lists(st.integers(-64, 63), max_size=200))
def test_steps_come_back(steps):
    array = np.array(steps, np.int8)
    assert np.array_equal(scales.decode_steps(memoryview(scales.encode_steps(array)), array.size), array)


def test_steady_steps_cost_little():
    assert len(scales.encode_steps(np.full(4096, -17, np.int8))) < 24
    nearly = (below("nearly", 4096, 3) - 18).astype(np.int8)
    assert len(scales.encode_steps(nearly)) * 8 < 4096 * 2.2


@pytest.mark.parametrize("mode", [NO_COLUMNS, COLUMNS, CHANNELS])
@pytest.mark.parametrize("rows", [False, True])
def test_scales_come_back_and_mutants_are_harmless(mode, rows):
    given_scales, out, refused = some(mode, rows, SHAPES), Writer(), 0
    scales.write_scales(out, given_scales)
    read = scales.read_scales(Reader(out.bytes()), given_scales.flags, SHAPES)
    assert read.mode == mode
    for a, b in ((read.rows, given_scales.rows), (read.columns, given_scales.columns)):
        assert (a is None) == (b is None)
        assert a is None or np.array_equal(a, b)
    for k, mutant in enumerate(mutants(out.bytes(), (mode, rows), 300)):
        try:
            levels = scales.all_levels(scales.read_scales(Reader(mutant), k % 6, SHAPES), SHAPES)
        except FormatError:
            refused += 1
        else:
            assert levels.size == sum(s.rows * s.columns for s in SHAPES)
            assert levels.size == 0 or levels.max() < scales.LEVELS
    assert refused > 50


def test_unknown_flags_are_refused():
    for flags in (6, 7, 8, 255):
        with pytest.raises(FormatError, match="unknown kind"):
            scales.read_scales(Reader(bytes(100)), flags, SHAPES)


def planted(shape: Shape, row_octaves: np.ndarray, column_octaves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symbols that are logarithms of magnitudes, and the energy of each."""
    size = np.abs(bell("planted", shape.rows * shape.columns)).reshape(shape.rows, shape.columns).astype(np.float64) + 1
    symbols = np.rint(2 * np.log2(size) + 2 * row_octaves[:, None] + 2 * column_octaves).astype(np.uint8)
    return symbols.reshape(-1), np.exp2(np.arange(256.0))


def test_the_estimator_finds_planted_scales():
    rows, columns = below("rows", 200, 5), below("cols", 300, 4)
    shape = Shape(200, 300, 1)
    estimator = Estimator(*planted(shape, rows, columns), [shape])
    for found, octaves in ((estimator.rows, rows), (estimator.columns(COLUMNS), columns)):
        slack = found.astype(int) - scales.STEPS * octaves
        assert np.abs(slack - np.median(slack)).max() <= 1  # a quarter octave of noise


def test_the_estimator_finds_kernel_positions():
    inner, kernel = below("inner", 30, 5), np.array([0, 1, 0, 1, 4, 1, 0, 1, 0])
    shape = Shape(400, 30, 9)
    estimator = Estimator(*planted(shape, np.zeros(400, int), (inner[:, None] + kernel).reshape(-1)), [shape])
    found = estimator.columns(CHANNELS).astype(int)
    assert found.size == 39
    for part, octaves in ((found[:30], inner), (found[30:], kernel)):
        slack = part - scales.STEPS * octaves
        assert np.abs(slack - np.median(slack)).max() <= 1


@pytest.mark.parametrize("energy", [np.zeros(256), np.full(256, 1e-300), np.exp2(-400 + np.arange(256.0))])
def test_the_estimator_takes_any_energy_and_shape(energy):
    symbols = below("any", sum(s.rows * s.columns for s in SHAPES), 256).astype(np.uint8)
    estimator = Estimator(symbols, energy, SHAPES)
    assert estimator.rows.size == sum(s.rows for s in SHAPES)
    for mode in (COLUMNS, CHANNELS):
        assert estimator.columns(mode).size == scales.sent_columns(mode, SHAPES)


def test_no_tensors_no_levels():
    assert scales.all_levels(NONE, []).size == 0
    assert Estimator(np.empty(0, np.uint8), np.zeros(256), []).columns(CHANNELS).size == 0


def test_pinned_bytes():
    assert (
        scales.encode_steps(np.array([0, 1, -1, 5, 5, 5, -28, 28, 63, -64], np.int8)).hex()
        == "8aa006ebb8e52c3c97f06942d19bba6d"
    )
    out = Writer()
    scales.write_scales(out, some(CHANNELS, True, [Shape(300, 40, 9)]))
    assert digest(out.bytes()) == "6d8d25eb573fdb0d"
