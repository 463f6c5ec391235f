"""Options that verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

EFFORTS: Final = ("fast", "balanced", "max")

Command = Callable[..., Any]

json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
force = click.option("-f", "--force", is_flag=True, help="Overwrite existing output.")
base = click.option(
    "--base", type=click.Path(), metavar="BASE", help="The checkpoint that only the differences are coded against."
)
threads = click.option(
    "-t", "--threads", type=click.IntRange(min=1), metavar="N", help="Threads to use (default: all cores)."
)


def output(what: str) -> Callable[[Command], Command]:
    """`-o OUT`."""
    return click.option("-o", "--output", type=click.Path(), metavar="OUT", help=what)
