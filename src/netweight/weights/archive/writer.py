"""Code the blocks of a plan and write the archive, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...frame import checksum
from ..methods import Effort, encode_parts
from .base import Base
from .container import header, pack_tail
from .digests import Digests, piece_hash, range_hashes
from .index import BASE_DELTA, BASE_EQUAL, Block, Piece, group_spec
from .inputs import Inputs
from .plan import Plan
from .pool import ordered_map

Progress = Callable[[int, int], None]
Sink = Callable[[bytes | NDArray[np.uint8]], None]


@dataclass(frozen=True, slots=True)
class Coded:
    """One block: its payload in parts, the hash of each piece that it decodes to, and the pieces."""

    payload: tuple[bytes, bytes | NDArray[np.uint8]]
    hashes: tuple[bytes, ...]
    pieces: tuple[Piece, ...]


Encoder = Callable[[tuple[Piece, ...]], Coded]
"""Codes the pieces of a block; safe on several threads."""


class LosslessEncoder:
    """Reads a group of pieces, hashes them and codes them."""

    def __init__(self, plan: Plan, inputs: Inputs, base: Base | None, effort: Effort) -> None:
        self._plan, self._inputs, self._base, self._effort = plan, inputs, base, effort

    def read(self, piece: Piece) -> NDArray[np.uint8]:
        place = self._plan.places[piece.segment]
        return self._inputs.files[place.file].source.read(place.offset + piece.start, piece.nbytes)

    def _read_base(self, piece: Piece) -> NDArray[np.uint8]:
        assert self._base is not None
        segment = self._plan.index.segments[piece.segment]
        return self._base.source(segment.base_file).read(segment.base_offset + piece.start, piece.nbytes)

    def __call__(self, pieces: tuple[Piece, ...]) -> Coded:
        segments = self._plan.index.segments
        parts = [self.read(p) for p in pieces]
        data = parts[0] if len(parts) == 1 else np.concatenate(parts)
        reference = None
        if segments[pieces[0].segment].how == BASE_DELTA:
            reference = np.concatenate([self._read_base(p) for p in pieces])
        payload = encode_parts(data, group_spec(segments, pieces), self._effort, reference)
        return Coded(payload, tuple(piece_hash(p) for p in parts), pieces)


def write_archive(
    plan: Plan,
    inputs: Inputs,
    encoder: Encoder,
    threads: int,
    sink: Sink,
    progress: Progress | None,
    complete: Callable[[], None] = lambda: None,
) -> int:
    """Send the archive to `sink` in order; the number of bytes sent. The bytes don't depend on `threads`.

    Blocks and digests are added to the plan's index; `complete` adds what else is known when all blocks are coded.
    """
    index, digests = plan.index, Digests(plan.index)
    start = header(index.version)
    sink(start)
    offset, done, total = len(start), 0, inputs.size
    with closing(ordered_map(encoder, plan.groups, threads)) as results:
        for coded in results:
            length = sum(map(len, coded.payload))
            index.blocks.append(Block(offset, length, checksum(*coded.payload), coded.pieces))
            for part in coded.payload:
                sink(part)
            offset += length
            for piece, digest in zip(coded.pieces, coded.hashes, strict=True):
                digests.add(piece.segment, piece.start, digest)
                done += piece.nbytes
            if progress:
                progress(done, total)
    for number, segment in enumerate(index.segments):
        if segment.how == BASE_EQUAL:
            place = plan.places[number]
            source = inputs.files[place.file].source
            digests.add(number, 0, range_hashes(source, place.offset, segment.nbytes))
    index.files = [replace(f, digest=digests.of(f)) for f in index.files]
    inputs.check_unchanged()
    complete()
    tail = pack_tail(index)
    sink(tail)
    if progress:
        progress(total, total)
    return offset + len(tail)
