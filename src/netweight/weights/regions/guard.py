"""What all finders do with bad content: say so, and leave the file as one gap."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from ...errors import FormatError
from ...source import Source
from .model import Finder, Layout


def finder(format_name: str) -> Callable[[Finder], Finder]:
    """Decorates a finder that may raise FormatError: the result returns a Layout with the problem instead."""

    def decorate(find: Finder) -> Finder:
        @wraps(find)
        def guarded(source: Source) -> Layout | None:
            try:
                return find(source)
            except FormatError as error:
                return Layout(format_name, problem=str(error))

        return guarded

    return decorate


def head(source: Source, length: int) -> bytes:
    """The first `length` bytes, or all of a shorter source."""
    return source.read(0, min(length, source.size)).tobytes()
