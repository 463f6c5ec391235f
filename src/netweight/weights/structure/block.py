"""A block as structure + residual, and back.

body := number of a fraction of a turn, under 128 (1): a 2 x 2 rotation by it
      | 128 + kind (1) | parameters to the end                                  structure alone
      | 128 + 32 + kind (1) | parameters (blob) | numbers to the end            plus a residual
      | 128 + 64 + kind (1) | parameters (blob) | as of coders/delta.py         the words, given the structure's
      | 128 + 30 (1) | numbers to the end                                       no structure
      | 128 + 31 (1) | as of tied.py                                            several tensors
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ...errors import FormatError
from ...spec import Spec
from ...wire import Reader, Writer
from ..coders import delta
from ..lossy.values import Bytes, Floats, bytes_of, is_float
from . import fractions_of_a_turn, one_of, tied
from .kinds import name_of, restore
from .model import Layout, Matrix, Tolerance

PLAIN, TIED = 30, 31
_SMALLEST, _LARGEST = 1e-24, 1e24  # mean squares beyond which detectors' float32 might not do
PLAIN_NAME: Final = "plain"
_STRUCTURE, _LEFT, _KIND = 128, 32, 31
TIED_HEAD: Final = _STRUCTURE + TIED


@dataclass(frozen=True)
class Priced:
    """A block as bytes: what was found (a code's name, and words), the body, and what it decodes to."""

    name: str
    text: str
    body: bytes
    decoded: Floats


def layout_of(spec: Spec) -> Layout | None:
    """Of a block that is one tensor of floats; None for others."""
    if len(spec.shapes) != 1 or not is_float(spec.dtype) or not spec.count:
        return None
    return Layout(spec.shapes[0], spec.dtype)


def encode(values: Floats, layout: Layout, tolerance: Tolerance) -> Priced | None:
    """The cheapest structure of finite weights (float32 [n]) within the tolerance; None if none is found."""
    matrix = Matrix(values.reshape(layout.rows, layout.columns), layout)
    if not _SMALLEST < matrix.energy < _LARGEST:
        return None
    turned = _fraction(matrix, tolerance)
    if turned is not None:
        return turned
    coded = one_of.cheapest(matrix, tolerance)
    if coded is None:
        return None
    out = Writer().raw(bytes([_STRUCTURE + _LEFT * coded.left + coded.kind]))
    if coded.left == one_of.NONE_LEFT:
        out.raw(coded.parameters)
    else:
        out.blob(coded.parameters).raw(coded.residual)
    return Priced(name_of(coded.kind), coded.text, out.bytes(), coded.decoded)


def encode_plain(values: Floats, layout: Layout, tolerance: Tolerance) -> Priced | None:
    """Without any structure; None for lossless coding, which others do, and for what can't be had within the tolerance."""
    if tolerance.lossless:
        return None
    made = one_of.plain(Matrix(values.reshape(layout.rows, layout.columns), layout), tolerance)
    return None if made is None else Priced(PLAIN_NAME, "", bytes([_STRUCTURE + PLAIN]) + made[0], made[1])


def _fraction(matrix: Matrix, tolerance: Tolerance) -> Priced | None:
    number = fractions_of_a_turn.nearest(matrix)
    if number is None:
        return None
    sketch = fractions_of_a_turn.rotation(number).reshape(-1)
    if tolerance.lossless:
        name = matrix.layout.dtype
        good = np.array_equal(bytes_of(sketch, name), bytes_of(matrix.values.reshape(-1), name))
    else:
        good = one_of.within(matrix.values, sketch, matrix.layout, tolerance)
    return Priced("rotation", fractions_of_a_turn.words(number), bytes([number]), sketch) if good else None


def decode(body: bytes | memoryview, spec: Spec) -> Bytes:
    """The inverse: the `spec.nbytes` bytes of the weights. Raises FormatError."""
    source = Reader(body, "structure block")
    head = source.byte()
    if head == TIED_HEAD:
        return tied.decode(source, spec)
    layout = layout_of(spec)
    if layout is None:
        raise FormatError(f"structure block: {spec.shapes} of {spec.dtype} is no tensor of floats")
    if head < _STRUCTURE:
        if layout.shape != (2, 2):
            raise FormatError(f"structure block: a rotation of the plane for {layout.shape}")
        source.end()
        return bytes_of(fractions_of_a_turn.rotation(head).reshape(-1), layout.dtype)
    return _decode_one(source, head - _STRUCTURE, layout, spec)


def _decode_one(source: Reader, head: int, layout: Layout, spec: Spec) -> Bytes:
    left, kind = head // _LEFT, head & _KIND
    zeros = np.zeros(layout.count if kind == PLAIN else 0, np.float32)
    if kind == PLAIN:
        return bytes_of(one_of.add(zeros, source.raw(source.remaining), layout), layout.dtype)
    own = source.raw(source.remaining) if left == one_of.NONE_LEFT else source.blob()
    parameters = Reader(own, "structure block")
    sketch = restore(kind, parameters, layout).reshape(-1)
    parameters.end()
    rest = source.raw(source.remaining)
    if left == one_of.DELTA:
        return delta.decode_block(rest, spec, _reference(sketch, layout))
    if left == one_of.NUMBERS:
        sketch = one_of.add(sketch, rest, layout)
    elif left != one_of.NONE_LEFT:
        raise FormatError(f"structure block: unknown kind {head}")
    return _reference(sketch, layout)


def _reference(sketch: Floats, layout: Layout) -> Bytes:
    """Raises FormatError."""
    if not bool(np.isfinite(sketch).all()):
        raise FormatError("structure block: weights that are not finite")
    return bytes_of(sketch, layout.dtype)
