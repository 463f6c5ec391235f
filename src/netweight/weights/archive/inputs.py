"""What to compress: one file, a folder, or a sharded checkpoint named by its index file."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import and_
from pathlib import Path
from typing import Final

from ...errors import FormatError, InputError, NotFoundError
from ...source import FileSource
from ..regions import find
from ..regions.model import Layout
from ..regions.shards import shards
from .members import safe_member

STDIO: Final = "-"
STDIN: Final = "<stdin>"


@dataclass
class InputFile:
    """One file with its path below the archive's root ("/" between parts)."""

    path: str
    source: FileSource

    @cached_property
    def layout(self) -> Layout:
        return find(self.source)


@dataclass
class Inputs:
    """Open files in a fixed order; `directory` tells whether they make a folder."""

    name: str
    directory: bool
    files: list[InputFile]

    @property
    def size(self) -> int:
        return sum(f.source.size for f in self.files)

    @property
    def mode(self) -> int:
        """Permissions that nobody gets who lacks them for one of the files."""
        if self.name == STDIN:
            return 0o666
        return reduce(and_, (f.source.mode for f in self.files))

    def check_unchanged(self) -> None:
        for f in self.files:
            f.source.check_unchanged()


def _folder_files(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and path.is_dir():
            raise InputError(f"{path}: a link to a folder; netweight doesn't follow it: compress its target by itself")
        if path.is_file():
            found.append(path)
        elif not path.is_dir():
            raise InputError(f"{path}: neither a file nor a folder")
    if not found:
        raise InputError(f"{folder}: holds no files")
    return found


def _members(path: Path) -> tuple[bool, list[tuple[str, Path]]]:
    if path.is_dir():
        return True, [(_member(p, path), p) for p in _folder_files(path)]
    listed = shards(path)
    if listed is None:
        return False, [(path.name, path)]
    return True, [(_member(p, path.parent), p) for p in [path, *listed]]


def _member(path: Path, folder: Path) -> str:
    """The name in the archive. Raises InputError for one that no archive may hold."""
    name = path.relative_to(folder).as_posix()
    try:
        safe_member(name)
    except FormatError:
        raise InputError(f"{path}: a backslash in a name means a folder on other systems: rename it") from None
    return name


@contextmanager
def open_inputs(src: str | os.PathLike[str]) -> Iterator[Inputs]:
    """Open what `src` names; "-" is standard input, kept in a temporary file. Raises InputError and its kin."""
    with ExitStack() as stack:
        if os.fspath(src) == STDIO:
            spool = stack.enter_context(spooled_stdin())
            yield Inputs(STDIN, False, [InputFile("stdin", stack.enter_context(FileSource(spool)))])
            return
        path = Path(src)
        if not path.exists():
            raise NotFoundError(f"{path}: no such file or folder")
        directory, members = _members(path)
        files = [InputFile(name, stack.enter_context(FileSource(p))) for name, p in members]
        yield Inputs(str(path), directory, files)


@contextmanager
def spooled_stdin() -> Iterator[str]:
    """Standard input as a temporary file: checkpoints are read at random, pipes can't be."""
    with tempfile.NamedTemporaryFile(prefix="netweight-") as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool, 1 << 20)
        spool.flush()
        yield spool.name


def default_archive_path(src: str | os.PathLike[str]) -> Path:
    """`model.safetensors` -> `model.safetensors.nw`; an index of shards loses its `.index.json`."""
    path = Path(src)
    if path.name in ("", ".."):
        path = Path(os.path.abspath(src))
    name = path.name.removesuffix(".index.json") if path.is_file() else path.name
    return path.with_name(name + ".nw")
