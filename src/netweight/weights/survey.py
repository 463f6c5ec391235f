"""What the tensors of a checkpoint are like before any coding: sizes, exponent histograms and the order-0 bound.

The bound of a tensor is a figure without bytes: what an ideal coder needs that knows the tensor's histogram for free
and nothing else (Shannon 1948). For n floats it is n x (H0(exponent field) + sign and mantissa bits); for anything
else, n x H0 of the bytes (of each field's bytes for a quantised block). A code that looks at the neighbourhood of a
weight, or at its mantissa, can go below it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..source import Source
from ..spec import DTYPES, DType, byte_count, element_count
from .regions.blocks import BLOCK_TYPES, BlockType
from .regions.model import Layout, Region, View

Counts = NDArray[np.int64]
Progress = Callable[[int], None]

_CHUNK_BYTES: Final = 1 << 22
_COMPONENT: Final = {"C64": "F32", "C128": "F64"}


@dataclass(frozen=True)
class Surveyed:
    """One tensor: `elements` weights in `nbytes` bytes of file `file`, at least `bound_bits` bits at order 0.

    `exponents[e]` counts the elements whose biased exponent field is e; None for a type without exponents.
    """

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    elements: int
    nbytes: int
    bound_bits: float
    exponents: Counts | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class FileSurvey:
    """One file: its tensors in file order, and the bytes between them."""

    path: str
    format: str
    problem: str
    size: int
    tensors: tuple[Surveyed, ...]
    gap_bytes: int
    gap_bound_bits: float

    @property
    def elements(self) -> int:
        return sum(t.elements for t in self.tensors)

    @property
    def bound_bits(self) -> float:
        return self.gap_bound_bits + sum(t.bound_bits for t in self.tensors)


def entropy_bits(counts: NDArray[np.integer]) -> float:
    """Bits of an ideal order-0 code: n x H0 of a histogram with n entries in all; 0 for an empty one."""
    seen = counts[counts > 0].astype(np.float64)
    total = seen.sum()
    return float(np.dot(seen, np.log2(total / seen))) if seen.size > 1 else 0.0


def exponent_type(dtype: str) -> DType | None:
    """The float type whose exponents `dtype` has: itself, or the component of a complex type; None if there is none."""
    kind = DTYPES.get(_COMPONENT.get(dtype, dtype))
    return kind if kind is not None and kind.kind == "float" else None


def exponent_counts(data: NDArray[np.uint8], kind: DType) -> Counts:
    """The histogram of the exponent fields of little-endian floats of type `kind`: 2^exponent counts."""
    words = data.view(f"<u{kind.bits // 8}")
    fields = (words >> words.dtype.type(kind.mantissa)) & words.dtype.type((1 << kind.exponent) - 1)
    return np.bincount(fields.astype(np.int64), minlength=1 << kind.exponent)


def byte_counts(data: NDArray[np.uint8]) -> Counts:
    """The histogram of bytes: 256 counts."""
    return np.bincount(data, minlength=256)


def order0(data: Iterable[NDArray[np.uint8]], dtype: str) -> tuple[float, Counts | None]:
    """(bound in bits, exponent histogram or None) of the consecutive chunks `data` of one tensor of type `dtype`.

    Every chunk is a whole number of elements (of blocks, for a block type).
    """
    kind = exponent_type(dtype)
    if kind is not None:
        counts = sum((exponent_counts(c, kind) for c in data), np.zeros(1 << kind.exponent, np.int64))
        return entropy_bits(counts) + float(counts.sum()) * (kind.sign + kind.mantissa), counts
    block = BLOCK_TYPES.get(dtype)
    spans = _spans(block)
    tables = [np.zeros(256, np.int64) for _ in spans]
    for chunk in data:
        for table, (start, stop, width) in zip(tables, spans, strict=True):
            part = chunk if width == 1 else chunk.reshape(-1, width)[:, start:stop].reshape(-1)
            table += byte_counts(part)
    return sum(map(entropy_bits, tables)), None


def _spans(block: BlockType | None) -> list[tuple[int, int, int]]:
    """(first byte, end, block length) of each field; plain bytes are one field of one byte."""
    if block is None:
        return [(0, 1, 1)]
    return [(f.offset, f.offset + f.nbytes, block.nbytes) for f in block.fields]


def _step(dtype: str) -> int:
    """The chunk length for `dtype`: whole elements and whole blocks."""
    unit = BLOCK_TYPES[dtype].nbytes if dtype in BLOCK_TYPES else 16
    return _CHUNK_BYTES // unit * unit


def _chunks(
    source: Source, offset: int, nbytes: int, step: int, progress: Progress | None
) -> Iterator[NDArray[np.uint8]]:
    for at in range(offset, offset + nbytes, step):
        length = min(step, offset + nbytes - at)
        yield source.read(at, length)
        if progress:
            progress(length)


@dataclass(frozen=True, slots=True)
class _Part:
    """`count` consecutive elements of a region that one name stands for."""

    name: str
    shape: tuple[int, ...]
    start: int
    count: int


def _parts(region: Region, views: list[View]) -> list[_Part]:
    """The region cut into its tensors: by its views where they lie dense and side by side, else as one part."""
    whole = [_Part(region.name, region.shape, 0, element_count(region.shape))]
    parts: list[_Part] = []
    at = 0
    for view in sorted(views, key=lambda v: v.start):
        count = element_count(view.shape)
        last = view.start + sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
        if parts and (view.start, count) == (parts[-1].start, parts[-1].count):
            continue  # a second name for the same numbers
        if view.start < at or last - view.start + 1 != count:
            return whole
        if view.start > at:
            parts.append(_Part(region.name, (view.start - at,), at, view.start - at))
        parts.append(_Part(view.name, view.shape, view.start, count))
        at = view.start + count
    if not parts or region.dtype in BLOCK_TYPES:
        return whole
    rest = whole[0].count - at
    return [*parts, _Part(region.name, (rest,), at, rest)] if rest else parts


def _placed(layout: Layout) -> Iterator[tuple[_Part, str, int, int]]:
    """(part, dtype, offset in the file, bytes) of every tensor, in file order."""
    views = defaultdict(list)
    for view in layout.views:
        views[view.region].append(view)
    for number, region in enumerate(layout.regions):
        parts = _parts(region, views[number])
        if len(parts) == 1:
            yield parts[0], region.dtype, region.offset, region.nbytes
            continue
        for part in parts:
            start, nbytes = (byte_count(region.dtype, (n,)) for n in (part.start, part.count))
            yield part, region.dtype, region.offset + start, nbytes


def outline(layout: Layout) -> Iterator[tuple[str, str, tuple[int, ...], int]]:
    """(name, dtype, shape, bytes) of every tensor that is not empty, in file order; reads nothing."""
    for part, dtype, _, nbytes in _placed(layout):
        yield part.name, dtype, part.shape, nbytes


def _gaps(layout: Layout, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    for region in layout.regions:
        if region.offset > at:
            yield at, region.offset - at
        at = region.offset + region.nbytes
    if size > at:
        yield at, size - at


def survey(source: Source, layout: Layout, path: str, progress: Progress | None = None) -> FileSurvey:
    """Read all of `source` once, in chunks. `progress` is told the bytes of each chunk."""
    tensors = []
    for part, dtype, offset, nbytes in _placed(layout):
        bound, exponents = order0(_chunks(source, offset, nbytes, _step(dtype), progress), dtype)
        tensors.append(Surveyed(part.name, path, dtype, part.shape, part.count, nbytes, bound, exponents))
    table, gap_bytes = np.zeros(256, np.int64), 0
    for start, length in _gaps(layout, source.size):
        gap_bytes += length
        for chunk in _chunks(source, start, length, _CHUNK_BYTES, progress):
            table += byte_counts(chunk)
    return FileSurvey(path, layout.format, layout.problem, source.size, tuple(tensors), gap_bytes, entropy_bits(table))
