"""What symmetries save, as text."""

from __future__ import annotations

import textwrap
from typing import Final

from ..weights.symmetry.weigh import SymmetryRow, SymmetryWeighing
from . import numbers
from .layout import render
from .tables import Cell, Column, Table, words

COLUMNS: Final = (
    Column("code", number=False, folds=True),
    Column("bytes"),
    Column("bits/weight"),
    Column("saved bits"),
    Column("bound"),
    Column("initial bits"),
    Column("check", number=False, folds=True),
)
_WIDTH: Final = 120
_RECEIVER: Final = (
    "The receiver must have {}. It gets a network that computes the same with its units in another order: sums are added "
    "in that order, so results may differ by a rounding error."
)
_ARCHIVES: Final = (
    "Archives are files that decompress without anything else. In the one with symmetries units have a code of their own, which takes "
    "no notice of their order."
)
_MEANING: Final = (
    "bound: what the orders (log2 n!) and signs (1 bit) of all units are worth by counting; no bytes. initial bits: what "
    "the message had to begin with before bits could be taken from it; they are in its bytes. saved bits: under the code "
    "without symmetries above it."
)


def symmetry_text(found: SymmetryWeighing, width: int) -> str:
    """All that `netweight weigh --symmetries` prints."""
    heading = (
        f"{numbers.printable(found.name)}: {numbers.exact(found.weights)} weights, {numbers.size(found.original_bytes)}; "
        f"{numbers.plural(found.groups, 'group')} of interchangeable units, {numbers.exact(found.units)} in all"
    )
    table = Table(COLUMNS, tuple(_row(found, row) for row in found.rows))
    archives = [_ARCHIVES] if any("archive" in row.label for row in found.rows) else []
    notes = [_RECEIVER.format(found.receiver), _MEANING, *archives]
    return "\n\n".join([heading, render(table, width), *(textwrap.fill(n, min(width, _WIDTH)) for n in notes)])


def _row(found: SymmetryWeighing, row: SymmetryRow) -> tuple[Cell, ...]:
    rate = 8 * row.bytes / found.weights if found.weights else None
    bound = numbers.DASH if row.bound_bits is None else f"{row.bound_bits:,.0f}"
    return (
        words(row.label),
        Cell(numbers.exact(row.bytes), row.bytes),
        Cell(numbers.bits(rate), rate),
        Cell(numbers.exact(row.saved_bits), row.saved_bits),
        Cell(bound, row.bound_bits),
        Cell(numbers.exact(8 * row.initial_bytes), row.initial_bytes),
        words(_check(found, row)),
    )


def _check(found: SymmetryWeighing, row: SymmetryRow) -> str:
    """Decoded, and what the task said of it."""
    return row.check if row.score is None else f"{row.check}; scores {row.score:g} (original {found.score:g})"
