"""HTML that is escaped by construction: only `Html` goes into a tag unescaped, and only these functions make it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import NewType

from ..tables import Cell, Column, Table

Html = NewType("Html", str)


def escape(text: str) -> Html:
    """Text as HTML, for content and quoted attributes alike."""
    return Html(html.escape(text, quote=True))


def join(parts: Iterable[Html | str]) -> Html:
    """Parts end to end; strings that aren't Html must be literals of ours."""
    return Html("".join(parts))


def tag(name: str, *content: Html | str, cls: str = "", **attributes: str | float) -> Html:
    """An element; `aria_label` becomes aria-label. Attribute values are escaped, content is taken as it is."""
    pairs = {"class": cls, **attributes} if cls else attributes
    written = "".join(f' {k.rstrip("_").replace("_", "-")}="{escape(_text(v))}"' for k, v in pairs.items())
    return Html(f"<{name}{written}>{''.join(content)}</{name}>")


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4f}".rstrip("0").rstrip(".")


def legend(*items: tuple[str, str]) -> Html:
    """(kind of swatch, text) side by side; an item doesn't break from its swatch."""
    return join(tag("span", tag("span", "", cls=f"swatch {kind}"), escape(text), cls="key") for kind, text in items)


def percent(share: float) -> str:
    """A share of one as a coordinate."""
    return f"{_text(100 * share)}%"


def table(data: Table, label: str, *, cls: str = "") -> Html:
    """A table that the script makes sortable, in a box that scrolls by itself and can be reached by keyboard."""
    head = tag("thead", tag("tr", *(_heading(c) for c in data.columns)))
    body = tag("tbody", *(_row(data.columns, row) for row in data.rows))
    foot = tag("tfoot", *(_row(data.columns, row) for row in data.footer)) if data.footer else ""
    grid = tag("table", tag("caption", escape(label), cls="unseen"), head, body, foot, cls="sortable")
    return tag("div", grid, cls=f"scroll {cls}".strip(), tabindex="0", role="region", aria_label=label)


def _heading(column: Column) -> Html:
    return tag("th", escape(column.title), scope="col", cls="number" if column.number else "words")


def _row(columns: tuple[Column, ...], row: tuple[Cell, ...]) -> Html:
    return tag("tr", *(_cell(c, cell, first=k == 0) for k, (c, cell) in enumerate(zip(columns, row, strict=True))))


def _cell(column: Column, cell: Cell, *, first: bool) -> Html:
    cls = "number" if column.number else "name" if column.folds else "words"
    key = {} if cell.key is None else {"data_key": cell.key if isinstance(cell.key, str) else repr(float(cell.key))}
    text = foldable(cell.text) if column.folds else escape(cell.text)
    if first:
        return tag("th", text, scope="row", cls=cls, **key)
    return tag("td", text, cls=cls, **key)


def foldable(text: str) -> Html:
    """Escaped text that may break after the joints of a tensor's name."""
    parts = re.split(r"(?<=[._/:])", text)
    return Html("<wbr>".join(escape(part) for part in parts))
