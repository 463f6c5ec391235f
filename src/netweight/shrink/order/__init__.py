"""In which order steps are taken: as given, by the law, or as measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ...errors import InputError
from ..pipeline import Job
from ..protocol import Step

ORDERS: Final = ("given", "law", "measure")
LAW: Final = "DCPLMQE"
"""Distil, prune, quantise, exit (arXiv 2403.17447), with what removes or factors weights where it prunes."""


def ordered(order: str, steps: Sequence[Step], job: Job, seeds: int) -> tuple[list[Step], list[Any]]:
    """(the steps in order, the pairs that were measured for it)."""
    if order == "given":
        return list(steps), []
    if order == "law":
        return by_law(steps), []
    from .measure import measured

    return measured(by_law(steps), job, seeds)


def by_law(steps: Sequence[Step], law: str = LAW) -> list[Step]:
    """Steps sorted by their letters' places in `law`; unknown ones last. Raises InputError for a law that repeats letters."""
    if len(set(law)) != len(law):
        raise InputError(f"a law names each letter once: {law!r} doesn't")
    return sorted(steps, key=lambda s: law.find(s.letter) if s.letter in law else len(law))
