"""Results remembered in a file as they are made, so that a run that was interrupted goes on where it was.

file := lines of JSON {"key": hex, "result": {...}}

The key is a hash of all that a result depends on. A line that can't be understood (the last one of a run that was
killed, say) is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ...errors import OutputError

_MOST_BYTES: Final = 1 << 28
Record = dict[str, Any]


class Journal:
    """`remember` makes each result once. Raises OutputError if the file at `path` (None: no file) can't be used."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = None if path is None else Path(path)
        self._known: dict[str, Record] = {}
        if self._path is not None and self._path.exists():
            self._load(self._path)

    def __len__(self) -> int:
        return len(self._known)

    def _load(self, path: Path) -> None:
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise OutputError(f"{path}: too large for a journal; remove it, or choose another file")
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise OutputError(f"{path}: can't be read: {error.strerror}") from None
        for line in lines:
            try:
                entry = json.loads(line)
                self._known[str(entry["key"])] = dict(entry["result"])
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        if not self._known and any(lines):
            raise OutputError(f"{path}: not a journal; it is left as it is")

    def remember(self, parts: Record, make: Callable[[], Record]) -> Record:
        """The result of `make` for what `parts` describe; it is in the file before it is returned."""
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        if key not in self._known:
            self._known[key] = make()
            self._append(key)
        return self._known[key]

    def _append(self, key: str) -> None:
        if self._path is None:
            return
        line = json.dumps({"key": key, "result": self._known[key]}, allow_nan=False)
        try:
            with self._path.open("a+b") as file:
                file.seek(0, os.SEEK_END)
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    line = line if file.read(1) == b"\n" else f"\n{line}"  # after a line that was cut off
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self._path}: can't be written: {error.strerror}") from None
