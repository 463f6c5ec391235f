"""The ladder as horizontal bars and as a table."""

from __future__ import annotations

from typing import Final

from ...weights.bench import PREFIX, Row
from ...weights.ladder import Weighing
from .. import numbers, tables
from .markup import Html, escape, join, legend, percent, table, tag

_ROW: Final = 46
_BAR: Final = 16
_TEXT: Final = 15
_TOP: Final = 23


def section(weighing: Weighing) -> Html:
    """Bars, then the table."""
    return join([_figure(weighing), table(tables.ladder_table(weighing), "Every code, its bytes and speed")])


def _figure(weighing: Weighing) -> Html:
    rows = [r for r in weighing.rows if r.bytes is not None]
    bound = weighing.bound_bits / 8
    longest = max([*(r.bytes or 0 for r in rows), bound, 1])
    bars = [_bar(weighing, row, k, longest, bound) for k, row in enumerate(rows)]
    label = "Bytes under each code: " + "; ".join(f"{r.label} {numbers.size(r.bytes or 0)}" for r in rows)
    picture = tag("svg", *bars, cls="bars", width="100%", height=_ROW * len(rows), role="img", aria_label=label)
    bound_text = f"order-0 bound, {numbers.size(bound)}: an entropy, not bytes"
    key = legend(("ours", "netweight"), ("theirs", "other codes"), ("bound", bound_text))
    return tag("figure", tag("figcaption", key), picture)


def _bar(weighing: Weighing, row: Row, k: int, longest: float, bound: float) -> Html:
    nbytes, top = row.bytes or 0, k * _ROW
    cls = "ours" if row.code.startswith(PREFIX) else "itself" if row.code == "raw" else "theirs"
    facts = numbers.size(nbytes)
    if row.code != "raw":
        facts += f" · {numbers.saved(weighing.original_bytes, nbytes)} saved"
    at = percent(bound / longest)
    return tag(
        "g",
        tag("text", escape(row.label), x="0", y=top + _TEXT, cls="label"),
        tag("text", escape(facts), x="100%", y=top + _TEXT, cls="figure"),
        tag("rect", x="0", y=top + _TOP, width="100%", height=_BAR, rx="3", cls="track"),
        tag("rect", x="0", y=top + _TOP, width=percent(nbytes / longest), height=_BAR, rx="3", cls=f"bar {cls}"),
        tag("line", x1=at, x2=at, y1=top + _TOP - 3, y2=top + _TOP + _BAR + 3, cls="bound"),
        data_bytes=str(nbytes),
    )
