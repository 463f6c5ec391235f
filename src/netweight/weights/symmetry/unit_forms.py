"""How each tensor of a block of units is told and predicted: unit_block.py without the units.

form := alphabet (alphabet.py) | flags(1: bits 0-3: first weights, 15: their own; bit 4: classes; bit 5: plain signs) | stride varint
      | weights (zigzag varints of 1/16, CONTEXTS, unless named) | classes blob (entropy/adaptive.py)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ...entropy import adaptive
from ...errors import FormatError
from ...wire import Reader, Writer, from_zigzag, zigzag
from ..coders.state_machine import machine
from .alphabet import Alphabet, read_alphabet
from .canonical import Owned
from .urn import Form, Ints, Urn, weights_of
from .urn_walk import CLASSES, CONTEXTS

_MOST_RUNS: Final = 16
_OWN: Final = 15
_WEIGHT_UNIT: Final = 4096  # 1/16 of 65536
_HEAVIEST: Final = 64
PRESETS: Final = tuple(weights_of(shares) for shares in (
    (0.1875,) * CONTEXTS,
    (0.25, -0.375, -0.125, 0.75, 0.3125, 0.375, 0.1875, 0.1875),  # floats whose columns differ
    (0.6875, 0.125, 0.0625, 0.0, 0.0, 0.0625, 0.1875, 0.1875),  # floats
    (-0.0625, 0.125, 0.1875, 0.25, 0.4375, 0.125, 0.1875, 0.25),  # dense grids
    (-0.0625, 0.0625, 0.1875, 0.25, 0.25, 0.0625, 0.1875, 0.375),  # dense grids of images
    (0.125, 0.25, 0.25, 0.3125, 0.375, 0.25, 0.1875, 0.375),  # sparse grids
))  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One tensor of the block: where units lie on it, its alphabet and how its records are predicted."""

    owned: Owned
    alphabet: Alphabet
    classes: Ints | None = None
    stride: int = 0
    plain_signs: bool = False
    weights: int | Ints = 0

    def form(self, columns: int) -> Form:
        path, a = machine(self.alphabet.states), self.alphabet
        classes = self.classes if self.classes is not None else a.groups
        classes = np.zeros(columns, np.int64) if classes is None else classes
        return Form(
            columns, a.widths, a.firsts, a.levels, a.depth, a.signs, self.plain_signs, classes, self.stride,
            path.next_state.astype(np.int64), path.union_of.astype(np.int64),
        )  # fmt: skip

    def urn(self, columns: int) -> Urn:
        """Empty."""
        return Urn(self.form(columns), PRESETS[self.weights] if isinstance(self.weights, int) else self.weights)


def _runs(places: Ints) -> list[tuple[int, int]]:
    """(start, places a unit) of each run of `places` [units, places a unit]. Raises ValueError for what isn't made of runs."""
    found, at = [], 0
    while at < places.shape[1]:
        own, size = places[0], 1
        while at + size < places.shape[1] and own[at + size] == own[at] + size:
            size += 1
        if len(places) > 1:  # the next unit's begin where this one's end
            size = min(size, int(places[1, at] - places[0, at]))
        found.append((int(own[at]), size))
        at += size
    made = places_of(found, len(places))
    if size_of(found) != places.shape[1] or not np.array_equal(made, places):
        raise ValueError("places that aren't made of runs")
    return found


def size_of(runs: list[tuple[int, int]]) -> int:
    """Places a unit."""
    return sum(size for _, size in runs)


def places_of(runs: list[tuple[int, int]], units: int) -> Ints:
    return np.concatenate(
        [start + np.arange(units * size, dtype=np.int64).reshape(units, size) for start, size in runs], axis=1
    )


def write_places(out: Writer, owned: Owned) -> None:
    runs = _runs(owned.places)
    out.varint(owned.axis).varint(len(runs))
    for start, size in runs:
        out.varint(start).varint(size)


def read_places(source: Reader, units: int, shape: tuple[int, ...]) -> Owned:
    axis, count = source.varint(limit=max(0, len(shape) - 1)), source.varint(limit=_MOST_RUNS)
    length = shape[axis] if shape else 0
    runs = [(source.varint(limit=length), source.varint(limit=length)) for _ in range(count)]
    if not length or size_of(runs) * units != length:
        raise FormatError("units: an axis that doesn't hold them")
    places = places_of(runs, units)
    if not np.array_equal(np.sort(places, axis=None), np.arange(length)):
        raise FormatError("units: places that overlap")
    return Owned("", axis, places)


def write_form(out: Writer, part: Part) -> None:
    part.alphabet.write(out)
    own = None if isinstance(part.weights, int) else part.weights
    name = part.weights if isinstance(part.weights, int) else _OWN
    out.raw(bytes([name | (part.classes is not None) << 4 | part.plain_signs << 5])).varint(part.stride)
    if own is not None:
        out.varints(zigzag(int(w) // _WEIGHT_UNIT) for w in own)
    if part.classes is not None:
        out.blob(adaptive.encode(part.classes, np.zeros(part.classes.size, np.uint8)))


def rounded_weights(weights: Ints) -> Ints:
    """The nearest that can be sent."""
    return np.clip(np.rint(weights / _WEIGHT_UNIT).astype(np.int64), -_HEAVIEST, _HEAVIEST) * _WEIGHT_UNIT


def read_form(source: Reader, dtype: str, owned: Owned, columns: int) -> Part:
    alphabet, flags, stride = read_alphabet(source, dtype, columns), source.byte(), source.varint(limit=columns)
    weights: int | Ints = flags & _OWN
    if weights == _OWN:
        units = source.varints(CONTEXTS, limit=2 * _HEAVIEST)
        weights = np.array([from_zigzag(w) for w in units], np.int64) * _WEIGHT_UNIT
    elif int(weights) >= len(PRESETS):
        raise FormatError("units: unknown weights")
    if flags > 63:
        raise FormatError("units: unknown flags")
    classes = None
    if flags & 16:
        classes = adaptive.decode(source.blob(), np.zeros(columns, np.uint8), CLASSES - 1)
    return Part(owned, alphabet, classes, stride, bool(flags & 32), weights)
