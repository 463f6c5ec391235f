"""Programs as interpretations of a network, as text and as a plot."""

from __future__ import annotations

import textwrap
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from ..weights.proof.study import Level, Proof, Proved
from . import numbers
from .canvas import drawn
from .layout import render
from .tables import Cell, Column, Table, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH: Final = 120
_PROGRAM, _REST, _KNOWN = "#0e7c86", "#9aa6b8", "#c2410c"

COLUMNS: Final = (
    Column("program", number=False, folds=True),
    Column("program bits"),
    Column("residual bits"),
    Column("together"),
    Column("score"),
    Column("agreement"),
    Column("claim bits"),
    Column("accuracy proved"),
)


def proof_text(found: Proof, width: int) -> str:
    """All that `netweight prove` prints."""
    plain = (
        _plain("the answers as a table", found.table_bytes),
        _plain("the weights, losslessly", found.weight_bytes),
    )
    table = Table(COLUMNS, tuple(_row(found, level) for level in found.levels), plain)
    parts = [_heading(found), render(table, width), _wrapped(_verdict(found), width), _wrapped(_MEANS, width)]
    return "\n\n".join(parts)


_MEANS: Final = (
    "Bits are 8 x bytes that were decoded again, the program run by another process, which had the inputs, the number of "
    "classes and numpy. residual: where the network answers otherwise, and what. score: the share of the table's bits "
    "that is saved. claim: the program and how many answers differ, which prove an accuracy of at least (right answers of "
    "the program - differing) / inputs."
)


def _heading(found: Proof) -> str:
    names = [numbers.printable(PurePath(name).name) for name in (found.program, found.model)]
    checked = f"certified: checked on all {numbers.exact(found.count)} inputs"
    right = "" if found.accuracy is None else f"; the network is right on {numbers.percent(found.accuracy)}"
    margin = "" if found.margin is None else f"; its scores lead by {found.margin:.3g} or more"
    return f"{names[0]} as an interpretation of {names[1]}, {found.classes} classes; {checked}{right}{margin}"


def _row(found: Proof, level: Level) -> tuple[Cell, ...]:
    return (
        words(level.name),
        _bits(level.program_bytes),
        _bits(level.correction_bytes),
        _bits(level.file_bytes),
        Cell(f"{found.score(level):.3f}", found.score(level)),
        _share(level.agreement),
        _bits(level.claim_bytes),
        _share(level.bound),
    )


def _plain(name: str, count: int) -> tuple[Cell, ...]:
    empty = Cell(numbers.DASH)
    return (words(name), empty, empty, _bits(count), empty, empty, empty, empty)


def _bits(count: int) -> Cell:
    return Cell(numbers.exact(8 * count), count)


def _share(value: float | None) -> Cell:
    return Cell(numbers.DASH) if value is None else Cell(numbers.percent(value), value)


def _verdict(found: Proof) -> str:
    best = found.best
    name, size = f'"{numbers.printable(best.name)}"', numbers.exact(8 * best.file_bytes)
    if best.file_bytes >= found.table_bytes:
        return (
            f"No program explains the network: the shortest file, of {name}, takes {size} bits, no less than the table."
        )
    return (
        f"{name} explains the network best: {size} bits say all its answers, {found.table_bytes / best.file_bytes:.1f} times "
        f"fewer than the table and {found.weight_bytes / best.file_bytes:.0f} times fewer than the weights."
    )


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, min(width, _WIDTH))


def plot(found: Proof) -> bytes:
    """The PNG's bytes: what each program costs, and the trade of length against tightness. Raises MissingExtraError."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _prices(left, found)
        _trade(right, found)

    return drawn(draw, (12, 5))


def _prices(axes: Axes, found: Proof) -> None:
    """Program and residual of each level, stacked, and the table as a line."""
    names = [numbers.printable(level.name) for level in found.levels]
    program = [8 * level.program_bytes for level in found.levels]
    residual = [8 * level.correction_bytes for level in found.levels]
    axes.barh(names, program, color=_PROGRAM, label="program")
    axes.barh(names, residual, left=program, color=_REST, label="residual")
    axes.axvline(8 * found.table_bytes, color=_KNOWN, linestyle="--", label="the answers as a table")
    axes.invert_yaxis()
    axes.set_xlabel(f"bits, decoded again (the weights: {numbers.exact(8 * found.weight_bytes)})")
    axes.set_title("What each interpretation costs")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)


def _trade(axes: Axes, found: Proof) -> None:
    """Bits of claims against what they prove: accuracy (or, without a task, answers that are known for certain)."""
    for level in found.levels:
        points = [(8 * claim.bytes, 100 * _told(claim)) for claim in level.claims]
        label = numbers.printable(level.name)
        axes.plot([x for x, _ in points], [y for _, y in points], "o-", markersize=4, linewidth=1.4, label=label)
    top = 100 * (1.0 if found.accuracy is None else found.accuracy)
    axes.plot(8 * found.table_bytes, top, "s", color=_KNOWN, label="the answers as a table")
    axes.axhline(top, color=_KNOWN, linewidth=1, linestyle="--")
    axes.margins(0.06)
    axes.set_xlabel("bits of the proof, decoded again")
    axes.set_ylabel("percent of answers known" if found.accuracy is None else "percent right, proved")
    axes.set_title("Length of the proof against tightness")
    axes.grid(visible=True, color="#dfe3ea", linewidth=0.8)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, fontsize=8.5)


def _told(claim: Proved) -> float:
    return claim.agreement if claim.bound is None else claim.bound
