"""A picture as a small network of sines (SIREN): quantised, entropy coded, and rendered in integers.

sine.py, encoding.py, integers.py    the decoder: phases, coordinates, the network, all in 32-bit integers
payload.py, coding.py, starts.py     its bytes: parameters as multiples of a step, counted from a shipped start
network.py, kernels.py, optimiser.py, training.py, quantisation.py, aware.py    the encoder's training
encoder.py, coin.py                  pixels to payloads: ours, and COIN as it was published
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def encode(pixels: NDArray[np.uint8], **options: Any) -> bytes:
    """The payload of pixels (uint8 [H, W] or [H, W, 3]); `options` as `encoder.encode` has them."""
    from .encoder import encode as work

    return work(pixels, **options)


def decode(payload: bytes | memoryview, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """uint8 [height, width] for one channel, else [height, width, 3]. Raises FormatError and its kin, BaseMismatchError."""
    from .integers import render
    from .payload import check_work, read_siren

    shape, tensors = read_siren(payload, channels)
    check_work(shape, height, width)
    pixels = render(shape, tensors, height, width)
    return pixels[..., 0] if channels == 1 else pixels
