"""Row scale x column scale: which weights are likely to be large, told in a few bits a row and a column.

The standard deviation of a weight is modelled as (its row's) x (its column's), both in steps of a quarter octave. Their sum in
steps, clipped to 0..63, is the weight's *level*; levels with similar distributions are merged into contexts.
Columns can be one each, or (kernels of convolutions) one an input channel plus one a kernel position.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import adaptive
from ...errors import FormatError
from ...spec import Spec, dtype
from ...wire import Reader, Writer

STEPS: Final = 4
LEVELS: Final = 64
_LIMIT: Final = 28
_MOST_TENSORS: Final = 2048
_ENOUGH: Final = 512  # weights of a row or column that tell its scale well within a step
NO_COLUMNS, COLUMNS, CHANNELS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Shape:
    """One tensor of a block as rows x (inner x kernel)."""

    rows: int
    inner: int
    kernel: int

    @property
    def columns(self) -> int:
        return self.inner * self.kernel


def shapes_of(spec: Spec) -> list[Shape]:
    """What the symbols of a block are laid out as: one a word (a byte of a packed dtype; a complex number has two).

    A vector is one row; very many tensors, or rows that aren't whole bytes, are taken as one vector.
    """
    kind = dtype(spec.dtype)
    words = spec.nbytes * 8 // kind.word
    if len(spec.shapes) > _MOST_TENSORS:
        return [Shape(1, words, 1)]
    out = []
    for shape, (rows, columns) in zip(spec.shapes, spec.matrices(), strict=True):
        if columns * kind.bits % kind.word:
            return [Shape(1, words, 1)]
        split = max(1, kind.bits // kind.word)
        kernel = max(prod(shape[2:]), 1) * split if kind.kind != "packed" else 1
        out.append(Shape(rows, columns * kind.bits // kind.word // kernel, kernel))
    return out


@dataclass(frozen=True)
class Scales:
    """Steps of each row (int8, all tensors end to end; or none) and of the columns by `mode`."""

    rows: NDArray[np.int8] | None
    mode: int
    columns: NDArray[np.int8] | None

    @property
    def flags(self) -> int:
        return (self.rows is not None) | self.mode << 1


NONE: Final = Scales(None, NO_COLUMNS, None)


@njit(nogil=True, cache=True)
def _row_energy(symbols, energy, columns, every, out):  # type: ignore[no-untyped-def]
    """out[r] = mean of energy[symbol] over every `every`-th column of row r of one tensor."""
    c, step = np.uint64(columns), np.uint64(every)
    for r in range(out.size):
        at, end, total = np.uint64(r) * c, np.uint64(r + 1) * c, 0.0
        while at < end:
            total += energy[symbols[at]]
            at += step
        out[r] = total / ((columns + every - 1) // every)


@njit(nogil=True, cache=True)
def _column_energy(symbols, energy, row_weight, every, out):  # type: ignore[no-untyped-def]
    """out[j] = sum over every `every`-th row of energy[symbol] * row_weight[row]."""
    c = np.uint64(out.size)
    for r in range(0, row_weight.size, every):
        start, weight = np.uint64(r) * c, row_weight[r]
        for j in range(out.size):
            out[j] += energy[symbols[start + np.uint64(j)]] * weight


@njit(nogil=True, cache=True)
def _levels(row_steps, column_steps, every, out):  # type: ignore[no-untyped-def]
    """out[k, j] = row + column + 32, clipped to 0..63, for row k * every of one tensor. Rows of the same step are copies."""
    columns = np.uint64(column_steps.size)
    first = np.full(256, -1, np.int64)
    start = np.uint64(0)
    for r in range(0, row_steps.size, every):
        base = np.int64(row_steps[r]) + 32
        if first[base + 96] >= 0:
            twin = np.uint64(first[base + 96])
            for j in range(column_steps.size):
                out[start + np.uint64(j)] = out[twin + np.uint64(j)]
        else:
            first[base + 96] = np.int64(start)
            for j in range(column_steps.size):
                out[start + np.uint64(j)] = np.uint8(min(max(base + np.int64(column_steps[j]), 0), 63))
        start += columns


@njit(nogil=True, cache=True)
def regroup(levels, group_of):  # type: ignore[no-untyped-def]
    """levels[i] = group_of[levels[i]], in place."""
    for i in range(levels.size):
        levels[i] = group_of[levels[i]]


@njit(nogil=True, cache=True)
def _count_levels(symbols, levels, columns, every, out):  # type: ignore[no-untyped-def]
    """out[level << 8 | symbol] counted over every `every`-th row of one tensor; `levels` has those rows alone."""
    wide, k = np.uint64(columns), np.uint64(0)
    for r in range(0, symbols.size // max(columns, 1), every):
        start = np.uint64(r) * wide
        for j in range(columns):
            out[(np.uint64(levels[k]) << np.uint64(8)) | np.uint64(symbols[start + np.uint64(j)])] += np.uint32(1)
            k += np.uint64(1)


def _steps(mean_square: NDArray[np.float64], reference: float) -> NDArray[np.int8]:
    with np.errstate(divide="ignore"):
        steps = np.rint(STEPS * 0.5 * np.log2(mean_square / reference))
    return np.asarray(np.clip(np.nan_to_num(steps, neginf=-_LIMIT), -_LIMIT, _LIMIT).astype(np.int8))


class Estimator:
    """Row and column scales of the tensors of a block, from their symbols and the energy of each symbol."""

    def __init__(self, symbols: NDArray[np.uint8], energy: NDArray[np.float64], shapes: list[Shape]) -> None:
        self._symbols, self._energy, self._shapes = symbols, energy, shapes
        rows, self._columns, at = [], [], 0
        for s in shapes:
            part = symbols[at : at + s.rows * s.columns]
            at += part.size
            rows.append(np.zeros(s.rows))
            if s.columns:
                _row_energy(part, energy, s.columns, max(1, s.columns // _ENOUGH), rows[-1])
            self._columns.append(self._column_scale(part, s, rows[-1]))
        means = np.concatenate(rows) if rows else np.empty(0)
        weights = np.concatenate([np.full(s.rows, s.columns) for s in shapes]) if shapes else np.empty(0)
        self._mean = float((means * weights).sum() / max(weights.sum(), 1)) or 1.0
        self.rows = _steps(means, self._mean)

    def _column_scale(self, part: NDArray[np.uint8], s: Shape, row_means: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean square of each column relative to its rows'."""
        positive = row_means > 0
        weight = np.divide(1.0, row_means, out=np.zeros_like(row_means), where=positive)
        sums, every = np.zeros(s.columns), max(1, s.rows // _ENOUGH)
        _column_energy(part, self._energy, weight, every, sums)
        return sums / max(int(positive[::every].sum()), 1)

    def columns(self, mode: int) -> NDArray[np.int8]:
        """Steps as they are sent: every column, or channels then kernel positions, tensor by tensor."""
        out = []
        for s, scale in zip(self._shapes, self._columns, strict=True):
            if mode == COLUMNS:
                out.append(_steps(scale, 1.0))
                continue
            grid = scale.reshape(s.inner, s.kernel)
            channel = grid.mean(axis=1)
            safe = np.where(channel > 0, channel, 1.0)
            out.append(_steps(channel, 1.0))
            out.append(_steps((grid / safe[:, None]).sum(axis=0) / max(s.inner, 1), 1.0))
        return np.concatenate(out) if out else np.empty(0, np.int8)


def expanded(scales: Scales, shapes: list[Shape]) -> list[tuple[NDArray[np.int8], NDArray[np.int8]]]:
    """(row steps, column steps) of each tensor, in full."""
    out, row, column = [], 0, 0
    for s in shapes:
        rows = np.zeros(s.rows, np.int8) if scales.rows is None else scales.rows[row : row + s.rows]
        row += s.rows
        if scales.columns is None:
            columns = np.zeros(s.columns, np.int8)
        elif scales.mode == COLUMNS:
            columns = scales.columns[column : column + s.columns]
            column += s.columns
        else:
            channel = scales.columns[column : column + s.inner]
            kernel = scales.columns[column + s.inner : column + s.inner + s.kernel]
            column += s.inner + s.kernel
            columns = np.ascontiguousarray((channel[:, None].astype(np.int8) + kernel).reshape(-1))
        out.append((rows, columns))
    return out


def sent_columns(mode: int, shapes: list[Shape]) -> int:
    """How many column steps are sent."""
    return sum(s.columns if mode == COLUMNS else s.inner + s.kernel for s in shapes) if mode else 0


def levels_of(scales: Scales, shapes: list[Shape], every: int) -> list[tuple[NDArray[np.uint8], int]]:
    """Of each tensor: the levels of every k-th row (uint8 [rows / k * columns]), and k: `every`, or 1 if it has few rows."""
    out = []
    for s, (rows, columns) in zip(shapes, expanded(scales, shapes), strict=True):
        step = every if s.rows >= 2 * every else 1
        levels = np.empty(-(-s.rows // step) * s.columns, np.uint8)
        _levels(rows, columns, step, levels)
        out.append((levels, step))
    return out


def all_levels(scales: Scales, shapes: list[Shape]) -> NDArray[np.uint8]:
    """The level (uint8 [n]) of each symbol of the block."""
    parts = [levels for levels, _ in levels_of(scales, shapes, 1)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, np.uint8)


def count_levels(
    symbols: NDArray[np.uint8], levels: list[tuple[NDArray[np.uint8], int]], shapes: list[Shape], alphabet: int
) -> NDArray[np.uint32]:
    """Counts (uint32 [LEVELS, alphabet]) over the rows that `levels` has, scaled up to all of them."""
    out, at = np.zeros(LEVELS << 8, np.uint32), 0
    for s, (part, step) in zip(shapes, levels, strict=True):
        counts = np.zeros_like(out) if step > 1 else out
        _count_levels(symbols[at : at + s.rows * s.columns], part, s.columns, step, counts)
        if step > 1:
            out += counts * np.uint32(step)
        at += s.rows * s.columns
    return np.ascontiguousarray(out.reshape(LEVELS, 256)[:, :alphabet])


# --- on the wire -------------------------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _residuals(steps, out):  # type: ignore[no-untyped-def]
    """Zigzag difference to a running mean."""
    mean = 0
    for i in range(steps.size):
        d = np.int64(steps[i]) - ((mean + 8) >> 4)
        out[i] = 2 * d if d >= 0 else -2 * d - 1
        mean += (np.int64(steps[i]) * 16 - mean) >> 2


@njit(nogil=True, cache=True)
def _from_residuals(values, out):  # type: ignore[no-untyped-def]
    """False if a step leaves int8's range."""
    mean = 0
    for i in range(values.size):
        v = values[i]
        d = v >> 1 if v & 1 == 0 else -(v >> 1) - 1
        step = d + ((mean + 8) >> 4)
        if step < -64 or step > 63:
            return False
        out[i] = step
        mean += (step * 16 - mean) >> 2
    return True


def encode_steps(steps: NDArray[np.int8]) -> bytes:
    values = np.empty(steps.size, np.int64)
    _residuals(steps, values)
    return adaptive.encode(values, np.zeros(steps.size, np.uint8))


def decode_steps(payload: memoryview, count: int) -> NDArray[np.int8]:
    """Raises FormatError."""
    values = adaptive.decode(payload, np.zeros(count, np.uint8), 255)
    out = np.empty(count, np.int8)
    if not _from_residuals(values, out):
        raise FormatError("scales: a step out of range")
    return out


def write_scales(out: Writer, scales: Scales) -> None:
    """The reader knows the flags and the shapes."""
    for steps in (scales.rows, scales.columns):
        if steps is not None:
            out.blob(encode_steps(steps))


def sent_bits(scales: Scales) -> float:
    """About how many bits the scales take on the wire: the entropy of their steps. Only for choosing between scales."""
    bits = 0.0
    for steps in (scales.rows, scales.columns):
        if steps is not None:
            counts = np.bincount(steps.view(np.uint8))
            used = counts[counts > 0].astype(np.float64)
            bits += float((used * np.log2(steps.size / used)).sum()) + 4 * used.size + 16
    return bits


def read_scales(source: Reader, flags: int, shapes: list[Shape]) -> Scales:
    """The inverse of `write_scales`. Raises FormatError."""
    mode = flags >> 1
    if mode > CHANNELS:
        raise FormatError("scales: unknown kind of columns")
    rows = decode_steps(source.blob(), sum(s.rows for s in shapes)) if flags & 1 else None
    columns = decode_steps(source.blob(), sent_columns(mode, shapes)) if mode else None
    return Scales(rows, mode, columns)
