"""What an index must keep before anything is decoded by it: references lead somewhere, no length is absurd."""

from __future__ import annotations

from ...errors import BombError, FormatError
from ...ggml import BLOCK_TYPES
from ...spec import element_count
from ..methods import MAX_BLOCK_BYTES, MAX_BLOCK_ELEMENTS
from ..regions.model import View
from .index import BASE_DELTA, BASE_EQUAL, COPY, INLINE, REGION, Block, FileEntry, Index, Segment, group_spec
from .members import safe_member


class Budget:
    """How many entries (files, segments, views, blocks, pieces) an index may hold: each costs memory of its own."""

    def __init__(self, entries: int) -> None:
        self._left = entries

    def take(self, count: int) -> int:
        """`count`. Raises BombError if that is more than is left."""
        self._left -= count
        if self._left < 0:
            raise BombError(f"archive index: announces {count} entries, more than its bytes can honestly hold")
        return count


def check_index(index: Index) -> None:
    """Raises FormatError unless the files are tiled by their segments and every reference leads somewhere earlier."""
    if (index.files[-1].segments[1] if index.files else 0) != len(index.segments):
        raise FormatError("archive index: segments that belong to no file")
    _check_paths(index)
    for f in index.files:
        check_file(f, index.segments[slice(*f.segments)])
    for k, s in enumerate(index.segments):
        _check_segment(k, s, index)
    for b in index.blocks:
        _check_block(b, index.segments)


def _check_paths(index: Index) -> None:
    if not index.directory:
        if len(index.files) != 1:
            raise FormatError(f"archive index: {len(index.files)} files where one was expected")
        return
    members = {safe_member(f.path) for f in index.files}
    if len(members) != len(index.files):
        raise FormatError("archive index: two files of the same name")
    for member in members:
        if any(parent in members for parent in member.parents):
            raise FormatError(f"archive index: {str(member)!r} lies in a folder that is a file too")


def check_file(file: FileEntry, own: list[Segment]) -> None:
    """Raises FormatError unless the segments make the file and its tensors lie in them."""
    if sum(s.nbytes for s in own) != file.size:
        raise FormatError(f"archive index: the segments of {file.path!r} don't make {file.size} bytes")
    regions = [s for s in own if s.kind == REGION]
    for view in file.views:
        if view.region >= len(regions) or not _inside(view, regions[view.region]):
            raise FormatError(f"archive index: tensor {view.name!r} reaches outside its storage")
    for name, _, shape in file.empty:
        if element_count(shape):
            raise FormatError(f"archive index: tensor {name!r} of shape {shape} is announced as empty")
    for names in ([v.name for v in file.views] or [s.name for s in regions], [e[0] for e in file.empty]):
        if len(set(names)) != len(names):
            raise FormatError(f"archive index: two tensors of {file.path!r} have the same name")


def _inside(view: View, region: Segment) -> bool:
    if len(view.shape) != len(view.strides) or min(view.shape, default=1) < 1 or min(view.strides, default=0) < 0:
        return False
    last = view.start + sum((n - 1) * step for n, step in zip(view.shape, view.strides, strict=True))
    return element_count(view.shape) > 0 and last < element_count(region.shape)


def _check_segment(number: int, s: Segment, index: Index) -> None:
    if s.nbytes < 1:
        raise FormatError(f"archive index: segment {number} ({s.name!r}) is empty")
    if s.dtype in BLOCK_TYPES and (not s.shape or s.shape[-1] % BLOCK_TYPES[s.dtype].weights):
        raise FormatError(f"archive index: rows of {s.name!r} are no whole number of {s.dtype} blocks")
    if s.how == COPY and not (s.copy_of < number and _copyable(index.segments[s.copy_of], s)):
        raise FormatError(f"archive index: segment {number} copies {s.copy_of}, which can't be its source")
    if s.how in (BASE_EQUAL, BASE_DELTA) and not (
        s.base_file < len(index.bases) and s.base_offset + s.nbytes <= index.bases[s.base_file].size
    ):
        raise FormatError(f"archive index: {s.name!r} refers to a base that isn't there")


def _copyable(original: Segment, copy: Segment) -> bool:
    return original.nbytes == copy.nbytes and original.how != COPY and original.kind != INLINE


def _check_block(block: Block, segments: list[Segment]) -> None:
    kinds = {(segments[p.segment].dtype, segments[p.segment].how) for p in block.pieces}
    if len(kinds) != 1:
        raise FormatError(f"archive index: a block holds {len(kinds)} kinds of data")
    nbytes = sum(p.nbytes for p in block.pieces)
    if nbytes > MAX_BLOCK_BYTES or group_spec(segments, block.pieces).count > MAX_BLOCK_ELEMENTS:
        raise BombError(f"archive index: a block of {block.length} bytes announces {nbytes}; no block holds so many")
