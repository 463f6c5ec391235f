"""A rate-distortion curve as a table, a plot and a page."""

from __future__ import annotations

from math import log10
from pathlib import PurePath
from typing import TYPE_CHECKING

from ..weights.lossy.curve import Curve
from . import numbers
from .canvas import drawn
from .layout import render
from .page.markup import escape, join, tag
from .tables import Cell, Column, Table, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BOUND = "Shannon lower bound, i.i.d. (no bytes)"


def curve_table(curve: Curve) -> Table:
    """Bits a weight, a row a code and a column an error; the bound is the last row."""
    errors = [w.rel_mse for w in curve.weighings]
    columns = (Column("code", number=False), *(Column(f"{10 * log10(e):.0f} dB") for e in errors))
    rows = []
    for label in curve.labels:
        found = [next((r for r in w.rows if r.label == label), None) for w in curve.weighings]
        cells = [
            Cell(_bits(w.bits_per_weight(r.bytes) if r else None)) for w, r in zip(curve.weighings, found, strict=True)
        ]
        rows.append((words(label), *cells))
    bound = (words(_BOUND), *(Cell(_bits(bits)) for bits, _ in curve.bound()))
    return Table(columns, tuple(rows), (bound,))


def _bits(value: float | None) -> str:
    return numbers.DASH if value is None else f"{value:.3f}"


def curve_text(curve: Curve, width: int) -> str:
    """All that `netweight curve` prints."""
    first = curve.weighings[0]
    subject = f"{numbers.exact(first.matrices)} float {'matrix' if first.matrices == 1 else 'matrices'}"
    amount = f"{subject}, {numbers.plural(first.weights, 'weight')}; bits a weight at each error, decoded again"
    return f"{numbers.printable(curve.name)}: {amount}\n\n{render(curve_table(curve), width)}"


def plot(curve: Curve, kind: str = "png") -> bytes:
    """The plot as PNG or SVG. Raises MissingExtraError."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for label in curve.labels:
            points = curve.points(label)
            ours = label.startswith("trellis")
            axes.plot(
                [b for b, _ in points], [10 * log10(e) for _, e in points], marker="o", label=label,
                linewidth=2.4 if ours else 1.3, color="#0e7c86" if ours else None, zorder=3 if ours else 2,
            )  # fmt: skip
        bound = curve.bound()
        axes.plot([b for b, _ in bound], [10 * log10(e) for _, e in bound], "--", color="#c2410c", label=_BOUND)
        axes.set_xlabel("bits a weight, of bytes that were decoded again")
        axes.set_ylabel("error, 10 log10 ||w - q||² / ||w||² (dB)")
        axes.set_title(f"Rate and distortion: {numbers.printable(PurePath(curve.name).name)}")
        axes.grid(visible=True, color="#dfe3ea", linewidth=0.8)
        axes.legend(frameon=False)

    return drawn(draw, (9, 5.5), kind=kind)


def page(curve: Curve) -> bytes:
    """One self-contained HTML page: the plot and the table."""
    svg = plot(curve, "svg").decode()
    table = curve_table(curve)
    head = tag("tr", join(tag("th", escape(c.title)) for c in table.columns))
    body = join(tag("tr", join(tag("td", escape(c.text)) for c in row)) for row in (*table.rows, *table.footer))
    name = numbers.printable(PurePath(curve.name).name)
    return _PAGE.format(title=escape(name), svg=svg[svg.index("<svg") :], head=head, body=body).encode()


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,"><title>{title} - netweight curve</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#14181f;background:#fff}}
svg{{max-width:100%;height:auto}}table{{border-collapse:collapse;margin:1.5rem 0;font-variant-numeric:tabular-nums}}
td,th{{padding:.3rem .8rem;border-bottom:1px solid #dfe3ea;text-align:right}}td:first-child,th:first-child{{text-align:left}}
tr:last-child td{{color:#c2410c}}</style></head>
<body><h1>How few bits for which error: {title}</h1>
{svg}
<p>Bits a weight at each error. Every figure but the last row is the length of bytes that were decoded again, with the error
measured; the last row is a bound without bytes: what no code goes below that takes the weights as drawn independently.</p>
<table><thead>{head}</thead><tbody>{body}</tbody></table>
</body></html>
"""
