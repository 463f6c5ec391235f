"""Exponent histograms: how the magnitudes of weights are spread, by powers of two."""

from __future__ import annotations

from typing import Final

from ...weights.ladder import Histogram, Weighing
from .. import numbers
from .markup import Html, escape, foldable, join, percent, tag

_HEIGHT: Final = 120
_TAIL: Final = 2e-4


def section(weighing: Weighing) -> Html:
    """One small plot for each histogram."""
    if not weighing.histograms:
        return tag("p", "No floating-point tensors were found, so there are no exponents to show.")
    return tag("div", *(_figure(h) for h in weighing.histograms), cls="small")


def zeros(histogram: Histogram) -> int:
    """Weights that are zero or subnormal, if they stand apart from the rest (else they are its tail)."""
    apart = histogram.first == 0 and not any(histogram.counts[1:4]) and len(histogram.counts) > 4
    return histogram.counts[0] if apart else 0


def middle(histogram: Histogram) -> tuple[int, tuple[int, ...]]:
    """(first biased exponent, counts) without `zeros` and the far tails, which hold under 1 weight in 5000 each."""
    counts, low, high = histogram.counts, int(zeros(histogram) > 0), len(histogram.counts)
    while high - low > 1 and not counts[low]:
        low += 1
    allowed = _TAIL * histogram.elements
    start, end = low, high
    while high - low > 1 and sum(counts[start : low + 1]) <= allowed:
        low += 1
    while high - low > 1 and sum(counts[high - 1 : end]) <= allowed:
        high -= 1
    return histogram.first + low, counts[low:high]


def _figure(histogram: Histogram) -> Html:
    first, counts = middle(histogram)
    apart = zeros(histogram)
    outside = histogram.elements - sum(counts) - apart
    highest, n = max([*counts, 1]), len(counts)
    bars = [_bar(k, c, n, highest, first + k - histogram.bias, histogram.elements) for k, c in enumerate(counts)]
    ticks = [_tick(k, n, first + k - histogram.bias) for k in _tick_places(first - histogram.bias, n)]
    name = numbers.printable(histogram.label)
    label = f"Exponents of {name}, from 2^{first - histogram.bias} to 2^{first + n - 1 - histogram.bias}"
    shapes = (*bars, *ticks)
    picture = tag("svg", *shapes, cls="histogram", width="100%", height=_HEIGHT + 22, role="img", aria_label=label)
    weights = numbers.plural(histogram.elements, "weight")
    facts = f"{weights}, {histogram.dtype}; {histogram.entropy:.2f} bits of entropy"
    if apart:
        facts += f"; {numbers.exact(apart)} zero or subnormal"
    if outside:
        facts += f"; {numbers.exact(outside)} outside the range shown"
    return tag("figure", tag("figcaption", tag("strong", foldable(name)), tag("span", escape(facts))), picture)


def _bar(k: int, count: int, n: int, highest: int, power: int, total: int) -> Html:
    height = _HEIGHT * count / highest
    facts = f"2^{power}: {numbers.exact(count)} weights, {numbers.percent(count / total)}"
    return tag(
        "rect", tag("title", escape(facts)), x=percent((k + 0.08) / n), width=percent(0.84 / n), y=_HEIGHT - height,
        height=height, cls="bar ours",
    )  # fmt: skip


def _tick_places(lowest: int, n: int) -> list[int]:
    """Positions of round powers, about five of them, none so near the edge that its label is cut."""
    step = next(s for s in (1, 2, 4, 5, 10, 20, 50, 100, 500) if n / s <= 6)
    return [k for k in range(n) if (lowest + k) % step == 0 and 0.04 <= (k + 0.5) / n <= 0.96] or [n // 2]


def _tick(k: int, n: int, power: int) -> Html:
    sup = tag("tspan", escape(f"{power}".replace("-", "\u2212")), dy="-0.45em", cls="power")
    return tag("text", join(["2", sup]), x=percent((k + 0.5) / n), y=_HEIGHT + 18, cls="tick")
