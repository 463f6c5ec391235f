"""One self-contained HTML page: no address outside itself, no library, readable without its script.

template.html, style.css, script.js   the page around the figures
markup.py                             escaping, tables
ladder.py, layers.py, exponents.py    one figure each, as inline SVG
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import PurePath
from string import Template

from ...weights.ladder import Weighing
from .. import numbers, tables
from . import exponents, ladder, layers
from .markup import Html, escape, join, tag


def render(weighing: Weighing) -> str:
    """The whole page. Every text of the checkpoint is escaped."""
    name = PurePath(weighing.name).name or weighing.name
    return Template(_part("template.html")).substitute(
        title=escape(f"{numbers.printable(name)} - netweight"),
        style=_part("style.css"),
        script=_part("script.js"),
        headline=_headline(weighing),
        name=escape(numbers.printable(name)),
        facts=_facts(weighing),
        notes=join(tag("p", escape(numbers.printable(p)), cls="note") for p in weighing.problems),
        ladder=ladder.section(weighing),
        layers=layers.section(weighing),
        exponents=exponents.section(weighing),
        version=escape(_version()),
    )


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _version() -> str:
    from ... import __version__

    return __version__


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
