"""Block-diagonal matrices, up to an order of rows and columns: groups of rows that see groups of columns of their own.

parameters := number of groups (varint) | label of each row | label of each column | numbers of the groups, row by row
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ...errors import FormatError
from ...wire import Reader, Writer
from .cores import read_core, write_core
from .labels import Ints, Mask, read_labels, write_labels
from .model import Floats, Found, Layout, Matrix, Tolerance, found_if_it_pays, saving

NAME = "block-diagonal"
_THRESHOLDS: Final = (
    2.0,
    1.4,
    1.0,
    0.7,
    0.5,
    0.35,
    0.25,
)  # root mean squares over which a weight joins its row and column
_FEWEST: Final = 4  # rows and columns
_MOST_OUTSIDE: Final = 0.1  # of the energy, for it to be called block-diagonal
_MOST_ROUNDS: Final = 24


def _reached(strong: Mask) -> bool:
    """Whether the first row is joined to all rows."""
    rows, before = strong[:1].any(axis=1), 0
    rows = np.zeros(len(strong), bool)
    rows[int(np.argmax(strong.any(axis=1)))] = True
    while int(rows.sum()) > before:
        before = int(rows.sum())
        columns = strong[rows].any(axis=0)
        rows |= strong[:, columns].any(axis=1)
    return bool(rows.all())


def _components(strong: Mask) -> tuple[Ints, Ints, int] | None:
    """(label of each row, of each column, how many) of rows and columns that strong weights join; None if too tangled."""
    rows = np.arange(strong.shape[0])
    none = strong.shape[0] + strong.shape[1]
    for _ in range(_MOST_ROUNDS):
        columns = np.where(strong, rows[:, None], none).min(axis=0)
        new = np.minimum(np.where(strong, columns[None, :], none).min(axis=1), rows)
        if np.array_equal(new, rows):
            break
        rows = new
    else:
        return None
    used = np.unique(np.concatenate([rows, columns[columns < none]]))
    column_labels = np.where(columns < none, np.searchsorted(used, np.minimum(columns, used[-1])), 0)
    return np.searchsorted(used, rows), column_labels, int(used.size)


def _blocks(rows: Ints, columns: Ints, groups: int) -> int:
    """How many groups have more than one row and more than one column."""
    return int(((np.bincount(rows, minlength=groups) > 1) & (np.bincount(columns, minlength=groups) > 1)).sum())


def _side_bits(rows: Ints, columns: Ints, groups: int) -> float:
    """About what the labels take."""
    changes = int((np.diff(rows) != 0).sum() + (np.diff(columns) != 0).sum())
    return 64.0 + 0.3 * (rows.size + columns.size) + changes * (1 + math.log2(max(groups, 1)))


def detect(matrix: Matrix, tolerance: Tolerance) -> Found | None:
    """The groups at the threshold that promises most."""
    if min(matrix.layout.rows, matrix.layout.columns) < _FEWEST:
        return None
    size, best = np.abs(matrix.values), None
    squares = np.square(matrix.wide)
    for threshold in _THRESHOLDS:
        strong = size > threshold * math.sqrt(matrix.energy)
        if _reached(strong):
            break
        made = _components(strong)
        if made is None or made[2] < 2:
            continue
        rows, columns, groups = made
        inside = rows[:, None] == columns[None, :]
        noise = float(squares[~inside].sum()) / squares.size
        if noise > _MOST_OUTSIDE * matrix.energy or _blocks(rows, columns, groups) < 2:
            continue
        side = _side_bits(rows, columns, groups)
        worth = saving(matrix, tolerance, noise, int(inside.sum()), side)
        if best is None or worth > best[0]:
            best = (worth, rows, columns, groups, noise, int(inside.sum()), side)
    if best is None:
        return None
    _, rows, columns, groups, noise, count, side = best
    found = Found(
        f"block-diagonal: {groups} groups of rows and columns of their own, {count / matrix.layout.count:.1%} of the weights",
        noise, count, side, lambda step: _code(matrix, rows, columns, groups, step), noise == 0,
    )  # fmt: skip
    return found_if_it_pays(matrix, tolerance, found)


def _code(matrix: Matrix, rows: Ints, columns: Ints, groups: int, step: float) -> bytes:
    out = Writer().varint(groups)
    write_labels(out, rows, groups)
    write_labels(out, columns, groups)
    core = matrix.values[rows[:, None] == columns[None, :]]
    write_core(out, core, (1, core.size), step, matrix.layout)
    return out.bytes()


def restore(source: Reader, layout: Layout) -> Floats:
    """float32 [rows, columns]. Raises FormatError."""
    groups = source.varint(limit=layout.rows + layout.columns)
    rows, columns = read_labels(source, layout.rows, groups), read_labels(source, layout.columns, groups)
    inside = rows[:, None] == columns[None, :]
    count = int(inside.sum())
    if not count:
        raise FormatError("block-diagonal structure: empty blocks")
    out = np.zeros((layout.rows, layout.columns), np.float32)
    out[inside] = read_core(source, (1, count), layout)[0]
    return out
