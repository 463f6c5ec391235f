"""Sparse codes in a learned dictionary: every row is a sum of a few atoms times numbers, of more atoms than columns.

That is how networks are thought to store more features than they have neurons (superposition: Elhage et al. 2022, arXiv
2209.10652). Learned by orthogonal matching pursuit and the method of optimal directions (Engan et al. 1999).

parameters := atoms (varint) | atoms of each row - 1 (varint) | places, atoms of each row rising | numbers [rows, atoms of
              each] | atoms [atoms, columns]    (numbers)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from ...errors import FormatError
from ...wire import Reader, Writer
from ..coders.singular import product
from .cores import read_core, write_core
from .labels import Ints, read_places, write_places
from .model import Floats, Found, Layout, Matrix, Tolerance, Wide, found_if_it_pays, saving

NAME = "dictionary"
_MOST_COLUMNS: Final = 256  # learning for wider rows takes too long
_FEWEST_COLUMNS: Final = 8
_ROWS_PER_COLUMN: Final = 4
_OVERCOMPLETE: Final = 2
_FEW: Final = (1, 2, 3, 4)
_SAMPLE: Final = 1024
_PROBE_ROUNDS: Final = 6
_ROUNDS: Final = 60
_SETTLED: Final = 6  # turns between which no atom is dropped
_HOPE: Final = 0.55  # of the energy: what a probe may leave at most
_MOST_ATOMS: Final = 4096
_MOST_WORK: Final = 1 << 32


@dataclass(frozen=True)
class _Fit:
    atoms: Wide  # [atoms, columns], unit rows
    chosen: Ints  # [rows, few], rising
    numbers: Wide  # [rows, few]

    def rows(self) -> Wide:
        return np.asarray(np.einsum("rk,rkc->rc", self.numbers, self.atoms[self.chosen]))


def _pursue(rows: Wide, atoms: Wide, few: int) -> tuple[Ints, Wide]:
    """(atoms of each row [rows, few], numbers) by orthogonal matching pursuit (Pati et al. 1993), all rows at once."""
    rest, chosen, numbers = rows, np.zeros((len(rows), 0), np.int64), np.zeros((len(rows), 0))
    for _ in range(few):
        scores = np.abs(rest.astype(np.float32) @ atoms.T.astype(np.float32))
        np.put_along_axis(scores, chosen, -1.0, axis=1)
        chosen = np.sort(np.concatenate([chosen, scores.argmax(axis=1)[:, None]], axis=1), axis=1)
        used = atoms[chosen]
        gram = used @ used.transpose(0, 2, 1) + 1e-10 * np.eye(used.shape[1])
        numbers = np.asarray(np.linalg.solve(gram, used @ rows[:, :, None])[:, :, 0], np.float64)
        rest = rows - np.einsum("rk,rkc->rc", numbers, used)
    return chosen, numbers


def _improved(rows: Wide, atoms: Wide, chosen: Ints, numbers: Wide, drop: int) -> Wide:
    """The atoms of least squares for these codes. Unused and double ones, and the `drop` that tell least, make room for
    what the rows told worst have left over.
    """
    codes = np.zeros((len(rows), len(atoms)))
    np.put_along_axis(codes, chosen, numbers, axis=1)
    gram = codes.T @ codes
    damped = gram + 1e-9 * max(float(np.trace(gram)), 1e-300) * np.eye(len(atoms))
    new: Wide = np.asarray(np.linalg.solve(damped, codes.T @ rows), np.float64)
    norms = np.sqrt(np.square(new).sum(axis=1, keepdims=True))
    new /= np.maximum(norms, 1e-300)
    alike = np.abs(np.triu(new @ new.T, 1)) > 0.97
    told = np.square(codes).sum(axis=0) * norms[:, 0] ** 2
    stale = alike.any(axis=0) | (np.count_nonzero(codes, axis=0) < 2)
    stale[np.argsort(told, kind="stable")[:drop]] = True
    rest = rows - codes @ (new * norms)
    worst = np.argsort(-np.square(rest).sum(axis=1), kind="stable")[: int(stale.sum())]
    new[np.flatnonzero(stale)[: worst.size]] = _unit(rest[worst])
    return new


def _unit(rows: Wide) -> Wide:
    return np.asarray(rows / np.maximum(np.sqrt(np.square(rows).sum(axis=1, keepdims=True)), 1e-300))


def _learn(rows: Wide, atoms: Wide, few: int, rounds: int) -> Wide:
    """The atoms that tell the rows best, of `rounds` turns of pursuit and least squares; now and then some are dropped."""
    best, least = atoms, math.inf
    for turn in range(rounds):
        chosen, numbers = _pursue(rows, atoms, few)
        left = float(np.square(rows - _Fit(atoms, chosen, numbers).rows()).sum())
        if left < least:
            best, least = atoms, left
        shaken = turn % _SETTLED == _SETTLED - 1 and turn < rounds - _SETTLED
        atoms = _improved(rows, atoms, chosen, numbers, max(1, len(atoms) // 32) if shaken else 0)
    return best


def detect(matrix: Matrix, tolerance: Tolerance) -> Found | None:
    """The number of atoms a row that promises most, where a first look at some rows gives hope."""
    layout = matrix.layout
    count = _OVERCOMPLETE * layout.columns
    if not _FEWEST_COLUMNS <= layout.columns <= _MOST_COLUMNS or layout.rows < _ROWS_PER_COLUMN * layout.columns:
        return None
    rng = np.random.default_rng(0)
    sample = matrix.wide[np.sort(rng.permutation(layout.rows)[: max(_SAMPLE, 3 * count)])]
    first = _unit(sample[rng.permutation(len(sample))[:count]])
    best = None
    for few in _FEW:
        if saving(matrix, tolerance, 0.0, *_sizes(layout, count, few)) <= 0:
            break
        atoms = _learn(sample, first, few, _PROBE_ROUNDS)
        left = float(np.square(sample - _Fit(atoms, *_pursue(sample, atoms, few)).rows()).mean())
        if left < _HOPE * matrix.energy:
            atoms = _learn(sample, atoms, few, _ROUNDS)
            fit = _Fit(atoms, *_pursue(matrix.wide, atoms, few))
            noise = float(np.square(matrix.wide - fit.rows()).mean())
            worth = saving(matrix, tolerance, noise, *_sizes(layout, count, few))
            if best is None or worth > best[0]:
                best = (worth, fit, noise, few)
    if best is None:
        return None
    _, fit, noise, few = best
    found = Found(
        f"sparse codes: each row is {few} of {count} atoms of a dictionary", noise, *_sizes(layout, count, few),
        lambda step: _code(fit, layout, step),
    )  # fmt: skip
    return found_if_it_pays(matrix, tolerance, found)


def _sizes(layout: Layout, count: int, few: int) -> tuple[int, float]:
    """(numbers, bits of the places) of a code."""
    return count * layout.columns + layout.rows * few, layout.rows * few * (math.log2(count / few) + 1.5)


def _code(fit: _Fit, layout: Layout, step: float) -> bytes:
    """A number is felt by a unit atom over `columns` weights; an atom by as many rows as have it, times their numbers."""
    count, few = len(fit.atoms), fit.chosen.shape[1]
    out = Writer().varint(count).varint(few - 1)
    write_places(out, (fit.chosen + np.arange(layout.rows)[:, None] * count).reshape(-1))
    share = 1 / math.sqrt(2)
    write_core(out, fit.numbers, fit.numbers.shape, step * share * math.sqrt(layout.columns / few), layout)
    felt = math.sqrt(float(np.square(fit.numbers).sum()) / layout.rows)
    write_core(out, fit.atoms, fit.atoms.shape, step * share / (felt or 1.0), layout)
    return out.bytes()


def restore(source: Reader, layout: Layout) -> Floats:
    """float32 [rows, columns]. Raises FormatError."""
    count, few = source.varint(limit=_MOST_ATOMS), source.varint(limit=_MOST_ATOMS) + 1
    if not 1 <= few <= count or layout.count * count > _MOST_WORK or layout.rows * count > _MOST_WORK >> 8:
        raise FormatError(f"dictionary: {few} of {count} atoms for {layout.shape}")
    places = read_places(source, layout.rows * count)
    owners = places // count
    if places.size != layout.rows * few or not np.array_equal(owners, np.repeat(np.arange(layout.rows), few)):
        raise FormatError("dictionary: another number of atoms than announced")
    codes = np.zeros((layout.rows, count), np.float32)
    numbers = read_core(source, (layout.rows, few), layout)
    codes.reshape(-1)[places] = numbers.reshape(-1)
    atoms = read_core(source, (count, layout.columns), layout)
    with np.errstate(over="ignore", invalid="ignore"):
        return product(codes, atoms)
