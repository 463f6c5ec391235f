"""Blocks of a tensor: they tile it, both sides agree on their specs, none is too large."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from netweight.ggml import BLOCK_TYPES
from netweight.spec import DTYPES, Spec, byte_count
from netweight.weights.archive.index import REGION, Segment
from netweight.weights.pieces import split

SIZES = st.lists(st.integers(1, 12), max_size=3).map(tuple)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    name = draw(st.sampled_from([*DTYPES, *BLOCK_TYPES]))
    shape = draw(SIZES)
    if name in BLOCK_TYPES:
        shape = (*shape, BLOCK_TYPES[name].weights * draw(st.integers(1, 5)))
    return Spec(name, (shape,))


@settings(deadline=None, max_examples=300)
@given(specs(), st.integers(256, 3000))
def test_pieces_tile_the_tensor(spec: Spec, most: int) -> None:
    parts = list(split(spec, most))
    assert sum(p.nbytes for p in parts) == spec.nbytes
    assert sum(p.count for p in parts) == spec.count
    assert all(0 < p.count <= most + 8 for p in parts), "a flat remainder may add under a byte's worth"
    if len(parts) > 1:
        largest = max(p.count for p in parts)
        row = spec.count // (spec.shapes[0][0] if len(spec.shapes[0]) > 1 else 1)
        assert min(p.count for p in parts) >= largest / 2 - max(row, 256), "no tiny remainder"


@settings(deadline=None, max_examples=300)
@given(specs(), st.integers(256, 3000))
def test_the_archive_tells_the_same_lengths(spec: Spec, most: int) -> None:
    segment = Segment(REGION, spec.nbytes, "w", spec.dtype, spec.shapes[0])
    for part in split(spec, most):
        assert segment.piece_spec(part.nbytes).nbytes == part.nbytes


def test_huge_shapes_are_split_lazily() -> None:
    spec = Spec("F32", ((1 << 28, 1 << 28),))
    first = next(split(spec, 1 << 20))
    assert byte_count("F32", first.shapes[0]) == 4 << 20


def test_whole_rows_where_they_fit() -> None:
    assert [p.shapes[0] for p in split(Spec("F32", ((10, 300),)), 1000)] == [(3, 300), (3, 300), (3, 300), (1, 300)]
    assert [p.shapes[0] for p in split(Spec("F32", ((2, 1500),)), 1000)] == [(1000,)] * 3
    assert list(split(Spec("F32", ((),)), 1000)) == [Spec("F32", ((),))]
    assert list(split(Spec("F32", ((0, 5),)), 1000)) == [Spec("F32", ((0, 5),))]
