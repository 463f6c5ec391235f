"""compress_file, decompress_file, verify_file, open, load_file: what users call."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BombError, FormatError, InputError
from ...source import BytesSource, FileSource, Source
from ..methods import EFFORTS, Effort
from . import outputs
from .base import Base
from .container import is_archive
from .inputs import STDIO, default_archive_path, open_inputs, spooled_stdin
from .plan import element_total, make_plan
from .pool import thread_count
from .reader import Archive
from .writer import write_archive

PathLike = str | os.PathLike[str]
Progress = Callable[[int, int], None]
MAX_EXPANSION = 1 << 14
"""Decoded bytes per archive byte beyond which an archive is taken for a bomb, unless it decodes to under 1 GiB."""
_ALWAYS_ALLOWED = 1 << 30


@dataclass(frozen=True)
class ArchiveReceipt:
    """What one run did. `bytes` figures are lengths of real files; `seconds` is wall clock; `sha256` is the archive's."""

    source: str
    archive: str
    original_bytes: int
    archive_bytes: int
    elements: int
    tensors: int
    files: int
    seconds: float
    sha256: str
    base: str = ""
    problems: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        return self.original_bytes / self.archive_bytes

    @property
    def saved_percent(self) -> float:
        return 100 * (1 - self.archive_bytes / self.original_bytes) if self.original_bytes else 0.0

    @property
    def bits_per_weight(self) -> float | None:
        """Bits of the whole archive over the weights in it; None if there are none."""
        return 8 * self.archive_bytes / self.elements if self.elements else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        derived = {k: getattr(self, k) for k in ("ratio", "saved_percent", "bits_per_weight")}
        return asdict(self) | derived


def effort_named(name: str) -> Effort:
    """Raises InputError for an unknown effort."""
    if name not in EFFORTS:
        raise InputError(f"no effort {name!r}; there are {', '.join(EFFORTS)}")
    return EFFORTS[name]


@contextmanager
def _opened_base(base: PathLike | None) -> Iterator[Base | None]:
    if base is None:
        yield None
        return
    with open_inputs(base) as inputs:
        if any(is_archive(f.source) for f in inputs.files):
            raise InputError(f"{inputs.name}: is an archive; decompress it first and give the file as base")
        yield Base(inputs)


def _same_file(a: Path, b: PathLike) -> bool:
    return a.exists() and os.fspath(b) != STDIO and os.path.samefile(a, b)


def _target(dst: PathLike | None, default: Callable[[], Path]) -> Path | None:
    """Where to write; None is standard output."""
    if dst is None:
        return default()
    return None if os.fspath(dst) == STDIO else Path(os.path.abspath(dst))


