"""Arrays of numbers at a step, for parameters and residuals alike: few ones cheaply, many ones by the trellis coder.

numbers := varint: 1            | body as of coders/trellis.py
         | varint: 2 zigzag(step) | width (1) | message of message.py      uniform quantiser, normal distribution

A step is told in 32nds of an octave, a width in quarters of an octave of a step. Payloads reach to the end.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ...errors import FormatError
from ...wire import Reader, Writer, from_zigzag, zigzag
from ..coders import trellis
from ..coders.scales import Shape
from ..coders.trellis_design import LAMBDA
from ..lossy.values import Floats
from .message import fits, pack_cells, unpack_cells
from .model import Wide

_PARTS: Final = 32  # of an octave
_FARTHEST: Final = 4000
_NARROWEST, _WIDEST = 48, 140  # 2^-3 and 2^20 cells
_FEWEST_FOR_TRELLIS: Final = 192
_MOST_ON_STACK: Final = 1 << 16
_STATES: Final = 64
_TRELLIS: Final = 1  # where the others have an even number


def step_number(step: float) -> int:
    """The number of the largest step on the wire that isn't above `step`."""
    return math.floor(_PARTS * math.log2(step) + 1e-9)


def step_of(number: int) -> float:
    """2^(number / 32), within 2^-125 .. 2^125, from square roots of 2 multiplied: the same on every machine."""
    out, root = 2.0 ** (number // _PARTS), 2.0
    for bit in (16, 8, 4, 2, 1):
        root = math.sqrt(root)
        out *= root if number & bit else 1.0
    return out


def width_of(number: int) -> int:
    """2^(number / 4) in 2^-17 cells, as Normals takes widths: in 2^-16 cells."""
    return max(int(2 * step_of(8 * number)), 1)


def width_number(cells: Wide) -> int:
    """The number of the width that suits these cells best."""
    variance = float(np.mean(np.square(cells))) - 1 / 12 if cells.size else 0.0
    return min(max(round(2 * math.log2(max(variance, 2.0**-6)) + 60), _NARROWEST), _WIDEST)


def encode(values: Floats | Wide, shapes: list[Shape], step: float, *, strict: bool = False) -> bytes | None:
    """Numbers (flat) with the noise of a scalar quantiser of about `step`; None if they are too many steps large.

    `strict` keeps every error within half a step.
    """
    if not math.isfinite(step) or step <= 0 or abs(step_number(step)) > _FARTHEST:
        return None
    tried = [uniform(values, step)]
    if values.size >= _FEWEST_FOR_TRELLIS:
        tried.append(_by_trellis(values, shapes, step, strict))
    return min((body for body in tried if body is not None), key=len, default=None)


def uniform(values: Floats | Wide, step: float) -> bytes | None:
    """Numbers by the uniform quantiser and a normal distribution alone; None if they are too many, or too many steps large."""
    number = step_number(step)
    scaled = values.astype(np.float64) / step_of(number)
    if values.size > _MOST_ON_STACK or not fits(scaled):
        return None
    cells = np.rint(scaled)
    width = width_number(cells)
    head = Writer().varint(int(zigzag(number)) << 1).raw(bytes([width]))
    return head.raw(pack_cells(cells.astype(np.int64), width_of(width))).bytes()


def _by_trellis(values: Floats | Wide, shapes: list[Shape], step: float, strict: bool) -> bytes | None:
    """A trellis's grid step is half a cell of the scalar quantiser's; its noise is a quarter of a grid step squared."""
    grid = step / 2 if strict else step / math.sqrt(3)
    states, strength = (1, 0.0) if strict else (_STATES, LAMBDA)
    settings = trellis.Settings((float(np.float32(grid)),), states, strength)
    made = trellis.encode(np.ascontiguousarray(values, np.float32), shapes, settings)
    return None if made is None else bytes([_TRELLIS]) + made[0]


def decode(payload: bytes | memoryview, shapes: list[Shape]) -> Floats:
    """The inverse of `encode`: float32 [n]. Raises FormatError."""
    source = Reader(payload, "numbers")
    head = source.varint(limit=4 * _FARTHEST)
    if head == _TRELLIS:
        return trellis.decode(source.raw(source.remaining), shapes)
    number, width = int(from_zigzag(head >> 1)), source.byte()
    count = sum(s.rows * s.columns for s in shapes)
    if head & 1 or not _NARROWEST <= width <= _WIDEST or count > _MOST_ON_STACK:
        raise FormatError(f"numbers: {count} of width {width}, step {head}")
    cells = unpack_cells(source.raw(source.remaining), count, width_of(width))
    return (cells * step_of(number)).astype(np.float32)
