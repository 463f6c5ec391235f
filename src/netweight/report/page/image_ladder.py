"""The figures of a picture's ladder: the answer in a sentence, facts, and quality against rate as inline SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .. import numbers
from .markup import Html, escape, join, legend, percent, tag

if TYPE_CHECKING:
    from ...image.ladder import ImageRow, ImageWeighing

_ROW: Final = 46
_BAR: Final = 16
_TEXT: Final = 15
_TOP: Final = 23


def headline(weighing: ImageWeighing) -> Html:
    """Which code is nearest at this rate."""
    rows = [r for r in weighing.rows if r.psnr is not None]
    if not rows:
        return join(["No code went down to ", tag("b", f"{weighing.bpp:g} bits"), " a pixel"])
    best = rows[0]
    return join(
        [
            tag("b", escape(best.code)),
            " is nearest to the original: ",
            tag("b", f"{best.psnr:.2f} dB"),
            f" at {best.bpp:.3f} bits a pixel",
        ]
    )


def facts(weighing: ImageWeighing) -> Html:
    """The picture, and netweight's best against JPEG."""
    pixels = weighing.width * weighing.height
    told = [
        ("the picture", f"{weighing.width} x {weighing.height}", "grey" if weighing.channels == 1 else "RGB"),
        ("wanted rate", f"{weighing.bpp:g} bits a pixel", f"{numbers.size(weighing.bpp * pixels / 8)}, the whole file"),
    ]
    ours = [r for r in weighing.rows if r.ours and r.psnr is not None]
    if ours:
        best = ours[0]
        told.append(
            ("best of netweight", best.code.removeprefix("netweight "), f"{best.psnr:.2f} dB, {best.bytes:,} bytes")
        )
        jpeg = [r for r in weighing.rows if r.code == "JPEG" and r.psnr is not None and r.bpp is not None]
        if jpeg and best.psnr is not None and jpeg[0].psnr is not None:
            gap = f"{best.psnr - jpeg[0].psnr:+.2f} dB"
            told.append(("against JPEG", gap, f"which has {jpeg[0].psnr:.2f} dB at {jpeg[0].bpp:.3f} bits a pixel"))
    return join(
        tag("div", tag("dt", escape(k)), tag("dd", tag("strong", escape(v)), tag("span", escape(more))))
        for k, v, more in told
    )


def plot(rows: list[ImageRow], bpp: float) -> Html:
    """A bar of PSNR for each code, from the lowest whole step below the worst; codes over the wanted rate say so."""
    finite = [r for r in rows if r.psnr is not None and r.psnr != float("inf")]
    if not finite:
        return tag("p", "Nothing to compare.")
    low = max(0.0, 5 * (min(r.psnr or 0 for r in finite) // 5) - 5)
    high = max(r.psnr or 0 for r in finite)
    bars = [_bar(row, k, low, high, bpp) for k, row in enumerate(finite)]
    label = "PSNR of each code: " + "; ".join(f"{r.code} {r.psnr:.2f} dB at {r.bpp:.4f} bits a pixel" for r in finite)
    picture = tag("svg", *bars, cls="bars", width="100%", height=_ROW * len(finite), role="img", aria_label=label)
    key = legend(("ours", "netweight"), ("theirs", "other codes"))
    axis = tag("p", f"PSNR; bars begin at {low:g} dB", cls="axis")
    return tag("figure", tag("figcaption", key), picture, axis)


def _bar(row: ImageRow, k: int, low: float, high: float, bpp: float) -> Html:
    top, psnr, rate = k * _ROW, row.psnr or 0.0, row.bpp or 0.0
    facts_of = f"{psnr:.2f} dB · {rate:.4f} bits a pixel"
    if rate > 1.02 * bpp:
        facts_of += " (its least)"
    share = percent((psnr - low) / max(high - low, 1e-9))
    return tag(
        "g",
        tag("text", escape(row.code), x="0", y=top + _TEXT, cls="label"),
        tag("text", escape(facts_of), x="100%", y=top + _TEXT, cls="figure"),
        tag("rect", x="0", y=top + _TOP, width="100%", height=_BAR, rx="3", cls="track"),
        tag(
            "rect", x="0", y=top + _TOP, width=share, height=_BAR, rx="3", cls=f"bar {'ours' if row.ours else 'theirs'}"
        ),
    )