def compress_file(
    src: PathLike,
    dst: PathLike | None = None,
    *,
    effort: str = "balanced",
    base: PathLike | None = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ArchiveReceipt:
    """Compress a file, a folder, or the shards that a `*.safetensors.index.json` names, losslessly.

    `dst` defaults to `src` + ".nw"; "-" is standard input or output. `base` is a checkpoint whose tensors of the same
    name and shape need only their differences coded; the decoder needs the same one. `threads` defaults to all.
    Existing output is kept unless `force`. The input is never changed, and nothing is left if this fails.

    Raises InputError, OutputError and their kin.
    """
    started = time.perf_counter()
    chosen, workers = effort_named(effort), thread_count(threads)
    with ExitStack() as stack:
        inputs = stack.enter_context(open_inputs(src))
        target = _target(dst, lambda: default_archive_path(src) if os.fspath(src) != STDIO else Path("stdin.nw"))
        if target is not None:
            outputs.refuse_existing(target, force)
            if any(_same_file(target, f.source.name) for f in inputs.files):
                raise InputError(f"{target}: is one of the inputs; choose another output")
        opened = stack.enter_context(_opened_base(base))
        plan = make_plan(inputs, chosen, opened)
        digest = hashlib.sha256()
        with _file_target(target, force) as descriptor:
            size = write_archive(plan, inputs, opened, chosen, workers, _sink(descriptor, digest), progress)
        index = plan.index
        return ArchiveReceipt(
            source=inputs.name,
            archive=STDIO if target is None else os.fspath(target if dst is None else dst),
            original_bytes=inputs.size,
            archive_bytes=size,
            elements=element_total(index.segments),
            tensors=sum(len(f.layout.views or f.layout.regions) + len(f.layout.empty) for f in inputs.files),
            files=len(index.files),
            seconds=time.perf_counter() - started,
            sha256=digest.hexdigest(),
            base="" if base is None else os.fspath(base),
            problems=tuple(f"{f.path}: {f.problem}" for f in index.files if f.problem),
        )


def _file_target(target: Path | None, force: bool) -> AbstractContextManager[int]:
    return outputs.stdout_file() if target is None else outputs.new_file(target, force)


def _sink(descriptor: int, digest: Any) -> Callable[[bytes], None]:
    position = 0

    def sink(data: bytes) -> None:
        nonlocal position
        outputs.write_all(descriptor, data, position)
        digest.update(data)
        position += len(data)

    return sink


@contextmanager
def _opened_archive(path: PathLike, base: PathLike | None) -> Iterator[tuple[Archive, FileSource]]:
    with ExitStack() as stack:
        name = stack.enter_context(spooled_stdin()) if os.fspath(path) == STDIO else path
        source = stack.enter_context(FileSource(name))
        if os.fspath(path) == STDIO:
            source.name = "<stdin>"
        opened = stack.enter_context(_opened_base(base))
        yield Archive(source, opened), source


def _check_expansion(archive: Archive, source: Source) -> int:
    total = sum(f.size for f in archive.files)
    if total > _ALWAYS_ALLOWED and total > MAX_EXPANSION * source.size:
        raise BombError(f"{source.name}: {source.size} bytes claim to hold {total}; refused as a decompression bomb")
    return total


def _receipt(archive: Archive, source: FileSource, path: PathLike, target: str, base: PathLike | None, started: float) -> ArchiveReceipt:
    return ArchiveReceipt(
        source=target,
        archive=os.fspath(path),
        original_bytes=sum(f.size for f in archive.files),
        archive_bytes=source.size,
        elements=element_total(archive.index.segments),
        tensors=len(archive.keys()),
        files=len(archive.files),
        seconds=time.perf_counter() - started,
        sha256=_sha256(source),
        base="" if base is None else os.fspath(base),
        problems=tuple(f"{f.path}: {f.problem}" for f in archive.files if f.problem),
    )


def _sha256(source: FileSource) -> str:
    from .base import sha256_of

    return sha256_of(source).hex()


def _safe_member(path: str, archive: str) -> PurePosixPath:
    member = PurePosixPath(path)
    bad = not path or member.is_absolute() or ".." in member.parts or "\\" in path or "\0" in path
    if bad or not member.parts or member.as_posix() != path:
        raise FormatError(f"{archive}: holds a file called {path!r}, which would leave the output folder")
    return member


def _default_output(path: PathLike) -> Path:
    source = Path(os.path.abspath(path))
    if source.suffix == ".nw":
        return source.with_suffix("")
    raise InputError(f"{path}: doesn't end in .nw, so name the output with -o (dst=)")


def decompress_file(
    src: PathLike,
    dst: PathLike | None = None,
    *,
    base: PathLike | None = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ArchiveReceipt:
    """Write back exactly what was compressed: one file, or a folder.

    `dst` defaults to `src` without ".nw"; "-" is standard input or output. Every checksum is checked, and the result
    appears only when all of it is right.

    Raises FormatError and its kin for a damaged archive, BaseMismatchError for a wrong base, OutputError.
    """
    started, workers = time.perf_counter(), thread_count(threads)
    with _opened_archive(src, base) as (archive, source):
        _check_expansion(archive, source)
        target = _target(dst, lambda: _default_output(src))
        if archive.index.directory:
            if target is None:
                raise InputError(f"{source.name}: holds a folder, which can't go to standard output; use -o")
            _write_folder(archive, target, workers, force, progress, source.name)
        else:
            _write_single(archive, target, workers, force, progress)
        return _receipt(archive, source, src, STDIO if target is None else os.fspath(target), base, started)


def _write_single(archive: Archive, target: Path | None, threads: int, force: bool, progress: Progress | None) -> None:
    with _file_target(target, force) as descriptor:
        if target is not None:
            outputs.require_space(target.parent, archive.files[0].size)
        os.ftruncate(descriptor, archive.files[0].size)

        def put(_: int, offset: int, data: NDArray[np.uint8]) -> None:
            outputs.write_all(descriptor, data.data, offset)

        archive.decode_files(put, threads, progress)


def _write_folder(archive: Archive, target: Path, threads: int, force: bool, progress: Progress | None, name: str) -> None:
    members = [_safe_member(f.path, name) for f in archive.files]
    if len(set(members)) != len(members):
        raise FormatError(f"{name}: holds two files of the same name")
    with outputs.new_folder(target, force) as folder, ExitStack() as stack:
        outputs.require_space(target.parent, sum(f.size for f in archive.files))
        descriptors = []
        for member, file in zip(members, archive.files, strict=True):
            path = folder / member
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptors.append(stack.enter_context(outputs.new_file(path, force=False)))
            os.ftruncate(descriptors[-1], file.size)

        def put(file: int, offset: int, data: NDArray[np.uint8]) -> None:
            outputs.write_all(descriptors[file], data.data, offset)

        archive.decode_files(put, threads, progress)


def verify_file(
    path: PathLike,
    *,
    against: PathLike | None = None,
    base: PathLike | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ArchiveReceipt:
    """Decode everything and check every checksum, writing nothing; with `against`, compare with the original's bytes.

    Raises FormatError and its kin, and InputError if the archive is sound but `against` differs.
    """
    started, workers = time.perf_counter(), thread_count(threads)
    compared = nullcontext(None) if against is None else open_inputs(against)
    with _opened_archive(path, base) as (archive, source), compared as originals:
        if originals is not None:
            have = {f.path: f.source for f in originals.files}
            if not archive.index.directory and len(have) == 1:
                have = {archive.files[0].path: originals.files[0].source}
            wanted = {f.path: f.size for f in archive.files}
            if {k: s.size for k, s in have.items()} != wanted:
                raise InputError(f"{against}: its files or their sizes differ from those in {path}")

        def put(file: int, offset: int, data: NDArray[np.uint8]) -> None:
            if originals is not None:
                original = have[archive.files[file].path]
                if not np.array_equal(original.read(offset, data.size), data):
                    raise InputError(f"{original.name}: differs from {path} near byte {offset}")

        archive.decode_files(put, workers, progress)
        return _receipt(archive, source, path, "" if against is None else os.fspath(against), base, started)


def open(path: PathLike | bytes, *, base: PathLike | None = None) -> Archive:  # noqa: A001  netweight.open, as safetensors has safe_open
    """Open an archive to read single tensors. A context manager. Raises FormatError and its kin, BaseMismatchError."""
    with ExitStack() as stack:
        source: Source
        if isinstance(path, bytes):
            source = BytesSource(path)
        else:
            source = stack.enter_context(FileSource(path))
        opened = stack.enter_context(_opened_base(base))
        archive = Archive(source, opened, close=stack.pop_all().close)
        return archive


def load_file(path: PathLike, *, base: PathLike | None = None) -> dict[str, NDArray[Any]]:
    """Every tensor by name. Raises FormatError and its kin; BombError for absurd expansions."""
    with open(path, base=base) as archive:
        _check_expansion(archive, archive.source)
        return {name: archive.tensor(name) for name in archive.keys()}
