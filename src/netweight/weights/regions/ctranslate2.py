"""CTranslate2's model.bin: u32 version, spec name, u32 revision, u32 count, then the variables one after the other.

string   := length with the final zero (u16) | bytes
variable := name (string) | rank (u8) | sizes (u32 each) | dtype (u8) | bytes (u32) | data
"""

from __future__ import annotations

from typing import Final

from ...errors import FormatError
from ...source import Source
from ...spec import byte_count
from .cursor import Cursor
from .guard import finder, head
from .model import Layout, Region

_DTYPES: Final = ("F32", "I8", "I16", "I32", "F16", "BF16")
_VERSIONS: Final = range(4, 7)  # dtypes have had numbers since version 4
_MAX_NAME: Final = 64  # of the specification, such as "WhisperSpec"


def _looks_right(start: bytes) -> bool:
    version, length = int.from_bytes(start[:4], "little"), int.from_bytes(start[4:6], "little")
    name = start[6 : 6 + length]
    known = version in _VERSIONS and 2 <= length <= _MAX_NAME and len(name) == length
    return known and name.endswith(b"\0") and name[:-1].isascii() and name[:-1].isalnum()


def _string(cursor: Cursor) -> str:
    raw = cursor.raw(cursor.u16())
    if not raw.endswith(b"\0"):
        raise FormatError(f"a name without its final zero before byte {cursor.at}")
    return raw[:-1].decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()


def _variable(cursor: Cursor) -> Region:
    name, rank = _string(cursor), cursor.raw(1)[0]
    shape = tuple(cursor.u32() for _ in range(rank))
    number, nbytes = cursor.raw(1)[0], cursor.u32()
    if number >= len(_DTYPES) or byte_count(_DTYPES[number], shape) != nbytes:
        raise FormatError(f"variable {name!r}: {nbytes} bytes don't fit dtype {number} and shape {list(shape)}")
    region = Region(name, _DTYPES[number], shape, cursor.at, nbytes)
    cursor.skip(nbytes)
    return region


@finder("ctranslate2")
def find(source: Source) -> Layout | None:
    """The variables of a model.bin; None if the file doesn't begin like one."""
    start = head(source, 6 + _MAX_NAME)
    if not _looks_right(start):
        return None
    cursor = Cursor(source)
    cursor.skip(4)
    _string(cursor)
    cursor.skip(4)
    found = [_variable(cursor) for _ in range(cursor.u32())]
    empty = tuple((r.name, r.dtype, r.shape) for r in found if not r.nbytes)
    return Layout("ctranslate2", tuple(r for r in found if r.nbytes), empty=empty)
