"""What every page has around its figures: head, headline, facts, notes, footer, one style and one script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from string import Template

from .. import numbers
from .markup import Html, escape, join, tag


def page(
    kind: str,
    figures: Mapping[str, Html],
    *,
    name: str,
    subject: str = "",
    headline: Html,
    facts: Html,
    notes: Iterable[str],
    footer: str,
    parts: Sequence[str] = (),
) -> str:
    """The page of a `kind`, whose sections KIND.html holds and `figures` fill; `parts` are more files of style and script.

    `name` is the thing's and `subject` what the page says of it; both, and the notes, are escaped here.
    """
    from ... import __version__

    shown = numbers.printable(name)
    return Template(_part("shell.html")).substitute(
        title=escape(" - ".join(t for t in (shown, subject, "netweight") if t)),
        style="".join(_part(p) for p in ("style.css", *parts) if p.endswith(".css")),
        script="".join(_part(p) for p in ("script.js", *parts) if p.endswith(".js")),
        headline=headline,
        name=escape(shown),
        facts=facts,
        notes=join(tag("p", escape(numbers.printable(note)), cls="note") for note in notes),
        main=Template(_part(f"{kind}.html")).substitute(figures),
        footer=escape(footer),
        version=escape(__version__),
    )


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
