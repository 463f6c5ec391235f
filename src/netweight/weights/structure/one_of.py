"""The cheapest code of a block by real bytes: each structure that is found, its parameters and residual paid for.

A structure whose own error is within the tolerance needs no residual: the coarsest step of its parameters that still
keeps it is sought. Otherwise the residual is coded at the tolerance, and the parameters only as precisely as the
residual is worth: rounding them adds noise to a residual of variance s^2, and n weights share p parameters, so that a
step with q^2 = s^2 p / n costs least (half a logarithm of the weights a parameter: Rissanen 1978).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from ...errors import FormatError
from ...spec import Spec
from ...wire import Reader
from ..coders import delta
from ..lossy.values import Floats, bytes_of, rounded
from . import numbers
from .cores import TooFineError
from .kinds import KINDS, restore
from .model import Found, Layout, Matrix, Tolerance, Wide, floor_of, mean_square

NONE_LEFT, NUMBERS, DELTA = range(3)
"""What follows the parameters: nothing, numbers to add, or the words' differences to the structure's."""

_TRIES: Final = 5
_CLOSE: Final = 0.97
_STEPS: Final = 32  # 32nds of an octave: an octave
_DEEPEST: Final = 9  # octaves below theory at which a step without residual is given up
_WORTH_BOTH: Final = 0.25  # of the tolerance: an error from which on a residual may be cheaper than fine parameters
_SURELY: Final = 1 - 1e-9
_NEARLY_ALL: Final = 99.99  # percent


@dataclass(frozen=True)
class Coded:
    """One way to say a block: its kind, what the parameters and the residual take, what comes out."""

    kind: int
    text: str
    parameters: bytes
    left: int
    residual: bytes
    decoded: Floats

    @property
    def length(self) -> int:
        """Bytes beside the byte that names the kind."""
        return len(self.parameters) + len(self.residual)


def all_found(matrix: Matrix, tolerance: Tolerance) -> list[tuple[int, Found]]:
    """(kind, what was found) of every detector that sees something that may pay."""
    out = []
    for kind, module in KINDS.items():
        found = module.detect(matrix, tolerance)
        if found is not None:
            out.append((kind, found))
    return out


def cheapest(matrix: Matrix, tolerance: Tolerance) -> Coded | None:
    """The shortest of the structures; None if none is found, or none can be had within the tolerance."""
    made = [c for kind, found in all_found(matrix, tolerance) for c in ways(matrix, tolerance, kind, found)]
    return min(made, key=lambda c: c.length, default=None)


def _words(found: Found, matrix: Matrix, left: int) -> str:
    """What was found, and how much of the weights it is, where a residual follows."""
    share = min(100 * (1 - found.noise / matrix.energy), _NEARLY_ALL)
    return found.text if left == NONE_LEFT else f"{found.text}; that is {share:.4g} % of the energy"


def ways(matrix: Matrix, tolerance: Tolerance, kind: int, found: Found) -> Iterator[Coded]:
    """What `found` costs, with and without a residual where either makes sense."""
    floor = floor_of(matrix, tolerance)
    tries: list[Callable[[Matrix, Tolerance, int, Found], Coded | None]] = []
    if found.exact and (tolerance.lossless or found.noise == 0):
        tries.append(_exactly)
    if not tolerance.lossless and found.noise < floor:
        tries.append(_alone)
    if found.noise > _WORTH_BOTH * floor or (tolerance.lossless and not found.exact):
        tries.append(_with_residual)
    for attempt in tries:
        try:
            coded = attempt(matrix, tolerance, kind, found)
        except TooFineError:
            continue
        if coded is not None:
            yield coded


def _sketch(parameters: bytes, kind: int, layout: Layout) -> Floats:
    """What the receiver makes of the parameters: float32 [n]."""
    source = Reader(parameters, "structure")
    out = restore(kind, source, layout)
    source.end()
    return out.reshape(-1)


def _exactly(matrix: Matrix, _: Tolerance, kind: int, found: Found) -> Coded | None:
    """Lossless parameters and nothing else."""
    parameters = found.code(0.0)
    sketch = _sketch(parameters, kind, matrix.layout)
    same = np.array_equal(
        bytes_of(sketch, matrix.layout.dtype), bytes_of(matrix.values.reshape(-1), matrix.layout.dtype)
    )
    return Coded(kind, found.text, parameters, NONE_LEFT, b"", sketch) if same else None


def within(values: Floats, decoded: Floats, layout: Layout, tolerance: Tolerance) -> bool:
    """Whether what was decoded, rounded to the dtype, keeps the tolerance."""
    error = values.reshape(-1).astype(np.float64) - rounded(decoded.reshape(-1), layout.dtype)
    return kept(error, tolerance)


def kept(error: Wide, tolerance: Tolerance) -> bool:
    """Whether errors are within the tolerance: all of them where it limits the largest, else their mean square."""
    if tolerance.worst < math.inf:
        return float(np.abs(error).max(initial=0.0)) <= tolerance.worst
    return mean_square(error) <= tolerance.noise * _SURELY


def _alone(matrix: Matrix, tolerance: Tolerance, kind: int, found: Found) -> Coded | None:
    """Parameters at the coarsest step that keeps the tolerance by itself."""
    high = numbers.step_number(math.sqrt(12 * (tolerance.noise - found.noise))) + _STEPS
    best = None
    for low in range(high - 2 * _STEPS, high - _DEEPEST * _STEPS, -_STEPS):
        best = _at(matrix, tolerance, kind, found, low)
        if best is not None:
            break
        high = low
    while best is not None and high - low > 1:
        middle = (low + high) // 2
        coded = _at(matrix, tolerance, kind, found, middle)
        if coded is None:
            high = middle
        else:
            best, low = coded, middle
    return best


def _at(matrix: Matrix, tolerance: Tolerance, kind: int, found: Found, number: int) -> Coded | None:
    """Parameters at the step of a number; None if they don't keep the tolerance by themselves."""
    parameters = found.code(numbers.step_of(number))
    sketch = _sketch(parameters, kind, matrix.layout)
    good = within(matrix.values, sketch, matrix.layout, tolerance)
    return Coded(kind, found.text, parameters, NONE_LEFT, b"", sketch) if good else None


