"""Weights that are whole multiples of a step, sparse or not, their multiples coded by adaptive context mixing.

body := steps (float32, one a tensor) | blob of the multiples (as of mixed_indices.py, one state)

Where rows are images or flattened feature maps, weights some way apart belong together. That stride isn't known: a few
that the non-zero weights speak for are tried, and the one that saves most bytes is sent.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ...spec import Spec
from ...wire import Reader, Writer
from ..lossy.values import bytes_of, is_float
from . import mixed_indices
from .multiples import on_grid, read_steps, write_steps
from .scales import Shape, shapes_of

_LEAST: Final = 8  # weights
_TRIED: Final = 1 << 20  # weights of a block up to which strides are tried
_WORTH: Final = 1 << 9  # weights of a tensor whose stride is tried
_CANDIDATES: Final = 2
_FARTHEST: Final = 1 << 11


def encode_block(data: NDArray[np.uint8], spec: Spec) -> bytes | None:
    """`data` (1-D uint8, `spec.nbytes` long) coded; None if it isn't on a grid or wouldn't be smaller."""
    made = on_grid(data, spec) if spec.count >= _LEAST else None
    if made is None:
        return None
    steps, multiples = made
    payload = _shortest([m.astype(np.int32) for m in multiples], shapes_of(spec))
    body = write_steps(Writer(), steps).blob(payload).bytes()
    same = len(body) < data.size and np.array_equal(decode_block(body, spec), data)  # signed zeros aren't on the grid
    return body if same else None


def decode_block(body: bytes | memoryview, spec: Spec) -> NDArray[np.uint8]:
    """The inverse: `spec.nbytes` bytes. Raises FormatError."""
    if not is_float(spec.dtype):
        raise FormatError(f"grid: {spec.dtype} is no float")
    shapes, source = shapes_of(spec), Reader(body, "grid")
    steps = read_steps(source, len(shapes))
    indices = mixed_indices.decode(source.blob(), shapes, 1).indices
    source.end()
    counts = [s.rows * s.columns for s in shapes]
    return bytes_of(indices.astype(np.float32) * np.repeat(steps, counts), spec.dtype)


def _shortest(multiples: list[mixed_indices.Indices], shapes: list[Shape]) -> bytes:
    """The payload with the best of the strides that are tried, tensor by tensor."""
    together = np.concatenate(multiples) if multiples else np.zeros(0, np.int32)
    strides = [mixed_indices.default_stride(s) for s in shapes]
    best = mixed_indices.encode(together, shapes, 1, strides)[0]
    if together.size > _TRIED:
        return best
    for k, (part, shape) in enumerate(zip(multiples, shapes, strict=True)):
        for stride in _candidates(part.reshape(shape.rows, shape.columns), shape):
            tried = [*strides[:k], stride, *strides[k + 1 :]]
            payload = mixed_indices.encode(together, shapes, 1, tried)[0]
            if len(payload) < len(best):
                best, strides = payload, tried
    return best


def _candidates(multiples: mixed_indices.Indices, shape: Shape) -> list[int]:
    """Strides at which more pairs of weights are both non-zero than the columns' shares of them explain: the clearest."""
    if multiples.size < _WORTH:
        return []
    whole = shape.kernel if shape.kernel > 1 else shape.columns
    filled = multiples != 0
    shares = filled.mean(axis=0)
    excess = {}
    for stride in range(2, min(whole // 2, _FARTHEST) + 1):
        if whole % stride == 0:
            expected = float(shares[:-stride] @ shares[stride:]) * shape.rows
            pairs = np.count_nonzero(filled[:, :-stride] & filled[:, stride:])
            excess[stride] = (pairs - expected) / np.sqrt(expected + 1)
    return sorted((s for s in excess if excess[s] > 0), key=lambda s: -excess[s])[:_CANDIDATES]
