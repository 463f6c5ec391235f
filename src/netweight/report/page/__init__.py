"""One self-contained HTML page: no address outside itself, no library, readable without its script.

shell.py (shell.html, style.css, script.js)   the page around the figures
weights.html, structure.html, images.html     the sections of a kind of page
markup.py                                     escaping, tables
ladder.py, layers.py, exponents.py, ...       figures, as inline SVG
"""

from __future__ import annotations

from pathlib import PurePath

from ...weights.ladder import Weighing
from .. import numbers, tables
from . import exponents, ladder, layers, shell
from .markup import Html, escape, join, tag


def render(weighing: Weighing) -> str:
    """The whole page. Every text of the checkpoint is escaped."""
    figures = {
        "ladder": ladder.section(weighing),
        "layers": layers.section(weighing),
        "exponents": exponents.section(weighing),
    }
    return shell.page(
        "weights",
        figures,
        name=PurePath(weighing.name).name or weighing.name,
        headline=_headline(weighing),
        facts=_facts(weighing),
        notes=weighing.problems,
        footer="1 MB is 1,000,000 bytes. Speeds are wall clock on the machine that weighed: the fastest of up to three runs.",
    )


def _headline(weighing: Weighing) -> Html:
    """The answer; its figures don't break across lines."""
    best = weighing.best
    nbytes = best.bytes if best is not None and best.bytes is not None else weighing.original_bytes
    weight = min(nbytes, weighing.original_bytes)
    answer = join(["Your network weighs ", tag("b", escape(numbers.size(weight)))])
    bits = weighing.bits_per_weight(weight)
    return answer if bits is None else join([answer, ", ", tag("b", f"{numbers.bits(bits)} bits"), " per weight"])


def _facts(weighing: Weighing) -> Html:
    best, original = weighing.best, weighing.original_bytes
    facts = [("the file", numbers.size(original), ", ".join(f for f in weighing.formats if f) or "plain bytes")]
    if weighing.elements:
        facts.append(("weights", numbers.exact(weighing.elements), tables.dtype_mix(weighing)))
    if best is not None and best.bytes is not None:
        facts.append(("lightest code", best.label, f"{numbers.exact(best.bytes)} bytes, {tables.CHECKED}"))
        facts.append(("saved", numbers.saved(original, best.bytes), f"{numbers.ratio(original, best.bytes)} smaller"))
    bound_bits = weighing.bits_per_weight(weighing.bound_bits / 8)
    extra = f"{numbers.bits(bound_bits)} bits per weight; " if bound_bits is not None else ""
    facts.append(("order-0 bound", numbers.size(weighing.bound_bits / 8), f"{extra}no bytes"))
    return join(
        tag("div", tag("dt", escape(k)), tag("dd", tag("strong", escape(v)), tag("span", escape(more))))
        for k, v, more in facts
    )
