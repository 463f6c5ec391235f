"""`--task task.py --max-drop 0.5%`: the budget search over our own coder."""

from __future__ import annotations

import math
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import InputError
from ...source import FileSource
from ..archive.api import PathLike, compress_file, decompress_file, load_file
from ..archive.base import sha256_of
from ..archive.inputs import Inputs, default_archive_path, open_inputs
from .budget import Notes, Say, TaskReceipt, compress_for_task
from .calibration import Source
from .compress import compress_lossy, rms_of
from .convert import arrays_of, needs_conversion
from .rate import NOISE_OF_STEP
from .search import Progress
from .target import Touched
from .task import MaxDrop, load_task


def _fingerprint(inputs: Inputs) -> list[list[str]]:
    return [[file.path, sha256_of(file.source).hex()] for file in inputs.files]


def _calibration_key(calibration: Source | None) -> str:
    """What tells one calibration from another: a file by its content."""
    if not isinstance(calibration, (str, os.PathLike)):
        return repr(calibration)
    with FileSource(calibration) as source:
        return sha256_of(source).hex()


def _state_of(archive: Path, name: str) -> dict[str, Any]:
    """The arrays of a lossless archive of the file or folder `name`, as `arrays_of` gives them of the original.

    `load_file` would give GGUF's blocks as they are stored.
    """
    with tempfile.TemporaryDirectory(prefix=".netweight-", dir=archive.parent) as folder:
        back = Path(folder) / name
        decompress_file(archive, back)
        with open_inputs(back) as inputs:
            return arrays_of(inputs)


def compress_to_task(
    src: PathLike,
    dst: PathLike | None,
    task: str,
    max_drop: str,
    *,
    touched: Touched | None = None,
    effort: str = "balanced",
    equal_error: bool = False,
    calibration: Source | None = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    say: Say = lambda _: None,
) -> TaskReceipt:
    """The smallest archive of `src` found whose decoded weights score at most `max_drop` less on `task`.

    The knob is the grid step, named by the logarithm of the ||w - q||^2 / ||w||^2 that it gives at high rates. Raises
    InputError, TaskError, OutputError.
    """
    rule, drop, loaded = touched or Touched(), MaxDrop.parse(max_drop), load_task(task)
    out = Path(os.path.abspath(dst if dst is not None else default_archive_path(src)))
    rms = 1.0 if equal_error else rms_of(src, rule)
    with open_inputs(src) as inputs:
        if any(out.exists() and os.path.samefile(out, f.source.name) for f in inputs.files):
            raise InputError(f"{out}: is the input; choose another output")
        key = {
            "input": _fingerprint(inputs), "version": __version__, "effort": effort, "equal_error": equal_error,
            "keep": rule.keep, "least": rule.least, "calibration": _calibration_key(calibration),
        }  # fmt: skip

        converted = any(needs_conversion(file) for file in inputs.files)

        def write(t: float | None, path: Path, notes: Notes) -> dict[str, Any]:
            if t is None:
                compress_file(src, path, effort=effort, threads=threads, force=True)
                return _state_of(path, Path(src).name) if converted else load_file(path)
            step = rms * math.sqrt(10**t / NOISE_OF_STEP)
            compress_lossy(
                src, path, step=step, touched=rule, effort=effort, equal_error=equal_error,
                calibration=calibration, notes=notes, threads=threads, force=True,
            )  # fmt: skip
            return load_file(path)

        return compress_for_task(
            out, loaded, drop, original=partial(arrays_of, inputs), write=write, key=key, force=force,
            mode=inputs.mode, progress=progress, say=say,
        )  # fmt: skip
