"""The files that a report becomes: promised before the work, written whole after it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import MissingExtraError, OutputError
from ..weights.archive import outputs
from ..weights.ladder import Weighing

Render = Callable[[Weighing], bytes]


class Reports:
    """Writes each wanted file from one weighing."""

    def __init__(self, wanted: list[tuple[Path, Render]], force: bool) -> None:
        self._wanted, self._force = wanted, force

    def write(self, weighing: Weighing) -> None:
        """Raises OutputError."""
        for path, render in self._wanted:
            content = render(weighing)
            with outputs.new_file(path, self._force) as descriptor:
                outputs.write_all(descriptor, content, 0)


@contextmanager
def planned(*, html: str | None, png: str | None, force: bool) -> Iterator[Reports]:
    """Check, before minutes of weighing, that the files can be written and what draws them is installed.

    Raises OutputError, MissingExtraError.
    """
    wanted: list[tuple[Path, Render]] = []
    if html is not None:
        wanted.append((Path(html), _page))
    if png is not None:
        if importlib.util.find_spec("matplotlib") is None:
            raise MissingExtraError("matplotlib", "report")
        wanted.append((Path(png), _plots))
    for path, _ in wanted:
        outputs.refuse_existing(path, force)
        if path.is_dir():
            raise OutputError(f"{path}: is a folder")
        if not os.access(path.parent, os.W_OK):
            raise OutputError(f"{path}: its folder doesn't exist or can't be written to")
    yield Reports(wanted, force)


def _page(weighing: Weighing) -> bytes:
    from .page import render

    return render(weighing).encode()


def _plots(weighing: Weighing) -> bytes:
    from .plots import render

    return render(weighing)
