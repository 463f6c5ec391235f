"""safetensors: 8 bytes of header length, a JSON object, then the tensors."""

from __future__ import annotations

import json
from typing import Any, Final

from ...errors import BombError, FormatError, TruncatedError
from ...source import Source
from ...spec import DTYPES, element_count
from .guard import finder, head
from .model import Layout, Region

MAX_HEADER: Final = 100_000_000
# A header of nothing but "[" or "," would cost twenty times its length once parsed; real ones have three brackets and
# some six commas a tensor, and a tensor takes 60 bytes of header or more.
_MAX_BRACKETS: Final = 6_000_000
_MAX_COMMAS: Final = 12_000_000


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise FormatError("the header has a key twice")
    return result


def _parse(header: bytes) -> dict[str, Any]:
    if header.count(b"[") + header.count(b"{") > _MAX_BRACKETS or header.count(b",") > _MAX_COMMAS:
        raise BombError("the header holds far more items than tensors could need")
    try:
        entries = json.loads(header.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise FormatError("the header is not JSON") from None
    if not isinstance(entries, dict):
        raise FormatError("the header is not a JSON object")
    return entries


def _integers(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not {*map(type, value)} <= {int} or min(value, default=0) < 0:
        raise FormatError(f"tensor {name!r}: shape and data_offsets must be lists of integers")
    return tuple(value)


def _region(name: str, entry: object, start: int, size: int) -> Region:
    """One header entry as a region of maybe zero bytes; `start` is the offset of the data in the file."""
    if not isinstance(entry, dict) or not entry.keys() >= {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"tensor {name!r}: dtype, shape and data_offsets are needed")
    dtype, shape, offsets = entry["dtype"], _integers(name, entry["shape"]), _integers(name, entry["data_offsets"])
    if not isinstance(dtype, str):
        raise FormatError(f"tensor {name!r}: dtype must be a text")
    if len(offsets) != 2 or offsets[0] > offsets[1] or start + offsets[1] > size:
        raise FormatError(f"tensor {name!r}: bytes {list(offsets)[:4]} lie outside the {size - start} that are there")
    nbytes = offsets[1] - offsets[0]
    if dtype in DTYPES and (element_count(shape) * DTYPES[dtype].bits + 7) // 8 != nbytes:
        raise FormatError(f"tensor {name!r}: {dtype} of shape {list(shape)} doesn't fill its {nbytes} bytes")
    return Region(name, dtype, shape, start + offsets[0], nbytes)


@finder("safetensors")
def find(source: Source) -> Layout | None:
    """A Finder. Tensors of a dtype that we don't know stay gaps; `__metadata__` is not looked at."""
    start = head(source, 10)
    if len(start) < 10 or start[8:9] != b"{" or start[9:10] not in (b'"', b"}", b" ", b"\n", b"\r", b"\t"):
        return None
    length = int.from_bytes(start[:8], "little")
    if length > MAX_HEADER:
        raise BombError(f"a header of {length} bytes is announced, at most {MAX_HEADER} are read")
    if 8 + length > source.size:
        raise TruncatedError(f"a header of {length} bytes is announced, {source.size - 8} are there")
    entries = _parse(source.read(8, length).tobytes())
    entries.pop("__metadata__", None)
    found = [_region(name, entry, 8 + length, source.size) for name, entry in entries.items()]
    known = [r for r in found if r.dtype in DTYPES]
    regions = sorted((r for r in known if r.nbytes), key=lambda r: r.offset)
    return Layout("safetensors", tuple(regions), empty=tuple((r.name, r.dtype, r.shape) for r in known if not r.nbytes))
