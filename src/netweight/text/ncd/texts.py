"""Texts from files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ...errors import InputError, NotFoundError

_MOST_BYTES: Final = 1 << 30


def read_texts(paths: Sequence[str | os.PathLike[str]]) -> tuple[list[str], list[bytes]]:
    """Names and contents of files; a folder stands for the files in it. Raises NotFoundError, InputError."""
    files = [file for path in paths for file in _files(Path(path))]
    if (total := sum(file.stat().st_size for file in files)) > _MOST_BYTES:
        raise InputError(f"{total} bytes of texts; at most {_MOST_BYTES} are compared at once")
    try:
        return [str(file) for file in files], [file.read_bytes() for file in files]
    except OSError as error:
        raise NotFoundError(f"{error.filename}: can't be read: {error.strerror}") from None


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from sorted(file for file in path.iterdir() if file.is_file())
    else:
        raise NotFoundError(f"{path}: no such file or folder")
