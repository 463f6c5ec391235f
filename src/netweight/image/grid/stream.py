"""Payloads of the grid codec: tiles, each with the differences of its networks from the start, and its latents.

    payload := hash of the start(2) | tile of length varint, ... , the last tile without its length
    tile    := quality(1) | set(1) | [fineness(1) | length varint, differences] | latents (tile.py)

`set` says which tensors differ from the start (SETS); their differences, in units of the tensor times 2^fineness, are
coded adaptively, zigzag, with statistics by kind of tensor. Tiles of at most TILE pixels a side are coded alone, in raster order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy import adaptive
from ...errors import BaseMismatchError, FormatError
from ...wire import Reader, Writer, from_zigzag, zigzag
from . import design, networks
from .start import Start

TILE: Final = 1024
_MOST_FINENESS: Final = 8
_LIMIT: Final = 1 << 16
_GROUPS: Final = (
    ("bias", "tilt"), ("gain",), ("own", "before"), ("above",), ("hidden", "out"), ("inject", "up"), ("residual",), ("colour",),
)  # fmt: skip
"""Kinds (by their beginning) that share statistics."""

SETS: Final = (r"(?!)", r"bias\d|gain|[01]\.out|0\.hidden|colour", r"")
"""Which tensors differ, as patterns that some part of their name matches: none, biases and last layers, all."""


@dataclass(frozen=True)
class Differences:
    """What an image's networks add to the start: int64 tensors in units of 2^fineness; those of the set's tensors alone."""

    which: int = 0
    fineness: int = 0
    values: dict[str, NDArray[np.int64]] = field(default_factory=dict)


def names_of(which: int) -> list[str]:
    """The tensors of a set, in a file's order."""
    return [name for name in networks.shapes() if re.search(SETS[which], name)]


def _contexts(names: list[str]) -> NDArray[np.uint8]:
    shapes, out = networks.shapes(), []
    for name in names:
        kind = networks.kind_of(name)
        group = next(i for i, beginnings in enumerate(_GROUPS) if kind.startswith(beginnings))
        out.append(np.full(int(np.prod(shapes[name])), group, np.uint8))
    return np.concatenate(out)


def write_tile(quality: int, differences: Differences, latents: bytes) -> bytes:
    """A tile's bytes."""
    out = Writer().raw(bytes([quality, differences.which]))
    if differences.which:
        names = names_of(differences.which)
        flat = np.concatenate([differences.values[name].reshape(-1) for name in names])
        out.raw(bytes([differences.fineness])).blob(adaptive.encode(zigzag(flat), _contexts(names)))
    return out.raw(latents).bytes()


def _read_differences(source: Reader) -> Differences:
    which = source.byte()
    if which >= len(SETS):
        raise FormatError(f"grid codec: no set {which} of tensors")
    if not which:
        return Differences()
    fineness, names = source.byte(), names_of(which)
    if fineness > _MOST_FINENESS:
        raise FormatError(f"grid codec: fineness {fineness} is out of range")
    flat = from_zigzag(adaptive.decode(source.blob(), _contexts(names), _LIMIT))
    shapes, at, values = networks.shapes(), 0, {}
    for name in names:
        size = int(np.prod(shapes[name]))
        values[name] = flat[at : at + size].reshape(shapes[name])
        at += size
    return Differences(which, fineness, values)


def apply(start: Start, differences: Differences) -> networks.Values:
    """The start's integers with the differences added."""
    out = dict(start.values)
    for name, d in differences.values.items():
        out[name] = (out[name] + (d << differences.fineness)).astype(np.int32)
    return out


def read_tile(tile: memoryview, start: Start) -> tuple[networks.Networks, memoryview]:
    """Networks and latents' bytes of a tile. Raises FormatError."""
    source = Reader(tile, "grid codec")
    quality = source.byte()
    if quality >= design.QUALITIES:
        raise FormatError(f"grid codec: quality {quality} is out of range")
    differences = _read_differences(source)
    built = networks.build(apply(start, differences), start.fractions, quality)
    return built, source.raw(source.remaining)


def _cuts(length: int) -> list[tuple[int, int]]:
    """[first, end) of evenly large pieces of at most TILE, even but the last."""
    count = -(-length // TILE)
    step = -(-length // count)
    step += step & 1
    return [(at, min(at + step, length)) for at in range(0, length, step)]


def tiles(height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the tiles, in raster order."""
    return [(slice(*rows), slice(*columns)) for rows in _cuts(height) for columns in _cuts(width)]


def write(start: Start, coded: list[bytes]) -> bytes:
    """The payload of tiles."""
    out = Writer().raw(start.hash)
    for tile in coded[:-1]:
        out.blob(tile)
    return out.raw(coded[-1]).bytes()


def read(payload: memoryview, start: Start, count: int) -> list[memoryview]:
    """The inverse. Raises BaseMismatchError for another start, FormatError."""
    source = Reader(payload, "grid codec")
    found = bytes(source.raw(len(start.hash)))
    if found != start.hash:
        raise BaseMismatchError(
            f"image: coded from the start {found.hex()}, this build has {start.hash.hex()}; use the netweight that wrote it"
        )
    return [*(source.blob() for _ in range(count - 1)), source.raw(source.remaining)]
