"""Distances, classifications and the study of rate against accuracy, as tables and plots."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from ..text.ncd.evaluation import Evaluation, Judged
from ..text.ncd.matrix import Matrix, tree
from ..text.ncd.study import BASELINES, Correlation, Row
from . import numbers
from .canvas import drawn
from .layout import render
from .tables import Cell, Column, Table, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL = 7.5  # points
_OURS, _THEIRS, _SOFT, _LINE = "#0e7c86", "#c2410c", "#596273", "#dfe3ea"


def matrix_text(matrix: Matrix, width: int) -> str:
    """All that `netweight ncd` prints."""
    short = [str(k + 1) for k in range(len(matrix.names))]
    columns = (Column("", number=False), Column("text", number=False, folds=True), Column("bytes"), Column("bits/byte"))
    rows = [
        (
            Cell(short[k]), words(name), Cell(numbers.exact(matrix.sizes[k])), Cell(_rate(matrix, k)),
            *(Cell(f"{x:.4f}" if isfinite(x) else numbers.DASH) for x in matrix.distances[k]),
        )
        for k, name in enumerate(matrix.names)
    ]  # fmt: skip
    table = render(Table((*columns, *map(Column, short)), tuple(rows)), width)
    return (
        f"{numbers.printable(matrix.code)}, {matrix.method}, order {matrix.order}; lengths are {matrix.unit}\n\n{table}"
    )


def _rate(matrix: Matrix, k: int) -> str:
    return f"{matrix.bits[k] / matrix.sizes[k]:.3f}" if matrix.sizes[k] else numbers.DASH


def _interval(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}"


def evaluation_text(evaluation: Evaluation, width: int) -> str:
    """All that `netweight classify` prints."""
    columns = (
        Column("code", number=False), Column("rule", number=False, folds=True), Column("accuracy"), Column("expected"),
        Column("95 %"), Column("bits/byte"), Column("lengths", number=False, folds=True), Column("seconds"),
    )  # fmt: skip
    table = render(Table(columns, tuple(map(_judged_row, evaluation.judged))), width)
    subject = (
        f"{numbers.plural(evaluation.tests, 'document')} labelled by {numbers.plural(evaluation.trains, 'text')}, "
        f"{numbers.plural(len(evaluation.classes), 'class').replace('classs', 'classes')}"
    )
    return "\n\n".join([subject, table, _EXPECTED, leakage_line(evaluation)])


_EXPECTED = (
    "expected: the accuracy with ties broken at random; 95 % is its interval. accuracy: ties to the first label."
)


def _judged_row(found: Judged) -> tuple[Cell, ...]:
    rate = numbers.DASH if found.bits_per_byte is None else f"{found.bits_per_byte:.3f}"
    return (
        words(found.name), words(found.rule), Cell(f"{found.accuracy:.3f}"), Cell(f"{found.expected:.3f}"),
        Cell(_interval(*found.interval)), Cell(rate), Cell(found.unit), Cell(numbers.seconds(found.seconds)),
    )  # fmt: skip


def leakage_line(evaluation: Evaluation) -> str:
    """What of the test texts is in the training texts."""
    leakage = evaluation.leakage
    return (
        f"leakage: {len(leakage.exact)} of {leakage.tests} documents have a duplicate among the texts, "
        f"{len(leakage.near)} more a near one ({numbers.percent(leakage.share)})"
    )


def study_text(rows: Sequence[Row], correlations: Sequence[Correlation], width: int) -> str:
    """All that `netweight study` prints."""
    columns = (
        Column("data", number=False), Column("shots"), Column("code", number=False), Column("rule", number=False, folds=True),
        Column("accuracy"), Column("95 %"), Column("bits/byte"), Column("documents"),
    )  # fmt: skip
    table = render(Table(columns, tuple(map(_study_row, rows))), width)
    return "\n\n".join([table, *([correlation_text(correlations, width)] if correlations else [])])


def _study_row(row: Row) -> tuple[Cell, ...]:
    return (
        words(row.dataset), Cell(str(row.shots or "all")), words(row.code), words(row.rule), Cell(f"{row.accuracy:.3f}"),
        Cell(_interval(*row.interval)), Cell(numbers.DASH if row.bits_per_byte is None else f"{row.bits_per_byte:.3f}"),
        Cell(numbers.exact(row.documents)),
    )  # fmt: skip


def correlation_text(correlations: Sequence[Correlation], width: int) -> str:
    """Rank correlations of bits a byte with accuracy: -1 if who compresses better always classifies better."""
    columns = (
        Column("data", number=False), Column("shots"), Column("rule", number=False, folds=True), Column("codes"),
        Column("Spearman"), Column("95 %"), Column("Kendall"), Column("p"),
    )  # fmt: skip
    rows = [
        (
            words(c.dataset), Cell(str(c.shots or "all")), words(c.rule), Cell(str(c.codes)), Cell(f"{c.spearman:+.2f}"),
            Cell(f"{c.interval[0]:+.2f} to {c.interval[1]:+.2f}"), Cell(f"{c.kendall:+.2f}"), Cell(f"{c.p:.3f}"),
        )
        for c in correlations
    ]  # fmt: skip
    head = "Rank correlation of bits/byte with accuracy over the codes (-1: who compresses better classifies better)"
    return f"{head}\n\n{render(Table(columns, tuple(rows)), width)}"


# --- plots ---


def dendrogram(matrix: Matrix) -> bytes:
    """The tree of average linkage as a PNG. Raises MissingExtraError, InputError."""
    joined = tree(matrix)

    def draw(figure: Figure) -> None:
        from scipy.cluster.hierarchy import dendrogram as plot

        axes = figure.add_subplot()
        labels = [numbers.printable(name) for name in matrix.names]
        plot(joined, orientation="right", labels=labels, ax=axes, color_threshold=0, above_threshold_color=_OURS)
        axes.set_xlabel(f"{matrix.method.upper()} under {numbers.printable(matrix.code)}, average linkage")
        axes.tick_params(length=0)

    return drawn(draw, (8.0, 1.2 + 0.32 * len(matrix.names)))


def study_plot(rows: Sequence[Row]) -> bytes:
    """Accuracy against bits a byte, a panel for each data set and number of shots, as a PNG. Raises MissingExtraError."""
    panels = list(dict.fromkeys((row.dataset, row.shots) for row in rows))
    across = min(2, len(panels))
    down = -(-len(panels) // across)

    def draw(figure: Figure) -> None:
        for k, (dataset, shots) in enumerate(panels):
            axes = figure.add_subplot(down, across, k + 1)
            _panel(axes, [row for row in rows if (row.dataset, row.shots) == (dataset, shots)])
            how = f"{shots} a class" if shots else "all texts"
            axes.set_title(f"{numbers.printable(dataset)}, {how}", fontsize=10)

    return drawn(draw, (5.2 * across, 3.9 * down))


def _panel(axes: Axes, rows: Sequence[Row]) -> None:
    points = []
    for row in rows:
        if row.bits_per_byte is None:
            if row.code in BASELINES:
                axes.axhline(row.accuracy, color=_SOFT, linewidth=1, linestyle=(0, (4, 2)))
                axes.annotate(
                    row.code, (1, row.accuracy), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                    fontsize=_LABEL, color=_SOFT,
                )  # fmt: skip
            continue
        color = _THEIRS if "model" in row.unit else _OURS
        low, high = row.interval
        error: Any = [[row.accuracy - low], [high - row.accuracy]]
        axes.errorbar(row.bits_per_byte, row.accuracy, yerr=error, fmt="o", color=color, markersize=4, linewidth=1)
        points.append((row.bits_per_byte, row.accuracy, numbers.printable(row.code)))
    axes.set_xlabel("bits a byte of the documents")
    axes.set_ylabel("accuracy, ties at random")
    axes.grid(visible=True, color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.12)
    _label(axes, points)


def _label(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Names beside points, each at the first place where it covers no other name and no point; sizes are guessed."""
    scale = 72 / axes.figure.dpi
    taken: list[tuple[float, float, float, float]] = []
    at = [tuple(scale * c for c in axes.transData.transform((x, y))) for x, y, _ in points]
    taken += [(x - 3, y - 3, x + 3, y + 3) for x, y in at]
    for (x, y, name), (left, base) in sorted(zip(points, at, strict=True), key=lambda pair: -pair[1][1]):
        width, height = _LABEL * 0.6 * len(name), _LABEL
        places = [(dx, dy) for dy in (0, 6, -6, 12, -12, 20, -20, 28, -28) for dx in (5, -5 - width)]
        free = (p for p in places if not any(map(_overlap, taken, [_box(left, base, p, width, height)] * len(taken))))
        dx, dy = next(free, places[0])
        taken.append(_box(left, base, (dx, dy), width, height))
        axes.annotate(
            name, (x, y), xytext=(dx, dy - height / 2), textcoords="offset points", fontsize=_LABEL, color=_SOFT,
            arrowprops={"arrowstyle": "-", "color": _LINE, "linewidth": 0.6} if abs(dy) > 6 else None,
        )  # fmt: skip


Box = tuple[float, float, float, float]


def _box(x: float, y: float, place: tuple[float, float], width: float, height: float) -> Box:
    return x + place[0], y + place[1] - height / 2, x + place[0] + width, y + place[1] + height / 2


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
