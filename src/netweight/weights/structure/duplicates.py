"""Rows that are other rows, nearly: negated, times a number, flipped, turned by quarter turns, shifted.

Each row is a root, whose weights are sent, or a copy of a root: its number, the transform, the sign, and the number that
it is multiplied with. A root is the least-squares mean of all rows that are made from it.

parameters := flags(1: 1 columns instead of rows, 2 times numbers, 4 transforms) | mask of copies | roots of copies
              | [transforms] | mask of negated copies | [numbers, one a copy] | weights of roots
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ...wire import Reader, Writer
from .copies import Copies, find_copies
from .cores import read_core, write_core
from .labels import read_labels, read_mask, read_numbers, write_labels, write_mask, write_numbers
from .model import Floats, Found, Layout, Matrix, Tolerance, Wide, found_if_it_pays
from .transforms import Transforms, apply, transforms_of

NAME = "duplicates"
_Real = TypeVar("_Real", np.float32, np.float64)
_COLUMNS, _TIMES, _TRANSFORMS = 1, 2, 4
_SAME: Final = 1e-6  # a factor so near to 1 is 1


def _turned(matrix: Matrix) -> Matrix:
    layout = matrix.layout
    return Matrix(np.ascontiguousarray(matrix.values.T), Layout((layout.columns, layout.rows), layout.dtype))


def detect(matrix: Matrix, tolerance: Tolerance) -> Found | None:
    """Copies among the rows; among the columns of a matrix, where there are none among the rows."""
    found = _detect(matrix, tolerance, 0)
    if found is None and not matrix.layout.kernel and matrix.layout.columns > 1:
        found = _detect(_turned(matrix), tolerance, _COLUMNS)
    return found


@dataclass(frozen=True)
class _Plan:
    """Copies, the weights of roots [roots, columns], and factors of copies with their signs."""

    copies: Copies
    roots: Wide
    factors: Wide


def _detect(matrix: Matrix, tolerance: Tolerance, flags: int) -> Found | None:
    copies = find_copies(matrix, tolerance)
    if copies is None:
        return None
    transforms = transforms_of(matrix.layout)
    plan, exact = _fit(matrix, copies, transforms)
    made = _assembled(plan.copies, plan.roots, plan.factors, transforms)
    noise = float(np.square(matrix.wide - made).mean())
    count = int(copies.mask.sum())
    side = 64.0 + count * (math.log2(max(plan.roots.shape[0], 2)) + 2)
    word = "columns" if flags & _COLUMNS else "rows"
    found = Found(
        f"duplicates: {count} of {matrix.layout.rows} {word} are others{_how(plan, transforms)}", noise,
        plan.roots.size + count, side, lambda step: _code(plan, matrix.layout, step, flags), exact,
    )  # fmt: skip
    return found_if_it_pays(matrix, tolerance, found)


def _how(plan: _Plan, transforms: Transforms) -> str:
    """In parentheses, as `(12 negated, 3 flipped left to right)`, or nothing."""
    kinds = Counter(transforms.name(int(t)) for t in plan.copies.transforms if t)
    kinds.update(["negated"] * int((plan.factors < 0).sum()))
    if bool((np.abs(plan.factors) != 1).any()):
        kinds.update(["times a number"] * int((np.abs(plan.factors) != 1).sum()))
    return f" ({', '.join(f'{n} {name}' for name, n in kinds.most_common(4))})" if kinds else ""


def _fit(matrix: Matrix, copies: Copies, transforms: Transforms) -> tuple[_Plan, bool]:
    """Roots as means of what is made from them; as they are, where every copy is exact."""
    wide, mask = matrix.wide, copies.mask
    roots = wide[~mask]
    factors = np.array([_factor(x, y) for x, y in zip(wide[mask], _images(copies, roots, transforms), strict=True)])
    factors = np.where(np.abs(np.abs(factors) - 1) < _SAME, np.sign(factors), factors)
    same = np.array_equal(_assembled(copies, roots, factors, transforms), wide)
    if same and bool((np.abs(factors) == 1).all()):
        return _Plan(copies, roots, factors), True
    total, weight = roots.copy(), np.ones_like(roots)
    for row, root, number, factor in zip(wide[mask], copies.roots, copies.transforms, factors, strict=True):
        index = transforms.index(int(number))
        used = index >= 0
        np.add.at(total[root], index[used], factor * row[used])
        np.add.at(weight[root], index[used], factor * factor)
    return _Plan(copies, total / weight, factors), False


def _images(copies: Copies, roots: NDArray[_Real], transforms: Transforms) -> NDArray[_Real]:
    """What each copy is before it is multiplied: [copies, columns], in the dtype of `roots`."""
    out = np.empty((copies.roots.size, transforms.columns), roots.dtype)
    for number in np.unique(copies.transforms):
        which = copies.transforms == number
        out[which] = apply(roots[copies.roots[which]], transforms.index(int(number)))
    return out


def _factor(row: Wide, image: Wide) -> float:
    return float(row @ image) / max(float(image @ image), 1e-300)


def _assembled(
    copies: Copies, roots: NDArray[_Real], factors: NDArray[_Real], transforms: Transforms
) -> NDArray[_Real]:
    """All rows, in the dtype of `roots`."""
    out = np.empty((copies.mask.size, transforms.columns), roots.dtype)
    out[~copies.mask] = roots
    out[copies.mask] = _images(copies, roots, transforms) * factors[:, None]
    return out


def _code(plan: _Plan, layout: Layout, step: float, flags: int) -> bytes:
    copies = plan.copies
    flags |= _TIMES * bool((np.abs(plan.factors) != 1).any()) | _TRANSFORMS * bool(copies.transforms.any())
    out = Writer().raw(bytes([flags]))
    write_mask(out, copies.mask)
    write_numbers(out, copies.roots, _width(len(plan.roots)))
    if flags & _TRANSFORMS:
        write_labels(out, copies.transforms, transforms_of(layout).count)
    write_mask(out, plan.factors < 0)
    if flags & _TIMES:
        size = math.sqrt(float(np.square(plan.roots).mean())) or 1.0
        write_core(out, np.abs(plan.factors), (1, plan.factors.size), step / size, layout)
    write_core(out, plan.roots, plan.roots.shape, step, layout)
    return out.bytes()


def _width(count: int) -> int:
    return max(count - 1, 0).bit_length()


def restore(source: Reader, layout: Layout) -> Floats:
    """float32 [rows, columns]. Raises FormatError."""
    flags = source.byte()
    if flags > (_COLUMNS | _TIMES | _TRANSFORMS) or (flags & _COLUMNS and layout.kernel):
        raise FormatError(f"duplicates: flags {flags}")
    own = Layout((layout.columns, layout.rows), layout.dtype) if flags & _COLUMNS else layout
    mask = read_mask(source, own.rows)
    copies, roots = int(mask.sum()), int((~mask).sum())
    if not roots or not copies:
        raise FormatError("duplicates: all rows are copies, or none")
    of = read_numbers(source, copies, _width(roots), roots - 1)
    if int(of.max()) >= roots:
        raise FormatError(f"duplicates: root {of.max()} of {roots}")
    transforms = transforms_of(own)
    which = read_labels(source, copies, transforms.count) if flags & _TRANSFORMS else np.zeros(copies, np.int64)
    factors: Floats = np.where(read_mask(source, copies), np.float32(-1), np.float32(1))
    if flags & _TIMES:
        factors = factors * read_core(source, (1, copies), own)[0]
    weights = read_core(source, (roots, own.columns), own)
    with np.errstate(over="ignore", invalid="ignore"):
        out = _assembled(Copies(mask, of, which), weights, factors, transforms)
    return np.ascontiguousarray(out.T) if flags & _COLUMNS else out
