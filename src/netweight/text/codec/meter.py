"""Progress in whole bytes from work that is counted in something else."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int], None]
"""progress(bytes done since the last call)."""


def silent(_: int) -> None:
    """No progress wanted."""


class Meter:
    """Tells shares of `size` bytes; in the end all of them were told."""

    def __init__(self, size: int, tell: Progress) -> None:
        self._size, self._tell, self._done, self._told = size, tell, 0.0, 0

    def add(self, share: float) -> None:
        """`share` of the whole was done."""
        self._done += share
        self._say(min(self._size, round(self._done * self._size)))

    def add_bytes(self, count: int) -> None:
        """`count` bytes were done."""
        self.add(count / max(1, self._size))

    def end(self) -> None:
        """All of it was."""
        self._say(self._size)

    def _say(self, done: int) -> None:
        self._tell(done - self._told)
        self._told = done
