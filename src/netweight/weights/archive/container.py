r"""The file around payloads and index.

    archive := "\x89NWA" version(1: 1, or 2 for weights that were altered) | payloads, end to end | index | random | trailer
    index   := index_wire's compressible part in Brotli; as it is, with equal lengths, where that isn't shorter or is
               too short to be believed
    random  := digests and checksums, as they are
    trailer := raw index length(4) | index length(4) | random length(4) | checksum(8) | "NWA\n"

Numbers are little endian. The checksum is XXH3-64 over header, index, random and the three lengths; each payload has
its own in the index. The index stands last, so that an archive is written in one pass.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import xxhash

from ...entropy.general import Brotli
from ...errors import BombError, ChecksumError, FormatError, InputError, TruncatedError, VersionError
from ...source import Source
from ...spec import Spec
from .index import Index
from .index_wire import decode_index, encode_index, entry_count

MAGIC: Final = b"\x89NWA"
VERSIONS: Final = (1, 2)
HEADER: Final = MAGIC + bytes([1])
"""The first bytes of a lossless archive; others differ in the version alone."""
_END: Final = b"NWA\n"
_TRAILER: Final = struct.Struct("<IIIQ4s")
_MAX_INDEX: Final = 1 << 30
# An index is names and numbers: real ones compress 5 to 100 times and have up to 3 entries a byte.
_FREE_BYTES: Final = 16 << 20
_MAX_RATIO: Final = 4096
_FREE_ENTRIES: Final = 1 << 17
_ENTRIES_PER_BYTE: Final = 8


def header(version: int) -> bytes:
    """The first bytes of an archive."""
    return MAGIC + bytes([version])


def _checksum(index: bytes, random: bytes, lengths: bytes, version: int = 1) -> int:
    return int(xxhash.xxh3_64_intdigest(header(version) + index + random + lengths))


def pack_tail(index: Index) -> bytes:
    """Everything after the payloads."""
    raw, random = encode_index(index)
    if max(len(raw), len(random)) > _MAX_INDEX:
        raise InputError(f"an index of {len(raw)} bytes is too large; compress fewer files at once")
    packed = Brotli(level=_level(len(raw))).encode(np.frombuffer(raw, np.uint8), Spec.raw(len(raw)))
    believable = len(raw) <= _most_bytes(len(packed)) and entry_count(index) <= _most_entries(len(packed))
    if len(packed) >= len(raw) or not believable:
        packed = raw
    lengths = struct.pack("<III", len(raw), len(packed), len(random))
    checksum = _checksum(packed, random, lengths, index.version)
    return packed + random + lengths + struct.pack("<Q", checksum) + _END


def _level(size: int) -> int:
    """Brotli's strongest level takes 2 microseconds a byte, which only a small index is worth."""
    return 11 if size < 1 << 13 else 9 if size < 1 << 18 else 5


def _most_bytes(packed: int) -> int:
    return min(_MAX_INDEX, _FREE_BYTES + _MAX_RATIO * packed)


def _most_entries(packed: int) -> int:
    return _FREE_ENTRIES + _ENTRIES_PER_BYTE * packed


def is_archive(source: Source) -> bool:
    """Whether the source begins as an archive does."""
    return source.size >= len(MAGIC) and source.read(0, len(MAGIC)).tobytes() == MAGIC


def read_index(source: Source) -> Index:
    """The index of an archive, checked. Raises FormatError and its kin, naming the file."""
    name, least = source.name, len(HEADER) + _TRAILER.size
    if not is_archive(source):
        raise FormatError(f"{name}: not a netweight archive")
    if source.size < least:
        raise TruncatedError(f"{name}: ends inside its header")
    version = int(source.read(len(MAGIC), 1)[0])
    if version not in VERSIONS:
        raise VersionError(f"{name}: archive version {version}, this build reads {VERSIONS[-1]}; update netweight")
    trailer = source.read(source.size - _TRAILER.size, _TRAILER.size).tobytes()
    raw_length, length, random_length, checksum, end = _TRAILER.unpack(trailer)
    if end != _END:
        raise TruncatedError(f"{name}: its end is missing or altered; was the copy interrupted?")
    start = source.size - _TRAILER.size - length - random_length
    if start < len(HEADER):
        raise FormatError(f"{name}: announces an index longer than the file")
    packed = source.read(start, length).tobytes()
    random = source.read(start + length, random_length).tobytes()
    if _checksum(packed, random, trailer[:12], version) != checksum:
        raise ChecksumError(f"{name}: its index was altered (checksum differs)")
    if raw_length > _most_bytes(length):
        raise BombError(f"{name}: announces an index of {raw_length} bytes from {length}")
    try:
        raw = packed if length == raw_length else Brotli(level=11).decode(packed, Spec.raw(raw_length)).tobytes()
        index = decode_index(raw, random, len(HEADER), _most_entries(length), version)
    except FormatError as error:
        raise type(error)(f"{name}: {error}") from None
    payloads = sum(b.length for b in index.blocks)
    if payloads != start - len(HEADER):
        raise FormatError(f"{name}: payloads fill {start - len(HEADER)} bytes, its index says {payloads}")
    return index
