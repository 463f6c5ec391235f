"""The page's plots as one PNG, for slides and papers. Needs matplotlib (extra `report`)."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from ..weights.bench import PREFIX
from ..weights.ladder import Weighing
from . import numbers, tables
from .canvas import LINE, SOFT, drawn
from .page.exponents import middle, zeros
from .page.layers import Column, columns, scale, spans, typical_top

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OURS, _ODD, _THEIRS, _RAW, _BOUND = "#0e7c86", "#13939f", "#9aa6b8", "#c3cad6", "#c2410c"
_WIDTH_INCHES: Final = 9.0


def render(weighing: Weighing) -> bytes:
    """The PNG's bytes: ladder, layers and exponents, as far as there is something to show. Raises MissingExtraError."""
    return drawn(lambda figure: _draw(figure, weighing))


def _draw(figure: Figure, weighing: Weighing) -> None:
    layers = columns([t for t in weighing.layers if t.elements]) if weighing.elements and weighing.layers else []
    rows = [r for r in weighing.rows if r.bytes is not None]
    heights = [0.34 * len(rows) + 0.9]
    heights += [2.6] * bool(layers) + [2.2] * bool(weighing.histograms)
    figure.set_size_inches(_WIDTH_INCHES, sum(heights) + 0.9)
    figure.get_layout_engine().set(h_pad=0.14, w_pad=0.14)  # type: ignore[union-attr,call-arg]
    name = numbers.printable(PurePath(weighing.name).name or weighing.name)
    figure.suptitle(f"{name}\n{tables.headline(weighing)}", x=0.02, ha="left", fontsize=13, weight="bold")
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    _ladder(figure.add_subplot(grid[0]), weighing)
    if layers:
        _layers(figure.add_subplot(grid[1]), layers, weighing.layers_code.replace(".", " "))
    if weighing.histograms:
        _exponents(figure, grid[len(heights) - 1], weighing)


def _ladder(axes: Axes, weighing: Weighing) -> None:
    rows, bound = [r for r in weighing.rows if r.bytes is not None], weighing.bound_bits / 8
    for k, row in enumerate(rows):
        color = _OURS if row.code.startswith(PREFIX) else _RAW if row.code == "raw" else _THEIRS
        axes.barh(k, row.bytes or 0, color=color, height=0.66)
        text = f"{numbers.size(row.bytes or 0)}  {numbers.saved(weighing.original_bytes, row.bytes or 0)}"
        end = row.bytes or 0
        place = bound if 0.75 * bound < end < bound else end  # text would lie across the line
        axes.annotate(
            text if row.code != "raw" else numbers.size(end), (place, k), xytext=(5, 0),
            textcoords="offset points", va="center", fontsize=8.5, color=SOFT,
        )  # fmt: skip
    axes.axvline(bound, color=_BOUND, linewidth=1.4, linestyle=(0, (4, 2)))
    axes.annotate(
        f"order-0 bound {numbers.size(bound)}, no bytes", (bound, -0.62), ha="right", va="bottom", fontsize=8.5,
        color=_BOUND, xytext=(-4, 0), textcoords="offset points",
    )  # fmt: skip
    axes.set_yticks(range(len(rows)), [r.label for r in rows])
    axes.set_ylim(len(rows) - 0.4, -1.2)
    axes.set_xlim(0, 1.17 * max([*(r.bytes or 0 for r in rows), bound, 1]))
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_title("The ladder: bytes, each decoded again and compared; percent saved")


def _layers(axes: Axes, parts: list[Column], code: str) -> None:
    for k, c, at, width in spans(parts):
        axes.bar(at, c.bits, width, align="edge", color=_ODD if k % 2 else _OURS, linewidth=0)
    bounded = [(c.bound, at, at + width) for _, c, at, width in spans(parts) if c.bound is not None]
    if bounded:
        axes.hlines(*zip(*bounded, strict=True), color=_BOUND, linewidth=1.4, label="order-0 bound of the tensor")
        axes.legend(loc="lower right", fontsize=8.5, framealpha=0.9, edgecolor=LINE)
    top, ticks = scale(typical_top(parts))
    axes.set_ylim(0, top * 1.02)
    axes.set_yticks(ticks)
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.set_xlabel("tensors in file order, as wide as they have weights, so area is bytes", fontsize=8.5)
    axes.set_title(f"Bits per weight by layer, {code}")


def _exponents(figure: Figure, place: Any, weighing: Weighing) -> None:
    from matplotlib.ticker import MaxNLocator

    whole = [h for h in weighing.histograms if h.label.startswith("all ")][:3]
    chosen = (whole + [h for h in weighing.histograms if h not in whole])[:3]
    inner = place.subgridspec(1, len(chosen))
    for k, histogram in enumerate(chosen):
        axes = figure.add_subplot(inner[k])
        first, counts = middle(histogram)
        powers = [first + j - histogram.bias for j in range(len(counts))]
        axes.bar(powers, counts, width=0.84, color=_OURS)
        name = numbers.printable(histogram.label)
        short = name if len(name) <= 30 else f"…{name[-29:]}"
        apart = f", {numbers.exact(zeros(histogram))} zero" if zeros(histogram) else ""
        facts = f"{histogram.dtype}, {histogram.entropy:.2f} bits{apart}"
        axes.set_title(f"{short}\n{facts}", fontsize=9, weight="normal")
        axes.set_yticks([])
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.tick_params(length=0, labelsize=8.5)
        axes.set_xlabel("exponent: magnitude as a power of two", fontsize=8.5)
