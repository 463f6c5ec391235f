"""Units quantised row by row: trellis-coded quantisation whose path begins anew in every record, so that units can change places.

The search and its rates are those of coders/trellis_design.py; points are moved by the column's group (alphabet.py, PATH).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..coders import trellis_points, trellis_search
from ..coders.scales import Shape
from ..coders.state_machine import lower_branches
from ..coders.trellis_design import LAMBDA, REACH, Design, design
from ..coders.trellis_symbols import LARGEST
from .alphabet import GROUPS, PATH, Alphabet, grid_tokens, path_contexts
from .urn import Ints

Floats = NDArray[np.float32]

_STATES: Final = ((256, 64), (64, 16), (16, 4), (0, 1))
"""(columns, states): a path takes some columns to become free."""
_MANY: Final = 1 << 13


@dataclass(frozen=True)
class Quantised:
    """One tensor's records: the alphabet, and the keys [units, columns] in it."""

    alphabet: Alphabet
    keys: Ints


def quantise(records: Floats, dtype: str, step: float) -> Quantised | None:
    """float32 records [units, columns] on a grid of `step`; None if one is too many steps large or nothing is left to code."""
    unit = np.float32(step)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scaled = np.ascontiguousarray(records / unit, np.float32)
    if not bool((np.abs(scaled) < LARGEST).all()):
        return None
    units, columns = scaled.shape
    most = next(states for least, states in _STATES if columns >= least)
    made, _ = design(scaled.reshape(-1), [Shape(units, columns, 1)], most, LAMBDA)
    indices, groups = _follow(scaled, made), _groups(scaled)
    contexts, count = path_contexts(indices, made.states, groups)
    offsets = trellis_points.fit(scaled.reshape(-1), indices.reshape(-1), contexts.reshape(-1), count)
    tops = grid_tokens(int(np.abs(indices).max(initial=0)))
    if tops is None:
        return None
    keys = np.abs(indices).astype(np.int64) << 1 | (indices < 0)
    return Quantised(Alphabet(PATH, dtype, tops, step=unit, states=made.states, offsets=offsets, groups=groups), keys)


def _groups(scaled: Floats) -> Ints | None:
    """Columns by the mean square of their weights, in octaves of it; None for few weights, whose offsets would cost too much."""
    if scaled.size < _MANY:
        return None
    power = np.log2(np.square(scaled, dtype=np.float64).mean(axis=0) + 2.0**-20)
    octaves = np.rint(power - power.max()).astype(np.int64)
    found: Ints = np.clip(octaves + GROUPS - 1, 0, GROUPS - 1)
    return found


def _follow(scaled: Floats, made: Design) -> NDArray[np.int32]:
    """Indices int32 [units, columns], each row's path from state 0."""
    points = trellis_points.table(made.offsets, made.count, REACH).reshape(2 * made.count, -1)
    rates, groups = made.rates.reshape(points.shape), made.groups.reshape(scaled.shape)
    out = np.zeros(scaled.shape, np.int32)
    union, twist = lower_branches(made.states)
    for values, contexts, row in zip(scaled, groups, out, strict=True):
        if made.states == 1:
            trellis_search.nearest(values, contexts, rates, points, row)
        else:
            trellis_search.search(values, contexts, rates, points, union, twist, 0, row)
    return out
