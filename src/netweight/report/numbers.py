"""How figures are written, in one place: bytes, rates, ratios, counts, and text that may be hostile."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
DASH: Final = "-"
"""Stands where a figure would have no meaning."""


def size(count: float) -> str:
    """Bytes with three or four digits: 812 B, 1.09 MB, 90.9 MB (1 MB = 1,000,000 bytes)."""
    if abs(count) < 1000:
        return f"{count:.0f} B"
    value, unit = float(count), 0
    while unit < len(_UNITS) - 1 and (abs(value) >= 1000 or _digits(value) == "1000"):
        value, unit = value / 1000, unit + 1
    return f"{_digits(value)} {_UNITS[unit]}"


def _digits(value: float) -> str:
    """Three significant digits, never an exponent."""
    for limit, places in ((9.995, 2), (99.95, 1)):
        if abs(value) < limit:
            return f"{value:.{places}f}"
    return f"{value:.0f}"


def exact(count: int) -> str:
    """A whole number with thousands separators."""
    return f"{count:,}"


def bits(value: float | None) -> str:
    """Bits per weight, with two decimals (three below one bit, where the second would be coarse)."""
    if value is None:
        return DASH
    return f"{value:.3f}" if 0 < abs(value) < 1 else f"{value:.2f}"


def gap(value: float | None) -> str:
    """A difference of bits per weight, signed."""
    return DASH if value is None else f"{value + 0.0:+.2f}"


def ratio(original: int, coded: int) -> str:
    return f"{original / coded:.2f}x" if coded else DASH


def saved(original: int, coded: int) -> str:
    """Percent saved, negative when the code made it longer."""
    return percent(1 - coded / original) if original else DASH


def percent(share: float) -> str:
    """A share of one in percent. What isn't quite all or nothing is never rounded to look so."""
    value = 100 * share + 0.0
    if 99.9995 <= value < 100 or 0 < value < 0.0005:
        return "> 99.999 %" if value > 1 else "< 0.001 %"
    return f"{value:.3f} %" if 99.95 <= value < 100 or 0 < abs(value) < 0.05 else f"{value:.1f} %"


def seconds(value: float) -> str:
    """A duration: 12 ms, 1.9 s, 2 min 05 s."""
    if value < 0.0995:
        return f"{1000 * value:.0f} ms"
    if value < 99.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def speed(count: int, elapsed: float | None) -> str:
    """Millions of bytes a second, without the unit."""
    if not elapsed:
        return DASH
    value = count / elapsed / 1e6
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.095 else f"{value:.2g}"


def plural(count: int, noun: str) -> str:
    """1 tensor, 2 tensors."""
    return f"{exact(count)} {noun}" + ("" if count == 1 else "s")


def shape(sizes: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in sizes) if sizes else "scalar"


def printable(text: str) -> str:
    """`text` with every character that could move a cursor, hide or reorder what follows written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
