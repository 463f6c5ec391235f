"""What runs a user's code, in a process of its own that sandbox.py starts and ends.

    python -m netweight.weights.proof.worker describe PROGRAM.py ARCHIVE     the domain and what the network answers on it
    python -m netweight.weights.proof.worker run TEXT.py                     what one program's text answers

It works in the current folder, which has inputs.npy for `run`. A traceback goes to standard error.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from ..user_code import user_traceback
from .program import NAME, TASK, compiled

INPUTS, OUTPUTS, RIGHT, ANSWERS = "inputs.npy", "outputs.npy", "right.npy", "answers.npy"
DESCRIBE, RUN = "describe", "run"
RAISED: Final = 3


def _module(path: Path) -> ModuleType:
    """The user's file as a module, which may import what lies beside it."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def _save(name: str, values: Any) -> None:
    np.save(name, np.asarray(values), allow_pickle=False)


def _describe(path: Path, archive: Path) -> None:
    from ..archive.api import load_file

    module = _module(path)
    domain = np.asarray(module.inputs())
    _save(INPUTS, domain)
    if hasattr(module, TASK):
        _save(RIGHT, module.task(domain.copy()))
    _save(OUTPUTS, module.network(load_file(archive), domain.copy()))


def _run(path: Path) -> None:
    known: dict[str, Any] = {"np": np}
    exec(compiled(path.read_text(encoding="utf-8"), path.name), known)  # noqa: S102  the user's own program
    _save(ANSWERS, known[NAME](np.load(INPUTS, allow_pickle=False)))


def main(job: str, *names: str) -> int:
    """The exit code: RAISED if the user's code raised, whatever it was."""
    try:
        if job == DESCRIBE:
            _describe(*map(Path, names))
        else:
            _run(*map(Path, names))
    except BaseException as error:  # noqa: BLE001  SystemExit and KeyboardInterrupt of the user's code are failures too
        sys.stderr.write(user_traceback(error, __file__))
        return RAISED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
