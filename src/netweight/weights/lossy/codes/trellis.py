"""netweight's own lossy code on the ladder: the trellis coder at one step for all that is given.

body := for each block: length varint, body as of coders/trellis.py      (blocks of at most 2^20 weights, whole rows)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from ....errors import FormatError
from ....wire import Reader, Writer
from ...coders import trellis
from ...coders.scales import Shape
from ...coders.state_machine import STATES
from ..code import LossyCode
from ..rate import NOISE_OF_STEP
from ..values import Floats
from ..values import rel_mse as error_of

_BLOCK: Final = 1 << 20
_TRIES: Final = 5
_CLOSE: Final = 0.99


class Trellis(LossyCode):
    """Entropy-coded trellis-coded quantisation with `states` states (1: a scalar quantiser)."""

    id = "netweight.lossy.trellis"

    def __init__(self, rel_mse: float = 0.01, states: int = trellis.DEFAULT_STATES) -> None:
        """Raises ValueError for a number of states that there is no trellis of."""
        super().__init__(rel_mse)
        if states not in STATES:
            raise ValueError(f"states is {states}; it must be one of {', '.join(map(str, STATES))}")
        self.states = states

    def config(self) -> dict[str, Any]:
        return super().config() | {"states": self.states}

    def quantise(self, values: Floats, shapes: list[Shape], rel_mse: float) -> tuple[bytes, Floats] | None:
        """At the step whose measured error is just below `rel_mse`, by a few secant steps."""
        rms = math.sqrt(float(np.mean(np.square(values.astype(np.float64)))))
        step, best, kept = rms * math.sqrt(min(rel_mse, 0.5) / NOISE_OF_STEP), None, 0.0
        for _ in range(_TRIES):
            made = self._at(values, shapes, step)
            if made is None:
                return None
            error = error_of(values, made[1])
            if error <= rel_mse and error >= kept:
                best, kept = made, error
            if _CLOSE * rel_mse <= error <= rel_mse:
                break
            step *= (0.995 * rel_mse / error) ** 0.55 if error else 2.0
        return best

    def _at(self, values: Floats, shapes: list[Shape], step: float) -> tuple[bytes, Floats] | None:
        out, restored, at = Writer(), np.empty_like(values), 0
        for block in _blocks(shapes):
            end = at + sum(s.rows * s.columns for s in block)
            made = trellis.encode(values[at:end], block, trellis.Settings((step,), self.states))
            if made is None:
                return None
            out.blob(made[0])
            restored[at:end] = made[1]
            at = end
        return out.bytes(), restored

    def restore(self, body: memoryview, shapes: list[Shape]) -> Floats:
        """float32 [n]. Raises FormatError."""
        source = Reader(body, self.id)
        parts = [trellis.decode(source.blob(), block) for block in _blocks(shapes)]
        source.end()
        if not parts:
            raise FormatError(f"{self.id}: weights of no tensor")
        return np.concatenate(parts)


def _blocks(shapes: list[Shape]) -> Iterator[list[Shape]]:
    """Tensors of at most `_BLOCK` weights together; larger ones by rows."""
    together: list[Shape] = []
    filled = 0
    for s in shapes:
        size = s.rows * s.columns
        if together and filled + size > _BLOCK:
            yield together
            together, filled = [], 0
        if size <= _BLOCK:
            together.append(s)
            filled += size
            continue
        most = max(1, _BLOCK // s.columns)
        yield from ([Shape(min(most, s.rows - r), s.inner, s.kernel)] for r in range(0, s.rows, most))
    if together:
        yield together
