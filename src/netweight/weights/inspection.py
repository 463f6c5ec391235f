"""Tensor by tensor: what a checkpoint or an archive holds, what each costs, and how far that is from its bound."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..source import FileSource
from ..spec import byte_count, element_count
from .archive import Archive, TensorInfo
from .archive import open as open_archive
from .archive.container import is_archive
from .archive.inputs import STDIN, STDIO, Inputs, open_inputs, spooled_stdin
from .survey import FileSurvey, Surveyed, order0, outline, survey

PathLike = str | os.PathLike[str]
Progress = Callable[[int, int], None]
Bounds = Mapping[tuple[str, str], float]
"""(file, tensor) -> bits at order 0."""

_CHUNK_BYTES: Final = 1 << 22


@dataclass(frozen=True)
class Inspected:
    """One tensor. `bytes` is what it takes: a share, where small tensors are coded together.

    `bound_bits` is None where it wasn't measured or has no meaning (a tensor stored as a copy of another). Of a quantised
    tensor it is Shannon's lower bound at its error; `rel_mse` and `max_error` are None for one that wasn't quantised.
    """

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    elements: int
    codec: str
    original_bytes: int
    bytes: float
    bound_bits: float | None = None
    rel_mse: float | None = None
    max_error: float | None = None

    @property
    def bits_per_weight(self) -> float | None:
        return 8 * self.bytes / self.elements if self.elements else None

    @property
    def bound_per_weight(self) -> float | None:
        return self.bound_bits / self.elements if self.elements and self.bound_bits is not None else None

    @property
    def distance(self) -> float | None:
        """Bits per weight above the bound; below it where the code knows more than a histogram."""
        if self.bound_bits is None or not self.elements:
            return None
        return (8 * self.bytes - self.bound_bits) / self.elements


@dataclass(frozen=True)
class InspectedFile:
    """One file: its format, why it wasn't understood (if so), and its length."""

    path: str
    format: str
    problem: str
    size: int


@dataclass(frozen=True)
class Inspection:
    """What `netweight inspect` shows. `total_bytes` is the length of the thing inspected; tensors are in file order."""

    name: str
    kind: str  # "archive" | "checkpoint"
    original_bytes: int
    total_bytes: int
    files: tuple[InspectedFile, ...]
    tensors: tuple[Inspected, ...]

    @property
    def elements(self) -> int:
        return sum(t.elements for t in self.tensors)

    @property
    def other_bytes(self) -> float:
        """Headers, gaps and index: all that isn't in a tensor."""
        return max(0.0, self.total_bytes - sum(t.bytes for t in self.tensors))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        extra = ("bits_per_weight", "bound_per_weight", "distance")
        rows = [asdict(t) | {k: getattr(t, k) for k in extra} for t in self.tensors]
        own = {"elements": self.elements, "other_bytes": self.other_bytes}
        return asdict(self) | own | {"tensors": rows}


def inspect(
    path: PathLike, *, base: PathLike | None = None, bounds: bool = True, progress: Progress | None = None
) -> Inspection:
    """Inspect an archive or a plain checkpoint (a file, a folder or an index of shards).

    With `bounds` all of it is read (an archive is decoded). Raises InputError, FormatError and their kin.
    """
    if os.fspath(path) == STDIO:
        with spooled_stdin() as name:
            return replace(inspect(name, base=base, bounds=bounds, progress=progress), name=STDIN)
    if os.path.isfile(path):
        with FileSource(path) as source:
            archived = is_archive(source)
        if archived:
            return _inspect_archive(path, base, bounds, progress)
    with open_inputs(path) as inputs:
        return _inspect_inputs(inputs, bounds, progress)


