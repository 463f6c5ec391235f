"""A checkpoint in as few bits as a stated error takes, or with as small an error as so many bits allow."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ...errors import InputError
from ...source import FileSource
from ..archive import outputs
from ..archive.api import ArchiveReceipt, PathLike, descriptor_sink, effort_named, problems_of
from ..archive.index import COPY, Index, Piece, Segment
from ..archive.inputs import InputFile, Inputs, default_archive_path, open_inputs
from ..archive.plan import Plan, element_total, make_plan
from ..archive.pool import ordered_map, thread_count
from ..archive.reader import Progress
from ..archive.writer import LosslessEncoder, write_archive
from ..coders.trellis_design import LAMBDA
from ..methods import Effort
from .calibrated import Calibrated, calibrate
from .calibration import Calibration, Source, open_calibration
from .convert import needs_conversion, write_safetensors
from .encoder import LossyEncoder, Quantiser, StepOf, Sums
from .rate import NOISE_OF_STEP, Bracket, Figure, find_step, first_step
from .survey import energies
from .target import MAX_ERROR, REL_MSE, SIZE, Target, Touched
from .values import Floats

STATES: Final = {"fast": 8, "balanced": 64, "max": 256}
_SAMPLE_WEIGHTS: Final = 3 << 20
_MOST_WRITES: Final = 4


@dataclass(frozen=True)
class LossyReceipt(ArchiveReceipt):
    """What one lossy run did, measured on the decoded weights.

    `quantised` counts the weights that may differ, `rel_mse` and `max_error` are over them, `payload_bytes` are their
    blocks'; `notes` is what the archive itself tells.
    """

    quantised: int = 0
    payload_bytes: float = 0.0
    rel_mse: float = 0.0
    max_error: float = 0.0
    step: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def quantised_bits(self) -> float:
        """Bits per quantised weight."""
        return 8 * self.payload_bytes / self.quantised if self.quantised else 0.0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return super().to_dict() | {"quantised_bits": self.quantised_bits}


@dataclass
class _Job:
    """One plan and how its blocks are to be coded."""

    plan: Plan
    inputs: Inputs
    touched: set[int]
    effort: Effort
    threads: int
    states: int
    strength: float
    equal_error: bool
    limit: float = float("inf")
    calibrated: Calibrated | None = None
    structured: bool = False
    energies: dict[int, Sums] = field(default_factory=dict)

    def encoder(self, step: float) -> LossyEncoder:
        """`step` is in units of each tensor's rms where errors are to be equal."""
        quantiser = Quantiser(self._step_of(step), self.states, self.strength, self.limit)
        if self.calibrated is not None:
            quantiser = replace(quantiser, layer_of=self.calibrated.layer)
        plain = LosslessEncoder(self.plan, self.inputs, None, self.effort)
        return LossyEncoder(plain, self.plan.index, self.touched, quantiser, self.effort)

    def _step_of(self, step: float) -> StepOf:
        if not self.equal_error:
            return lambda _: step
        steps = {k: step * (math.sqrt(s.energy / max(s.weights, 1)) or 1.0) for k, s in self.energies.items()}
        return steps.__getitem__

    def groups(self) -> list[tuple[Piece, ...]]:
        return [g for g in self.plan.groups if g[0].segment in self.touched]

    def measure(self, step: float, groups: list[tuple[Piece, ...]]) -> LossyEncoder:
        """Code these groups and forget the bytes."""
        encoder = self.encoder(step)
        for _ in ordered_map(encoder, groups, self.threads):
            pass
        return encoder


