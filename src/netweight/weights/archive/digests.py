"""The digest of a file, from the hashes of its pieces: computed where the bytes are hot, in any order.

    piece hash := XXH3-64 of a piece's bytes, big endian
    digest     := XXH3-128 over the piece hashes of the file's segments in file order

A copied segment has its original's pieces; one that equals the base has pieces of 4 MiB; an inline one is one piece.
"""

from __future__ import annotations

import numpy as np
import xxhash
from numpy.typing import NDArray

from ...source import Source
from .index import COPY, INLINE, FileEntry, Index
from .plan import COMPARE_BYTES


def piece_hash(data: NDArray[np.uint8] | bytes) -> bytes:
    return xxhash.xxh3_64_digest(data)


def range_hashes(source: Source, offset: int, nbytes: int) -> bytes:
    """Piece hashes of `nbytes` of a source that have no blocks of their own."""
    starts = range(0, nbytes, COMPARE_BYTES)
    return b"".join(piece_hash(source.read(offset + at, min(COMPARE_BYTES, nbytes - at))) for at in starts)


class Digests:
    """Collects piece hashes and makes the digest of each file."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._pieces: list[dict[int, bytes]] = [{} for _ in index.segments]

    def add(self, segment: int, start: int, digest: bytes) -> None:
        """The hash of the piece of `segment` that starts at byte `start` of it."""
        self._pieces[segment][start] = digest

    def _segment(self, number: int) -> bytes:
        segment = self._index.segments[number]
        if segment.kind == INLINE:
            return piece_hash(segment.inline)
        if segment.how == COPY:
            return self._segment(segment.copy_of)
        pieces = self._pieces[number]
        return b"".join(pieces[start] for start in sorted(pieces))

    def of(self, file: FileEntry) -> bytes:
        """16 bytes."""
        state = xxhash.xxh3_128()
        for number in range(*file.segments):
            state.update(self._segment(number))
        return state.digest()
