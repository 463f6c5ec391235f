"""A shrunk network's account as text, as a plot and as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..shrink.order.measure import Pair
from ..shrink.result import Report, Run, Stage
from . import numbers
from .canvas import drawn
from .layout import render
from .page.markup import escape, join, tag
from .tables import Cell, Column, Table, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGES = (
    Column("step", number=False, folds=True),
    Column("score"),
    Column("weights"),
    Column("not 0"),
    Column("MACs"),
    Column("BitOps"),
    Column("bytes"),
    Column("ms"),
)
RUNS = (
    Column("strength"),
    Column("score"),
    Column("MACs"),
    Column("BitOps"),
    Column("bytes"),
    Column("", number=False),
)
PAIRS = (
    Column("pair", number=False),
    Column("score, as named"),
    Column("the other way"),
    Column("difference"),
    Column("95 % interval", number=False),
    Column("p"),
    Column("", number=False),
)
_MEANS = (
    "Bytes are those of an archive that was decoded again and gave the same network. MACs and BitOps are counted for one example "
    "(BitOps: MACs x bits of weights x bits of activations, 32 where nothing is quantised); with exits they are what is expected. ms: one "
    "example on one thread."
)


def shrink_text(report: Report, width: int) -> str:
    """All that `netweight shrink` prints."""
    parts = [_heading(report), render(stages_table(report.runs[report.taken]), width)]
    if report.pairs:
        parts.append(render(pairs_table(report.pairs), width))
    if len(report.runs) > 1:
        parts.append(render(runs_table(report), width))
    return "\n\n".join([*parts, *_problems(report), _sizes(report)])


def _heading(report: Report) -> str:
    start, end = report.start.costs, report.end.costs
    fewer = [f"{name} / {a / b:.3g}" for name, a, b in (
        ("MACs", start.macs, end.macs), ("BitOps", start.bitops, end.bitops), ("weights", start.params, end.params)) if b]  # fmt: skip
    return f"order {report.order}: {numbers.printable(report.sequence)}; {', '.join(fewer)}"


def _problems(report: Report) -> list[str]:
    return [numbers.printable(s.problem) for s in report.runs[report.taken].stages if s.problem]


def _sizes(report: Report) -> str:
    end = report.end.costs.bytes or 0
    alone = (
        ""
        if report.coded_bytes is None
        else f", {numbers.exact(report.coded_bytes)} by lossy coding alone at this score"
    )
    return (
        f"{numbers.exact(report.original_bytes)} bytes of weights at the start ({numbers.exact(report.lossless_bytes)} "
        f"coded losslessly{alone}); {numbers.exact(end)} now, {numbers.ratio(report.original_bytes, end)} smaller"
    )


def stages_table(run: Run) -> Table:
    """A row a step, with its costs after it."""
    return Table(STAGES, tuple(_stage(s) for s in run.stages))


def _stage(stage: Stage) -> tuple[Cell, ...]:
    c = stage.costs
    size = numbers.DASH if c.bytes is None else numbers.exact(c.bytes)
    ms = numbers.DASH if c.seconds is None else f"{1e3 * c.seconds:.3g}"
    name = f"{stage.name} (rolled back)" if stage.problem else stage.name
    return (
        words(name), _score(stage.score), Cell(numbers.exact(c.params), c.params), Cell(numbers.exact(c.nonzero), c.nonzero),
        Cell(f"{c.macs:.4g}", c.macs), Cell(f"{c.bitops:.4g}", c.bitops), Cell(size, c.bytes), Cell(ms, c.seconds),
    )  # fmt: skip


def _score(value: float | None) -> Cell:
    return Cell(numbers.DASH) if value is None else Cell(f"{value:.4f}", value)


def runs_table(report: Report) -> Table:
    """A row a run: which is taken, and which no other beats."""
    rows = []
    for k, run in enumerate(report.runs):
        c = run.end.costs
        mark = " ".join(w for w, there in (("taken", k == report.taken), ("on the front", k in report.front)) if there)
        rows.append((
            Cell(f"{run.strength:.3f}", run.strength), _score(run.end.score), Cell(f"{c.macs:.4g}", c.macs),
            Cell(f"{c.bitops:.4g}", c.bitops), Cell(numbers.exact(c.bytes or 0), c.bytes), words(mark),
        ))  # fmt: skip
    return Table(RUNS, tuple(rows))


def pairs_table(pairs: tuple[Pair, ...]) -> Table:
    """A row a pair of steps, in both orders."""
    rows = []
    for p in pairs:
        forth, back = sum(p.forth) / len(p.forth), sum(p.back) / len(p.back)
        verdict = f"{p.first} first" if p.decided and p.gain > 0 else f"{p.second} first" if p.decided else "a tie"
        rows.append((
            words(f"{p.first}{p.second}"), Cell(f"{forth:.4f}", forth), Cell(f"{back:.4f}", back),
            Cell(f"{p.gain:+.4f}", p.gain), words(f"{p.low:+.4f} to {p.high:+.4f}"), Cell(f"{p.p:.3f}", p.p), words(verdict),
        ))  # fmt: skip
    return Table(PAIRS, tuple(rows))


def plot(report: Report, kind: str = "png") -> bytes:
    """Score against bytes, MACs and BitOps, of all steps and runs, as PNG or SVG. Raises MissingExtraError."""

    def draw(figure: Figure) -> None:
        for axes, (title, field) in zip(
            figure.subplots(1, 3),
            (("bytes, decoded again", "bytes"), ("MACs", "macs"), ("BitOps", "bitops")),
            strict=True,
        ):
            _panel(axes, report, title, field)

    return drawn(draw, (12, 4.5), kind=kind)


def _panel(axes: Axes, report: Report, title: str, field: str) -> None:
    """One cost: the chain of the run that was taken, and where all runs end."""

    def points(stages: Any) -> list[tuple[float, float]]:
        found = [(getattr(s.costs, field), s.score or 0.0) for s in stages]
        return [(float(x), y) for x, y in found if x is not None]

    chain = points(report.runs[report.taken].stages)
    axes.plot([x for x, _ in chain], [y for _, y in chain], "o-", color="#0e7c86", label="step by step", zorder=3)
    ends = points(r.end for k, r in enumerate(report.runs) if k != report.taken)
    if ends:
        axes.plot([x for x, _ in ends], [y for _, y in ends], "o", color="#9aa6b8", label="other runs")
    front = sorted(points(report.runs[k].end for k in report.front))
    if len(front) > 1:
        axes.plot([x for x, _ in front], [y for _, y in front], "--", color="#c2410c", label="front", linewidth=1)
    for stage in report.runs[report.taken].stages:
        x = getattr(stage.costs, field)
        if stage.letter and x is not None:
            axes.annotate(stage.letter, (float(x), stage.score or 0.0), (5, 5), textcoords="offset points", fontsize=9)
    _scaled(axes)
    axes.set_xlabel(title)
    axes.set_ylabel("score")
    axes.grid(visible=True, color="#dfe3ea", linewidth=0.8)
    axes.legend(frameon=False, fontsize=8.5)


def _scaled(axes: Axes) -> None:
    """A logarithmic axis whose labels are plain: 20 k, 5 M."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 50 else (1,)))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())