def _sampled(groups: list[tuple[Piece, ...]], index: Index) -> tuple[list[tuple[Piece, ...]], dict[int, float]]:
    """(some rows of every group, weights of the segment per sampled weight): all of it unless it is a lot."""
    counts: dict[int, int] = {}
    for g in groups:
        for p in g:
            counts[p.segment] = counts.get(p.segment, 0) + index.segments[p.segment].piece_spec(p.nbytes).count
    share = min(1.0, _SAMPLE_WEIGHTS / max(sum(counts.values()), 1))
    taken: dict[int, int] = {}
    out = []
    for g in groups:
        part = g if share == 1 or len(g) > 1 else (_some_rows(g[0], index, share),)
        out.append(part)
        for p in part:
            taken[p.segment] = taken.get(p.segment, 0) + index.segments[p.segment].piece_spec(p.nbytes).count
    return out, {k: counts[k] / taken[k] for k in counts}


def _some_rows(piece: Piece, index: Index, share: float) -> Piece:
    """The middle rows of a piece."""
    segment = index.segments[piece.segment]
    shape = segment.piece_spec(piece.nbytes).shapes[0]
    row = piece.nbytes // shape[0]
    rows = max(1, min(shape[0], math.ceil(shape[0] * share)))
    return Piece(piece.segment, piece.start + (shape[0] - rows) // 2 * row, rows * row)


def _scaled(encoder: LossyEncoder, ratio: dict[int, float]) -> Sums:
    """Sums of a sample as of the whole."""
    total = Sums()
    for k, s in encoder.sums.items():
        r = ratio[k]
        total.add(replace(s, weights=round(s.weights * r), energy=s.energy * r, noise=s.noise * r, bits=s.bits * r))
    return total


@contextmanager
def _safetensors_inputs(src: PathLike) -> Iterator[Inputs]:
    """The inputs with every checkpoint among them as safetensors."""
    with ExitStack() as stack:
        inputs = stack.enter_context(open_inputs(src))
        if not any(needs_conversion(f) for f in inputs.files):
            yield inputs
            return
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="netweight-")))
        files = []
        for number, file in enumerate(inputs.files):
            if needs_conversion(file):
                target = folder / f"{number}.safetensors"
                write_safetensors(file, target)
                path = os.path.splitext(file.path)[0] + ".safetensors"
                file = InputFile(path, stack.enter_context(FileSource(target)))
            files.append(file)
        yield Inputs(inputs.name, inputs.directory, files)


