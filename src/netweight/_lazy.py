"""What is imported when it is first used: names of a package, and optional packages.

__getattr__ = exporter(__name__, {"NcdClassifier": "ncd.classifier"})
torch = required("torch", "torch")
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from .errors import MissingExtraError


def exporter(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of `package`: each name comes from its module there ("" is a submodule of that name).

    What was asked for once is kept in the package. Other names raise AttributeError.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        value = getattr(import_module(f".{home}", package), name) if home else import_module(f".{name}", package)
        setattr(sys.modules[package], name, value)
        return value

    return find


def required(package: str, extra: str) -> Any:
    """The module of an optional package. Raises MissingExtraError, which names the extra that brings it."""
    try:
        return import_module(package)
    except ImportError:
        raise MissingExtraError(package, extra) from None
