"""The encoder's choices for a trellis-coded block: contexts, rates, points and the path, each from the others, in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy import tables
from . import scales, trellis_points, trellis_search
from .scaled import MOST_CONTEXTS, choose_scales
from .scales import Scales, Shape
from .state_machine import lower_branches, machine
from .trellis_stream import segments, walk
from .trellis_symbols import EXACT, FIRST_INDEX, SYMBOLS, to_symbols

Floats = NDArray[np.float32]

LAMBDA: Final = 0.25
"""Grid steps squared a bit. The loss is flat between 0.1 and 0.4; the step alone sets the rate, so that one step for all
tensors is one slope for all (reverse water-filling)."""
REACH: Final = EXACT - 1
_SAMPLED: Final = 1 << 17
_EVERY: Final = 4
_SMOOTH: Final = 0.25
_SCALAR_BELOW: Final = 1.6  # bits a weight under which the scalar quantiser may win: peaked sources
_DEAREST: Final = 40.0


@dataclass
class Design:
    """What is sent of a block. `groups` (uint8 [n]) is the group of each weight, `group_of` the group of each level."""

    states: int
    scales: Scales
    group_of: NDArray[np.uint8]
    groups: NDArray[np.uint8]
    count: int
    offsets: trellis_points.Offsets
    rates: Floats


@dataclass(frozen=True)
class Path:
    """Indices (int32 [n]), their symbols and full contexts (uint8 [n]), and the counts of both (int64 [2 groups, 256])."""

    indices: NDArray[np.int32]
    symbols: NDArray[np.uint8]
    contexts: NDArray[np.uint8]
    counts: NDArray[np.int64]


def _log_magnitudes(values: Floats) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """|value| in grid steps as eighths of an octave from 1/2 up (uint8), and the square of each such class."""
    base = int(np.float32(0.5).view(np.uint32) >> 20)
    codes = (np.ascontiguousarray(values).view(np.uint32) >> np.uint32(20)) & np.uint32(0x7FF)
    symbols = np.clip(codes.astype(np.int32) - base, 0, 255).astype(np.uint8)
    octave, eighth = np.divmod(np.arange(256), 8)
    energy = (np.exp2(octave - 1.0) * (1 + (eighth + 0.5) / 8)) ** 2
    energy[0] = 0.1
    return symbols, energy


def first_design(values: Floats, shapes: list[Shape], states: int, strength: float) -> Design:
    """Contexts and rates from plain rounding; `values` in grid steps, `strength` is lambda."""
    symbols, energy = _log_magnitudes(values)
    chosen = choose_scales(symbols, int(symbols.max(initial=0)) + 1, energy, shapes)
    levels = scales.all_levels(chosen, shapes)
    histograms = np.zeros((scales.LEVELS, 2, 256), np.uint32)
    for u in (0, 1):
        indices = np.rint((values + np.float32(u)) * np.float32(0.5)).astype(np.int32)
        to_symbols(indices, symbols)
        counts = np.zeros(scales.LEVELS << 8, np.uint32)
        tables.count_pairs(levels, symbols, counts)
        histograms[:, u] = (counts.reshape(scales.LEVELS, 256) + 1) >> 1
    wide = np.ascontiguousarray(histograms[:, :, :SYMBOLS].reshape(scales.LEVELS, -1))
    group_of, merged, _ = tables.merge_contexts(wide, MOST_CONTEXTS)
    count = len(merged)
    counts_by_union = merged.reshape(count, 2, SYMBOLS).swapaxes(0, 1).reshape(2 * count, SYMBOLS)
    scales.regroup(levels, group_of)
    offsets = np.zeros(count * trellis_points.PER_GROUP, np.int64)
    return Design(states, chosen, group_of, levels, count, offsets, rates_of(counts_by_union, count, strength))


def rates_of(counts: NDArray[np.integer], groups: int, strength: float) -> Floats:
    """Lambda x bits of each index, float32 [groups, 2, 2 REACH + 1], from symbol counts [2 groups, SYMBOLS]."""
    exact = 2 * EXACT - 1
    total = counts.sum(axis=1, keepdims=True)
    bits = -np.log2((counts[:, :exact] + _SMOOTH) / (total + _SMOOTH * exact))
    by_index = np.empty((len(counts), 2 * REACH + 1))
    by_index[:, FIRST_INDEX[:exact] + REACH] = np.minimum(bits, _DEAREST)
    return np.asarray(strength * by_index.reshape(2, groups, -1).swapaxes(0, 1), np.float32)


def _follow(
    values: Floats, design: Design, parts: list[tuple[int, int]]
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """(indices, unions) of the given segments, the rest left at zero."""
    indices, unions = np.zeros(values.size, np.int32), np.zeros(values.size, np.uint8)
    points = trellis_points.table(design.offsets, design.count, REACH).reshape(2 * design.count, -1)
    rates = design.rates.reshape(points.shape)
    if design.states == 1:
        for start, end in parts:
            trellis_search.nearest(values[start:end], design.groups[start:end], rates, points, indices[start:end])
        return indices, unions
    union, twist = lower_branches(design.states)
    moves = machine(design.states)
    for start, end in parts:
        piece = indices[start:end]
        trellis_search.search(values[start:end], design.groups[start:end], rates, points, union, twist, 0, piece)
        walk(piece, moves.next_state, moves.union_of, unions[start:end])
    return indices, unions


def path_of(indices: NDArray[np.int32], unions: NDArray[np.uint8], design: Design) -> Path:
    """Symbols, contexts and counts of indices."""
    symbols = np.empty(indices.size, np.uint8)
    to_symbols(indices, symbols)
    contexts = design.groups + unions * np.uint8(design.count)
    counts = np.zeros(2 * design.count << 8, np.uint32)
    tables.count_pairs(contexts, symbols, counts)
    return Path(indices, symbols, contexts, counts.astype(np.int64).reshape(2 * design.count, 256))


def refine(values: Floats, design: Design, strength: float) -> float:
    """One pass over (a sample of) the segments, then rates and points from it; its cost, D + lambda R, a weight."""
    parts = segments(values.size)
    if values.size >= _SAMPLED:
        parts = parts[::_EVERY]
    indices, unions = _follow(values, design, parts)
    taken = np.concatenate([np.arange(a, b) for a, b in parts]) if len(parts) > 1 else slice(*parts[0])
    sampled = replace(design, groups=design.groups[taken])
    path, part = path_of(indices[taken], unions[taken], sampled), values[taken]
    if strength:
        design.offsets = trellis_points.fit(part, path.indices, path.contexts, design.count)
    design.rates = rates_of(path.counts[:, :SYMBOLS], design.count, strength)
    restored = np.empty(part.size, np.float32)
    trellis_points.restore(
        path.indices, path.contexts, design.count, design.offsets, np.float32(1 / trellis_points.UNIT), restored
    )
    totals = np.maximum(path.counts.sum(axis=1), 1)
    bits = -float((path.counts * np.log2(np.maximum(path.counts, 1) / totals[:, None])).sum())
    noise = float(np.square(part.astype(np.float64) - restored).sum())
    return (noise + strength * bits) / max(part.size, 1)


def informed(values: Floats, blank: Design, path: Path, groups: int, strength: float) -> Design:
    """`blank` with points and rates from a path that another design, of so many groups, has taken."""
    again = path_of(path.indices, (path.contexts >= groups).astype(np.uint8), blank)
    if not strength:
        return blank
    offsets = trellis_points.fit(values, again.indices, again.contexts, blank.count)
    return replace(blank, offsets=offsets, rates=rates_of(again.counts[:, :SYMBOLS], blank.count, strength))


def settle(values: Floats, design: Design, strength: float) -> Path:
    """The path of the whole block under a design, whose points are then fitted to it."""
    path = path_of(*_follow(values, design, segments(values.size)), design)
    if strength:
        design.offsets = trellis_points.fit(values, path.indices, path.contexts, design.count)
    return path


def design(values: Floats, shapes: list[Shape], states: int, strength: float) -> tuple[Design, Path]:
    """The design and path of a block; `values` (float32 [n]) in grid steps, at most `states` states."""
    chosen = first_design(values, shapes, states, strength)
    if strength:
        cost = refine(values, chosen, strength)
        if states > 1 and _entropy_hint(chosen, strength) < _SCALAR_BELOW:
            scalar = first_design(values, shapes, 1, strength)
            if refine(values, scalar, strength) < cost:
                chosen = scalar
    return chosen, settle(values, chosen, strength)


def _entropy_hint(chosen: Design, strength: float) -> float:
    """Roughly the bits of a zero's alternative: how peaked the rates are."""
    shares = np.exp2(-chosen.rates / strength)
    bits = (shares * chosen.rates / strength).sum(axis=2)
    weights = np.bincount(chosen.groups, minlength=chosen.count) / max(chosen.groups.size, 1)
    return float((bits.mean(axis=1) * weights).sum())
