"""GGUF, versions 2 and 3, little endian: metadata, tensor infos, then the aligned tensors."""

from __future__ import annotations

from math import prod
from typing import Final

from ...errors import BombError, FormatError, TruncatedError
from ...source import Source
from ...spec import DTYPES, element_count
from .blocks import BLOCK_TYPES
from .cursor import Cursor
from .guard import finder, head
from .model import Layout, Region

MAX_STRINGS: Final = 20_000_000
_MAX_RANK: Final = 8
_MAX_NESTING: Final = 8
_DEFAULT_ALIGNMENT: Final = 32
_STRING, _ARRAY, _U32 = 8, 9, 4
# Bytes of a metadata value by its type's number: u8 i8 u16 i16 u32 i32 f32 bool, then u64 i64 f64.
_WIDTHS: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_PLAIN: Final = {0: "F32", 1: "F16", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 30: "BF16"}
_TYPES: Final = _PLAIN | {b.number: b.name for b in BLOCK_TYPES.values()}


class _Metadata:
    """Passes over the key-value pairs and keeps the alignment."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._strings = 0
        self.alignment = _DEFAULT_ALIGNMENT

    def skip_pairs(self, count: int) -> None:
        cursor = self._cursor
        for _ in range(count):
            key, kind = cursor.raw(cursor.u64()), cursor.u32()
            if key == b"general.alignment":
                if kind != _U32:
                    raise FormatError("general.alignment must be a 32-bit number")
                self.alignment = cursor.u32()
            else:
                self._skip_value(kind, 0)
        if not 0 < self.alignment <= 1 << 30:
            raise FormatError(f"impossible alignment {self.alignment}")

    def _skip_value(self, kind: int, depth: int) -> None:
        if kind in _WIDTHS:
            self._cursor.skip(_WIDTHS[kind])
        elif kind == _STRING:
            self._cursor.skip(self._cursor.u64())
        elif kind == _ARRAY and depth < _MAX_NESTING:
            self._skip_array(self._cursor.u32(), self._cursor.u64(), depth)
        else:
            raise FormatError(f"metadata value of unknown type {kind} or nested too deep at byte {self._cursor.at}")

    def _skip_array(self, kind: int, count: int, depth: int) -> None:
        if kind in _WIDTHS:
            self._cursor.skip(_WIDTHS[kind] * count)
            return
        self._strings += count
        if self._strings > MAX_STRINGS or count > self._cursor.remaining // 8:
            raise BombError(f"an array of {count} items before byte {self._cursor.at}")
        if kind == _STRING:
            self._cursor.skip_blobs(count)
            return
        for _ in range(count):
            self._skip_value(kind, depth + 1)


def nbytes_of(name: str, dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor of `shape` (weights, last axis innermost). Raises FormatError for a row of broken blocks."""
    count = element_count(shape)
    if dtype in DTYPES:
        return (count * DTYPES[dtype].bits + 7) // 8
    block = BLOCK_TYPES[dtype]
    if (shape[-1] if shape else 1) % block.weights:
        raise FormatError(f"tensor {name!r}: rows of {shape[-1:]} weights aren't whole {dtype} blocks")
    return count // block.weights * block.nbytes


def _tensor(cursor: Cursor) -> Region | None:
    """One tensor info; the offset is still relative to the data. None for a type that we don't know."""
    name = cursor.raw(cursor.u64()).decode("utf-8", "surrogateescape")
    rank = cursor.u32()
    if rank > _MAX_RANK:
        raise FormatError(f"tensor {name!r}: {rank} axes")
    shape = tuple(cursor.u64() for _ in range(rank))[::-1]
    kind, offset = cursor.u32(), cursor.u64()
    if kind not in _TYPES:
        return None
    return Region(name, _TYPES[kind], shape, offset, nbytes_of(name, _TYPES[kind], shape))


def _placed(region: Region, start: int, size: int) -> Region:
    if start + region.offset + region.nbytes > size:
        raise TruncatedError(f"tensor {region.name!r}: {region.nbytes} bytes at {start + region.offset} in {size}")
    return Region(region.name, region.dtype, region.shape, start + region.offset, region.nbytes)


@finder("gguf")
def find(source: Source) -> Layout | None:
    """A Finder. Shapes are in numpy's order (GGUF lists the innermost axis first)."""
    if head(source, 4) != b"GGUF":
        return None
    cursor = Cursor(source, 4)
    version = cursor.u32()
    if version not in (2, 3):
        problem = "big-endian" if version and version & 0xFFFF == 0 else f"version {version}"
        raise FormatError(f"{problem} GGUF isn't read, only little-endian version 2 and 3")
    tensors, pairs = cursor.u64(), cursor.u64()
    if tensors * 24 + pairs * 13 > cursor.remaining:
        raise TruncatedError(f"{tensors} tensors and {pairs} metadata pairs announced in {source.size} bytes")
    metadata = _Metadata(cursor)
    metadata.skip_pairs(pairs)
    found = [r for r in (_tensor(cursor) for _ in range(tensors)) if r]
    start = -(-cursor.at // metadata.alignment) * metadata.alignment
    regions = sorted((_placed(r, start, source.size) for r in found if prod(r.shape)), key=lambda r: r.offset)
    empty = tuple((r.name, r.dtype, r.shape) for r in found if not prod(r.shape))
    return Layout("gguf", tuple(regions), empty=empty)
