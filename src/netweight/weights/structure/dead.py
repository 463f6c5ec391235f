"""Dead units: rows and columns of zeros, or of nearly nothing. What is alive is a smaller matrix.

parameters := mask of live rows | mask of live columns | numbers, live rows x live columns
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ...errors import FormatError
from ...wire import Reader, Writer
from .cores import read_core, write_core
from .labels import Mask, read_mask, write_mask
from .model import Floats, Found, Layout, Matrix, Tolerance, Wide, floor_of, found_if_it_pays

NAME = "dead units"
_NEARLY: Final = 0.5  # of the noise floor: rows of less energy are dead
_FAINT: Final = 1e-2  # of the mean energy
_GAP: Final = 4.0  # ratio of energies of neighbours in order that tells the dead from the living in noise


def _alive(energies: Wide, limit: float, mean: float) -> Mask:
    """Which are above the limit, or above the widest gap under the mean if that is wide."""
    ordered = np.sort(energies)
    ratios = ordered[1:] / np.maximum(ordered[:-1], max(limit, 1e-300))
    ratios[ordered[:-1] > mean] = 0.0
    at = int(np.argmax(ratios)) if ratios.size else 0
    wide = ratios.size > 0 and ratios[at] > _GAP
    return np.asarray(energies > (max(limit, float(ordered[at])) if wide else limit))


def detect(matrix: Matrix, tolerance: Tolerance) -> Found | None:
    """Rows and columns whose energy is next to nothing beside the others'."""
    squares = np.square(matrix.wide)
    limit = max(_NEARLY * floor_of(matrix, tolerance), 0.0 if tolerance.lossless else _FAINT * matrix.energy)
    rows = _alive(squares.mean(axis=1), limit, matrix.energy)
    columns = _alive(squares.mean(axis=0), limit, matrix.energy)
    dead = (int((~rows).sum()), int((~columns).sum()))
    live = int(rows.sum()) * int(columns.sum())
    if not any(dead) or not live:
        return None
    noise = float(squares.sum() - squares[np.ix_(rows, columns)].sum()) / squares.size
    found = Found(
        f"dead units: {dead[0]} of {rows.size} rows and {dead[1]} of {columns.size} columns are nothing",
        noise, live, 40.0 + sum(dead), lambda step: _code(matrix, rows, columns, step), noise == 0,
    )  # fmt: skip
    return found_if_it_pays(matrix, tolerance, found)


def _code(matrix: Matrix, rows: Mask, columns: Mask, step: float) -> bytes:
    out = Writer()
    write_mask(out, rows)
    write_mask(out, columns)
    core = matrix.values[np.ix_(rows, columns)]
    write_core(out, core, core.shape, step, matrix.layout)
    return out.bytes()


def restore(source: Reader, layout: Layout) -> Floats:
    """float32 [rows, columns]. Raises FormatError."""
    rows, columns = read_mask(source, layout.rows), read_mask(source, layout.columns)
    shape = (int(rows.sum()), int(columns.sum()))
    if not shape[0] or not shape[1]:
        raise FormatError("dead units: nothing is alive")
    out = np.zeros((layout.rows, layout.columns), np.float32)
    out[np.ix_(rows, columns)] = read_core(source, shape, layout)
    return out
