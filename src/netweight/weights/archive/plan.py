"""From files to an index without payloads: segments, what is stored once, what equals the base, and the blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from ...errors import FormatError
from ...ggml import BLOCK_TYPES
from ...spec import Spec, element_count
from ..methods import Effort
from ..pieces import split
from ..regions.model import Layout, Region, View
from .base import Base
from .check import check_file
from .index import BASE_DELTA, BASE_EQUAL, COPY, GAP, INLINE, OWN, REGION, FileEntry, Index, Piece, Segment
from .inputs import InputFile, Inputs

INLINE_LIMIT: Final = 1 << 16
INLINE_TOTAL: Final = 8 << 20  # an index is read at once
SMALL_ELEMENTS: Final = 1 << 16  # tensors under this share blocks and so the cost of their tables
COMPARE_BYTES: Final = 4 << 20
_LEAST_COPY: Final = 64
_SAMPLE: Final = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where a segment lies: which input file, from which byte."""

    file: int
    offset: int


@dataclass
class Plan:
    """An index whose blocks are yet to be coded: `groups[k]` is what block k holds, `places[s]` where segment s is."""

    index: Index
    places: list[Place]
    groups: list[tuple[Piece, ...]]


Kind = Callable[[Segment], Hashable]
"""Small tensors share a block where this is the same for them."""


def make_plan(inputs: Inputs, effort: Effort, base: Base | None, kind: Kind = lambda _: None) -> Plan:
    """Look at the inputs (headers; tensors only to compare them) and decide what is coded, and how it is cut."""
    index = Index(directory=inputs.directory)
    places: list[Place] = []
    inline = INLINE_TOTAL
    for number, file in enumerate(inputs.files):
        layout = file.layout
        placed, entry = _entry(file, layout, len(index.segments), inline)
        try:
            check_file(entry, [s for _, s in placed])
        except FormatError as error:  # an archive couldn't say it
            layout = Layout(layout.format, problem=str(error))
            placed, entry = _entry(file, layout, len(index.segments), inline)
        inline -= sum(len(s.inline) for _, s in placed)
        index.files.append(entry)
        index.segments.extend(s for _, s in placed)
        places.extend(Place(number, offset) for offset, _ in placed)
    if base is not None:
        _match_base(index, places, inputs, base)
    _mark_copies(index, places, inputs)
    return Plan(index, places, list(_groups(index.segments, effort, kind)))


def _entry(file: InputFile, layout: Layout, start: int, inline: int) -> tuple[list[tuple[int, Segment]], FileEntry]:
    """(offset, segment) of each segment, the first being number `start` of the index; the file's entry."""
    placed = list(_segments(file, layout, inline))
    views = tuple(replace(v, strides=_meaningful(v)) for v in layout.views)
    entry = FileEntry(file.path, file.source.size, b"", layout.format, layout.problem, (start, start + len(placed)))
    return placed, replace(entry, views=views, empty=layout.empty)


def _meaningful(view: View) -> tuple[int, ...]:
    """The strides, 0 along an axis of one element: files have any number there."""
    return tuple(step if n > 1 else 0 for n, step in zip(view.shape, view.strides, strict=True))


def _segments(file: InputFile, layout: Layout, inline: int) -> Iterator[tuple[int, Segment]]:
    """(offset, segment) of each; short gaps, up to `inline` bytes in all, lie in the index."""
    at = 0
    for region in (*layout.regions, None):
        end = region.offset if region else file.source.size
        if end > at:
            gap = _gap(file, at, end - at, inline)
            inline -= len(gap.inline)
            yield at, gap
        if region:
            yield region.offset, _region(region)
            at = region.offset + region.nbytes


def _gap(file: InputFile, offset: int, nbytes: int, inline: int) -> Segment:
    if nbytes <= min(inline, INLINE_LIMIT):
        return Segment(INLINE, nbytes, inline=file.source.read(offset, nbytes).tobytes())
    return Segment(GAP, nbytes)


def _region(region: Region) -> Segment:
    return Segment(REGION, region.nbytes, region.name, region.dtype, region.shape)


