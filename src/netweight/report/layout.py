"""A table as plain text: columns side by side, figures never cut, long names folded. Quick for 100,000 rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import zip_longest

from .tables import Column, Table

_GAP = "  "
_NARROWEST = 16  # a column that folds keeps at least so many characters


def render(table: Table, width: int) -> str:
    """At most `width` columns of text; wider if figures wouldn't fit, for those are never cut."""
    widths = _widths(table, width)
    rule = "─" * (sum(widths) + len(_GAP) * (len(widths) - 1))
    lines = [*_row(table.columns, [c.title for c in table.columns], widths), rule]
    for row in table.rows:
        lines += _row(table.columns, [c.text for c in row], widths)
    if table.footer:
        lines.append("")
        for row in table.footer:
            lines += _row(table.columns, [c.text for c in row], widths)
    return "\n".join(lines)


def _widths(table: Table, width: int) -> list[int]:
    """Each column as wide as its widest cell, if that fits; else columns that fold give way, the widest first."""
    rows = [[c.text for c in row] for row in (*table.rows, *table.footer)]
    widths = [max([cells(column.title), *(cells(row[k]) for row in rows)]) for k, column in enumerate(table.columns)]
    folding = [k for k, column in enumerate(table.columns) if column.folds and widths[k] > _NARROWEST]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while excess > 0 and folding:
        widest = max(folding, key=lambda k: widths[k])
        second = max((widths[k] for k in folding if k != widest), default=_NARROWEST)
        cut = min(excess, max(1, widths[widest] - max(second, _NARROWEST)))
        widths[widest] -= cut
        excess -= cut
        folding = [k for k in folding if widths[k] > _NARROWEST]
    return widths


def _row(columns: tuple[Column, ...], texts: list[str], widths: list[int]) -> Iterator[str]:
    """The lines of one row of the table."""
    folded = [list(_fold(text, width)) for text, width in zip(texts, widths, strict=True)]
    for line in zip_longest(*folded, fillvalue=""):
        padded = (_pad(c, text, width) for c, text, width in zip(columns, line, widths, strict=True))
        yield _GAP.join(padded).rstrip()


def _pad(column: Column, text: str, width: int) -> str:
    space = " " * (width - cells(text))
    return space + text if column.number else text + space


def _fold(text: str, width: int) -> Iterator[str]:
    """Pieces of at most `width` cells, none of it left out; cut after a joint of the name where one is near."""
    while cells(text) > width:
        end, room = 0, width
        while cells(text[end]) <= room:
            room -= cells(text[end])
            end += 1
        joint = max(text.rfind(c, end // 2, end) for c in " ._/:") + 1
        cut = joint or max(end, 1)
        yield text[:cut].rstrip()
        text = text[cut:]
    yield text


def cells(text: str) -> int:
    """How many columns of a terminal `text` takes (East Asian wide characters take two, combining ones none)."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)
