"""A task: what a network is for, as a Python function that scores a state dict, and how much it may lose.

    # task.py
    def score(state_dict):          # {name: numpy array}; higher is better
        return accuracy_of(build(state_dict))

`framework = "torch"` in the same file asks for torch tensors instead of arrays. A task is named as a file ("task.py"),
a function in a file ("task.py:other_score") or a function of an importable module ("package.module:function"). It is
the user's own program: it runs with all rights of the user, as `python task.py` would, and may import what lies beside
it. What it prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import math
import numbers
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..as_torch import from_numpy
from ..user_code import user_traceback

State = Mapping[str, NDArray[Any]]
FRAMEWORKS: Final = ("numpy", "torch")

_DEFAULT: Final = "score"
_ROUNDING: Final = 1e-12


class TaskError(InputError):
    """A task that can't be loaded or whose score can't be used; `details` is the traceback of what it raised, or ""."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True)
class MaxDrop:
    """How far a score may drop: by `amount`, in units of the score, or (`relative`) as a share of the original score.

    `MaxDrop.parse("0.5%")` is half a percent of the original score, whatever its units: 0.8260 may become 0.82187.
    `MaxDrop.parse("0.005")` is 0.005 in the score's own units: 0.8260 may become 0.8210. Half a percentage point of an
    accuracy in 0..1 is therefore "0.005", and "0.5" of one in 0..100. "0" and "0%" allow no drop at all.
    """

    amount: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> MaxDrop:
        """Raises InputError unless `text` is a finite number of at least 0, with or without a percent sign."""
        bare = text.strip()
        relative = bare.endswith("%")
        try:
            amount = float(bare.removesuffix("%"))
        except ValueError:
            amount = math.nan
        if not 0 <= amount < math.inf:
            raise InputError(
                f"a drop of {text!r}: write 0.5% (half a percent of the original score) "
                "or 0.005 (in the score's own units)"
            )
        return cls(amount / 100 if relative else amount, relative)

    def floor(self, before: float) -> float:
        """The lowest score that is allowed where the original has `before`; rounding errors of 1e-12 are forgiven.

        Raises InputError for a share of a score of 0.
        """
        if self.relative and before == 0 and self.amount:
            raise InputError("the original scores 0, and a percentage of that is nothing: give the drop without %")
        drop = self.amount * abs(before) if self.relative else self.amount
        return before - drop - _ROUNDING * max(abs(before), drop)

    def __str__(self) -> str:
        return f"{100 * self.amount:g}%" if self.relative else f"{self.amount:g}"


@dataclass(frozen=True)
class Task:
    """A scoring function: `name` as the user gave it, `digest` the hex SHA-256 of its source file ("" if it has none)."""

    name: str
    digest: str
    framework: str
    function: Callable[[dict[str, Any]], Any]

    def score(self, state: State) -> float:
        """The score of a state dict, a finite number; the arrays are handed over and may be altered.

        Raises TaskError if the function raises (its traceback is in `details`) or returns anything else.
        """
        given: dict[str, Any] = dict(state)
        if self.framework == "torch":
            given = {name: from_numpy(array) for name, array in given.items()}
        with _guarded(self.name, "score"):
            value = self.function(given)
        return _finite(value, self.name)


def _finite(value: Any, name: str) -> float:
    """A number, also one of numpy's or a tensor of one element, as a float. Raises TaskError."""
    scalar = value
    if not isinstance(value, numbers.Real) and callable(item := getattr(value, "item", None)):
        with contextlib.suppress(ValueError, RuntimeError, TypeError):
            scalar = item()
    if isinstance(scalar, (bool, np.bool_)) or not isinstance(scalar, numbers.Real):
        raise TaskError(f"{name}: score returned {_shown(value)}, not a number")
    number = float(scalar)
    if not math.isfinite(number):
        raise TaskError(f"{name}: score returned {number}; it must be finite")
    return number


def _shown(value: Any) -> str:
    """A value for a message: its type, and itself if that is short."""
    text = repr(value)
    return f"{type(value).__name__} {text}" if len(text) <= 40 else f"a {type(value).__name__}"


@contextlib.contextmanager
def _guarded(name: str, doing: str) -> Iterator[None]:
    """Run the user's code: its output to standard error, its exceptions (SystemExit too) as a TaskError."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        last = traceback.format_exception_only(error)[-1].strip()
        raise TaskError(f"{name}: {doing} failed: {last}", user_traceback(error, __file__)) from error


def load_task(name: str | os.PathLike[str]) -> Task:
    """The task that a file, "file.py:function" or "module:function" names.

    Raises TaskError if there is no such file, module or function, if it fails while it is imported, or if it asks for
    an unknown framework.
    """
    label = os.fspath(name)
    place, colon, function = label.rpartition(":") if ":" in label else (label, "", _DEFAULT)
    if place.endswith(".py"):
        module = _from_file(label, place)
    elif colon:
        module = _from_module(label, place)
    else:
        raise TaskError(f"{label}: name a Python file (task.py) or a function (package.module:function)")
    found = getattr(module, function, None)
    if not callable(found):
        raise TaskError(f"{label}: has no function {function}(state_dict)")
    framework = getattr(module, "framework", FRAMEWORKS[0])
    if framework not in FRAMEWORKS:
        raise TaskError(f"{label}: framework is {_shown(framework)}; it must be one of {', '.join(FRAMEWORKS)}")
    source = getattr(module, "__file__", None)
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
    return Task(label, digest, framework, found)


def _search_first(folder: str) -> None:
    """Imports look in `folder` first from now on: tasks also import while they score."""
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _from_file(label: str, place: str) -> ModuleType:
    if not os.path.isfile(place):
        raise TaskError(f"{place}: there is no such file")
    spec = importlib.util.spec_from_file_location(f"netweight_task_{Path(place).stem}", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses and pickle look a module up by its name
    _search_first(os.path.dirname(os.path.abspath(place)))
    with _guarded(label, "importing it"):
        spec.loader.exec_module(module)
    return module


def _from_module(label: str, place: str) -> ModuleType:
    _search_first(os.getcwd())
    with _guarded(label, "importing it"):
        return importlib.import_module(place)