def page(report: Report) -> bytes:
    """One self-contained HTML page: the plot and the tables. Raises MissingExtraError."""
    svg = plot(report, "svg").decode()
    shown = [stages_table(report.runs[report.taken])]
    shown += [pairs_table(report.pairs)] if report.pairs else []
    shown += [runs_table(report)] if len(report.runs) > 1 else []
    notes = join(tag("p", escape(t)) for t in (_heading(report), *_problems(report), _sizes(report), _MEANS))
    return _PAGE.format(svg=svg[svg.index("<svg") :], tables=join(map(_table, shown)), notes=notes).encode()


def _table(table: Table) -> Any:
    head = tag("tr", join(tag("th", escape(c.title)) for c in table.columns))
    body = join(tag("tr", join(tag("td", escape(c.text)) for c in row)) for row in table.rows)
    return tag("table", tag("thead", head) + tag("tbody", body))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,"><title>netweight shrink</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#14181f;background:#fff}}
svg{{max-width:100%;height:auto}}table{{border-collapse:collapse;margin:1.5rem 0;font-variant-numeric:tabular-nums}}
td,th{{padding:.3rem .8rem;border-bottom:1px solid #dfe3ea;text-align:right}}td:first-child,th:first-child{{text-align:left}}</style></head>
<body><h1>A network shrunk</h1>
{svg}
{tables}
{notes}
</body></html>
"""
