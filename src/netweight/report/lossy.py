"""The lossy ladder as a table and as text."""

from __future__ import annotations

from typing import Final

from ..weights.lossy.ladder import LossyRow, LossyWeighing
from . import numbers
from .layout import render
from .tables import BOUND, EMPTY, Cell, Column, Table, words

CHECKED: Final = "decoded, within the error"

COLUMNS: Final = (
    Column("code", number=False),
    Column("bytes"),
    Column("bits/weight"),
    Column("ratio"),
    Column("relMSE"),
    Column("dB"),
    Column("enc MB/s"),
    Column("dec MB/s"),
    Column("check", number=False, folds=True),
)


def lossy_table(weighing: LossyWeighing) -> Table:
    """One row a code, lightest first; the bound and what is coded losslessly stand in the footer."""
    footer = (_bound_row(weighing), _rest_row(weighing)) if weighing.weights else (_rest_row(weighing),)
    return Table(COLUMNS, tuple(_row(weighing, r) for r in weighing.rows), footer)


def _row(weighing: LossyWeighing, row: LossyRow) -> tuple[Cell, ...]:
    if row.bytes is None:
        return (words(row.label), *(Cell(numbers.DASH) for _ in range(7)), words(row.problem))
    original, bits = weighing.matrix_bytes, weighing.bits_per_weight(row.bytes)
    encode, decode = row.encode_seconds, row.decode_seconds
    return (
        words(row.label),
        Cell(numbers.exact(row.bytes), row.bytes),
        Cell(_bits(bits), bits),
        Cell(numbers.ratio(original, row.bytes), original / row.bytes),
        Cell(_error(row.rel_mse), row.rel_mse),
        Cell(_decibels(row.decibels), row.decibels),
        Cell(numbers.speed(original, encode), original / encode if encode else None),
        Cell(numbers.speed(original, decode), original / decode if decode else None),
        words(_check(weighing, row)),
    )


def _check(weighing: LossyWeighing, row: LossyRow) -> str:
    """A code that can't hold the error codes losslessly, which people must see."""
    if not row.exact:
        return CHECKED
    return f"{CHECKED}; {row.exact} of {weighing.matrices} bit for bit"


def _bits(value: float | None) -> str:
    """Three decimals: codes at one error often differ in the third."""
    return numbers.DASH if value is None else f"{value:.3f}"


def _error(value: float | None) -> str:
    return numbers.DASH if value is None else f"{value:#.3g}"


def _decibels(value: float | None) -> str:
    return numbers.DASH if value is None else f"{value:.2f}"


def _bound_row(weighing: LossyWeighing) -> tuple[Cell, ...]:
    nbytes, original = round(weighing.bound_bits / 8), weighing.matrix_bytes
    figures = (
        numbers.exact(nbytes), _bits(weighing.bits_per_weight(weighing.bound_bits / 8)),
        numbers.ratio(original, nbytes), _error(weighing.rel_mse),
    )  # fmt: skip
    dash = Cell(numbers.DASH)
    return (words("Shannon lower bound, i.i.d."), *(Cell(f) for f in figures), dash, dash, dash, words(BOUND))


def _rest_row(weighing: LossyWeighing) -> tuple[Cell, ...]:
    ratio = numbers.ratio(weighing.rest_bytes, weighing.rest_coded_bytes)
    coded = Cell(numbers.exact(weighing.rest_coded_bytes))
    note = f"lossless, checked; not in the rows ({numbers.size(weighing.rest_bytes)})"
    return (words("everything else"), coded, EMPTY, Cell(ratio), EMPTY, EMPTY, EMPTY, EMPTY, words(note))


def lossy_text(weighing: LossyWeighing, width: int) -> str:
    """All that `netweight weigh --rel-mse` prints."""
    formats = ", ".join(f for f in weighing.formats if f) or "bytes"
    noun = "matrix" if weighing.matrices == 1 else "matrices"
    weights = f"{numbers.plural(weighing.weights, 'weight')} ({numbers.size(weighing.matrix_bytes)})"
    matrices = f"{weighing.matrices:,} float {noun} of {weights}, each at a relMSE of {weighing.rel_mse:g}"
    subject = f"{numbers.printable(weighing.name)}: {formats}, {matrices if weighing.matrices else 'no float matrices'}"
    lines = [subject, "", render(lossy_table(weighing), width), "", _headline(weighing)]
    return "\n".join(lines)


def _headline(weighing: LossyWeighing) -> str:
    best = weighing.best
    if best is None or best.bytes is None or not weighing.weights:
        return "Nothing was coded with loss."
    whole = best.bytes + weighing.rest_coded_bytes
    bits = _bits(weighing.bits_per_weight(best.bytes))
    return f"Your network weighs {numbers.size(whole)} at this error, {bits} bits per weight in its matrices ({best.label})."
