"""Evaluations remembered in a file, so that a search that was interrupted goes on where it was.

file := JSON {"netweight search": 1, "key": hex, "reference": score, "evaluations": [{t, bytes, score, digest}, ...]}

The key is a hash of all that an evaluation depends on. A file with another key, or one that can't be understood, is as
good as none.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ..archive import outputs
from .search import Evaluate, Evaluation

_VERSION: Final = 1
_MOST_BYTES: Final = 1 << 20


def key_of(parts: dict[str, Any]) -> str:
    """Hex SHA-256 of JSON-able parts, whatever their order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Journal:
    """`reference` and `evaluations` of a search; `remember` adds to them and to the file at `path` (None: no file)."""

    def __init__(self, path: Path | None, key: str) -> None:
        self.path, self.key = path, key
        self.reference: float | None = None
        self.evaluations: list[Evaluation] = []
        self._load()

    def _load(self) -> None:
        if self.path is None or not self.path.is_file() or self.path.stat().st_size > _MOST_BYTES:
            return
        try:
            stored = json.loads(self.path.read_text())
            if (stored["netweight search"], stored["key"]) != (_VERSION, self.key):
                return
            evaluations = [
                Evaluation(float(e["t"]), int(e["bytes"]), float(e["score"]), str(e["digest"]))
                for e in stored["evaluations"]
            ]
            reference = float(stored["reference"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return
        if all(map(math.isfinite, [reference, *(x for e in evaluations for x in (e.t, e.score))])):
            self.reference, self.evaluations = reference, evaluations

    def start(self, reference: float) -> None:
        """Note the score of the original. Another one than was noted before means another task: forget the rest."""
        if self.reference != reference:
            self.reference, self.evaluations = reference, []

    def remember(self, evaluate: Evaluate) -> Evaluate:
        """`evaluate`, called only for what isn't known yet; each result is in the file before it is returned."""

        def known(t: float) -> Evaluation:
            for evaluation in self.evaluations:
                if evaluation.t == t:
                    return evaluation
            found = evaluate(t)
            self.evaluations.append(found)
            self._save()
            return found

        return known

    def _save(self) -> None:
        if self.path is None:
            return
        stored = {
            "netweight search": _VERSION,
            "key": self.key,
            "reference": self.reference,
            "evaluations": [asdict(e) for e in self.evaluations],
        }
        with outputs.new_file(self.path, force=True) as descriptor:
            outputs.write_all(descriptor, json.dumps(stored, indent=1).encode(), 0)

    def remove(self) -> None:
        """The search is over: no file is left."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