def _with_residual(matrix: Matrix, tolerance: Tolerance, kind: int, found: Found) -> Coded | None:
    """Parameters as precise as the residual is worth, and the residual."""
    share = found.numbers / max(matrix.layout.count, 1)
    step = math.sqrt(12 * max(found.noise * min(share, 1.0), floor_of(matrix, tolerance) * 0.5))
    parameters = found.code(step)
    sketch = _sketch(parameters, kind, matrix.layout)
    if tolerance.lossless:
        body = _differences(matrix, sketch)
        decoded = matrix.values.reshape(-1)
        return None if body is None else Coded(kind, _words(found, matrix, DELTA), parameters, DELTA, body, decoded)
    made = residual(matrix.values.reshape(-1), sketch, matrix.layout, tolerance)
    return None if made is None else Coded(kind, _words(found, matrix, NUMBERS), parameters, NUMBERS, *made)


def _differences(matrix: Matrix, sketch: Floats) -> bytes | None:
    name = matrix.layout.dtype
    data, reference = bytes_of(matrix.values.reshape(-1), name), bytes_of(sketch, name)
    return delta.encode_block(data, Spec(name, (matrix.layout.shape,)), reference)


def residual(values: Floats, sketch: Floats, layout: Layout, tolerance: Tolerance) -> tuple[bytes, Floats] | None:
    """(numbers, sketch + what they decode to) within the tolerance, as nearly as a few secant steps get; flat arrays."""
    rest = (values.astype(np.float64) - sketch).astype(np.float32)
    strict = tolerance.worst < math.inf
    step = 2 * tolerance.worst * (1 - 2**-12) if strict else math.sqrt(12 * tolerance.noise)
    best = None
    for _ in range(_TRIES):
        body = numbers.encode(rest, layout.shapes, step, strict=strict)
        if body is None:
            return best
        decoded = sketch + numbers.decode(body, layout.shapes)
        error = values.astype(np.float64) - rounded(decoded, layout.dtype)
        noise = mean_square(error)
        good = kept(error, tolerance)
        if good and (best is None or len(body) < len(best[0])):
            best = (body, decoded)
        if good and (strict or noise > _CLOSE * tolerance.noise):
            break
        step *= 0.9 if strict else min(max((0.99 * tolerance.noise / max(noise, 1e-300)) ** 0.55, 0.25), 4.0)
    return best


def plain(matrix: Matrix, tolerance: Tolerance) -> tuple[bytes, Floats] | None:
    """(numbers, what they decode to) without any structure."""
    return residual(matrix.values.reshape(-1), np.zeros(matrix.values.size, np.float32), matrix.layout, tolerance)


def add(sketch: Floats, body: memoryview, layout: Layout) -> Floats:
    """Sketch + residual: float32 [n]. Raises FormatError."""
    with np.errstate(over="ignore", invalid="ignore"):
        out: Floats = sketch + numbers.decode(body, layout.shapes)
    if not bool(np.isfinite(out).all()):
        raise FormatError("structure: weights that are not finite")
    return out
