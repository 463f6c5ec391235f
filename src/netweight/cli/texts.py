"""Options of the verbs that compare texts."""

from __future__ import annotations

from typing import Final

import click

from . import options
from .options import Command

code = click.option(
    "--code", default="gzip", show_default=True, metavar="CODE",
    help="gzip, zlib, deflate, bz2, xz, zstd, brotli, ppmd (each with :LEVEL), netweight, smollm2, a .gguf file or a model's folder.",
)  # fmt: skip


def running(command: Command) -> Command:
    """Where the work is done, and what stands between two texts."""
    for option in reversed(_RUNNING):
        command = option(command)
    return command


_RUNNING: Final = (
    click.option(
        "--separator",
        default=" ",
        metavar="TEXT",
        help="What stands between joined texts (default: a space; \\n works).",
    ),
    options.threads,
    options.cluster,
)


def separator_of(text: str) -> bytes:
    """The separator that is meant: backslash n and backslash t are a new line and a tab."""
    return text.replace("\\n", "\n").replace("\\t", "\t").encode("utf-8", "surrogateescape")
