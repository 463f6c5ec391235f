"""`compress_symmetric`: an archive of a network that computes the same, the order of its units given back.

The units are put in their places (arrange.py), which makes another checkpoint; that one is archived, its blocks of units where
they are shorter than what other codes make of the same tensors. So `decompress` needs nothing but the archive, and gives back
a network that computes the same: not the file that was compressed, which the archive's notes tell.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path

from ...errors import InputError
from ..archive import outputs
from ..archive.api import ArchiveReceipt, PathLike, compress_file, effort_named, guarantee_of, problems_of
from ..archive.inputs import default_archive_path, open_inputs
from ..archive.plan import element_total
from ..archive.pool import thread_count
from ..lossy.compress import compress_lossy, target_notes
from ..lossy.convert import arrays_of
from ..lossy.target import REL_MSE, Target, Touched
from .architecture import Group
from .archive import Job, Progress, silent
from .rotation import split
from .weigh import declared


@dataclass(frozen=True)
class SymmetryReceipt(ArchiveReceipt):
    """`groups` and `units` are coded without their order, which is worth `order_bits` by counting (a bound); `left` are groups that
    aren't, and why; `dead` units carry nothing now (dead.py). `rel_mse` is the error of what was quantised, 0 for nothing.
    """

    groups: int = 0
    units: int = 0
    order_bits: float = 0.0
    left: tuple[tuple[str, str], ...] = ()
    dead: int = 0
    quantised: int = 0
    rel_mse: float = 0.0


def compress_symmetric(
    src: PathLike,
    dst: PathLike | None,
    architecture: PathLike,
    *,
    rel_mse: float | None = None,
    touched: Touched | None = None,
    effort: str = "balanced",
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> SymmetryReceipt:
    """Compress one checkpoint file up to the order (and sign, and scale) of the units that `architecture` declares.

    The result decompresses to a safetensors file: the same function, its units in another order. With `rel_mse` its matrices are
    quantised within ||w - q||^2 / ||w||^2, over all that `touched` takes. Where an archive without symmetries is the shorter one
    it is written instead: it has no groups, and its guarantee is that of other archives.

    Raises InputError and its kin for what doesn't fit; OutputError.
    """
    started, chosen, workers = time.perf_counter(), effort_named(effort), thread_count(threads)
    groups = declared(architecture)
    if split(groups)[0]:
        raise InputError(f"{os.fspath(architecture)}: rotations round weights and have no archive; leave them out")
    with open_inputs(src) as inputs:
        if len(inputs.files) != 1:
            raise InputError(f"{inputs.name}: holds several files; symmetries are those of one checkpoint file")
        out = Path(os.path.abspath(dst if dst is not None else default_archive_path(src)))
        outputs.refuse_existing(out, force)
        if out.exists() and os.path.samefile(out, inputs.files[0].source.name):
            raise InputError(f"{out}: is the input; choose another output")
        tensors = arrays_of(inputs)
        if not tensors:
            raise InputError(f"{inputs.name}: is no checkpoint: no tensors were found in it")
        inputs.check_unchanged()
        target = None if rel_mse is None else Target(REL_MSE, rel_mse)
        job = Job(tensors, groups, chosen, touched or Touched(), target, workers, progress or silent)
        name = os.path.splitext(inputs.files[0].path)[0] + ".safetensors"
        with tempfile.TemporaryDirectory(prefix="netweight-") as folder:
            own, plain = Path(folder) / "own.nw", Path(folder) / "plain.nw"
            size, index = job.write(name, own)
            without = _without(src, plain, job)
            if without.archive_bytes <= size:
                return _publish(plain, out, force, inputs.mode, _as_symmetric(without, job, groups, out, started))
            receipt = SymmetryReceipt(
                source=inputs.name, archive=os.fspath(dst if dst is not None else out), original_bytes=inputs.size,
                archive_bytes=size, elements=element_total(index.segments), tensors=len(tensors), files=1,
                seconds=time.perf_counter() - started, problems=problems_of(index.files), guarantee=guarantee_of(index),
                groups=len(job.used), units=sum(b.count for b in job.used), order_bits=sum(b.bound_bits for b in job.used),
                left=tuple(job.left), dead=job.dead, quantised=job.total.weights, rel_mse=job.total.rel_mse,
            )  # fmt: skip
            return _publish(own, out, force, inputs.mode, receipt)


def _without(src: PathLike, out: Path, job: Job) -> ArchiveReceipt:
    """The archive without symmetries, which the one with them has to be shorter than."""
    job.progress("compressing without symmetries", 0, 1)
    if job.target is None:
        return compress_file(src, out, effort=job.effort.name, threads=job.threads)
    return compress_lossy(
        src,
        out,
        job.target,
        touched=job.touched,
        effort=job.effort.name,
        threads=job.threads,
        notes=target_notes(job.target),
    )


def _as_symmetric(
    plain: ArchiveReceipt, job: Job, groups: tuple[Group, ...], out: Path, started: float
) -> SymmetryReceipt:
    """The receipt of an archive without symmetries that turned out to be the shorter one."""
    known = {f.name: getattr(plain, f.name) for f in fields(ArchiveReceipt)}
    known |= {"archive": os.fspath(out), "seconds": time.perf_counter() - started}
    whys = {units: why for units, why in job.left if "smaller" not in why}
    left = tuple((g.units, whys.get(g.units, "the archive without symmetries is the shorter one")) for g in groups)
    quantised, error = getattr(plain, "quantised", 0), getattr(plain, "rel_mse", 0.0)
    return SymmetryReceipt(**known, left=left, quantised=quantised, rel_mse=error)


def _publish(made: Path, out: Path, force: bool, mode: int, receipt: SymmetryReceipt) -> SymmetryReceipt:
    with outputs.new_file(out, force, mode) as descriptor:
        outputs.write_all(descriptor, made.read_bytes(), 0)
    return receipt
