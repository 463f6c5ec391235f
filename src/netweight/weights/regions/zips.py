"""The directory of a zip file, zip64 included: where each member's bytes lie. Nothing is unpacked.

After PKWARE's APPNOTE: end record (PK 5 6), zip64 locator (PK 6 7) and end record (PK 6 6), central entries (PK 1 2),
local headers (PK 3 4).
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from ...errors import BombError, FormatError, TruncatedError
from ...source import Source
from .cursor import Cursor

STORED: Final = 0
MAX_MEMBERS: Final = 1_000_000
_END: Final = Struct("<4s4H2LH")
_LOCATOR: Final = Struct("<4sLQL")
_END64: Final = Struct("<4sQ2H2L4Q")
_CENTRAL: Final = Struct("<4s6H3L5H2L")
_LOCAL: Final = Struct("<4s5H3L2H")
_ENCRYPTED: Final = 1
_FULL32: Final = 0xFFFFFFFF


class Member(NamedTuple):
    """`nbytes` stored bytes at `offset` in the file, packed by `method`."""

    name: str
    method: int
    offset: int
    nbytes: int


class _Entry(NamedTuple):
    name: str
    method: int
    header: int
    packed: int
    unpacked: int


def _end_record(source: Source) -> tuple[int, int, int]:
    """(entries, offset of the directory, its bytes)."""
    length = min(source.size, _END.size + 0xFFFF)
    tail = source.read(source.size - length, length).tobytes()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise TruncatedError("no zip directory at the end: the file is cut or damaged")
    _, disk, _, _, count, nbytes, offset, _ = _END.unpack_from(tail, at)
    place = source.size - length + at
    if _FULL32 in (nbytes, offset) or count == 0xFFFF:
        return _end_record64(source, place) or (count, offset, nbytes)
    if disk:
        raise FormatError("a zip of several disks isn't read")
    return count, offset, nbytes


def _end_record64(source: Source, end: int) -> tuple[int, int, int] | None:
    if end < _LOCATOR.size:
        return None
    signature, _, at, _ = _LOCATOR.unpack(source.read(end - _LOCATOR.size, _LOCATOR.size).tobytes())
    if signature != b"PK\x06\x07":
        return None
    if at + _END64.size > source.size:
        raise TruncatedError(f"zip64 directory announced at byte {at} of {source.size}")
    signature, *_, count, nbytes, offset = _END64.unpack(source.read(at, _END64.size).tobytes())
    if signature != b"PK\x06\x06":
        raise FormatError(f"no zip64 directory at byte {at}")
    return count, offset, nbytes


def _wide(extra: bytes, values: list[int]) -> list[int]:
    """Replace each value that is all ones by its 64-bit one from the zip64 extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = int.from_bytes(extra[at : at + 2], "little"), int.from_bytes(extra[at + 2 : at + 4], "little")
        if kind == 1:
            field, result = extra[at + 4 : at + 4 + length], []
            for value in values:
                if value == _FULL32:
                    if len(field) < 8:
                        raise FormatError("a zip64 field is too short")
                    value, field = int.from_bytes(field[:8], "little"), field[8:]
                result.append(value)
            return result
        at += 4 + length
    return values


def _entry(cursor: Cursor) -> _Entry:
    (signature, _, _, flags, method, _, _, _, packed, unpacked, name_length, extra_length, comment, *_, header) = (
        _CENTRAL.unpack(cursor.raw(_CENTRAL.size))
    )
    if signature != b"PK\x01\x02":
        raise FormatError(f"no zip directory entry at byte {cursor.at - _CENTRAL.size}")
    name, extra = cursor.raw(name_length), cursor.raw(extra_length)
    cursor.skip(comment)
    unpacked, packed, header = _wide(extra, [unpacked, packed, header])
    if flags & _ENCRYPTED:
        method = -1
    return _Entry(name.decode("utf-8", "surrogateescape"), method, header, packed, unpacked)


def _member(source: Source, entry: _Entry) -> Member:
    """The member behind a directory entry: its data start after the local header."""
    if entry.header + _LOCAL.size > source.size:
        raise TruncatedError(f"member {entry.name!r} is announced at byte {entry.header} of {source.size}")
    signature, *_, name, extra = _LOCAL.unpack(source.read(entry.header, _LOCAL.size).tobytes())
    offset = entry.header + _LOCAL.size + name + extra
    if signature != b"PK\x03\x04":
        raise FormatError(f"member {entry.name!r}: no local header at byte {entry.header}")
    if offset + entry.packed > source.size:
        raise TruncatedError(f"member {entry.name!r}: {entry.packed} bytes at {offset} in {source.size}")
    if entry.method == STORED and entry.packed != entry.unpacked:
        raise FormatError(f"member {entry.name!r}: stored in {entry.packed} bytes but {entry.unpacked} long")
    return Member(entry.name, entry.method, offset, entry.packed)


def members(source: Source) -> dict[str, Member]:
    """All members by name. Raises FormatError for a directory that lies, or names a member twice."""
    count, offset, nbytes = _end_record(source)
    if count > MAX_MEMBERS:
        raise BombError(f"{count} members are announced, at most {MAX_MEMBERS} are read")
    if offset + nbytes > source.size or count * _CENTRAL.size > nbytes:
        raise TruncatedError(f"{count} members in {nbytes} bytes at {offset} are announced in a file of {source.size}")
    cursor = Cursor(source, offset, offset + nbytes)
    found: dict[str, Member] = {}
    for _ in range(count):
        member = _member(source, _entry(cursor))
        if member.name in found:
            raise FormatError(f"member {member.name!r} is there twice")
        found[member.name] = member
    return found
