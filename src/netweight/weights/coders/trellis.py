"""Weights within an error: entropy-coded trellis-coded quantisation in contexts of row scale x column scale.

body    := flags(1: log2 of the states; bit 4: the path runs down the columns; bit 5: mixed) | steps | tabled or mixed
steps   := count varint (1, or one for each shape) | grid steps (float32 each)
tabled  := scale flags(1) | borders of the groups | scales | offsets | symbols in use - 1 (1) | tables | raw bits blob
         | rANS blob
mixed   := offsets | indices blob (as of mixed_indices.py)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy import tables
from ...errors import FormatError
from ...wire import Reader, Writer
from . import mixed_indices, scales, trellis_points, trellis_stream
from .mixed_indices import CLASSES
from .scaled import MOST_CONTEXTS
from .scales import Shape
from .state_machine import STATES, machine
from .trellis_design import LAMBDA, Design, Path, design, informed, settle
from .trellis_symbols import BUCKETS_FROM, FIRST_INDEX, LARGEST, RAW_WIDTH, SYMBOLS, from_symbols, pack_raw

Floats = NDArray[np.float32]

DEFAULT_STATES: Final = 64
_STATE_BITS, _DOWN, _MIXED = 15, 16, 32
_FEW_BITS: Final = 2.5  # a weight: below, another path by what the mixing coder expects is worth its time
_ENOUGH: Final = 1 << 15  # weights of a block that are worth such care


@dataclass(frozen=True)
class Settings:
    """`steps`: the grid step, one for all tensors of the block or one each. A quantiser's cells are two grid steps wide.

    `states` of the trellis (1: the scalar quantiser); `strength` is lambda in grid steps squared a bit, 0 for the
    nearest point always, which with one state keeps every error within one grid step. `down` runs the path down the
    columns of the only tensor. `mixed` tries adaptive context mixing of the indices too, which is slow, and keeps the
    shorter body; a wide matrix then has its path run down.
    """

    steps: tuple[float, ...]
    states: int = DEFAULT_STATES
    strength: float = LAMBDA
    down: bool = False
    mixed: bool = False


def _turned(shapes: list[Shape]) -> list[Shape]:
    (shape,) = shapes
    return [Shape(shape.columns, shape.rows, 1)]


def _is_wide(shapes: list[Shape]) -> bool:
    """Whether the mixing coder had better see the transposed matrix: more rows to learn dependences of columns from."""
    if len(shapes) != 1 or shapes[0].kernel > 1 or shapes[0].rows * shapes[0].columns < _ENOUGH:
        return False
    return 1 < shapes[0].rows <= shapes[0].columns // 2


def _spans(shapes: list[Shape], steps: NDArray[np.float32]) -> list[tuple[slice, np.float32]]:
    """The weights that share a step."""
    if steps.size == 1:
        return [(slice(0, None), steps[0])]
    ends = np.cumsum([s.rows * s.columns for s in shapes])
    return [(slice(int(e) - s.rows * s.columns, int(e)), v) for s, e, v in zip(shapes, ends, steps, strict=True)]


def encode(values: Floats, shapes: list[Shape], settings: Settings) -> tuple[bytes, Floats] | None:
    """(body, what it decodes to) of finite float32 [n], the tensors of `shapes` end to end.

    None if a weight is too many steps large.
    """
    steps, down = np.array(settings.steps, np.float32), settings.down or (settings.mixed and _is_wide(shapes))
    if down:
        values = np.ascontiguousarray(values.reshape(shapes[0].rows, -1).T).reshape(-1)
        shapes = _turned(shapes)
    scaled = np.empty(values.size, np.float32)
    for span, step in _spans(shapes, steps):
        with np.errstate(over="ignore"):
            np.divide(values[span], step, out=scaled[span])
    if not bool((np.abs(scaled) < LARGEST).all()):
        return None
    made, path = design(scaled, shapes, settings.states, settings.strength)
    tabled = write(made, path, shapes, steps, down)
    if not settings.mixed:
        return tabled
    layout = (settings.strength, made.states, shapes, steps, down)
    mixed, expected = _mixed(path.indices, scaled, *layout)
    if len(tabled[0]) <= len(mixed[0]):
        return tabled
    if settings.strength and values.size >= _ENOUGH and 8 * len(mixed[0]) < _FEW_BITS * values.size:
        mixed, _ = _mixed(_second_path(scaled, made, path, expected, settings.strength), scaled, *layout)
    return mixed


def _mixed(
    indices: NDArray[np.int32], values: Floats, strength: float, states: int, shapes: list[Shape],
    steps: NDArray[np.float32], down: bool,
) -> tuple[tuple[bytes, Floats], NDArray[np.uint8]]:  # fmt: skip
    """((body, what it decodes to), the class expected of each weight) of a path; `values` in grid steps."""
    payload, coded = mixed_indices.encode(indices, shapes, states)
    offsets = np.zeros(CLASSES * trellis_points.PER_GROUP, np.int64)
    if strength:
        offsets = trellis_points.fit(values, indices, coded.places, CLASSES)
    return write_mixed(payload, coded, offsets, states, shapes, steps, down), coded.classes


def _second_path(
    values: Floats, made: Design, path: Path, expected: NDArray[np.uint8], strength: float
) -> NDArray[np.int32]:
    """The indices of the path with rates and points by the class that the mixing coder expected of each weight."""
    zeros = np.zeros(CLASSES * trellis_points.PER_GROUP, np.int64)
    blank = replace(made, groups=expected, count=CLASSES, offsets=zeros)
    return settle(values, informed(values, blank, path, made.count, strength), strength).indices


def _head(states: int, steps: NDArray[np.float32], flags: int) -> Writer:
    out = Writer().raw(bytes([states.bit_length() - 1 | flags]))
    return out.varint(steps.size).raw(steps.view(np.uint8))


def write(
    made: Design, path: Path, shapes: list[Shape], steps: NDArray[np.float32], down: bool
) -> tuple[bytes, Floats]:
    """(body, what it decodes to) of a path, with tables; `shapes` as the path sees them."""
    out = _head(made.states, steps, _DOWN * down).raw(bytes([made.scales.flags]))
    tables.write_borders(out, made.group_of, "u1")
    scales.write_scales(out, made.scales)
    trellis_points.write(out, made.offsets)
    unions = 1 if made.states == 1 else 2
    counts = path.counts[: unions * made.count]
    alphabet = int(np.flatnonzero(counts.any(axis=0)).max(initial=0)) + 1
    levels, scale = tables.levels_of(counts[:, :alphabet]), tables.scale_for(path.symbols.size)
    out.raw(bytes([alphabet - 1]))
    tables.write_tables(out, levels)
    raw = np.zeros(path.symbols.size * 4 + 8 if alphabet > BUCKETS_FROM else 8, np.uint8)
    out.blob(raw[: pack_raw(path.indices, path.symbols, RAW_WIDTH, raw)].tobytes())
    out.blob(trellis_stream.encode(path.symbols, path.contexts, tables.frequencies_of(levels, scale), scale))
    return out.bytes(), _restored(path.indices, path.contexts, made.count, made.offsets, shapes, steps, down)


def write_mixed(
    payload: bytes, coded: mixed_indices.Coded, offsets: trellis_points.Offsets, states: int, shapes: list[Shape],
    steps: NDArray[np.float32], down: bool,
) -> tuple[bytes, Floats]:  # fmt: skip
    """(body, what it decodes to) of mixed indices, their points moved by `offsets` (of CLASSES groups)."""
    out = _head(states, steps, _MIXED | _DOWN * down)
    trellis_points.write(out, offsets)
    out.blob(payload)
    return out.bytes(), _restored(coded.indices, coded.places, CLASSES, offsets, shapes, steps, down)


def _restored(
    indices: NDArray[np.int32], contexts: NDArray[np.uint8], groups: int, offsets: trellis_points.Offsets,
    shapes: list[Shape], steps: NDArray[np.float32], down: bool,
) -> Floats:  # fmt: skip
    def restore(span: slice, unit: np.float32, out: Floats) -> None:
        trellis_points.restore(indices[span], contexts[span], groups, offsets, unit, out)

    return _laid_out(restore, indices.size, shapes, steps, down)


def _laid_out(
    restore: Callable[[slice, np.float32, Floats], None], count: int, shapes: list[Shape], steps: NDArray[np.float32],
    down: bool,
) -> Floats:  # fmt: skip
    """The weights in the order of their tensors; `restore(span, unit, out)` fills the path's weights in `span`."""
    out = np.empty(count, np.float32)
    for span, unit in _spans(shapes, steps * np.float32(1 / trellis_points.UNIT)):
        restore(span, unit, out[span])
    if down:
        out = np.ascontiguousarray(out.reshape(shapes[0].rows, -1).T).reshape(-1)
    return out


