"""Indices of quantised weights by adaptive context mixing: no tables, no scales, everything is learnt on the way.

payload := binary arithmetic code (as of entropy/mixing.py) of, for each tensor: its stride, then its indices row by row
stride  := an adaptive flag, 0 for the default, or 1 and 16 plain bits, high first

The stride is the distance in a row of weights that belong together: by default the size of a convolution's kernel, none
(0) for matrices; a row that is an image has its width. The model is told in docs/coder-trellis.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import mixing
from ...errors import BombError, FormatError, TruncatedError
from . import index_regression
from .index_model import CLASSES, SIDES, code_tensor
from .index_work import KERNEL, STRIDE, Counters, make_state
from .scales import Shape
from .state_machine import machine
from .trellis_stream import segments
from .trellis_symbols import LARGEST

Bytes = NDArray[np.uint8]
Indices = NDArray[np.int32]

__all__ = ["CLASSES", "MOST_STRIDE", "Coded", "decode", "default_stride", "encode"]

MOST_STRIDE: Final = (1 << 16) - 1
_WIDEST: Final = 1 << 16  # longer rows are folded, so that columns' states stay small
_FOLDED: Final = 1 << 12
_MOST_EXPANSION: Final = 1 << 15  # indices a byte: each takes a decision, and the surest costs 1/2840 bit
_ROOM: Final = 3  # bytes an index: enough for nearly all, and grown if not

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


@dataclass(frozen=True)
class Coded:
    """`indices`: int32 [n]. `contexts`: uint8 [n], union x CLASSES + class of what was expected, spread x SIDES + side."""

    indices: Indices
    contexts: Bytes

    @property
    def classes(self) -> Bytes:
        """`contexts` without the union."""
        return self.contexts % np.uint8(CLASSES)

    @property
    def places(self) -> Bytes:
        """`contexts` with another side: 1 where the weight has the sign of a clear prediction, 2 where it hasn't."""
        side = self.contexts % np.uint8(SIDES)
        positive = 2 * self.indices > self.contexts // np.uint8(CLASSES)
        agrees = np.where((side == 1) == positive, np.uint8(1), np.uint8(2))
        return self.contexts - side + np.where(side == 0, side, agrees)


@_kernel
def _code_stride(w, flags, buf, default, stride):  # type: ignore[no-untyped-def]
    """Code a stride, or decode one."""
    if not mixing.code_flag(w, flags, buf, 0, 1 if stride != default else 0):
        return default
    value = 0
    for k in range(15, -1, -1):
        value = 2 * value + mixing.code_bit(w, buf, 1 << 15, (stride >> k) & 1)
    return value


def default_stride(shape: Shape) -> int:
    """What is taken for the stride of a tensor if nothing else is told."""
    return shape.kernel if 1 < shape.kernel <= MOST_STRIDE else 0


def encode(indices: Indices, shapes: list[Shape], states: int, strides: list[int] | None = None) -> tuple[bytes, Coded]:
    """(payload, what it decodes to) of int32 [n] below LARGEST in magnitude, the tensors of `shapes` end to end.

    They are of paths of the machine of so many `states`, one a segment of trellis_stream.py. `strides`: one a tensor, at
    most MOST_STRIDE. Raises ValueError for what can't be coded.
    """
    chosen = [default_stride(s) for s in shapes] if strides is None else strides
    same = indices.size == sum(s.rows * s.columns for s in shapes)
    if not same or not _fit(indices) or max(chosen, default=0) > MOST_STRIDE:
        raise ValueError("mixed indices: other shapes, or an index or stride out of range")
    room = _ROOM
    while True:
        work, counters = make_state()
        buffer = np.zeros(room * indices.size + 64, np.uint8)
        out = Coded(indices.copy(), np.zeros(indices.size, np.uint8))
        _run(work, counters, buffer, out, shapes, states, chosen)
        payload = mixing.finish(work, buffer)
        if payload is not None:
            return payload, out
        room *= 4


def decode(payload: bytes | memoryview, shapes: list[Shape], states: int) -> Coded:
    """The inverse of `encode`. Raises FormatError."""
    count = sum(s.rows * s.columns for s in shapes)
    data = np.frombuffer(payload, np.uint8).copy()
    if count > _MOST_EXPANSION * data.size:
        raise BombError(f"mixed indices: {data.size} bytes can't hold {count} indices")
    work, counters = make_state()
    mixing.start_decoding(work, data)
    out = Coded(np.zeros(count, np.int32), np.zeros(count, np.uint8))
    if not _run(work, counters, data, out, shapes, states, [0] * len(shapes)):
        raise TruncatedError("mixed indices: end early")
    if mixing.consumed(work) != data.size:
        raise FormatError(f"mixed indices: {data.size} bytes, but {mixing.consumed(work)} were used")
    return out


def _fit(indices: Indices) -> bool:
    return not indices.size or (int(indices.max()) < LARGEST and int(indices.min()) > -LARGEST)


def _run(
    work: mixing.Work, counters: Counters, buffer: Bytes, out: Coded, shapes: list[Shape], states: int,
    strides: list[int],
) -> bool:  # fmt: skip
    """Code all tensors one after another; False if a decoder ran out of bytes."""
    moves, flags = machine(states), np.zeros(1, np.uint32)
    cuts = np.array([end for _, end in segments(out.indices.size)], np.int64)
    start = 0
    for shape, stride in zip(shapes, strides, strict=True):
        part = slice(start, start + shape.rows * shape.columns)
        start = part.stop
        if part.stop == part.start:
            continue
        width = shape.columns if shape.columns <= _WIDEST else _FOLDED
        work[KERNEL] = shape.kernel
        work[STRIDE] = _code_stride(work, flags, buffer, default_stride(shape), stride)
        lower, diagonal = index_regression.fresh(shape.kernel, width)
        if not code_tensor(
            work, counters, buffer, out.indices[part], out.contexts[part], width, cuts, moves.next_state, moves.union_of,
            lower, diagonal,
        ):  # fmt: skip
            return False
    return True
