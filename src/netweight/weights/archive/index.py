"""The index of an archive: what is in it and where, as plain data. Its bytes are in index_wire.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ...spec import Spec, element_count
from ..regions.model import View

DIGEST_BYTES: Final = 16
CHECKSUM_BYTES: Final = 4

GAP, INLINE, REGION = 0, 1, 2
OWN, COPY, BASE_EQUAL, BASE_DELTA = 0, 1, 2, 3
SYMMETRIES: Final = "symmetries"
"""The key of notes that says that units stand in another order than they were given, and how many."""


@dataclass(frozen=True, slots=True)
class Segment:
    """`nbytes` consecutive bytes of one file.

    `kind` is GAP, INLINE (its bytes are `inline`) or REGION (named numbers). `how` says where the bytes come from: OWN
    blocks; COPY of segment `copy_of`, an earlier one; BASE_EQUAL to the base at (`base_file`, `base_offset`);
    BASE_DELTA: own blocks that are coded against the base there.
    """

    kind: int
    nbytes: int
    name: str = ""
    dtype: str = "U8"
    shape: tuple[int, ...] = ()
    inline: bytes = b""
    how: int = OWN
    copy_of: int = 0
    base_file: int = 0
    base_offset: int = 0

    @property
    def has_blocks(self) -> bool:
        return self.kind != INLINE and self.how in (OWN, BASE_DELTA)

    def piece_spec(self, nbytes: int) -> Spec:
        """The spec of `nbytes` of this segment: whole rows keep their shape, anything else is flat."""
        if self.kind != REGION:
            return Spec.raw(nbytes)
        if nbytes == self.nbytes:
            return Spec(self.dtype, (self.shape,))
        rows = self.shape[0] if len(self.shape) > 1 else 0
        if rows and self.nbytes % rows == 0 and nbytes % (self.nbytes // rows) == 0:
            return Spec(self.dtype, ((nbytes // (self.nbytes // rows), *self.shape[1:]),))
        return Spec(self.dtype, ((element_count(self.shape) * nbytes // self.nbytes,),))


@dataclass(frozen=True, slots=True)
class Piece:
    """`nbytes` of segment `segment`, from byte `start` of it."""

    segment: int
    start: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Block:
    """One payload: `length` bytes at `offset` of the archive, holding the pieces end to end."""

    offset: int
    length: int
    checksum: bytes
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class FileEntry:
    """One file: `segments` is its half-open range in the index's list; `digest` is checked after decoding."""

    path: str
    size: int
    digest: bytes
    format: str
    problem: str
    segments: tuple[int, int]
    views: tuple[View, ...] = ()
    empty: tuple[tuple[str, str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class BaseFile:
    """A file that the receiver must hold: its path below the base, size and SHA-256."""

    path: str
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Loss:
    """What a lossy code changed in a tensor: ||x - y||^2 / ||x||^2 and the largest |x - y|, both rounded up a little.

    `bound` is an estimate of the fewest bits a weight at that error if the weights were drawn independently (Shannon's
    lower bound, estimated by the encoder, who had the weights).
    """

    rel_mse: float
    max_error: float
    bound: float


@dataclass
class Index:
    """All of it. `directory` tells whether decompressing makes a folder or one file.

    `notes` (JSON-able) and `losses`, by segment, tell how the weights differ from those that were given; an archive that has
    notes is of version 2.
    """

    directory: bool = False
    files: list[FileEntry] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    bases: list[BaseFile] = field(default_factory=list)
    notes: dict[str, Any] | None = None
    losses: dict[int, Loss] = field(default_factory=dict)

    @property
    def version(self) -> int:
        return 1 if self.notes is None else 2


def group_spec(segments: list[Segment], pieces: tuple[Piece, ...]) -> Spec:
    """The spec of a block: the shapes of its pieces, one dtype."""
    shapes = tuple(segments[p.segment].piece_spec(p.nbytes).shapes[0] for p in pieces)
    return Spec(segments[pieces[0].segment].dtype, shapes)