def _read_steps(source: Reader, shapes: list[Shape]) -> NDArray[np.float32]:
    count = source.varint(limit=max(1, len(shapes)))
    if count not in (1, len(shapes)):
        raise FormatError("trellis block: wrong number of steps")
    steps = source.array(count, "<f4").astype(np.float32)
    if not bool((np.isfinite(steps) & (steps > 0)).all()):
        raise FormatError("trellis block: impossible step")
    return steps


def decode(body: bytes | memoryview, shapes: list[Shape]) -> Floats:
    """The inverse of `encode`: float32 [n]. Raises FormatError."""
    source = Reader(body, "trellis block")
    flags = source.byte()
    states, down = 1 << (flags & _STATE_BITS), bool(flags & _DOWN)
    if states not in STATES or flags > _MIXED + _DOWN + _STATE_BITS or (down and len(shapes) != 1):
        raise FormatError("trellis block: unknown kind")
    shapes = _turned(shapes) if down else shapes
    steps = _read_steps(source, shapes)
    if flags & _MIXED:
        offsets = trellis_points.read(source, CLASSES)
        coded = mixed_indices.decode(source.blob(), shapes, states)
        source.end()
        return _restored(coded.indices, coded.places, CLASSES, offsets, shapes, steps, down)
    return _read_tabled(source, shapes, states, steps, down)