def _inspect_archive(path: PathLike, base: PathLike | None, bounds: bool, progress: Progress | None) -> Inspection:
    with open_archive(path, base=base) as archive:
        measured = archive_bounds(archive, progress) if bounds else {}
        files = tuple(InspectedFile(f.path, f.format, f.problem, f.size) for f in archive.files)
        return Inspection(
            name=os.fspath(path),
            kind="archive",
            original_bytes=sum(f.size for f in files),
            total_bytes=archive.source.size,
            files=files,
            tensors=tuple(inspected(t, measured) for t in archive.tensors()),
        )


def inspected(tensor: TensorInfo, bounds: Bounds) -> Inspected:
    """What an archive tells of a tensor, with its bound from `bounds`, if it is there."""
    copied = tensor.codec.startswith("same as ")
    name = tensor.name.removeprefix(f"{tensor.file}:")
    bound = None if copied else bounds.get((tensor.file, name))
    loss = tensor.loss
    if loss is not None:  # known from the index
        bound = loss.bound * tensor.elements
    own = byte_count(tensor.dtype, tensor.shape)
    # A part of a larger storage takes its part of the storage's bytes.
    share = own / tensor.original_bytes if tensor.original_bytes else 0.0
    return Inspected(
        name,
        tensor.file,
        tensor.dtype,
        tensor.shape,
        tensor.elements,
        tensor.codec,
        own,
        share * tensor.bytes,
        bound,
        None if loss is None else loss.rel_mse,
        None if loss is None else loss.max_error,
    )


def archive_bounds(archive: Archive, progress: Progress | None = None) -> Bounds:
    """The bound of every tensor of an archive, by decoding it tensor by tensor in bounded memory."""
    infos, done = archive.tensors(), 0
    total, bounds = sum(t.original_bytes for t in infos), {}
    for info in infos:
        if info.loss is None:
            bounds[info.file, info.name.removeprefix(f"{info.file}:")] = order0(_decoded(archive, info), info.dtype)[0]
        done += info.original_bytes
        if progress:
            progress(done, total)
    return bounds


def _decoded(archive: Archive, info: TensorInfo) -> Iterator[NDArray[np.uint8]]:
    """A tensor's bytes, some rows at a time."""
    if not info.elements:
        return
    rows = info.shape[0] if info.shape else 1
    if len(info.shape) < 1 or info.original_bytes <= _CHUNK_BYTES:
        yield _flat(archive.tensor(info.name))
        return
    step = max(1, rows * _CHUNK_BYTES // info.original_bytes)
    for start in range(0, rows, step):
        yield _flat(archive.rows(info.name, start, min(rows, start + step)))


def _flat(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _inspect_inputs(inputs: Inputs, bounds: bool, progress: Progress | None) -> Inspection:
    surveys = survey_inputs(inputs, progress) if bounds else None
    tensors: list[Inspected] = []
    for number, file in enumerate(inputs.files):
        if surveys:
            tensors += (_plain(t) for t in surveys[number].tensors)
        else:
            tensors += (
                Inspected(name, file.path, dtype, shape, element_count(shape), "raw", nbytes, nbytes)
                for name, dtype, shape, nbytes in outline(file.layout)
            )
        tensors += (Inspected(n, file.path, d, s, 0, "empty", 0, 0.0) for n, d, s in file.layout.empty)
    files = tuple(InspectedFile(f.path, f.layout.format, f.layout.problem, f.source.size) for f in inputs.files)
    return Inspection(inputs.name, "checkpoint", inputs.size, inputs.size, files, tuple(tensors))


def _plain(tensor: Surveyed) -> Inspected:
    return Inspected(
        tensor.name, tensor.file, tensor.dtype, tensor.shape, tensor.elements, "raw",
        tensor.nbytes, tensor.nbytes, tensor.bound_bits,
    )  # fmt: skip


def survey_inputs(inputs: Inputs, progress: Progress | None = None) -> list[FileSurvey]:
    """A survey of every file. `progress` is told (bytes done, bytes in all)."""
    done, total = 0, inputs.size

    def step(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        if progress:
            progress(done, total)

    return [survey(f.source, f.layout, f.path, step) for f in inputs.files]
