"""One colour all over, the shortest of images.

payload := one byte a channel
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError


def is_flat(pixels: NDArray[np.uint8]) -> bool:
    """Whether all pixels (uint8 [h, w] or [h, w, 3]) are the same."""
    return bool((pixels == pixels[:1, :1]).all())


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """The payload of a flat image."""
    return bytes(pixels[0, 0].tobytes())


def decode(payload: memoryview, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """uint8 [h, w] or [h, w, 3]. Raises FormatError."""
    if len(payload) != channels:
        raise FormatError(f"flat image: {len(payload)} bytes for {channels} channels")
    colour = np.frombuffer(payload, np.uint8)
    shape = (height, width) if channels == 1 else (height, width, 3)
    return np.ascontiguousarray(np.broadcast_to(colour, shape))