def _read_tabled(source: Reader, shapes: list[Shape], states: int, steps: NDArray[np.float32], down: bool) -> Floats:
    scale_flags = source.byte()
    group_of, first_levels = tables.read_borders(source, scales.LEVELS, MOST_CONTEXTS, "u1")
    groups = scales.all_levels(scales.read_scales(source, scale_flags, shapes), shapes)
    scales.regroup(groups, group_of)
    count = int(first_levels.size)
    offsets = trellis_points.read(source, count)
    alphabet = source.byte() + 1
    if alphabet > SYMBOLS:
        raise FormatError("trellis block: impossible alphabet")
    levels = tables.read_tables(source, count if states == 1 else 2 * count, alphabet)
    scale = tables.scale_for(groups.size)
    raw = np.frombuffer(source.blob(), np.uint8)
    frequencies = tables.frequencies_of(levels, scale)
    symbols = trellis_stream.decode(source.blob(), groups, count, machine(states), frequencies, scale)
    source.end()
    if alphabet <= BUCKETS_FROM and not raw.size:
        sizes = trellis_points.of_symbols(offsets, count, FIRST_INDEX[:BUCKETS_FROM])

        def restore(span: slice, unit: np.float32, out: Floats) -> None:
            trellis_points.restore_symbols(symbols[span], groups[span], sizes, unit, out)

        return _laid_out(restore, symbols.size, shapes, steps, down)
    indices = np.empty(symbols.size, np.int32)
    if from_symbols(symbols, RAW_WIDTH, FIRST_INDEX, raw, indices) != raw.size:
        raise FormatError("trellis block: wrong number of raw bits")
    return _restored(indices, groups, count, offsets, shapes, steps, down)
