"""Results that appear whole or not at all: a temporary file beside the target, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import OutputError


def refuse_existing(path: Path, force: bool) -> None:
    """Raises OutputError if `path` exists and may not be replaced; a device or a pipe never may."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OutputError(f"{path}: neither a file nor a folder; write to standard output (-) and redirect it there")
    if not force and (path.exists() or path.is_symlink()):
        raise OutputError(f"{path}: exists already; use --force (force=True) to replace it")


def refuse_strangers(folder: Path, members: set[str]) -> None:
    """Raises OutputError if replacing `folder` would delete a file that isn't one of `members`."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for found in sorted(folder.rglob("*")):
        name = found.relative_to(folder).as_posix()
        if (found.is_symlink() or not found.is_dir()) and name not in members:
            raise OutputError(f"{folder}: holds {name!r}, which the archive doesn't; choose another folder")


def require_space(folder: Path, nbytes: int) -> None:
    """Raises OutputError if the disk of `folder` has less than `nbytes` left."""
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        raise OutputError(f"{folder}: {nbytes} bytes are needed, the disk has {free} left")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """OSError as our OutputError that names `path`."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise OutputError(f"{path}: can't be written: {reason}") from error


def _sync_folder(folder: Path) -> None:
    """Best effort: some folders can be written but not read, and some file systems can't do it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _publish(temporary: Path, path: Path, force: bool) -> None:
    """Rename, or link when nothing may be replaced: a link fails if somebody made `path` meanwhile."""
    if force:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise OutputError(f"{path}: was made by somebody else meanwhile; use --force to replace it") from None
    except OSError:  # a file system without hard links
        os.replace(temporary, path)
        return
    os.unlink(temporary)


@contextmanager
def new_file(path: Path, force: bool, mode: int = 0o666) -> Iterator[int]:
    """A file descriptor whose content becomes `path` when the block ends well, and vanishes when it doesn't.

    `mode` are the permissions, less what the process's mask takes away.
    """
    if path.is_dir():
        raise OutputError(f"{path}: is a folder")
    refuse_existing(path, force)
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}")
    with explained(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with explained(path):
            try:
                yield descriptor
                os.fchmod(descriptor, mode & ~_umask())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            _publish(temporary, path, force)
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path, force: bool, members: set[str]) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well; a replaced folder goes only then.

    A folder that holds anything but `members` isn't replaced.
    """
    refuse_existing(path, force)
    refuse_strangers(path, members)
    with explained(path):
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent))
    try:
        with explained(path):
            os.chmod(temporary, 0o777 & ~_umask())
            yield temporary
            old = temporary.with_suffix(".old")
            if path.exists() or path.is_symlink():
                os.replace(path, old)
            os.replace(temporary, path)
            _sync_folder(path.parent)
            if old.is_symlink() or old.is_file():
                old.unlink()
            elif old.exists():
                shutil.rmtree(old)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


def make_member(path: Path, size: int) -> None:
    """A file of `size` zeros inside a new folder. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        os.ftruncate(file.fileno(), size)


def write_member(path: Path, data: bytes | memoryview, offset: int) -> None:
    """`data` at `offset` of a file made before; opened each time, for there may be more files than descriptors."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        write_all(descriptor, data, offset)
    finally:
        os.close(descriptor)


def sync_members(paths: list[Path], folder: Path) -> None:
    """Files and the folders that they are in, to disk. Raises OSError."""
    for path in paths:
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    for parent in {p.parent for p in paths} | {folder}:
        _sync_folder(parent)


@contextmanager
def stdout_file() -> Iterator[int]:
    """A temporary file that goes to standard output when the block ends well."""
    with tempfile.TemporaryFile(prefix="netweight-") as spool:
        with explained(Path("<stdout>")):
            yield spool.fileno()
        spool.seek(0)
        try:
            shutil.copyfileobj(spool, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # the reader has seen enough
            raise
        except OSError as error:
            raise OutputError(f"standard output can't be written: {error.strerror}") from None


def write_all(descriptor: int, data: bytes | memoryview | NDArray[np.uint8], offset: int) -> None:
    """Pwrite until everything is written. Raises OSError."""
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view, offset)
        view, offset = view[done:], offset + done


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
