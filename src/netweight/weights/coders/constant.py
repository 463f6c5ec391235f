"""One word repeated: zeros, ones, untouched embeddings.

body := the word (little endian, `spec` word width)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ...spec import Spec, dtype


def encode_block(data: NDArray[np.uint8], spec: Spec) -> bytes | None:
    """The word, or None if `data` isn't one word repeated."""
    width = dtype(spec.dtype).word // 8
    if not data.size or data.size % width:
        return None
    head = data[:width]
    if not np.array_equal(data[-width:], head):
        return None
    words = data.view(f"<u{width}")
    return head.tobytes() if bool((words == words[0]).all()) else None


def decode_block(body: bytes | memoryview, spec: Spec) -> NDArray[np.uint8]:
    """`spec.nbytes` bytes. Raises FormatError."""
    width = dtype(spec.dtype).word // 8
    if len(body) != width or spec.nbytes % width:
        raise FormatError(f"constant block: a word of {len(body)} bytes, expected {width}")
    return np.tile(np.frombuffer(body, np.uint8), spec.nbytes // width)
