"""Bits per weight of each tensor against its bound: a plot whose area is bytes, and a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Final

from ...weights.inspection import Inspected
from ...weights.ladder import Weighing
from .. import numbers, tables
from .markup import Html, escape, join, legend, percent, table, tag

_HEIGHT: Final = 260
_COLUMNS: Final = 600
_TABLE_ROWS: Final = 2000
_TAIL: Final = 0.005


@dataclass(frozen=True)
class Column:
    """Consecutive tensors drawn as one column; mostly one tensor. Bits are per weight."""

    label: str
    elements: int
    bits: float
    bound: float | None


def section(weighing: Weighing) -> Html:
    """Plot and table; a sentence when there is nothing to show."""
    layers = [t for t in weighing.layers if t.elements]
    if not layers:
        return tag("p", "No tensors were found, or no archive was made, so there are no layers to show.")
    code = weighing.layers_code.replace(".", " ")
    return join([_figure(columns(layers), code), _filter(len(layers)), _table(layers)])


def columns(layers: Sequence[Inspected], most: int = _COLUMNS) -> list[Column]:
    """At most about `most` columns: neighbours too thin to see share one."""
    least = sum(t.elements for t in layers) / most
    return [_column(group) for group in _groups(layers, least)]


def _groups(layers: Sequence[Inspected], least: float) -> Iterator[list[Inspected]]:
    group: list[Inspected] = []
    for tensor in layers:
        if tensor.elements >= least and group:
            yield group
            group = []
        group.append(tensor)
        if sum(t.elements for t in group) >= least:
            yield group
            group = []
    if group:
        yield group


def _column(group: list[Inspected]) -> Column:
    elements = sum(t.elements for t in group)
    measured = [t for t in group if t.bound_bits is not None]
    bound = sum(t.bound_bits or 0.0 for t in measured) / elements if measured else None
    label = numbers.printable(group[0].name) + (f" and {len(group) - 1} more" if len(group) > 1 else "")
    return Column(label, elements, 8 * sum(t.bytes for t in group) / elements, bound)


def scale(highest: float) -> tuple[float, list[float]]:
    """(top of the axis, ticks) for bits per weight."""
    step = _step(highest, 6)
    count = max(1, ceil(highest / step - 0.03))  # a bar may stand out of the top by a hair
    return step * count, [step * k for k in range(count + 1)]


def signed_scale(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """(bottom, top, ticks) of an axis that holds `values` and zero."""
    low, high = min(0.0, *values), max(0.0, *values)
    step = _step(max(high - low, 0.01), 5)
    first, last = floor(low / step + 0.03), max(ceil(high / step - 0.03), 0)
    if first == last:
        last = 1
    return first * step, last * step, [k * step for k in range(first, last + 1)]


def typical_distances(parts: Sequence[Column]) -> tuple[float, float]:
    """The lowest and highest distance from the bound, but for a few weights."""
    return _typical((c.bits - c.bound, c.elements) for c in parts if c.bound is not None)


def typical_top(parts: Sequence[Column]) -> float:
    """The highest figure of the plot, but for a few weights."""
    return _typical((max(c.bits, c.bound or 0.0), c.elements) for c in parts)[1]


def _typical(weighted: Iterable[tuple[float, int]]) -> tuple[float, float]:
    """Lowest and highest of (value, weights) pairs, leaving out half a percent of the weights at each end.

    A bias of a hundred weights may be many bits away, and would flatten all that matters.
    """
    pairs = sorted(weighted)
    total, seen, inside = sum(n for _, n in pairs), 0, []
    for value, n in pairs:
        if seen + n > _TAIL * total and seen < (1 - _TAIL) * total:
            inside.append(value)
        seen += n
    return inside[0], inside[-1]


def _step(span: float, most: int) -> float:
    """The smallest round step of which `span` holds at most `most`."""
    steps = (s * 10.0**e for e in range(-3, 3) for s in (1, 2, 5))
    return next((s for s in steps if span / s <= most), 100.0)


def _figure(parts: list[Column], code: str) -> Html:
    key = legend(("ours", f"bits per weight, {code}"), ("bound flat", "order-0 bound of the tensor"))
    axis = tag("p", "tensors in file order; as wide as they have weights, so area is bytes →", cls="axis")
    figure = tag("figure", tag("figcaption", key), tag("div", _levels(parts), cls="plot"), axis)
    if all(c.bound is None for c in parts):
        return figure
    key = legend(("ours", "below the bound: the code knows more than a histogram"), ("theirs", "above it"))
    return join([figure, tag("figure", tag("figcaption", key), tag("div", _distances(parts), cls="plot"))])


def spans(parts: list[Column]) -> Iterator[tuple[int, Column, float, float]]:
    """(number, column, start, width): places and widths are shares of the plot; thin columns aren't counted."""
    total, at, k = sum(c.elements for c in parts), 0.0, 0
    for c in parts:
        width = c.elements / total
        k += width * _COLUMNS >= 1  # so that wide neighbours take turns in shade
        yield k, c, at, width
        at += width


