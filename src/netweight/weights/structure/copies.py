"""Which rows are copies of which others: a search by correlations, for the encoder alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .labels import Ints, Mask
from .model import Floats, Matrix, Tolerance, Wide, floor_of
from .transforms import Transforms, apply, transforms_of

_CHUNK: Final = 2048  # rows that are compared with each other
_SAMPLED: Final = 384  # columns that are looked at first
_MARGIN_BITS: Final = 10.0
_NEAR: Final = 0.6  # correlation of what is told from chance on a sample
_FAINT: Final = 1e-12
_SHIFT_ROWS: Final = 512
_SHIFT_COLUMNS: Final = 1024
_SPECTRA_ALIKE: Final = 0.6


@dataclass(frozen=True)
class Copies:
    """`mask` bool [rows]; of each copy, in order, its root (a number among the rows that aren't copies) and transform."""

    mask: Mask
    roots: Ints
    transforms: Ints


@dataclass
class _Nearest:
    """Of each pair of rows of a chunk: the largest size of correlation (float32) and the transform that has it."""

    size: Floats
    transform: NDArray[np.int32]


def find_copies(matrix: Matrix, tolerance: Tolerance) -> Copies | None:
    """Copies whose gain is more than what it takes to say what they are copies of; None if there are none."""
    layout, transforms = matrix.layout, transforms_of(matrix.layout)
    if layout.rows < 2 or layout.columns < 2:
        return None
    parents, numbers = np.full(layout.rows, -1), np.zeros(layout.rows, np.int64)
    for start in range(0, layout.rows, _CHUNK):
        rows = matrix.wide[start : start + _CHUNK]
        nearest = _compare(rows, transforms)
        if nearest is not None:
            _choose(rows, nearest, transforms, floor_of(matrix, tolerance), start, parents, numbers)
    mask = parents >= 0
    if not mask.any():
        return None
    number_of = np.cumsum(~mask) - 1
    return Copies(mask, number_of[parents[mask]], numbers[mask])


def _unit(rows: Wide) -> Floats:
    norms = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.maximum(norms, _FAINT * (float(norms.max()) or 1.0)), np.float32)


def _compare(rows: Wide, transforms: Transforms) -> _Nearest | None:
    """The nearest transform of every pair, on a sample of the columns; None if no pair is near."""
    columns = transforms.columns
    picked = np.arange(columns)
    if columns > _SAMPLED:
        picked = np.sort(np.random.default_rng(0).permutation(columns)[:_SAMPLED])
    unit = _unit(rows[:, picked])
    best = _Nearest(np.zeros((len(rows), len(rows)), np.float32), np.zeros((len(rows), len(rows)), np.int32))
    for number in range(transforms.fixed):
        image = unit if number == 0 else _unit(apply(rows, transforms.index(number)[picked]))
        size = np.abs(unit @ image.T)
        better = size > best.size + (0.0 if number == 0 else 1e-4)
        best.size[better] = size[better]
        best.transform[better] = number
    if transforms.circular and len(rows) <= _SHIFT_ROWS and columns <= _SHIFT_COLUMNS:
        _compare_shifts(rows, transforms, best)
    return best if bool((np.tril(best.size, -1) > _least(picked.size)).any()) else None


def _least(columns: int) -> float:
    """A correlation under which chance is likelier, among millions of pairs of so many columns; at most _NEAR."""
    return min(_NEAR, 5.5 / math.sqrt(columns)) if columns >= 64 else _NEAR


def _compare_shifts(rows: Wide, transforms: Transforms, best: _Nearest) -> None:
    """Circular shifts, of pairs whose spectra are alike: the best by the theorem of Wiener and Khinchin."""
    spectra = np.fft.rfft(_unit(rows).astype(np.float64), axis=1)
    sizes = np.abs(spectra)
    centred = _unit(sizes - sizes.mean(axis=1, keepdims=True))
    pairs = np.argwhere(np.tril(centred @ centred.T, -1) > _SPECTRA_ALIKE)
    if len(pairs) > 8 * len(rows) or transforms.columns < 8:
        return
    for i, j in pairs:
        correlation = np.fft.irfft(spectra[i] * np.conj(spectra[j]), transforms.columns)
        shift = int(np.argmax(np.abs(correlation)))
        if shift and abs(correlation[shift]) > best.size[i, j] + 1e-4:
            best.size[i, j] = abs(correlation[shift])
            best.transform[i, j] = transforms.number_of_shift(shift)


def _choose(
    rows: Wide, nearest: _Nearest, transforms: Transforms, floor: float, start: int, parents: Ints, numbers: Ints
) -> None:
    """Take rows in order: a copy of the nearest root before it, or a root itself. Fills `parents` and `numbers`."""
    columns, is_root = rows.shape[1], np.zeros(len(rows), bool)
    least = _least(min(columns, _SAMPLED))
    cost = math.log2(len(rows)) + math.log2(max(transforms.count, 2)) + _MARGIN_BITS
    for i, row in enumerate(rows):
        candidates = np.where(is_root[:i], nearest.size[i, :i], 0.0)
        j = int(np.argmax(candidates)) if i else 0
        if i and candidates[j] > least:
            number = int(nearest.transform[i, j])
            if _gain(row, apply(rows[j], transforms.index(number)), floor) > cost:
                parents[start + i], numbers[start + i] = start + j, number
                continue
        is_root[i] = bool(row.any())


def _gain(row: Wide, image: Wide, floor: float) -> float:
    """Bits that knowing the image saves of the row (a bound)."""
    energy = float(row @ row)
    rest = energy - float(row @ image) ** 2 / max(float(image @ image), 1e-300)
    low = floor * row.size
    return 0.5 * row.size * math.log2(max(energy, low) / max(rest, low))
