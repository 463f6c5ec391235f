"""The files that a report becomes: promised before the work, written whole after it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError, OutputError
from ..weights.archive import outputs
from ..weights.ladder import Weighing

Render = Callable[[Any], bytes]


class Reports:
    """Writes each wanted file from what was measured."""

    def __init__(self, wanted: list[tuple[Path, Render]], force: bool) -> None:
        self._wanted, self._force = wanted, force

    def write(self, measured: Any) -> None:
        """Raises OutputError."""
        for path, render in self._wanted:
            content = render(measured)
            with outputs.new_file(path, self._force) as descriptor:
                outputs.write_all(descriptor, content, 0)


def promised(files: list[tuple[str | None, Render]], force: bool, *, draws: bool) -> Reports:
    """Check, before minutes of measuring, that the files can be written and (if one `draws`) that matplotlib is installed.

    Raises OutputError, MissingExtraError.
    """
    wanted = [(Path(name), render) for name, render in files if name is not None]
    if wanted and draws and importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "report")
    for path, _ in wanted:
        outputs.refuse_existing(path, force)
        if path.is_dir():
            raise OutputError(f"{path}: is a folder")
        if not os.access(path.parent, os.W_OK):
            raise OutputError(f"{path}: its folder doesn't exist or can't be written to")
    return Reports(wanted, force)


@contextmanager
def planned(*, html: str | None, png: str | None, force: bool) -> Iterator[Reports]:
    """`promised` for the page and the plots of the lossless ladder."""
    yield promised([(html, _page), (png, _plots)], force, draws=png is not None)


def _page(weighing: Weighing) -> bytes:
    from .page import render

    return render(weighing).encode()


def _plots(weighing: Weighing) -> bytes:
    from .plots import render

    return render(weighing)
