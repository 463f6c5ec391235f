"""Decode all of an archive once, handing out the bytes, and check every file's digest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from ...errors import ChecksumError
from .digests import Digests, piece_hash, range_hashes
from .index import BASE_EQUAL, COPY, INLINE
from .plan import COMPARE_BYTES
from .pool import ordered_map
from .reader import Archive

Progress = Callable[[int, int], None]
Put = Callable[[int, int, NDArray[np.uint8]], None]
"""put(file number, offset in the file, bytes); called from several threads for disjoint ranges."""


class _Delivery:
    """Takes decoded pieces: hashes them, and puts them wherever their segment or a copy of it lies."""

    def __init__(self, archive: Archive, put: Put) -> None:
        self._archive, self._put = archive, put
        self.digests = Digests(archive.index)
        self._copies: dict[int, list[int]] = defaultdict(list)
        for k, segment in enumerate(archive.index.segments):
            if segment.how == COPY:
                self._copies[segment.copy_of].append(k)

    def _deliver(self, segment: int, start: int, data: NDArray[np.uint8]) -> None:
        for k in (segment, *self._copies.get(segment, ())):
            file, offset = self._archive.places[k]
            self._put(file, offset + start, data)

    def block(self, number: int) -> int:
        """Decode a block; its length. Safe on several threads."""
        data, at = self._archive.decode_block(number), 0
        for piece in self._archive.index.blocks[number].pieces:
            part = data[at : at + piece.nbytes]
            self.digests.add(piece.segment, piece.start, piece_hash(part))
            self._deliver(piece.segment, piece.start, part)
            at += piece.nbytes
        return at

    def rest(self, k: int) -> None:
        """A segment without blocks: inline, or equal to the base."""
        segment, base = self._archive.index.segments[k], self._archive.known_base()
        if segment.kind == INLINE:
            self._deliver(k, 0, np.frombuffer(segment.inline, np.uint8))
        elif segment.how == BASE_EQUAL and base is not None:
            source = base.source(segment.base_file)
            self.digests.add(k, 0, range_hashes(source, segment.base_offset, segment.nbytes))
            for at in range(0, segment.nbytes, COMPARE_BYTES):
                n = min(COMPARE_BYTES, segment.nbytes - at)
                self._deliver(k, at, self._archive.base_bytes(k, at, n))


def decode_files(archive: Archive, put: Put, threads: int, progress: Progress | None = None) -> None:
    """Decode everything once, hand it to `put` and check every file's digest.

    Raises FormatError and its kin, BaseMismatchError.
    """
    archive.known_base()
    index, delivery = archive.index, _Delivery(archive, put)
    done, total = 0, sum(f.size for f in index.files)
    with closing(ordered_map(delivery.block, range(len(index.blocks)), threads)) as lengths:
        for nbytes in lengths:
            done += nbytes
            if progress:
                progress(min(done, total), total)
    for k in range(len(index.segments)):
        delivery.rest(k)
    for file in index.files:
        if delivery.digests.of(file) != file.digest:
            raise ChecksumError(f"{archive.source.name}: {file.path} decodes to other bytes than were compressed")
    if progress:
        progress(total, total)
