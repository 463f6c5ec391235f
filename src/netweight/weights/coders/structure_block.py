"""A block by its structure (weights/structure/), losslessly.

body := as of structure/block.py
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...spec import Spec
from ..lossy.values import Floats, floats_of
from ..structure import block
from ..structure.families import encode_family
from ..structure.model import Tolerance

_LEAST = 4  # weights


def encode_block(data: NDArray[np.uint8], spec: Spec) -> bytes | None:
    """`data` (1-D uint8, `spec.nbytes` long) coded; None if no structure is found in it, or it wouldn't be smaller."""
    values = floats_of(data, spec) if spec.count >= _LEAST else None
    body = None if values is None else _body(data, values, spec)
    if body is None or len(body) >= data.size or not np.array_equal(block.decode(body, spec), data):
        return None
    return body


def _body(data: NDArray[np.uint8], values: Floats, spec: Spec) -> bytes | None:
    layout, lossless = block.layout_of(spec), Tolerance(0.0)
    if layout is None:
        return encode_family(data, values, spec, lossless)
    priced = block.encode(values, layout, lossless)
    return None if priced is None else priced.body


def decode_block(body: bytes | memoryview, spec: Spec) -> NDArray[np.uint8]:
    """`spec.nbytes` bytes. Raises FormatError."""
    return block.decode(body, spec)
