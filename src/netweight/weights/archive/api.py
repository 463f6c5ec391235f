"""compress_file, decompress_file, verify_file, open, load_file: what users call."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...source import BytesSource, FileSource
from ..methods import EFFORTS, STRUCTURE, Effort
from . import outputs
from .base import Base, sha256_of
from .container import is_archive
from .index import OWN, REGION, SYMMETRIES, FileEntry, Index
from .inputs import STDIN, STDIO, Inputs, default_archive_path, open_inputs, spooled_stdin
from .members import safe_member
from .plan import Plan, element_total, make_plan
from .pool import thread_count
from .reader import Archive
from .whole import decode_files
from .writer import LosslessEncoder, Sink, write_archive

PathLike = str | os.PathLike[str]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ArchiveReceipt:
    """What one run did. `bytes` figures are lengths of real files; `seconds` is wall clock.

    `guarantee` tells what decoding gives back: "lossless" the file; "lossy" one with other weights; "same function" a network that
    computes the same, its units in another order; "same function, lossy" both.

    `sha256`, the archive's, is computed when it is asked for, from the file (hashing takes longer than decoding does).
    """

    source: str
    archive: str
    original_bytes: int
    archive_bytes: int
    elements: int
    tensors: int
    files: int
    seconds: float
    base: str = ""
    problems: tuple[str, ...] = ()
    guarantee: str = "lossless"
    digest: str = field(default="", repr=False)

    @cached_property
    def sha256(self) -> str:
        """Hex. Raises InputError if the archive is gone."""
        if self.digest:
            return self.digest
        with FileSource(self.archive) as source:
            return sha256_of(source).hex()

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
        own = {k: v for k, v in asdict(self).items() if k != "digest"}
        return own | {k: getattr(self, k) for k in ("sha256", "ratio", "saved_percent", "bits_per_weight")}


def problems_of(files: list[FileEntry]) -> tuple[str, ...]:
    """What to tell about files that looked like a format but were broken."""
    return tuple(f"{f.path}: looks like {f.format}, but {f.problem}; kept as plain bytes" for f in files if f.problem)


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


def _refuse_input(target: Path | None, sources: list[FileSource], base: Base | None) -> None:
    """Raises InputError if writing `target` would replace something that is being read."""
    if target is None or not target.exists():
        return
    for source in [*sources, *(base.sources() if base else [])]:
        path = Path(os.path.abspath(source.name))
        if any(os.path.samefile(target, place) for place in (path, *path.parents) if place.exists()):
            raise InputError(f"{target}: is or holds one of the inputs; choose another output")


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
    structure: bool = False,
    base: PathLike | None = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ArchiveReceipt:
    """Compress a file, a folder, or the shards that a `*.safetensors.index.json` names, losslessly.

    `dst` defaults to `src` + ".nw"; "-" is standard input or output. `base` is a checkpoint whose tensors of the same
    name and shape need only their differences coded; the decoder needs the same one. `threads` defaults to all.
    Existing output is kept unless `force`. The input is never changed, and nothing is left if this fails. `structure`
    looks for structure in every tensor (weights/structure/), which takes longer.

    Raises InputError, OutputError and their kin.
    """
    started = time.perf_counter()
    chosen, workers = effort_named(effort), thread_count(threads)
    if structure:
        chosen = replace(chosen, methods=(*chosen.methods, STRUCTURE))
    with ExitStack() as stack:
        inputs = stack.enter_context(open_inputs(src))
        target = _target(dst, lambda: default_archive_path(src) if os.fspath(src) != STDIO else Path("stdin.nw"))
        if target is not None:
            outputs.refuse_existing(target, force)
        opened = stack.enter_context(_opened_base(base))
        _refuse_input(target, [f.source for f in inputs.files], opened)
        plan = make_plan(inputs, chosen, opened)
        if structure:
            _regroup(plan, inputs)
        digest = hashlib.sha256() if target is None else None
        with _file_target(target, force, inputs.mode) as descriptor:
            encoder = LosslessEncoder(plan, inputs, opened, chosen)
            size = write_archive(plan, inputs, encoder, workers, descriptor_sink(descriptor, digest), progress)
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
            base="" if base is None else os.fspath(base),
            problems=problems_of(index.files),
            digest=digest.hexdigest() if digest else "",
        )


def _regroup(plan: Plan, inputs: Inputs) -> None:
    """Blocks in which structure can be seen."""
    from ..structure.model import Tolerance
    from ..structure.planning import regroup

    own = (k for k, s in enumerate(plan.index.segments) if s.kind == REGION and s.how == OWN)
    regroup(plan, inputs, own, lambda _: Tolerance(0.0))


def _file_target(target: Path | None, force: bool, mode: int) -> AbstractContextManager[int]:
    return outputs.stdout_file() if target is None else outputs.new_file(target, force, mode)


def descriptor_sink(descriptor: int, digest: Any = None) -> Sink:
    """Writes one after the other; `digest` (a hashlib object) sees everything."""
    position = 0

    def sink(data: bytes | NDArray[np.uint8]) -> None:
        nonlocal position
        outputs.write_all(descriptor, data, position)
        if digest is not None:
            digest.update(data)
        position += len(data)

    return sink


@contextmanager
def _opened_archive(path: PathLike, base: PathLike | None) -> Iterator[tuple[Archive, FileSource]]:
    with ExitStack() as stack:
        name = stack.enter_context(spooled_stdin()) if os.fspath(path) == STDIO else path
        source = stack.enter_context(FileSource(name))
        if os.fspath(path) == STDIO:
            source.name = STDIN
        opened = stack.enter_context(_opened_base(base))
        yield Archive(source, opened), source


def _total(archive: Archive) -> int:
    """Bytes of all files. Raises BombError."""
    return archive.refuse_bomb(sum(f.size for f in archive.files))


def guarantee_of(index: Index) -> str:
    """What an archive gives back, as a receipt says it."""
    if index.notes is None:
        return "lossless"
    kinds = ["same function"] if SYMMETRIES in index.notes else []
    return ", ".join([*kinds, "lossy"] if index.losses or not kinds else kinds)


def _receipt(
    archive: Archive, source: FileSource, path: PathLike, target: str, base: PathLike | None, started: float
) -> ArchiveReceipt:
    return ArchiveReceipt(
        source=target,
        archive=os.fspath(path),
        original_bytes=sum(f.size for f in archive.files),
        archive_bytes=source.size,
        elements=element_total(archive.index.segments),
        tensors=archive.tensor_count,
        files=len(archive.files),
        seconds=time.perf_counter() - started,
        base="" if base is None else os.fspath(base),
        problems=problems_of(archive.files),
        guarantee=guarantee_of(archive.index),
        digest=sha256_of(source).hex() if os.fspath(path) == STDIO else "",
    )


def _default_output(path: PathLike) -> Path:
    source = Path(path)
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
        _total(archive)
        target = _target(dst, lambda: _default_output(src))
        _refuse_input(target, [source], archive.base)
        if archive.index.directory:
            if target is None:
                raise InputError(f"{source.name}: holds a folder, which can't go to standard output; use -o")
            _write_folder(archive, target, workers, force, progress)
        else:
            mode = 0o666 if source.name == STDIN else source.mode
            with _file_target(target, force, mode) as descriptor:
                _write_single(archive, target, descriptor, workers, progress)
        written = STDIO if target is None else os.fspath(target if dst is None else dst)
        return _receipt(archive, source, src, written, base, started)


def _write_single(
    archive: Archive, target: Path | None, descriptor: int, threads: int, progress: Progress | None
) -> None:
    if target is not None:
        outputs.require_space(target.parent, archive.files[0].size)
    os.ftruncate(descriptor, archive.files[0].size)

    def put(_: int, offset: int, data: NDArray[np.uint8]) -> None:
        outputs.write_all(descriptor, data.data, offset)

    decode_files(archive, put, threads, progress)


def _write_folder(archive: Archive, target: Path, threads: int, force: bool, progress: Progress | None) -> None:
    with outputs.new_folder(target, force, {f.path for f in archive.files}) as folder:
        outputs.require_space(target.parent, sum(f.size for f in archive.files))
        paths = [folder / safe_member(f.path) for f in archive.files]
        for path, file in zip(paths, archive.files, strict=True):
            outputs.make_member(path, file.size)

        def put(file: int, offset: int, data: NDArray[np.uint8]) -> None:
            outputs.write_member(paths[file], data.data, offset)

        decode_files(archive, put, threads, progress)
        outputs.sync_members(paths, folder)


def verify_file(
    path: PathLike,
    *,
    against: PathLike | None = None,
    base: PathLike | None = None,
    symmetries: PathLike | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ArchiveReceipt:
    """Decode everything and check every checksum, writing nothing; with `against`, compare with the original's bytes.

    Of an archive that gives back the same function (`compress_symmetric`) the function is compared instead: weights must be equal up
    to the order, sign and scale of the units that the architecture `symmetries` declares.

    Raises FormatError and its kin, and InputError if the archive is sound but `against` differs.
    """
    started, workers = time.perf_counter(), thread_count(threads)
    compared = nullcontext(None) if against is None else open_inputs(against)
    with _opened_archive(path, base) as (archive, source), compared as originals:
        _total(archive)
        same_function = "same function" in guarantee_of(archive.index)
        if originals is not None and same_function:
            _compare_functions(archive, originals, symmetries)
            originals = None
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

        decode_files(archive, put, workers, progress)
        return _receipt(archive, source, path, "" if against is None else os.fspath(against), base, started)


def _compare_functions(archive: Archive, originals: Inputs, symmetries: PathLike | None) -> None:
    """Raises InputError unless the network in the archive is the original up to its symmetries."""
    from ..lossy.convert import arrays_of
    from ..symmetry.verify import require_same_function
    from ..symmetry.weigh import declared

    name = archive.source.name
    if archive.index.losses:
        raise InputError(f"{name}: its weights were quantised: they can't be compared with {originals.name}")
    if symmetries is None:
        raise InputError(
            f"{name}: its units stand in another order than in {originals.name}: give the architecture too, with --symmetries "
            "(symmetries=), to compare what both compute"
        )
    decoded = {key: archive.tensor(key) for key in archive.keys()}  # noqa: SIM118  an Archive is no dict
    try:
        require_same_function(decoded, arrays_of(originals), declared(symmetries))
    except InputError as error:
        raise InputError(f"{name} against {originals.name}: {error}") from None


def open(path: PathLike | bytes, *, base: PathLike | None = None) -> Archive:  # noqa: A001  netweight.open, as safetensors has safe_open
    """Open an archive to read single tensors. A context manager. Raises FormatError and its kin, BaseMismatchError."""
    with ExitStack() as stack:
        source = BytesSource(path) if isinstance(path, bytes) else stack.enter_context(FileSource(path))
        archive = Archive(source, stack.enter_context(_opened_base(base)))
        archive.close_with(stack.pop_all().close)
        return archive


def load_file(path: PathLike, *, base: PathLike | None = None) -> dict[str, NDArray[Any]]:
    """Every tensor by name. Raises FormatError and its kin; BombError for absurd expansions."""
    with open(path, base=base) as archive:
        _total(archive)
        return {name: archive.tensor(name) for name in archive.keys()}  # noqa: SIM118  an Archive is no dict
