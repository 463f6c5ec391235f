"""A block of interchangeable units (symmetry/unit_block.py). Made by symmetry/compress.py, which knows the units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...spec import Spec
from ..symmetry import unit_block


def encode_block(data: NDArray[np.uint8], spec: Spec) -> bytes | None:  # noqa: ARG001  the same for all methods
    """None: bytes alone don't tell which units may change places."""
    return None


def decode_block(body: bytes | memoryview, spec: Spec) -> NDArray[np.uint8]:
    """`spec.nbytes` bytes. Raises FormatError."""
    return unit_block.decode(body, spec)
