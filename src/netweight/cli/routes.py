"""Whose a path is: texts and checkpoints share verbs, and what decides is the content. Standard input counts as a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Final

import click

from ..errors import NetweightError
from ..source import FileSource

STDIO: Final = "-"
STDIN: Final = "<stdin>"
_SHARDS: Final = ".index.json"
_LOOK_BYTES: Final = 1 << 16
_SMALL_BYTES: Final = 1 << 18
"""Of unknown bytes that aren't text: so many take less room in a text's file than in an archive; more take its threads."""


def is_compressed_text(path: str) -> bool:
    """Whether a file begins as a compressed text does; False for what can't be read, which others will complain about."""
    return _asked(path, is_text_container)


def is_plain_text(path: str) -> bool:
    """Whether it is a file that looks like text, and neither a checkpoint nor an archive."""
    return not path.endswith(_SHARDS) and _asked(path, lambda source: _unknown(source) and begins_as_text(source))


def is_loose_data(path: str) -> bool:
    """Whether it is compressed as texts are: a text, or a few bytes that nobody knows, even none."""
    return not path.endswith(_SHARDS) and _asked(path, is_loose)


def is_text_container(source: FileSource) -> bool:
    from ..text.codec import is_text_file

    return is_text_file(source)


def is_loose(source: FileSource) -> bool:
    """The same of an open file, be it an index of shards."""
    return _unknown(source) and (source.size <= _SMALL_BYTES or begins_as_text(source))


def begins_as_text(source: FileSource) -> bool:
    from ..text.codec.spelling import looks_like_text

    return looks_like_text(source.read(0, min(_LOOK_BYTES, source.size)).tobytes())


def _unknown(source: FileSource) -> bool:
    """Neither a checkpoint nor an archive."""
    from ..weights.regions import find

    return find(source).format == "unknown"


def _asked(path: str, question: Callable[[FileSource], bool]) -> bool:
    place = place_of(path)
    if not os.path.isfile(place):
        return False
    try:
        with FileSource(place) as source:
            return question(source)
    except NetweightError:
        return False


def place_of(path: str) -> str:
    """`path`, or for "-" a file that holds standard input until the command ends; it can be read again meanwhile."""
    if path != STDIO:
        return path
    context = click.get_current_context()
    if STDIN not in context.meta:
        context.meta[STDIN] = context.with_resource(_kept_input())
    return str(context.meta[STDIN])


def open_source(path: str) -> FileSource:
    """Raises NotFoundError, InputError."""
    source = FileSource(place_of(path))
    if path == STDIO:
        source.name = STDIN
    return source


@contextmanager
def _kept_input() -> Iterator[str]:
    from ..weights.archive.inputs import spooled_stdin

    before = sys.stdin
    with spooled_stdin() as place, open(place, "rb") as again, TextIOWrapper(again) as text:
        sys.stdin = text
        try:
            yield place
        finally:
            sys.stdin = before
