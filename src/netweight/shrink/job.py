"""A user's job.py: the network, its data and the steps, as a program.

    model = build()                    # a torch.nn.Module, or a function that makes one
    example = torch.zeros(8, 3, 32, 32)    # a batch: a tensor, a tuple, or a mapping by argument
    steps = [Prune(), Quantize(w=4, a=8)]
    def train(model, seed): ...            # yields the loss of one batch after another
    def evaluate(model): ...               # a score, higher is better
    budget = 2000                          # training steps in all

and, if wanted, target, order, seed, learning_rate, optimiser, dynamic. It is the user's own program: it runs with all the
user's rights, and may import what lies beside it. What it prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from torch import nn

from ..errors import InputError, NetweightError
from ..weights.user_code import user_traceback

NEEDED: Final = ("model", "example", "steps")
OPTIONAL: Final = ("train", "evaluate", "budget", "target", "order", "seed", "learning_rate", "optimiser", "dynamic")


class JobError(InputError):
    """A job that can't be used; `details` is the traceback of what it raised, or ""."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True)
class LoadedJob:
    """`settings` are keywords of `shrink`; `digest` is the hex SHA-256 of the file."""

    name: str
    digest: str
    settings: dict[str, Any]


def load_job(path: str | os.PathLike[str]) -> LoadedJob:
    """Run the user's file and take what it defines. Raises JobError."""
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise JobError(f"{name}: there is no such file")
    module = _module(name)
    missing = [n for n in NEEDED if not hasattr(module, n)]
    if missing:
        raise JobError(f"{name}: defines no {', '.join(missing)}; it needs {', '.join(NEEDED)}")
    settings = {n: getattr(module, n) for n in (*NEEDED, *OPTIONAL) if hasattr(module, n)}
    if not isinstance(settings["model"], nn.Module):
        if not callable(settings["model"]):
            raise JobError(f"{name}: model is a {type(settings['model']).__name__}; it must be a module or make one")
        with guarded(name, "model()"):
            settings["model"] = settings["model"]()
    if not isinstance(settings["model"], nn.Module):
        raise JobError(f"{name}: model() made a {type(settings['model']).__name__}, not a torch.nn.Module")
    return LoadedJob(name, hashlib.sha256(Path(name).read_bytes()).hexdigest(), settings)


@contextlib.contextmanager
def guarded(name: str, doing: str) -> Iterator[None]:
    """Run the user's code: its output to standard error, its exceptions (SystemExit too) as a JobError; ours pass."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except NetweightError:
        raise
    except (Exception, SystemExit) as error:
        last = traceback.format_exception_only(error)[-1].strip()
        raise JobError(f"{name}: {doing} failed: {last}", user_traceback(error, os.path.dirname(__file__))) from error


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"netweight_job_{Path(name).stem}", name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look a module up by its name
    folder = os.path.dirname(os.path.abspath(name))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    with guarded(name, "importing it"):
        spec.loader.exec_module(module)
    return module
