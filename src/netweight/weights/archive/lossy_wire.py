"""What an index of version 2 says beside one of version 1: notes, losses, and headers that follow from the rest.

notes  := text (JSON object)
losses := count varint | segment (difference to the one before, varint) of each
          | ||x - y||^2 / ||x||^2 of each, largest |x - y| of each, bound in bits a weight of each:
            high halves of float32, rounded up (2 bytes each)
"""

from __future__ import annotations

import json
from dataclasses import astuple, fields, replace
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ...wire import Reader, Writer
from .index import INLINE, REGION, FileEntry, Index, Loss, Segment

DERIVED: Final = 3
_SAFETENSORS: Final = "safetensors"
_ALIGNMENT: Final = 8
_MOST_NESTED: Final = 1 << 20


def header_of(own: list[Segment]) -> bytes:
    """The header that the safetensors library writes for the regions among `own`, end to end and without metadata."""
    entries, at = {}, 0
    for s in own:
        if s.kind == REGION:
            entries[s.name] = {"dtype": s.dtype, "shape": list(s.shape), "data_offsets": [at, at + s.nbytes]}
            at += s.nbytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def derived(index: Index) -> set[int]:
    """Which segments are headers that a reader can make from the regions."""
    out = set()
    for file in index.files:
        first = file.segments[0]
        own = index.segments[slice(*file.segments)]
        if file.format == _SAFETENSORS and own and own[0].kind == INLINE and own[0].inline == header_of(own):
            out.add(first)
    return out


def derive(files: list[FileEntry], segments: list[Segment], wanted: set[int]) -> None:
    """Give the segments `wanted` their bytes, in place. Raises FormatError."""
    starts = {f.segments[0]: f for f in files}
    for k in wanted:
        if k not in starts or starts[k].segments[1] > len(segments):
            raise FormatError("archive index: a header that isn't the first segment of a file")
        header = header_of(segments[slice(*starts[k].segments)])
        if len(header) != segments[k].nbytes:
            raise FormatError("archive index: a header of another length than follows from its tensors")
        segments[k] = replace(segments[k], inline=header)


def _half(values: list[float]) -> NDArray[np.uint8]:
    """High halves of float32, rounded up."""
    bits = np.nextafter(np.array(values, np.float32), np.float32(np.inf), dtype=np.float32).view(np.uint32)
    bits = np.where(np.array(values) == 0, 0, np.minimum(bits + np.uint32(0xFFFF), np.uint32(0x7F7FFFFF)))
    return (bits.astype(np.uint32) >> np.uint32(16)).astype("<u2").view(np.uint8)


def _whole(halves: NDArray[Any]) -> list[float]:
    values = (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if not bool(((values >= 0) & np.isfinite(values)).all()):
        raise FormatError("archive index: an impossible error")
    return [float(v) for v in values]


def write(out: Writer, index: Index) -> None:
    """Notes and losses."""
    out.text(json.dumps(index.notes or {}, sort_keys=True, separators=(",", ":"), allow_nan=False))
    numbers = sorted(index.losses)
    out.varint(len(numbers)).varints(b - a for a, b in zip([0, *numbers], numbers, strict=False))
    for column in zip(*(astuple(index.losses[k]) for k in numbers), strict=True):
        out.raw(_half(list(column)))


def read(source: Reader, segments: list[Segment]) -> tuple[dict[str, Any], dict[int, Loss]]:
    """The inverse. Raises FormatError."""
    text = source.text()
    try:
        notes = json.loads(text) if len(text) < _MOST_NESTED else None
    except (ValueError, RecursionError):
        notes = None
    if not isinstance(notes, dict):
        raise FormatError("archive index: its notes are not a JSON object")
    count = source.varint(limit=len(segments))
    numbers = list(accumulate(source.varints(count, limit=len(segments))))
    if len(set(numbers)) != count or any(k >= len(segments) or segments[k].kind != REGION for k in numbers):
        raise FormatError("archive index: an error of something that is no tensor")
    columns = [_whole(source.array(count, "<u2")) for _ in fields(Loss)]
    return notes, {k: Loss(*row) for k, *row in zip(numbers, *columns, strict=True)}
