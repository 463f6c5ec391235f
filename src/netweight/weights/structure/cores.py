"""The arrays of numbers that a structure is made of, at a step or losslessly.

core  := (length << 1 | exact) varint | numbers (as of numbers.py) or exact
exact := payload as of methods.py, of the dtype of the block
"""

from __future__ import annotations

import numpy as np

from ...errors import FormatError
from ...spec import Spec
from ...tensors import numpy_dtype
from ...wire import Reader, Writer
from ..coders.scales import Shape
from ..lossy.values import Floats, bytes_of
from .model import Layout, Wide
from .numbers import decode, encode


class TooFineError(Exception):
    """Numbers are too many steps large to be coded at this step: the structure isn't tried."""


def write_core(out: Writer, values: Floats | Wide, shape: tuple[int, int], step: float, layout: Layout) -> None:
    """`values` as [rows, columns] of `shape` at `step`, or losslessly for a step of 0. Raises TooFineError."""
    flat: Floats | Wide = values.reshape(-1)
    if not step:
        body = _encode_exact(flat.astype(np.float32), layout)
        out.varint(len(body) << 1 | 1).raw(body)
        return
    coded = encode(flat, [Shape(*shape, 1)], step)
    if coded is None:
        raise TooFineError
    out.varint(len(coded) << 1).raw(coded)


def read_core(source: Reader, shape: tuple[int, int], layout: Layout) -> Floats:
    """float32 [shape]. Raises FormatError."""
    head = source.varint()
    body, count = source.raw(head >> 1), shape[0] * shape[1]
    flat = _decode_exact(body, count, layout) if head & 1 else decode(body, [Shape(*shape, 1)])
    return flat.reshape(shape)


def _encode_exact(values: Floats, layout: Layout) -> bytes:
    """Numbers (flat) that the dtype of the block holds, losslessly."""
    from ..methods import EFFORTS, encode_block

    return encode_block(bytes_of(values, layout.dtype), _spec(values.size, layout), EFFORTS["balanced"])


def _decode_exact(payload: bytes | memoryview, count: int, layout: Layout) -> Floats:
    """The inverse: float32 [count]. Raises FormatError."""
    from ..methods import STRUCTURE, decode_block

    if bytes(payload[:1]) == bytes([STRUCTURE]):  # no encoder nests them, and a hostile one could without end
        raise FormatError("numbers: a structure within a structure")
    data = decode_block(payload, _spec(count, layout))
    out: Floats = data.view(numpy_dtype(layout.dtype)).astype(np.float32)
    if not bool(np.isfinite(out).all()):
        raise FormatError("numbers: not finite")
    return out


def _spec(count: int, layout: Layout) -> Spec:
    return Spec(layout.dtype, ((count,),))
