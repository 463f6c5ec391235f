"""The plots of `netweight priors` as one PNG. Needs matplotlib (extra `report`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..weights.lossy.codelength import REL_MSE, Sweep
from . import numbers
from .canvas import drawn
from .priors import NAMES, NORMS, Told, formula

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS: Final = {"l2": "#0e7c86", "l1": "#7c3aed"}
_THEORY: Final = "#c2410c"
_STYLE: Final[Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dfe3ea",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.parse_math": False,
}


def render(told: Told) -> bytes:
    """The PNG's bytes: bits against each penalty, weights and labels together, accuracy against bytes."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots(2, 2)
        for place, found in zip(axes[0], told.sweeps, strict=True):
            _line(place, found)
        _sums(axes[1][0], told)
        _accuracies(axes[1][1], told)

    return drawn(draw, (10, 7.6), dpi=150, style=_STYLE)


def _line(axes: Axes, found: Sweep) -> None:
    line, norms = found.line, [p.penalty for p in found.points]
    ends = [0.0, max(norms)]
    theory = [line.theory_slope * x + line.theory_constant for x in ends]
    label = f"theory: {formula(found.kind)} = {line.theory_slope:.2f} bits a unit"
    axes.plot(ends, theory, color=_THEORY, linewidth=1.3, linestyle=(0, (4, 2)), label=label)
    measured = f"bytes decoded again, x 8: slope {line.slope:.2f} ({100 * line.slope_error:+.1f} %)"
    axes.plot(norms, [8 * p.fixed_bytes for p in found.points], "o", color=_COLORS[found.kind], label=measured)
    axes.axhline(line.theory_constant, color="#9aa6b8", linewidth=1, label="the constant: the step's choice")
    axes.set_xlabel(NORMS[found.kind])
    axes.set_ylabel("bits of all weights")
    axes.set_title(f"{found.kind.upper()} decay is a code length under a {NAMES[found.kind]} prior")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))  # room for the legend
    axes.legend(loc="upper left")


def _sums(axes: Axes, told: Told) -> None:
    for found in told.sweeps:
        points = [p for p in found.points if p.strength]
        least = min(p.total_bits for p in points)
        strengths = [p.strength / found.own_strength for p in points]
        axes.plot(
            strengths, [p.total_bits - least for p in points], "o-", color=_COLORS[found.kind],
            label=f"{found.kind.upper()}, {NAMES[found.kind]}; least {numbers.exact(round(least))}",
        )  # fmt: skip
    axes.axvline(1, color=_THEORY, linewidth=1.3, linestyle=(0, (4, 2)), label="where the loss is the length")
    _doubling(axes, [(2.0**k, f"1/{2**-k}" if k < 0 else "1") for k in (-9, -6, -3, 0)])
    axes.set_xlabel("strength of decay, relative to the prior's own")
    axes.set_ylabel("bits above the least")
    axes.set_title("Weights (bytes) and training labels (bound) together")
    axes.legend(loc="upper right", bbox_to_anchor=(0.86, 1.0))


def _accuracies(axes: Axes, told: Told) -> None:
    for found in told.sweeps:
        for field, style, label in (("fixed", "--", "fixed prior"), ("lossy", "o-", f"fitted, error {REL_MSE:g}")):
            right = [100 * (p.accuracy if field == "fixed" else p.lossy_accuracy) for p in found.points]
            bits = [8 * (p.fixed_bytes if field == "fixed" else p.lossy_bytes) for p in found.points]
            axes.plot(
                bits, right, style, color=_COLORS[found.kind], markersize=4, label=f"{found.kind.upper()}, {label}"
            )
    _doubling(axes, [(2.0**k, numbers.exact(2**k)) for k in range(11, 16)])
    axes.set_xlabel("bits of all weights (bytes decoded again, x 8)")
    axes.set_ylabel("percent of held-out digits right")
    axes.set_title("What decay really buys")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 0.03))


def _doubling(axes: Axes, ticks: list[tuple[float, str]]) -> None:
    """A logarithmic x-axis with ticks (value, label)."""
    axes.set_xscale("log", base=2)
    axes.set_xticks([value for value, _ in ticks], [label for _, label in ticks])
    axes.minorticks_off()