def compress_lossy(
    src: PathLike,
    dst: PathLike | None = None,
    target: Target | None = None,
    *,
    step: float | None = None,
    touched: Touched | None = None,
    effort: str = "balanced",
    equal_error: bool = False,
    structure: bool = False,
    calibration: Source | None = None,
    notes: dict[str, Any] | None = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> LossyReceipt:
    """Compress a checkpoint with its weights quantised to `target`, or at a given grid step.

    The archive decodes to safetensors (a folder's other files as they are) with the reconstructed weights in their
    dtypes. One step serves all tensors, which is reverse water-filling; with `equal_error` each tensor gets the step that
    gives it the same ||w - q||^2 / ||w||^2. `notes` (JSON-able) go into the archive. `structure` codes blocks by the
    structure that is found in them where that is shorter (weights/structure/), and errs no more.

    `calibration` (a file, a mapping or a function of the weight's name: calibration.py) tells what layers see. Their
    weights are then quantised for the least error of the layers' outputs; targets and losses are still of the weights. The
    receipt's notes tell the output error.

    Raises InputError, for a target that can't be had too: the nearest possible is named; OutputError.
    """
    started = time.perf_counter()
    chosen, workers = effort_named(effort), thread_count(threads)
    rule = touched or Touched()
    if (target is None) == (step is None):
        raise InputError("give either a target or a step")
    if calibration is not None and (equal_error or (target is not None and target.kind == MAX_ERROR)):
        raise InputError(
            "a calibration spends the error where it is felt least: it can't go with equal or largest errors"
        )
    with _safetensors_inputs(src) as inputs, open_calibration(calibration) as known:
        out = Path(os.path.abspath(dst if dst is not None else default_archive_path(src)))
        outputs.refuse_existing(out, force)
        if any(out.exists() and os.path.samefile(out, f.source.name) for f in inputs.files):
            raise InputError(f"{out}: is the input; choose another output")
        job = _job(inputs, rule, chosen, workers, STATES[effort], equal_error, target, known)
        if structure:
            _see_structure(job, target, step)
        run = _Run(job, target, dict(notes or {}), out, force, progress)
        step_taken, size = run.fixed(step) if step is not None else run.search()
        total, index = run.coded.total(), job.plan.index
        return LossyReceipt(
            source=os.fspath(src), archive=os.fspath(dst if dst is not None else out),
            original_bytes=inputs.size, archive_bytes=size, elements=element_total(index.segments),
            tensors=sum(len(f.layout.regions) + len(f.layout.empty) for f in inputs.files), files=len(index.files),
            seconds=time.perf_counter() - started, problems=problems_of(index.files), quantised=total.weights,
            guarantee="lossy", payload_bytes=total.bits / 8, rel_mse=total.rel_mse, max_error=total.worst, step=step_taken,
            notes=(index.notes or {}) | ({"calibration": job.calibrated.notes(total.felt)} if job.calibrated else {}),
        )  # fmt: skip


def _job(
    inputs: Inputs, rule: Touched, effort: Effort, threads: int, states: int, equal_error: bool, target: Target | None,
    known: Calibration | None = None,
) -> _Job:  # fmt: skip
    def kind(segment: Segment) -> tuple[bool, str]:
        """Calibrated tensors lie in blocks of their own."""
        touches = rule(segment)
        return touches, segment.name if touches and known and known.layer(segment.name, segment.shape) else ""

    plan = make_plan(inputs, effort, None, kind=kind)
    touched = {k for k, s in enumerate(plan.index.segments) if s.how != COPY and rule(s)}
    if not touched:
        raise InputError(
            f"{inputs.name}: no tensor to quantise: none is a float matrix of at least {rule.least} weights"
            + (f" that {rule.keep!r} doesn't keep" if rule.keep else "")
        )
    strict = target is not None and target.kind == MAX_ERROR
    limit = target.limit if strict and target else float("inf")
    return _Job(
        plan, inputs, touched, effort, threads, 1 if strict else states, 0.0 if strict else LAMBDA, equal_error, limit,
        calibrate(plan, inputs, touched, known) if known else None,
    )  # fmt: skip


def _see_structure(job: _Job, target: Target | None, step: float | None) -> None:
    """Blocks in which structure can be seen at about the error that weights will have. Raises InputError."""
    from ..structure.model import Tolerance, mean_square
    from ..structure.planning import regroup

    if job.calibrated is not None or (target is not None and target.kind not in (REL_MSE, MAX_ERROR)):
        raise InputError("structure is sought at a relative error or a largest one, and not with a calibration")

    def tolerance_of(values: Floats) -> Tolerance:
        if target is None or target.kind == REL_MSE:
            noise = NOISE_OF_STEP * (step or 0.0) ** 2 if target is None else target.limit * mean_square(values)
            return Tolerance(noise)
        return Tolerance(target.limit**2 / 3, target.limit)

    job.structured = True
    regroup(job.plan, job.inputs, job.touched, tolerance_of)


def rms_of(src: PathLike, rule: Touched) -> float:
    """Root mean square of the weights that `rule` touches. Raises InputError if there are none."""
    with _safetensors_inputs(src) as inputs:
        job = _job(inputs, rule, effort_named("balanced"), 1, 1, False, None)
        sums = energies(job.plan, job.inputs, job.touched).values()
        return math.sqrt(sum(s.energy for s in sums) / max(sum(s.weights for s in sums), 1)) or 1.0


@dataclass
class _Run:
    """The writes of one call: each codes everything into a temporary file, the last good one becomes the output."""

    job: _Job
    target: Target | None
    notes: dict[str, Any]
    out: Path
    force: bool
    progress: Progress | None
    coded: LossyEncoder = field(init=False)

    def fixed(self, step: float) -> tuple[float, int]:
        """Write at `step`; (step, bytes)."""
        if not (math.isfinite(step) and step > 0):
            raise InputError(f"a step of {step}: it must be a number above 0")
        if self.job.equal_error:
            self._look()
        with outputs.new_file(self.out, self.force, self.job.inputs.mode) as descriptor:
            return step, self._write(descriptor, step)

    def search(self) -> tuple[float, int]:
        """Find the step for the target, write, and write again while the measured figure misses; (step, bytes)."""
        assert self.target is not None
        if self.target.kind == MAX_ERROR:
            return self.fixed(self.target.limit * (1 - 2**-12))
        self._look()
        energy = sum(s.energy for s in self.job.energies.values())
        weights = sum(s.weights for s in self.job.energies.values())
        figure = Figure(self.target, 8.0 * self._fixed_bytes() if self.target.kind == SIZE else 0.0)
        start = first_step(self.target, weights if self.job.equal_error else energy, weights)
        groups, ratio = _sampled(self.job.groups(), self.job.plan.index)
        step = find_step(lambda t: _scaled(self.job.measure(t, groups), ratio), figure, start)
        return self._settle(figure, step or start)

    def _settle(self, figure: Figure, step: float) -> tuple[float, int]:
        bracket = Bracket(figure)
        with outputs.new_file(self.out, self.force, self.job.inputs.mode) as descriptor:
            for attempt in range(_MOST_WRITES + 4):
                size = self._write(descriptor, step)
                total = self.coded.total()
                if figure.target.kind == SIZE:
                    bracket.figure = figure = Figure(figure.target, 8.0 * size - total.bits)
                value = figure.of(total)
                bracket.add(step, value)
                # structure is sought at each write, which takes long, and only ever errs less than the step promised
                enough = self.job.structured or attempt >= _MOST_WRITES - 1
                if figure.close(value) or (figure.kept(value) and enough):
                    return step, size
                if bracket.best and attempt >= _MOST_WRITES - 1:
                    step = 2.0 ** bracket.best[0]
                    continue
                step = bracket.next_step()
            # inside, so that nothing is published
            raise InputError(
                f"{self.job.inputs.name}: {figure.target.kind} of {figure.target.limit:g} can't be had; "
                + self._nearest(figure)
            )

    def _nearest(self, figure: Figure) -> str:
        nearest = figure.of(self.coded.total())
        if figure.target.kind == SIZE:
            rest = math.ceil(figure.fixed_bits / 8)
            return (
                f"the smallest that was reached is {math.ceil(nearest)} bytes, {rest} of them for what isn't quantised"
            )
        return f"the nearest that was reached is {nearest:.6g}"

    def _look(self) -> None:
        """Energies of the tensors."""
        self.job.energies = energies(self.job.plan, self.job.inputs, self.job.touched)

    def _fixed_bytes(self) -> int:
        """About what the archive takes beside the quantised payloads."""
        plain = LosslessEncoder(self.job.plan, self.job.inputs, None, self.job.effort)
        others = [g for g in self.job.plan.groups if g[0].segment not in self.job.touched]
        coded = sum(sum(map(len, c.payload)) for c in ordered_map(plain, others, self.job.threads))
        return coded + 40 * len(self.job.touched) + 200

    def _write(self, descriptor: int, step: float) -> int:
        """The archive at `step`; its length."""
        os.ftruncate(descriptor, 0)
        index = self.job.plan.index
        index.blocks.clear()
        self.coded = encoder = self.job.encoder(step)
        encoder.bounds, encoder.structured = True, self.job.structured
        index.notes = self.notes

        def complete() -> None:
            index.losses = encoder.losses()

        sink = descriptor_sink(descriptor)
        return write_archive(self.job.plan, self.job.inputs, encoder, self.job.threads, sink, self.progress, complete)


def target_notes(target: Target) -> dict[str, Any]:
    """What the archive tells of the target."""
    return {"target": {target.kind: target.limit}}
