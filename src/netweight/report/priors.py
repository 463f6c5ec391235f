"""Is a penalty a code length? The experiment of weights/lossy/codelength.py on the digits that ship with netweight."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..data import demo_test_set
from ..weights.archive import outputs
from ..weights.lossy.codelength import REL_MSE, Data, Point, Progress, Sweep, sweep
from ..weights.lossy.decay import L1, L2
from . import layout, numbers
from .tables import Cell, Column, Table

_TRAINING: Final = 300
_WIDTH: Final = 120  # of lines of prose
_LOSS: Final = 0.02  # of accuracy, when networks are compared by size
NORMS: Final = {L2: "||w||^2", L1: "||w||_1"}
NAMES: Final = {L2: "Gaussian", L1: "Laplace"}


@dataclass(frozen=True)
class Told:
    """One sweep a penalty, and how many digits the accuracies are of."""

    sweeps: tuple[Sweep, ...]
    held_out: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"held_out": self.held_out, "rel_mse": REL_MSE, "sweeps": [s.to_dict() for s in self.sweeps]}


def tell(progress: Progress | None = None) -> Told:
    """Train and weigh all networks. Raises GuaranteeError."""
    pixels, labels = demo_test_set()
    inputs = pixels.astype(np.float32) / np.float32(16)
    data = Data(inputs[:_TRAINING], labels[:_TRAINING], inputs[_TRAINING:], labels[_TRAINING:])
    return Told(tuple(sweep(kind, data, progress=progress) for kind in (L2, L1)), len(data.test_labels))


def write_plot(told: Told, path: Path, force: bool) -> None:
    """The plots as a PNG file. Raises OutputError; needs matplotlib."""
    from .priors_plots import render

    content = render(told)
    with outputs.new_file(path, force) as descriptor:
        outputs.write_all(descriptor, content, 0)


# --- text ---


def text(told: Told, width: int) -> str:
    """All that `netweight priors` prints."""
    first = told.sweeps[0]
    opening = (
        f"Is decay a code length? Networks of {numbers.exact(first.weights)} weights, trained on {first.samples} digits "
        f"under rising decay, all weights coded in steps of {first.step:g} under one fixed prior."
    )
    paragraph = partial(_wrapped, width=min(width, _WIDTH))
    parts = [paragraph(opening)]
    for found in told.sweeps:
        parts += [_heading(found), layout.render(_table(found), width), paragraph(_verdict(found))]
    parts += ["What the figures mean", "\n".join(_wrapped(line, min(width, _WIDTH), 13) for line in _columns(told))]
    return "\n\n".join([*parts, *(paragraph(p) for p in _meaning(told))])


def _wrapped(line: str, width: int, hang: int = 0) -> str:
    return textwrap.fill(line, width, subsequent_indent=" " * hang, break_long_words=False)


def formula(kind: str) -> str:
    """Bits per unit of the penalty."""
    return "1 / (2 sigma^2 ln 2)" if kind == L2 else "1 / (b ln 2)"


def _heading(found: Sweep) -> str:
    width = "standard deviation sigma" if found.kind == L2 else "mean magnitude b"
    return f"{found.kind.upper()} decay, {NAMES[found.kind]} prior of {width} = {found.width:g}"


def relative(found: Sweep, point: Point) -> str:
    """Strength as a multiple of the prior's own: 0, 1/512, ..., 1, 2."""
    return str(Fraction(point.strength / found.own_strength).limit_denominator(1 << 12))


def _table(found: Sweep) -> Table:
    titles = (
        "decay / own",
        NORMS[found.kind],
        "zeros",
        "bytes",
        "bits",
        "theory",
        "+ labels",
        "sum",
        "right",
        "fitted",
    )
    columns = tuple(Column(t) for t in (*titles, "lossy", "right then"))
    return Table(columns, tuple(_row(found, p) for p in found.points))


