"""A trellis-coded block as the bytes of its weights, in their dtype.

body := as of trellis.py
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ...spec import Spec
from ..lossy.values import bytes_of, is_float
from . import trellis
from .scales import shapes_of


def decode_block(body: bytes | memoryview, spec: Spec) -> NDArray[np.uint8]:
    """`spec.nbytes` bytes. Raises FormatError."""
    if not is_float(spec.dtype):
        raise FormatError(f"trellis block: {spec.dtype} is no float")
    return bytes_of(trellis.decode(body, shapes_of(spec)), spec.dtype)
