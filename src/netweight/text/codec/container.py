r"""A compressed text as a file.

file     := "\x89NWT" version(1) header block* [index]
header   := flags(1) [model]            flags: 1 an index follows; 2 blocks may need the model
model    := digest(8: the first of its SHA-256), name length varint, name(at most 12), window varint, keep varint
block    := kind(1: 1 stored, 2 byte model, 3 language model) size varint, payload length varint, payload, checksum(4)
index    := 0(1) list checksum(4) list length(4, little endian)
list     := blocks varint, for each: block length varint, size varint

A file of one block has no index; an empty text is a stored block of no bytes. A checksum is the low half of XXH3-64: of
the block's kind, size and decoded bytes, or of the list. With the index a block is found though one before it is damaged;
without it by walking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...errors import ChecksumError, FormatError, TruncatedError, VersionError
from ...frame import checksum
from ...source import Source
from ...wire import Reader, Writer, varint
from .settings import Window

MAGIC: Final = b"\x89NWT"
VERSION: Final = 1
INDEXED, MODELLED = 1, 2
STORED, BYTES, MODEL = 1, 2, 3
KINDS: Final = {STORED: "stored", BYTES: "byte model", MODEL: "language model"}
MOST_BLOCK_BYTES: Final = 1 << 22
MOST_MODEL_BYTES: Final = 1 << 20
"""Of a block under a language model: bounds what a decoder keeps of it."""
CHECKSUM_BYTES: Final = 4
DIGEST_BYTES: Final = 8
_LARGEST_HEADER: Final = 512
_BLOCK_HEAD: Final = 1 + 4 + 4  # a kind and two varints below 2^23
_END: Final = 8
_MOST_POSITIONS: Final = 1 << 20
_MOST_NAME_BYTES: Final = 12
"""Enough to tell people which model it was; the digest tells the decoder."""


@dataclass(frozen=True)
class Header:
    """`digest` and `name` are the model's, None and "" if no block may need it."""

    indexed: bool
    digest: bytes | None = None
    name: str = ""
    window: Window | None = None

    def write(self) -> bytes:
        flags = INDEXED * self.indexed + MODELLED * (self.digest is not None)
        out = Writer().raw(MAGIC + bytes([VERSION, flags]))
        if self.digest is not None and self.window is not None:
            name = self.name.encode("utf-8", "replace")[:_MOST_NAME_BYTES].decode("utf-8", "ignore")
            out.raw(self.digest[:DIGEST_BYTES]).text(name).varint(self.window.length).varint(self.window.keep)
        return out.bytes()


@dataclass(frozen=True)
class Block:
    """Where a block lies: `offset` and `length` of its record in the file, `start` and `size` of its bytes in the text."""

    number: int
    offset: int
    length: int
    start: int
    size: int


@dataclass(frozen=True)
class Record:
    """A block's record, read."""

    kind: int
    size: int
    payload: bytes
    checksum: bytes

    @property
    def length(self) -> int:
        return len(_head(self.kind, self.size, len(self.payload))) + len(self.payload) + CHECKSUM_BYTES

    def check(self, data: bytes) -> None:
        """Raises ChecksumError unless `data` is what was encoded."""
        if block_checksum(self.kind, self.size, data) != self.checksum:
            raise ChecksumError("decodes to other bytes than were compressed")


def _head(kind: int, size: int, length: int) -> bytes:
    return bytes([kind]) + varint(size) + varint(length)


def block_checksum(kind: int, size: int, data: bytes) -> bytes:
    """What a block's record ends with."""
    return checksum(bytes([kind]) + varint(size), data)


def record(kind: int, payload: bytes, data: bytes) -> bytes:
    """A block of `data` coded as `payload`."""
    return _head(kind, len(data), len(payload)) + payload + block_checksum(kind, len(data), data)


def index(blocks: list[tuple[int, int]]) -> bytes:
    """What follows the last block; of each block its record's length and its size."""
    out = Writer().varint(len(blocks))
    for length, size in blocks:
        out.varint(length).varint(size)
    listed = out.bytes()
    return b"\0" + listed + checksum(listed) + len(listed).to_bytes(4, "little")


