"""Measured rows as tables of text, each cell with a key to sort by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..weights.bench import Row
from ..weights.inspection import Inspected, Inspection
from ..weights.ladder import Weighing
from . import numbers

CHECKED: Final = "lossless, checked"
BOUND: Final = "bound, no bytes"


@dataclass(frozen=True, slots=True)
class Cell:
    """What is read, and what is sorted by (None sorts last)."""

    text: str
    key: float | str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, whether its cells are numbers, and whether long cells may be folded."""

    title: str
    number: bool = True
    folds: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that can be sorted and a footer that can't."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footer: tuple[tuple[Cell, ...], ...] = ()


def words(text: str) -> Cell:
    """A cell that is text; shown safely, sorted as it is."""
    shown = numbers.printable(text)
    return Cell(shown, shown.casefold())


def _number(text: str, key: float | None) -> Cell:
    return Cell(text, key)


EMPTY: Final = Cell("")


# --- the ladder ---

LADDER_COLUMNS: Final = (
    Column("code", number=False),
    Column("bytes"),
    Column("bits/weight"),
    Column("ratio"),
    Column("saved"),
    Column("enc MB/s"),
    Column("dec MB/s"),
    Column("check", number=False, folds=True),
)


def ladder_table(weighing: Weighing) -> Table:
    """One row a code, lightest first; the bound stands in the footer, since it has no bytes."""
    return Table(LADDER_COLUMNS, tuple(_ladder_row(weighing, r) for r in weighing.rows), (_bound_row(weighing),))


def _ladder_row(weighing: Weighing, row: Row) -> tuple[Cell, ...]:
    original, nbytes = weighing.original_bytes, row.bytes
    if nbytes is None:
        return (words(row.label), *(Cell(numbers.DASH) for _ in range(6)), words(row.problem))
    is_itself = row.code == "raw"
    encode, decode = (None, None) if is_itself else (row.encode_seconds, row.decode_seconds)
    bits = weighing.bits_per_weight(nbytes)
    return (
        words(row.label),
        _number(numbers.exact(nbytes), nbytes),
        _number(numbers.bits(bits), bits),
        _number(numbers.ratio(original, nbytes), original / nbytes if nbytes else None),
        _number(numbers.saved(original, nbytes), 1 - nbytes / original if original else None),
        _number(numbers.speed(original, encode), original / encode if encode else None),
        _number(numbers.speed(original, decode), original / decode if decode else None),
        words("the file itself" if is_itself else CHECKED),
    )


def _bound_row(weighing: Weighing) -> tuple[Cell, ...]:
    nbytes, original = round(weighing.bound_bits / 8), weighing.original_bytes
    bits = weighing.bits_per_weight(weighing.bound_bits / 8)
    gain = (numbers.ratio(original, nbytes), numbers.saved(original, nbytes))
    figures, dash = (numbers.exact(nbytes), numbers.bits(bits), *gain), Cell(numbers.DASH)
    return (words("order-0 bound"), *(Cell(f) for f in figures), dash, dash, words(BOUND))


def headline(weighing: Weighing) -> str:
    """The answer in one sentence."""
    best = weighing.best
    if best is None or best.bytes is None:
        return f"No code finished: {numbers.size(weighing.original_bytes)} as a file is all that is known."
    if best.bytes >= weighing.original_bytes:
        return f"Your network weighs {numbers.size(weighing.original_bytes)}: no code here makes it lighter."
    answer = f"Your network weighs {numbers.size(best.bytes)}"
    bits = weighing.bits_per_weight(best.bytes)
    return answer + (f", {numbers.bits(bits)} bits per weight." if bits is not None else ".")


def subject(weighing: Weighing) -> str:
    """What was weighed: name, format, size, weights and their types."""
    parts = [", ".join(f for f in weighing.formats if f) or "bytes", numbers.size(weighing.original_bytes)]
    if weighing.elements:
        parts.append(f"{numbers.plural(weighing.elements, 'weight')} ({dtype_mix(weighing)})")
    else:
        parts.append("no weights found, so it is coded as plain bytes")
    return f"{numbers.printable(weighing.name)}: {', '.join(parts)}"