def _chunks(nbytes: int) -> Iterator[tuple[int, int]]:
    for start in range(0, nbytes, COMPARE_BYTES):
        yield start, min(COMPARE_BYTES, nbytes - start)


def _match_base(index: Index, places: list[Place], inputs: Inputs, base: Base) -> None:
    for k, segment in enumerate(index.segments):
        found = base.find(segment) if segment.kind == REGION else None
        if found is None:
            continue
        source, offset = inputs.files[places[k].file].source, places[k].offset
        other = base.source(found.file)
        equal = all(
            np.array_equal(source.read(offset + at, n), other.read(found.offset + at, n))
            for at, n in _chunks(segment.nbytes)
        )
        how = BASE_EQUAL if equal else BASE_DELTA
        index.segments[k] = replace(segment, how=how, base_file=found.file, base_offset=found.offset)
    if any(s.how != OWN for s in index.segments):
        index.bases = base.files()


def _mark_copies(index: Index, places: list[Place], inputs: Inputs) -> None:
    """Give every later twin of a region a reference to the first. Bytes are compared, not hashes."""

    def read(k: int, at: int, n: int) -> NDArray[np.uint8]:
        return inputs.files[places[k].file].source.read(places[k].offset + at, n)

    def sample(k: int) -> bytes:
        nbytes = index.segments[k].nbytes
        return read(k, (nbytes - _SAMPLE) // 2, _SAMPLE).tobytes() + read(k, nbytes - _SAMPLE, _SAMPLE).tobytes()

    def digest(k: int) -> bytes:
        state = xxhash.xxh3_128()
        for at, n in _chunks(index.segments[k].nbytes):
            state.update(read(k, at, n))
        return state.digest()

    large = [k for k, s in enumerate(index.segments) if s.has_blocks and s.nbytes >= _LEAST_COPY]
    groups = [large]
    for key in (
        lambda k: index.segments[k].nbytes,
        sample,
        digest,
    ):  # from cheap to dear, each where the one before ties
        groups = [alike for group in groups for alike in _grouped(group, key) if len(alike) > 1]
    for first, *others in groups:
        for k in others:
            if all(np.array_equal(read(k, at, n), read(first, at, n)) for at, n in _chunks(index.segments[k].nbytes)):
                index.segments[k] = replace(index.segments[k], how=COPY, copy_of=first, base_file=0, base_offset=0)


def _grouped(members: list[int], key: Callable[[int], Hashable]) -> Iterable[list[int]]:
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for k in members:
        groups[key(k)].append(k)
    return groups.values()


def _groups(segments: list[Segment], effort: Effort, kind: Kind) -> Iterator[tuple[Piece, ...]]:
    """Blocks: large tensors are cut by rows; small ones of one dtype share a block, in file order."""
    pending: dict[Hashable, list[Piece]] = defaultdict(list)
    filled: dict[Hashable, int] = defaultdict(int)
    for k, segment in enumerate(segments):
        if not segment.has_blocks:
            continue
        spec = segment.piece_spec(segment.nbytes)
        count = spec.count
        if segment.kind == GAP or count >= SMALL_ELEMENTS:
            yield from _cut(k, spec, effort)
            continue
        key = (segment.dtype, segment.how == BASE_DELTA, kind(segment))
        pending[key].append(Piece(k, 0, segment.nbytes))
        filled[key] += count
        if filled[key] >= effort.block_elements:
            yield tuple(pending.pop(key))
            del filled[key]
    yield from (tuple(pieces) for pieces in pending.values())


def _cut(segment: int, spec: Spec, effort: Effort) -> Iterator[tuple[Piece, ...]]:
    at, most = 0, effort.block_elements
    if spec.dtype == "U8" or spec.dtype in BLOCK_TYPES:  # under a byte an element
        most = max(most, 1 << 22)
    for part in split(spec, most):
        yield (Piece(segment, at, part.nbytes),)
        at += part.nbytes


def element_total(segments: list[Segment]) -> int:
    """Weights in all regions."""
    return sum(element_count(s.shape) for s in segments if s.kind == REGION)
