"""What `netweight comm certify` found, as a table, a plot and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ..comm.certify.inputs import ISOTROPIC
from ..comm.certify.measure import Measurement, below_the_limit
from . import numbers
from .canvas import drawn
from .layout import render
from .page.markup import escape, join, tag
from .tables import Cell, Column, Table, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS: Final = (
    Column("compressor", number=False, folds=True),
    Column("d"),
    Column("claims", number=False),
    Column("bits/coord"),
    Column("error"),
    Column("gap"),
    Column("95 %"),
    Column("verdict", number=False, folds=True),
)
_OURS: Final = {"TrellisCoded": "#0e7c86", "DitheredTrellis": "#0e7c86"}
_LIMIT: Final = "#c2410c"
_KINDS: Final = {"contractive": "Contractive: alpha", "unbiased": "Unbiased: omega / (1 + omega)"}
_NOTE: Final = (
    "Bits are of payloads that were decoded again. Error is the mean of ||C(x) - x||^2 / ||x||^2 and gap is alpha 4^(bits/d), or "
    "omega/(1+omega) 4^(bits/d), on isotropic Gaussian vectors, where no compressor brings it under 1 (arXiv 2010.03246). The verdict is "
    "on every kind of vector that was tried."
)


def _grouped(found: Sequence[Measurement]) -> list[list[Measurement]]:
    """The measurements of each compressor and length, in order."""
    groups: dict[tuple[str, int], list[Measurement]] = {}
    for each in found:
        groups.setdefault((each.label, each.d), []).append(each)
    return list(groups.values())


def _claim(found: Measurement) -> str:
    claim = found.claim
    if claim.kind in ("identity", "none"):
        return "the same" if claim.kind == "identity" else "nothing"
    letter = "omega" if claim.kind == "unbiased" else "alpha"
    return f"{letter} {_figure(claim.value)}{', surely' if claim.sure else ''}"


def _figure(value: float) -> str:
    """Four digits, nothing rounded up to 1."""
    if not math.isfinite(value):
        return numbers.DASH
    if 0.9999 <= value < 1:
        return f"1 - {1 - value:.1g}"
    return f"{value:.4g}"


def _row(group: list[Measurement]) -> tuple[Cell, ...]:
    shown = next((m for m in group if m.kind_of_input == ISOTROPIC), group[0])
    broken = [m for m in group if m.problems]
    gap, low, high = shown.gap if shown.trials else (0.0, 0.0, 0.0)  # it raised: nothing was measured
    bits = f"{shown.bits_per_coordinate:.3f}" if shown.trials else numbers.DASH
    verdict = "broken on " + ", ".join(m.kind_of_input for m in broken) if broken else f"holds ({len(group)})"
    if below_the_limit(shown):
        verdict += "; under the limit"
    span = f"{low:.3f} .. {high:.3f}" if gap and math.isfinite(high) and high < 1e3 else numbers.DASH
    return (
        words(shown.label), Cell(numbers.exact(shown.d), shown.d), words(_claim(shown)),
        Cell(bits, shown.bits_per_coordinate), Cell(_figure(shown.error.value), shown.error.value),
        Cell(_figure(gap) if gap else numbers.DASH, gap), Cell(span), words(verdict),
    )  # fmt: skip


def table(found: Sequence[Measurement]) -> Table:
    """A row a compressor and length."""
    return Table(_COLUMNS, tuple(_row(group) for group in _grouped(found)))


def text(found: Sequence[Measurement], width: int) -> str:
    """All that the verb prints."""
    broken = [m for m in found if m.problems]
    lines = [render(table(found), width), "", _NOTE]
    lines += _complaints(broken)
    number = len({m.label for m in found})
    if not broken:
        verdict = f"Every claim holds: {numbers.plural(number, 'compressor')}, {numbers.exact(sum(m.trials for m in found))} messages."
    else:
        verdict = f"{numbers.plural(len({m.label for m in broken}), 'compressor')} of {number} broke a claim."
    return "\n".join([*map(numbers.printable, lines[0].splitlines()), *map(numbers.printable, lines[1:]), verdict])


def _complaints(broken: Sequence[Measurement]) -> list[str]:
    """A line for each compressor, length and breach, with all kinds of vectors that it was seen on."""
    seen: dict[tuple[str, int, str], list[str]] = {}
    for m in broken:
        seen.setdefault((m.label, m.d, "; ".join(m.problems)), []).append(m.kind_of_input)
    return [f"BROKEN  {label} on {', '.join(kinds)}, d = {d}: {what}" for (label, d, what), kinds in seen.items()]


def to_dict(found: Sequence[Measurement]) -> dict[str, Any]:
    """For JSON."""
    return {"holds": not any(m.problems for m in found), "measurements": [m.to_dict() for m in found]}


def _families(found: Sequence[Measurement], kind: str) -> dict[str, list[tuple[float, float]]]:
    """(bits a coordinate, alpha) by name of the class and what else tells curves apart, for isotropic vectors."""
    out: dict[str, list[tuple[float, float]]] = {}
    for m in found:
        if m.kind_of_input == ISOTROPIC and m.claim.kind == kind and m.contraction > 0 and m.trials:
            out.setdefault(_family(m.label), []).append((m.bits_per_coordinate, m.contraction))
    return {name: sorted(points) for name, points in sorted(out.items())}


def _family(label: str) -> str:
    """`TopK(fraction=0.1, values='bit')` -> `TopK bit`."""
    name, _, rest = label.partition("(")
    marks = ("'bit'", "'fp16'", "coded=True", "shrunk=True", "stochastic=True")
    found = [m.strip("'").removesuffix("=True") for m in marks if m in rest]
    return " ".join([name, *found])


def plot(found: Sequence[Measurement], kind: str = "png") -> bytes:
    """The uncertainty principle as PNG or SVG: above, error against bits; below, how far that is from the limit.

    Raises MissingExtraError.
    """

    def draw(figure: Figure) -> None:
        figure.suptitle(
            f"Bits against error on isotropic vectors, d = {numbers.exact(found[0].d)}: the line nobody crosses",
            x=0.02, ha="left", fontsize=14, weight="bold",
        )  # fmt: skip
        grid = figure.subplots(2, 2)
        for column, (claim, title) in enumerate(_KINDS.items()):
            curves = _families([m for m in found if m.d == found[0].d], claim)
            _errors(grid[0][column], curves, title)
            _gaps(grid[1][column], curves)

    return drawn(draw, (13, 10), kind=kind, dpi=140)


def _draw(axes: Axes, curves: dict[str, list[tuple[float, float]]]) -> None:
    import matplotlib as mpl

    colors, markers = mpl.colormaps["tab20"].colors, "osD^v<>Ph"  # type: ignore[attr-defined]
    for number, (name, points) in enumerate(curves.items()):
        ours = _OURS.get(name.split()[0])
        axes.plot(
            [b for b, _ in points], [v for _, v in points], marker=markers[number % len(markers)], markersize=6 if ours else 4.5,
            linewidth=2.6 if ours else 1.0, color=ours or colors[number % 20], label=name, zorder=3 if ours else 2,
        )  # fmt: skip
    axes.grid(visible=True, color="#dfe3ea", linewidth=0.8)
    axes.set_xlabel("bits a coordinate, of payloads that were decoded again")


def _errors(axes: Axes, curves: dict[str, list[tuple[float, float]]], title: str) -> None:
    _draw(axes, curves)
    ends = [0.0, 4.6]
    axes.plot(ends, [4.0**-b for b in ends], "--", color=_LIMIT, linewidth=1.8, label="limit: 4^(-bits)")
    axes.fill_between(ends, [4.0**-b for b in ends], 1e-9, color=_LIMIT, alpha=0.07, linewidth=0)
    axes.set_yscale("log")
    axes.set_xlim(*ends)
    axes.set_ylim(3e-3, 1.1)
    ticks = [1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_ylabel(title.split(": ")[1])
    axes.set_title(title.split(": ", maxsplit=1)[0])


def _gaps(axes: Axes, curves: dict[str, list[tuple[float, float]]]) -> None:
    _draw(axes, {name: [(b, v * 4.0**b) for b, v in points] for name, points in curves.items()})
    axes.axhline(1, linestyle="--", color=_LIMIT, linewidth=1.8)
    axes.axhspan(0.5, 1, color=_LIMIT, alpha=0.07, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(0.025, 6)
    axes.set_ylim(0.93, 12)
    axes.set_xticks([0.03, 0.1, 0.3, 1, 3], ["0.03", "0.1", "0.3", "1", "3"])
    ticks = [1, 1.1, 1.2, 1.5, 2, 3, 5, 10]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_ylabel("gap to the limit, a factor")
    axes.legend(loc="upper left", fontsize=7.5, ncols=2, frameon=False)


def page(found: Sequence[Measurement]) -> bytes:
    """One self-contained HTML page: the plot and the table."""
    svg, data = plot(found, "svg").decode(), table(found)
    head = tag("tr", join(tag("th", escape(c.title)) for c in data.columns))
    body = join(tag("tr", join(tag("td", escape(c.text)) for c in row)) for row in data.rows)
    return _PAGE.format(svg=svg[svg.index("<svg") :], note=escape(_NOTE), head=head, body=body).encode()


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,"><title>netweight comm certify</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#14181f;background:#fff}}
svg{{max-width:100%;height:auto}}table{{border-collapse:collapse;margin:1.5rem 0;font-variant-numeric:tabular-nums}}
td,th{{padding:.3rem .8rem;border-bottom:1px solid #dfe3ea;text-align:right}}
td:first-child,th:first-child,td:nth-child(3),th:nth-child(3),td:last-child,th:last-child{{text-align:left}}</style></head>
<body><h1>Compressors against their claims and the limit</h1>
{svg}
<p>{note}</p>
<table><thead>{head}</thead><tbody>{body}</tbody></table>
</body></html>
"""
