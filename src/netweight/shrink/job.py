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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from torch import nn

from ..errors import InputError, NetweightError
from ..weights.user_code import user_traceback

NEEDED: Final = ("model", "example", "steps")
OPTIONAL: Final = ("train", "evaluate", "budget", "target", "order", "seed", "learning_rate", "optimiser", "dynamic")

_KINDS: Final[tuple[tuple[str, Any, str], ...]] = (
    ("steps", (list, tuple), "a list of steps"),
    ("budget", Integral, "a whole number of training steps"),
    ("seed", Integral, "a whole number"),
    ("learning_rate", Real, "a number"),
    ("target", Mapping, 'a mapping such as {"macs": 0.5}'),
    ("dynamic", Mapping, 'a mapping such as {"tokens": (0, 1)}'),
)


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
    _check(name, settings)
    if not isinstance(settings["model"], nn.Module):
        if not callable(settings["model"]):
            raise JobError(f"{name}: model is {_kind(settings['model'])}; it must be a module or make one")
        with guarded(name, "model()"):
            settings["model"] = settings["model"]()
    if not isinstance(settings["model"], nn.Module):
        raise JobError(f"{name}: model() made {_kind(settings['model'])}, not a torch.nn.Module")
    return LoadedJob(name, hashlib.sha256(Path(name).read_bytes()).hexdigest(), settings)


def _check(name: str, settings: dict[str, Any]) -> None:
    """Raises JobError for a setting of another kind than `shrink` takes."""
    for key, kinds, wanted in _KINDS:
        value = settings.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            raise JobError(f"{name}: {key} is {_kind(value)}; it must be {wanted}")
    for key in ("train", "evaluate", "optimiser"):
        if settings.get(key) is not None and not callable(settings[key]):
            raise JobError(f"{name}: {key} is {_kind(settings[key])}; it must be a function")
    if settings.get("budget", 0) is None or settings.get("budget", 0) < 0:
        raise JobError(f"{name}: budget is {settings['budget']}; it is the number of training steps, 0 or more")


def _kind(value: Any) -> str:
    """A value's type with its article."""
    kind = "None" if value is None else type(value).__name__
    return kind if value is None else f"an {kind}" if kind[0].lower() in "aeiou" else f"a {kind}"


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
