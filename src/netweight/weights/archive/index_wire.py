"""The index as bytes, and back; `docs/format.md` has the grammar.

    index := directory | files | segments | blocks | bases        version 1
           | notes, losses (lossy_wire.py)                        version 2

In version 2 a safetensors header that follows from the file's regions is a segment of kind 3 without bytes.

Everything is a column of varints or texts, so that equal things stand together and compress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...errors import FormatError
from ...spec import byte_count, name_of, number_of
from ...wire import Reader, Writer, from_zigzag, zigzag
from ..regions.model import View
from . import lossy_wire
from .check import Budget, check_index
from .index import (
    BASE_DELTA,
    BASE_EQUAL,
    CHECKSUM_BYTES,
    COPY,
    DIGEST_BYTES,
    INLINE,
    OWN,
    REGION,
    BaseFile,
    Block,
    FileEntry,
    Index,
    Piece,
    Segment,
)  # fmt: skip


def _write_names(out: Writer, names: list[str]) -> None:
    texts = [n.encode("utf-8", "surrogatepass") for n in names]
    out.varints(len(t) for t in texts).raw(b"".join(texts))


def _write_shapes(out: Writer, shapes: list[tuple[int, ...]]) -> None:
    out.varints(len(s) for s in shapes)
    for shape in shapes:
        out.varints(shape)


def _write_segments(out: Writer, segments: list[Segment], derived: set[int]) -> None:
    kinds = [lossy_wire.DERIVED if k in derived else s.kind for k, s in enumerate(segments)]
    out.varint(len(segments)).varints(kind | s.how << 2 for kind, s in zip(kinds, segments, strict=True))
    regions = [s for s in segments if s.kind == REGION]
    out.varints(number_of(s.dtype) for s in regions)
    _write_shapes(out, [s.shape for s in regions])
    out.varints(s.nbytes for s in segments if s.kind != REGION)
    out.varints(s.copy_of for s in segments if s.how == COPY)
    based = [s for s in segments if s.how in (BASE_EQUAL, BASE_DELTA)]
    out.varints(s.base_file for s in based).varints(s.base_offset for s in based)
    out.raw(b"".join(s.inline for k, s in enumerate(segments) if s.kind == INLINE and k not in derived))
    _write_names(out, [s.name for s in regions])


def _write_files(out: Writer, files: list[FileEntry]) -> None:
    out.varint(len(files))
    for f in files:
        out.text(f.path).varint(f.size).text(f.format).text(f.problem).varint(f.segments[1] - f.segments[0])
        out.varint(len(f.views))
        _write_names(out, [v.name for v in f.views])
        _write_shapes(out, [v.shape for v in f.views])
        for v in f.views:
            out.varint(v.region).varint(v.start).varints(map(zigzag, v.strides))
        out.varint(len(f.empty))
        for name, dtype, shape in f.empty:
            out.text(name).varint(number_of(dtype)).varint(len(shape)).varints(shape)


def _write_blocks(out: Writer, blocks: list[Block], segments: list[Segment]) -> None:
    out.varint(len(blocks)).varints(b.length for b in blocks).varints(len(b.pieces) for b in blocks)
    pieces = [p for b in blocks for p in b.pieces]
    previous = [0, *(p.segment for p in pieces)]
    out.varints(zigzag(p.segment - q) for p, q in zip(pieces, previous, strict=False))
    # 0 stands for "all that is left of the segment", the common case.
    out.varints(0 if p.start + p.nbytes == segments[p.segment].nbytes else p.nbytes for p in pieces)


def encode_index(index: Index) -> tuple[bytes, bytes]:
    """(compressible part, random part): the second holds digests, checksums and hashes."""
    out, random = Writer(), Writer()
    out.varint(int(index.directory))
    _write_files(out, index.files)
    _write_segments(out, index.segments, lossy_wire.derived(index) if index.version > 1 else set())
    _write_blocks(out, index.blocks, index.segments)
    out.varint(len(index.bases))
    for b in index.bases:
        out.text(b.path).varint(b.size)
        random.raw(b.sha256)
    for f in index.files:
        random.raw(f.digest)
    for block in index.blocks:
        random.raw(block.checksum)
    if index.version > 1:
        lossy_wire.write(out, index)
    return out.bytes(), random.bytes()


def _read_names(source: Reader, count: int) -> list[str]:
    lengths = source.varints(count, limit=source.remaining)
    try:
        return [bytes(source.raw(n)).decode("utf-8", "surrogatepass") for n in lengths]
    except UnicodeDecodeError:
        raise FormatError("archive index: a name is not UTF-8") from None


def _read_shapes(source: Reader, count: int) -> list[tuple[int, ...]]:
    return [tuple(source.varints(rank)) for rank in source.varints(count, limit=64)]


def _take(values: Iterable[int]) -> Callable[[], int]:
    iterator = iter(values)
    return lambda: next(iterator)


def _read_segments(source: Reader, budget: Budget, version: int) -> tuple[list[Segment], set[int]]:
    """The segments, and which of them are headers that are yet to be derived."""
    flags = source.varints(budget.take(source.varint(limit=source.remaining)), limit=15)
    kinds, hows = [f & 3 for f in flags], [f >> 2 for f in flags]
    derived = {k for k, kind in enumerate(kinds) if kind == lossy_wire.DERIVED} if version > 1 else set()
    kinds = [INLINE if k in derived else kind for k, kind in enumerate(kinds)]
    if any(k > REGION for k in kinds) or any(k == INLINE and h != OWN for k, h in zip(kinds, hows, strict=True)):
        raise FormatError("archive index: unknown kind of segment")
    regions = kinds.count(REGION)
    dtypes = [name_of(n) for n in source.varints(regions)]
    shapes = _read_shapes(source, regions)
    sizes = source.varints(len(kinds) - regions, limit=1 << 62)
    copies = source.varints(hows.count(COPY), limit=len(kinds))
    based = sum(h in (BASE_EQUAL, BASE_DELTA) for h in hows)
    base_files, base_offsets = source.varints(based), source.varints(based)
    other = [k for k, kind in enumerate(kinds) if kind != REGION]
    inlines = {
        k: bytes(source.raw(n)) for k, n in zip(other, sizes, strict=True) if kinds[k] == INLINE and k not in derived
    }
    names = iter(_read_names(source, regions))
    size, copy, base_file, base_offset = _take(sizes), _take(copies), _take(base_files), _take(base_offsets)
    typed = iter(zip(dtypes, shapes, strict=True))
    segments: list[Segment] = []
    for number, (kind, how) in enumerate(zip(kinds, hows, strict=True)):
        has_base = how in (BASE_EQUAL, BASE_DELTA)
        dtype, shape = next(typed) if kind == REGION else ("U8", ())
        segments.append(
            Segment(
                kind,
                byte_count(dtype, shape) if kind == REGION else size(),
                name=next(names) if kind == REGION else "",
                dtype=dtype,
                shape=shape,
                inline=inlines.get(number, b""),
                how=how,
                copy_of=copy() if how == COPY else 0,
                base_file=base_file() if has_base else 0,
                base_offset=base_offset() if has_base else 0,
            )
        )
    return segments, derived


def _read_files(source: Reader, budget: Budget) -> list[FileEntry]:
    files, start = [], 0
    for _ in range(budget.take(source.varint(limit=source.remaining))):
        path, size, form, problem = source.text(), source.varint(), source.text(), source.text()
        count = source.varint(limit=source.remaining)
        views = budget.take(source.varint(limit=source.remaining))
        names, shapes = _read_names(source, views), _read_shapes(source, views)
        rest = [(source.varint(), source.varint(), tuple(map(from_zigzag, source.varints(len(s))))) for s in shapes]
        view_list = tuple(
            View(n, r, s, at, tuple(strides)) for n, s, (r, at, strides) in zip(names, shapes, rest, strict=True)
        )
        empty = []
        for _ in range(budget.take(source.varint(limit=source.remaining))):
            name, dtype = source.text(), name_of(source.varint())
            empty.append((name, dtype, tuple(source.varints(source.varint(limit=64)))))
        files.append(FileEntry(path, size, b"", form, problem, (start, start + count), view_list, tuple(empty)))
        start += count
    return files


def _read_pieces(source: Reader, counts: list[int], segments: list[Segment]) -> list[tuple[Piece, ...]]:
    total = sum(counts)
    steps = list(map(from_zigzag, source.varints(total)))
    sizes = source.varints(total)
    done, at, k = [0] * len(segments), 0, 0
    out = []
    for count in counts:
        pieces = []
        for _ in range(count):
            at += steps[k]
            if not 0 <= at < len(segments) or not segments[at].has_blocks:
                raise FormatError(f"archive index: a block refers to segment {at}, which has no blocks")
            nbytes = sizes[k] or segments[at].nbytes - done[at]
            if nbytes <= 0 or done[at] + nbytes > segments[at].nbytes:
                raise FormatError(f"archive index: blocks overrun segment {at} ({segments[at].name!r})")
            if segments[at].piece_spec(nbytes).nbytes != nbytes:
                raise FormatError(f"archive index: a block cuts {segments[at].name!r} inside an element")
            pieces.append(Piece(at, done[at], nbytes))
            done[at] += nbytes
            k += 1
        out.append(tuple(pieces))
    for segment, got in zip(segments, done, strict=True):
        if segment.has_blocks and got != segment.nbytes:
            raise FormatError(f"archive index: {segment.nbytes - got} bytes of {segment.name!r} are in no block")
    return out


def entry_count(index: Index) -> int:
    """The entries that a Budget counts."""
    inside = sum(len(f.views) + len(f.empty) for f in index.files) + sum(len(b.pieces) for b in index.blocks)
    return inside + len(index.files) + len(index.segments) + len(index.blocks) + len(index.bases)


def decode_index(
    data: bytes | memoryview, random: bytes | memoryview, first_offset: int, entries: int, version: int = 1
) -> Index:
    """The inverse of `encode_index`; blocks lie end to end from `first_offset`, and there are at most `entries` things.

    Raises FormatError; BombError for more entries.
    """
    budget = Budget(entries)
    source, hashes = Reader(data, "archive index"), Reader(random, "archive checksums")
    directory = bool(source.varint(limit=1))
    files = _read_files(source, budget)
    segments, derived = _read_segments(source, budget, version)
    lossy_wire.derive(files, segments, derived)
    count = budget.take(source.varint(limit=source.remaining))
    lengths = source.varints(count)
    counts = source.varints(count, limit=source.remaining)
    budget.take(sum(counts))
    pieces = _read_pieces(source, counts, segments)
    base_count = budget.take(source.varint(limit=source.remaining))
    bases = [BaseFile(source.text(), source.varint(), b"") for _ in range(base_count)]
    notes, losses = lossy_wire.read(source, segments) if version > 1 else (None, {})
    source.end()
    bases = [BaseFile(b.path, b.size, bytes(hashes.raw(32))) for b in bases]
    files = [
        FileEntry(f.path, f.size, bytes(hashes.raw(DIGEST_BYTES)), f.format, f.problem, f.segments, f.views, f.empty)
        for f in files
    ]
    blocks, offset = [], first_offset
    for length, parts in zip(lengths, pieces, strict=True):
        blocks.append(Block(offset, length, bytes(hashes.raw(CHECKSUM_BYTES)), parts))
        offset += length
    hashes.end()
    index = Index(directory, files, segments, blocks, bases, notes, losses)
    check_index(index)
    return index
