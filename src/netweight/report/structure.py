"""What structure saves, as a table, as text and as a page."""

from __future__ import annotations

from typing import Final

from ..weights.structure.explain import Explained, Explanation
from . import numbers
from .layout import render
from .tables import Cell, Column, Table, words

COLUMNS: Final = (
    Column("tensor", number=False, folds=True),
    Column("shape"),
    Column("structure", number=False, folds=True),
    Column("bits before"),
    Column("bits after"),
    Column("saved"),
)
NOTHING: Final = "nothing"


def structure_table(tensors: tuple[Explained, ...]) -> Table:
    """One row a tensor, in the order given."""
    return Table(COLUMNS, tuple(_row(t) for t in tensors))


def _row(t: Explained) -> tuple[Cell, ...]:
    start = (
        words(t.name or "(unnamed)"),
        Cell(numbers.shape(t.shape), t.weights),
        words(t.problem or t.text or NOTHING),
    )
    if t.problem:
        return (*start, Cell(numbers.DASH), Cell(numbers.DASH), Cell(numbers.DASH))
    saved = numbers.saved(t.plain_bytes, t.bytes) if t.kind else numbers.DASH
    share = 1 - t.bytes / t.plain_bytes if t.plain_bytes else 0.0
    before, after = Cell(numbers.exact(8 * t.plain_bytes), t.plain_bytes), Cell(numbers.exact(8 * t.bytes), t.bytes)
    return (*start, before, after, Cell(saved, share))


def subject(explanation: Explanation) -> str:
    """What was looked at, and how closely."""
    weights = numbers.plural(sum(t.weights for t in explanation.tensors), "weight")
    tensors = numbers.plural(len(explanation.tensors), "float tensor")
    return f"{numbers.printable(explanation.name)}: {tensors} of {weights}, {tolerance(explanation)}"


def tolerance(explanation: Explanation) -> str:
    """In words."""
    return "lossless" if explanation.rel_mse is None else f"each at a relMSE of {explanation.rel_mse:g}"


def headline(explanation: Explanation) -> str:
    """The answer in one sentence."""
    found, all_of = len(explanation.found), len(explanation.tensors)
    if not all_of:
        return "There is no float tensor of two axes or more to look at."
    if not found:
        return "Nothing: no structure that was looked for makes any tensor smaller."
    before, after = explanation.plain_bytes, explanation.bytes
    return (
        f"Structure in {found} of {numbers.plural(all_of, 'tensor')} saves {numbers.exact(8 * (before - after))} bits "
        f"of {numbers.exact(8 * before)} ({numbers.saved(before, after)})."
    )


def structure_text(explanation: Explanation, width: int) -> str:
    """All that `netweight explain` prints: the tensors in which something was found, the largest saving first."""
    lines = [subject(explanation), ""]
    if explanation.found:
        lines += [render(structure_table(explanation.found), width), ""]
    skipped = tuple(t for t in explanation.tensors if t.problem)
    lines += [f"{numbers.printable(t.name)}: {t.problem}" for t in skipped] + [""] * bool(skipped)
    lines.append(headline(explanation))
    if explanation.tensors:
        lines.append(
            "Before and after: the plain code and the cheapest one at the same error, structure and what it leaves unsaid; "
            "both were decoded again."
        )
    return "\n".join(lines)


def page(explanation: Explanation) -> bytes:
    """A self-contained page."""
    from .page.structure import render as page_of

    return page_of(explanation).encode()
