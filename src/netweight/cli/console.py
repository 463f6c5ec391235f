"""Where words go: results to standard output, notes and progress to standard error.

On a terminal progress is a bar; elsewhere a long run says its percentage now and then. Nothing is coloured where nobody
looks (no terminal, NO_COLOR).
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import click

from ..errors import OutputError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_FIRST_WORD_SECONDS: Final = 5.0
_PIPE_WIDTH: Final = 200


def result(text: str, *, to_stderr: bool = False) -> None:
    """A line or a table of the result. Raises OutputError when it can't be written."""
    try:
        click.echo(text, err=to_stderr)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: can't be written: {error.strerror}") from None


def note(text: str) -> None:
    """Something to know that isn't the result."""
    click.echo(f"netweight: {text}", err=True)


def notes(texts: Iterable[str]) -> None:
    """Several notes, safe to show whatever file they quote."""
    from ..report.numbers import printable

    for text in texts:
        note(printable(text))


def emit_json(data: dict[str, Any], *, to_stderr: bool = False) -> None:
    """One JSON object (infinities and NaN have no place in JSON and never occur)."""
    result(json.dumps(data, indent=2, allow_nan=False), to_stderr=to_stderr)


def spare_terminal(output: str | None) -> None:
    """Raises OutputError if an archive would be poured into a terminal."""
    if output == "-" and sys.stdout.isatty():
        raise OutputError("an archive is no sight for a terminal; name a file with -o, or pipe it on")


def width() -> int:
    """Columns to lay tables out for: the terminal's, or plenty when a program reads."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH


class ProgressShow:
    """A context manager that shows how far work has come. `step(label, done, total)` may be called at any rate."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._label = ""
        self._next = time.monotonic() + _FIRST_WORD_SECONDS

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def labelled(self, label: str) -> Callable[[int, int], None]:
        """A progress function for work that has one label; work that starts again is told as its second pass."""
        passes, last = 1, 0

        def step(done: int, total: int) -> None:
            nonlocal passes, last
            passes, last = passes + (done < last), done
            self.step(label if passes == 1 else f"{label}, pass {passes}", done, total)

        return step

    def step(self, label: str, done: int, total: int) -> None:
        if self._bar is None:
            self._say(label, done, total)
        elif self._task is None or label != self._label:
            self._label = label
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(label, total=total, completed=done)
        else:
            self._bar.update(self._task, completed=done, total=total)

    def _say(self, label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next and total:
            self._next = now + _FIRST_WORD_SECONDS
            note(f"{label} {100 * done / total:.0f} %")


def _bar() -> Progress:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, Task, TextColumn, TimeRemainingColumn

    class Label(TextColumn):
        """A description that is never read as markup."""

        def __init__(self) -> None:
            super().__init__("")

        def render(self, task: Task) -> Any:
            from rich.text import Text

            return Text.from_markup(escape(task.description))

    console = Console(stderr=True)
    return Progress(Label(), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console, transient=True)
