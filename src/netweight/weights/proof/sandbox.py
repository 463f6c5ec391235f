"""Runs a user's code in a process with a time limit, and takes nothing on trust that comes out of it.

The limit keeps a program that doesn't end from hanging us. It isn't a jail: the code runs with all rights of the user.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from . import worker
from .corrections import MOST_ANSWERS, MOST_CLASSES
from .program import ProgramError

Ints = NDArray[np.int64]

_SAID: Final = "said.txt"
_MOST_SAID: Final = 8000  # bytes of its standard error that are shown
_MOST_BYTES: Final = 1 << 31


@dataclass(frozen=True)
class Described:
    """The domain int64 [n, d], what the network answers int64 [n], its classes, and what is right (None: no task).

    `margin` is the least gap between the best score and the next (None if the network gives answers, not scores).
    """

    inputs: Ints
    answers: Ints
    classes: int
    right: Ints | None
    margin: float | None


@dataclass(frozen=True)
class Sandbox:
    """A folder that is ours, and how many seconds each run may take."""

    folder: Path
    seconds: float

    def describe(self, program: Path, archive: Path) -> Described:
        """Run `inputs`, `network` and `task` of a file, on weights out of an archive. Raises ProgramError."""
        name = str(program)
        self._start(name, worker.DESCRIBE, os.path.abspath(program), os.path.abspath(archive))
        inputs = _whole(self._load(worker.INPUTS, name), f"{name}: inputs")
        if inputs.ndim != 2 or not 1 <= len(inputs) <= MOST_ANSWERS:
            raise ProgramError(
                f"{name}: inputs must be [n, d] with n from 1 to {MOST_ANSWERS}, not {list(inputs.shape)}"
            )
        np.save(self.folder / worker.INPUTS, inputs)
        answers, classes, margin = _answers(self._load(worker.OUTPUTS, name), len(inputs), f"{name}: network")
        right = None
        if (self.folder / worker.RIGHT).exists():
            right = _whole(self._load(worker.RIGHT, name), f"{name}: task")
            if right.shape != (len(inputs),):
                raise ProgramError(f"{name}: task must give {len(inputs)} answers, not {list(right.shape)}")
            if margin is None:
                classes = max(classes, int(right.max()) + 1)
        return Described(inputs, answers, _checked_classes(classes, name), right, margin)

    def run(self, name: str, text: str, count: int, classes: int) -> Ints:
        """What a program's text answers on the domain that was described: int64 [count]. Raises ProgramError."""
        (self.folder / f"{name}.py").write_text(text, encoding="utf-8")
        self._start(name, worker.RUN, f"{name}.py")
        answers = _whole(self._load(worker.ANSWERS, name), name)
        if answers.shape != (count,) or not 0 <= int(answers.min()) <= int(answers.max()) < classes:
            raise ProgramError(f"{name}: must give {count} answers in 0..{classes - 1}, one for each input")
        return answers

    def _start(self, name: str, *arguments: str) -> None:
        command = [sys.executable, "-P", "-m", worker.__name__, *arguments]
        with open(self.folder / _SAID, "wb+") as said:
            process = subprocess.Popen(  # noqa: S603  our own module
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
            try:
                code = process.wait(self.seconds)
            except subprocess.TimeoutExpired:
                raise ProgramError(
                    f"{name}: didn't end within {self.seconds:g} s; --seconds allows more", _tail(said)
                ) from None
            finally:
                _end(process)
            if code:
                raise _failure(name, code, _tail(said))

    def _load(self, file: str, name: str) -> NDArray[Any]:
        """An array that a run left, removed so that the next run can't pass it on."""
        path = self.folder / file
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ProgramError(f"{name}: gave more than {_MOST_BYTES} bytes")
            array: NDArray[Any] = np.load(path, allow_pickle=False)
            path.unlink()
        except (OSError, ValueError) as error:
            raise ProgramError(f"{name}: gave nothing that can be read: {error}") from None
        return array


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it, and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(said: IO[bytes]) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - _MOST_SAID))
    return said.read().decode("utf-8", "replace")


def _failure(name: str, code: int, said: str) -> ProgramError:
    if code < 0:
        return ProgramError(f"{name}: its process was ended by signal {-code} (out of memory?)", said)
    lines = said.strip().splitlines() or ["no reason given"]
    return ProgramError(f"{name}: raised {lines[-1]}", said)


def _whole(array: NDArray[Any], what: str) -> Ints:
    """As int64. Raises ProgramError unless they are whole numbers, none negative."""
    if array.dtype.kind not in "iub":
        raise ProgramError(f"{what}: must be whole numbers, not {array.dtype}")
    if array.size and (int(array.min()) < 0 or int(array.max()) >= 1 << 63):
        raise ProgramError(f"{what}: must be in 0 .. 2^63 - 1")
    return array.astype(np.int64)


def _answers(outputs: NDArray[Any], count: int, what: str) -> tuple[Ints, int, float | None]:
    """The network's answers, how many classes there are, and the least margin: of scores [count, classes], or answers."""
    if outputs.ndim == 1 and len(outputs) == count:
        answers = _whole(outputs, what)
        return answers, max(2, int(answers.max()) + 1), None
    if outputs.ndim != 2 or len(outputs) != count or outputs.dtype.kind not in "iuf" or outputs.shape[1] < 2:
        raise ProgramError(
            f"{what}: must give scores [{count}, classes] or answers [{count}], not {outputs.dtype} {list(outputs.shape)}"
        )
    scores = outputs.astype(np.float64)
    if not bool(np.isfinite(scores).all()):
        raise ProgramError(f"{what}: gave NaN or infinity")
    best = np.partition(scores, -2, axis=1)[:, -2:]
    return scores.argmax(1).astype(np.int64), outputs.shape[1], float((best[:, 1] - best[:, 0]).min())


def _checked_classes(classes: int, name: str) -> int:
    if classes > MOST_CLASSES:
        raise ProgramError(f"{name}: {classes} classes; at most {MOST_CLASSES} can be coded")
    return classes