def _row(found: Sweep, p: Point) -> tuple[Cell, ...]:
    shown = (
        relative(found, p), f"{p.penalty:.1f}", numbers.percent(p.zeros),
        numbers.exact(p.fixed_bytes), numbers.exact(8 * p.fixed_bytes), numbers.exact(round(p.theory_bits)),
        numbers.exact(round(p.label_bits)), numbers.exact(round(p.total_bits)), numbers.percent(p.accuracy),
        numbers.exact(p.fitted_bytes), numbers.exact(p.lossy_bytes), numbers.percent(p.lossy_accuracy),
    )  # fmt: skip
    return tuple(Cell(s) for s in shown)


def _verdict(found: Sweep) -> str:
    line, norm = found.line, NORMS[found.kind]
    return (
        f"Measured: {line.slope:.3f} bits per unit of {norm}, r^2 = {line.r_squared:.5f}. Theory: {formula(found.kind)} = "
        f"{line.theory_slope:.3f}; the difference is {100 * line.slope_error:+.2f} %."
    )


def _columns(told: Told) -> list[str]:
    return [
        "bytes, bits  all weights, biases too, under the fixed prior: bytes that were decoded again and compared",
        "theory       bits from the norm alone, a bound: slope times norm, plus the constant below",
        "labels       what the training labels cost given the network, a bound",
        f"right        of {told.held_out} digits that training didn't see",
        "fitted       bytes with the same step under the prior, the scales and the spike that give the fewest",
        f"lossy        bytes of a frame of netweight.lossy.prior at a relative squared error of {REL_MSE:g}",
    ]


def _meaning(told: Told) -> list[str]:
    """Plain words, with the figures they rest on."""
    return [
        *map(_constant, told.sweeps),
        (
            "So a penalty is bits only up to that constant: decay makes no weight cheaper than its share of it, and only "
            "the step and the prior's width move it."
        ),
        *map(_shortest, told.sweeps),
        (
            "What decay really buys shows under a coder that fits its prior: small weights as such aren't cheaper there, "
            "only weights that are unlike: many zeros, or whole units that hardly count."
        ),
        *map(_bought, told.sweeps),
    ]


def _constant(found: Sweep) -> str:
    line = found.line
    value = "sigma sqrt(2 pi)" if found.kind == L2 else "2 b"
    return (
        f"{found.kind.upper()}: the constant, {numbers.exact(found.weights)} log2({value} / step) = "
        f"{numbers.exact(round(line.theory_constant))} bits, is the step's choice: a step half as wide adds a bit a weight. "
        f"Measured {numbers.exact(round(line.constant))}, the header and the coder's last state included."
    )


def _shortest(found: Sweep) -> str:
    """Where weights and labels together are shortest."""
    best = min(found.points, key=lambda p: p.total_bits)
    prior = "1 / (N sigma^2)" if found.kind == L2 else "1 / (N b)"
    return (
        f"{found.kind.upper()}: weights and labels together are shortest at {relative(found, best)} times the prior's own "
        f"strength, {prior} = {found.own_strength:.4g}, where the loss (in nats a sample, N = {found.samples}) is their length."
    )


def _bought(found: Sweep) -> str:
    none = found.points[0]
    fine = [p for p in found.points if p.lossy_accuracy >= none.accuracy - _LOSS]
    if not fine:
        return f"{found.kind.upper()}: no network stays within {100 * _LOSS:.0f} points of {numbers.percent(none.accuracy)}."
    best = min(fine, key=lambda p: p.lossy_bytes)
    return (
        f"{found.kind.upper()}: {numbers.exact(none.lossy_bytes)} bytes without decay, {numbers.exact(best.lossy_bytes)} at "
        f"{relative(found, best)}, within {100 * _LOSS:.0f} points of {numbers.percent(none.accuracy)} right "
        f"({numbers.percent(best.lossy_accuracy)}, {numbers.percent(best.zeros)} zeros)."
    )