def is_text_file(source: Source) -> bool:
    """Whether the source begins as a compressed text does."""
    return source.size >= len(MAGIC) and source.read(0, len(MAGIC)).tobytes() == MAGIC


def read_header(source: Source) -> tuple[Header, int]:
    """(header, where the blocks begin). Raises FormatError and its kin, naming the file."""
    if not is_text_file(source):
        raise FormatError(f"{source.name}: not a compressed text of netweight's")
    view = Reader(source.read(0, min(_LARGEST_HEADER, source.size)), f"{source.name}: header")
    view.raw(len(MAGIC))
    version, flags = view.byte(), view.byte()
    if version != VERSION:
        raise VersionError(f"{source.name}: text version {version}, this build reads {VERSION}; update netweight")
    if flags & ~(INDEXED | MODELLED):
        raise FormatError(f"{source.name}: header: unknown flags {flags:#x}")
    header = Header(bool(flags & INDEXED))
    if flags & MODELLED:
        digest, name = bytes(view.raw(DIGEST_BYTES)), view.text()
        length = view.varint(limit=_MOST_POSITIONS)
        window = Window(length, view.varint(limit=length // 2))
        if length < 2:
            raise FormatError(f"{source.name}: header: a window of {length} positions")
        header = Header(header.indexed, digest, name, window)
    return header, min(_LARGEST_HEADER, source.size) - view.remaining


def read_record(source: Source, offset: int) -> Record:
    """The record at `offset`. Raises FormatError and its kin."""
    room = source.size - offset
    view = Reader(source.read(offset, min(_BLOCK_HEAD, room)), "head")
    kind = view.byte()
    if kind not in KINDS:
        raise FormatError(f"unknown kind {kind}")
    size = view.varint(limit=MOST_MODEL_BYTES if kind == MODEL else MOST_BLOCK_BYTES)
    length = view.varint(limit=size)
    at = offset + min(_BLOCK_HEAD, room) - view.remaining
    if length + CHECKSUM_BYTES > source.size - at:
        raise TruncatedError(f"{length} bytes announced, {source.size - at} are there")
    payload = source.read(at, length).tobytes()
    return Record(kind, size, payload, source.read(at + length, CHECKSUM_BYTES).tobytes())


def find_blocks(source: Source, header: Header, begin: int) -> list[Block]:
    """All blocks, from the index or, without one, by reading the only block. Raises FormatError and its kin."""
    if header.indexed:
        return _listed(source, begin)
    only = read_record(source, begin)
    if begin + only.length != source.size:
        raise FormatError(f"{source.size - begin - only.length} unexpected bytes at the end")
    return [Block(0, begin, only.length, 0, only.size)]


def _listed(source: Source, begin: int) -> list[Block]:
    end = source.size - _END
    if end < begin + 2:
        raise TruncatedError("its index is missing; was the copy interrupted?")
    trailer = source.read(end, _END).tobytes()
    length = int.from_bytes(trailer[CHECKSUM_BYTES:], "little")
    if length >= end - begin:
        raise TruncatedError("its index is missing or altered; was the copy interrupted?")
    listed = source.read(end - length - 1, length + 1).tobytes()
    if listed[0] or checksum(listed[1:]) != trailer[:CHECKSUM_BYTES]:
        raise ChecksumError("its index is missing or altered (checksum differs)")
    view = Reader(listed[1:], "index")
    blocks, offset, start = [], begin, 0
    for k in range(view.varint(limit=view.remaining)):
        own, size = view.varint(limit=end - offset), view.varint(limit=MOST_BLOCK_BYTES)
        blocks.append(Block(k, offset, own, start, size))
        offset, start = offset + own, start + size
    view.end()
    if offset != end - length - 1:
        raise FormatError("its index doesn't fit its blocks")
    return blocks


def walk_blocks(source: Source, begin: int) -> list[Block]:
    """The blocks up to the first that can't be read or the index, for a file whose index is damaged."""
    blocks: list[Block] = []
    offset, start = begin, 0
    while offset < source.size:
        try:
            found = read_record(source, offset)
        except FormatError:
            break
        blocks.append(Block(len(blocks), offset, found.length, start, found.size))
        offset, start = offset + found.length, start + found.size
    return blocks
