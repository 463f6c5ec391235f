"""A checkpoint in the fewest bytes that its task allows: the search, fed by files that were written and decoded.

What codes weights stays outside: `Write` is the seam.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from ...errors import GuaranteeError
from ..archive import outputs
from .journal import Journal, key_of
from .search import MOST, Evaluation, Knob, Outcome, Progress, cheapest
from .task import MaxDrop, State, Task

Notes = dict[str, Any]
Write = Callable[[float | None, Path, Notes], dict[str, Any]]
"""write(t, path, notes) makes (or replaces) the archive `path` at the setting t of the knob, losslessly if t is None,
with the JSON-able `notes` as its metadata, and returns the arrays by name that were decoded from that file. Same t, same
arrays."""
Say = Callable[[str], None]

REL_MSE: Final = Knob(finest=-6.0, coarsest=0.0, start=-2.0, step=0.5)
"""t is log10 of ||w - q||^2 / ||w||^2: from -60 dB to nothing left, -20 dB first."""


@dataclass(frozen=True)
class TaskReceipt:
    """What a budget came to. `bytes` is the length of the finished file, `score_after` that of what it decodes to.

    `t` is the setting of the knob, None where the file is lossless; `lossless_bytes` is what that takes;
    `evaluations` are all settings that were measured, `resumed` how many of them by earlier runs.
    """

    task: str
    task_sha256: str
    max_drop: str
    score_before: float
    score_after: float
    score_allowed: float
    t: float | None
    bytes: int
    lossless_bytes: int
    evaluations: tuple[Evaluation, ...]
    resumed: int = 0

    def summary(self) -> str:
        """One line."""
        return (
            f"score {self.score_before:.6g} -> {self.score_after:.6g} (allowed: at least {self.score_allowed:.6g}), "
            f"{_counted(len(self.evaluations))}"
        )

    def metadata(self) -> Notes:
        """What the archive tells of it: of the task its name without folders, and its hash."""
        kept = ("task_sha256", "max_drop", "score_before", "score_after", "score_allowed")
        return {"task": Path(self.task).name} | {name: getattr(self, name) for name in kept}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def state_digest(state: State) -> str:
    """Hex SHA-256 of names, dtypes, shapes and bytes, whatever the order of names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        array = state[name]
        digest.update(f"{name!r} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def journal_path(dst: Path) -> Path:
    """Where the evaluations for an output are kept while the search lasts."""
    return dst.with_name(f"{dst.name}.search.json")


def compress_for_task(
    dst: Path,
    task: Task,
    max_drop: MaxDrop,
    *,
    original: Callable[[], State],
    write: Write,
    key: dict[str, Any],
    knob: Knob = REL_MSE,
    most: int = MOST,
    force: bool = False,
    mode: int = 0o666,
    progress: Progress | None = None,
    say: Say = lambda _: None,
) -> TaskReceipt:
    """Write to `dst` the smallest archive found whose decoded arrays score at most `max_drop` less than `original()`.

    `key` is JSON-able and says all, beside t, that the arrays depend on: a hash of the input, the options, our version.
    Evaluations are kept beside `dst` until this ends well, so that a run after an interruption goes on from there (the
    original is scored again, and another score than before starts afresh). If no setting of the knob will do, or
    none is smaller, the file is lossless.

    Raises TaskError, OutputError, GuaranteeError if the same setting decodes to other arrays, and what `write` raises.
    """
    outputs.refuse_existing(dst, force)
    journal = Journal(journal_path(dst), key_of({"input": key, "task": task.digest, "name": task.name}))
    arrays = original()
    digest, before = state_digest(arrays), task.score(arrays)
    del arrays
    journal.start(before)
    resumed = len(journal.evaluations)
    if resumed:
        say(f"resuming after {_counted(resumed)}")
    with outputs.explained(dst), tempfile.TemporaryDirectory(prefix=".netweight-", dir=dst.parent) as folder:
        run = _Run(Path(folder) / dst.name, task, max_drop, before, digest, write)
        try:
            outcome = cheapest(
                journal.remember(run.evaluate), knob,
                floor=max_drop.floor(before), reference=before, most=most, progress=progress,
            )  # fmt: skip
            receipt = run.finish(outcome, say, min(resumed, len(outcome.evaluations)))
        except GuaranteeError:  # what is noted can't be made again
            journal.remove()
            raise
        except BaseException:
            if journal.evaluations:
                say(f"{_counted(len(journal.evaluations))} are kept in {journal.path}: the same command goes on there")
            raise
        with outputs.new_file(dst, force, mode) as descriptor:
            _copy(run.path, descriptor)
    journal.remove()
    return receipt


def _copy(path: Path, descriptor: int) -> None:
    offset = 0
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            outputs.write_all(descriptor, block, offset)
            offset += len(block)


def _counted(evaluations: int) -> str:
    return f"{evaluations} evaluation{'s' if evaluations != 1 else ''}"


class _Run:
    """One search's temporary archive at `path`; `before` and `digest` are the original's score and arrays."""

    def __init__(self, path: Path, task: Task, drop: MaxDrop, before: float, digest: str, write: Write) -> None:
        self.path, self.task, self.drop, self.write = path, task, drop, write
        self.before, self.digest = before, digest

    def evaluate(self, t: float) -> Evaluation:
        state = self.write(t, self.path, {})
        digest = state_digest(state)  # before the task sees the arrays: it may alter them
        return Evaluation(t, self.path.stat().st_size, self.task.score(state), digest)

    def finish(self, outcome: Outcome, say: Say, resumed: int) -> TaskReceipt:
        """Write the file that is kept, with its notes, and check that it decodes to what was scored."""
        self._make(None, self.digest, {})
        lossless, best = self.path.stat().st_size, outcome.best
        if best is None:
            say(self._impossible(outcome))
        elif best.bytes >= lossless:
            say(f"no smaller than lossless ({best.bytes} bytes against {lossless}): stored losslessly")
            best = None
        t, digest, after = (best.t, best.digest, best.score) if best else (None, self.digest, self.before)
        receipt = TaskReceipt(
            task=self.task.name,
            task_sha256=self.task.digest,
            max_drop=str(self.drop),
            score_before=self.before,
            score_after=after,
            score_allowed=outcome.floor,
            t=t,
            bytes=0,
            lossless_bytes=lossless,
            evaluations=outcome.evaluations,
            resumed=resumed,
        )
        self._make(t, digest, receipt.metadata())
        return replace(receipt, bytes=self.path.stat().st_size)

    def _make(self, t: float | None, digest: str, notes: Notes) -> None:
        if state_digest(self.write(t, self.path, notes)) != digest:
            raise GuaranteeError(f"{self.path.name}: the same setting ({t}) gave other weights when it was coded again")

    def _impossible(self, outcome: Outcome) -> str:
        nearest = outcome.nearest
        return (
            f"none of {_counted(len(outcome.evaluations))} keeps the score at {outcome.floor:.6g}: the nearest has "
            f"{nearest.score:.6g} in {nearest.bytes} bytes (a drop of {self.before - nearest.score:.3g}); stored losslessly"
        )