def dtype_mix(weighing: Weighing) -> str:
    """`F32`, or `F32 99.8 %, I64 0.2 %`, commonest first."""
    mix = sorted(weighing.dtypes.items(), key=lambda pair: -pair[1])
    if len(mix) == 1:
        return mix[0][0]
    return ", ".join(f"{name} {numbers.percent(count / weighing.elements)}" for name, count in mix)


# --- tensors ---

_TENSOR_COLUMNS: Final = (
    Column("tensor", number=False, folds=True),
    Column("dtype", number=False),
    Column("shape"),
    Column("codec", number=False, folds=True),
    Column("bytes"),
    Column("bits/weight"),
    Column("bound"),
    Column("above"),
)


_LOSS_COLUMNS: Final = (Column("relMSE"), Column("max error"))


def tensor_table(tensors: Iterable[Inspected], *, with_files: bool = False) -> Table:
    """One row a tensor, in the order given."""
    listed = list(tensors)
    lossy = any(t.rel_mse is not None for t in listed)
    columns = (*[Column("file", number=False, folds=True)] * with_files, *_TENSOR_COLUMNS, *_LOSS_COLUMNS * lossy)
    rows = ((*[words(t.file)] * with_files, *_tensor_row(t), *(_loss_cells(t) if lossy else ())) for t in listed)
    return Table(columns, tuple(rows))


def _loss_cells(t: Inspected) -> tuple[Cell, ...]:
    return tuple(
        Cell(numbers.DASH) if value is None else Cell(f"{value:.3g}", value) for value in (t.rel_mse, t.max_error)
    )


def _tensor_row(t: Inspected) -> tuple[Cell, ...]:
    name = t.name.removeprefix(f"{t.file}:") if t.file else t.name
    return (
        words(name or "(unnamed)"),
        words(t.dtype),
        _number(numbers.shape(t.shape), t.elements),
        words(t.codec),
        _number(numbers.exact(round(t.bytes)), t.bytes),
        _number(numbers.bits(t.bits_per_weight), t.bits_per_weight),
        _number(numbers.bits(t.bound_per_weight), t.bound_per_weight),
        _number(numbers.gap(t.distance), t.distance),
    )


def _total_row(label: str, shape: str, nbytes: float, elements: int, bound: float | None) -> tuple[Cell, ...]:
    per_weight = 8 * nbytes / elements if elements else None
    bound_per_weight = bound / elements if elements and bound is not None else None
    distance = per_weight - bound_per_weight if per_weight is not None and bound_per_weight is not None else None
    figures = (
        numbers.exact(round(nbytes)), numbers.bits(per_weight), numbers.bits(bound_per_weight), numbers.gap(distance),
    )  # fmt: skip
    return (words(label), EMPTY, Cell(shape), EMPTY, *(Cell(f) for f in figures))


def inspection_table(inspection: Inspection) -> Table:
    several, elements = len(inspection.files) > 1, inspection.elements
    table = tensor_table(inspection.tensors, with_files=several)
    coded = [t for t in inspection.tensors if t.bound_bits is not None]
    bound = sum(t.bound_bits or 0.0 for t in coded) if coded else None
    own = sum(t.bytes for t in inspection.tensors)
    rest = "index, headers, gaps" if inspection.kind == "archive" else "headers, gaps"
    footer = [
        _total_row(numbers.plural(len(inspection.tensors), "tensor"), numbers.exact(elements), own, elements, bound),
        (words(rest), EMPTY, EMPTY, EMPTY, Cell(numbers.exact(round(inspection.other_bytes))), EMPTY, EMPTY, EMPTY),
        _total_row("in all", "", inspection.total_bytes, elements, None),
    ]
    tail = (EMPTY,) * (len(table.columns) - several - len(_TENSOR_COLUMNS))
    return Table(table.columns, table.rows, tuple((*[EMPTY] * several, *row, *tail) for row in footer))