def _levels(parts: list[Column]) -> Html:
    """Bits per weight, from zero, with the bound as a line."""
    top, ticks = scale(typical_top(parts))
    drawn: list[Html] = [_gridline(t, 1 - t / top) for t in ticks]
    lines = []
    for k, c, at, width in spans(parts):
        height = min(c.bits / top, 1.0)
        drawn.append(_bar(c, at, width, 1 - height, height, "ours odd" if k % 2 else "ours"))
        if c.bound is not None:
            y = percent(1 - min(c.bound / top, 1.0))
            lines.append(tag("line", x1=percent(at), x2=percent(at + width), y1=y, y2=y, cls="bound"))
    label = f"Bits per weight of {len(parts)} columns of tensors in file order; the table below has the figures"
    return tag("svg", *drawn, *lines, cls="layers", width="100%", height=_HEIGHT, role="img", aria_label=label)


def _distances(parts: list[Column]) -> Html:
    """Bits per weight above or below the bound."""
    bottom, top, ticks = signed_scale(typical_distances(parts))
    drawn: list[Html] = [_gridline(t, (top - t) / (top - bottom), "+.3g") for t in ticks]
    for _, c, at, width in spans(parts):
        if c.bound is not None:
            distance = min(max(c.bits - c.bound, bottom), top)
            y, height = (top - max(distance, 0.0)) / (top - bottom), abs(distance) / (top - bottom)
            drawn.append(_bar(c, at, width, y, height, "theirs" if distance > 0 else "ours"))
    label = "Bits per weight above or below the order-0 bound, in the same order"
    return tag("svg", *drawn, cls="layers", width="100%", height=_HEIGHT // 2, role="img", aria_label=label)


def _bar(c: Column, at: float, width: float, y: float, height: float, cls: str) -> Html:
    facts = f"{c.label}: {numbers.bits(c.bits)} bits/weight, bound {numbers.bits(c.bound)}, "
    title = tag("title", escape(facts + numbers.plural(c.elements, "weight")))
    place = {"x": percent(at), "width": percent(width), "y": percent(y), "height": percent(height)}
    return tag("rect", title, cls=f"bar {cls}", **place)


def _gridline(value: float, y: float, form: str = "g") -> Html:
    line = tag("line", x1="0", x2="100%", y1=percent(y), y2=percent(y), cls="grid")
    text = format(value, form).replace("-", "\u2212") if value else "0"
    return join([line, tag("text", escape(text), x="-8", y=percent(y), dy="0.32em", cls="tick")])


def _filter(count: int) -> Html:
    box = Html('<input type="search" id="filter" placeholder="part of a name" autocomplete="off">')
    shown = tag("output", escape(numbers.plural(count, "tensor")), id="shown")
    return tag("p", tag("label", "Show tensors with ", box), " ", shown, cls="filter", hidden="hidden")


def _table(layers: Sequence[Inspected]) -> Html:
    shown = set(sorted(range(len(layers)), key=lambda k: -layers[k].original_bytes)[:_TABLE_ROWS])
    kept = [(k, t) for k, t in enumerate(layers) if k in shown]
    plain = tables.tensor_table([t for _, t in kept])
    rows = tuple((tables.Cell(str(k + 1), k + 1.0), *row) for (k, _), row in zip(kept, plain.rows, strict=True))
    order = tables.Column("#")
    name, *rest = plain.columns
    swapped = tuple((row[1], row[0], *row[2:]) for row in rows)
    grid = table(tables.Table((name, order, *rest), swapped), "Every tensor", cls="tall")
    if len(kept) == len(layers):
        return grid
    note = f"The largest {len(kept):,} of {len(layers):,} tensors; --json has them all."
    return join([grid, tag("p", note, cls="axis")])
