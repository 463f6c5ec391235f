"""The grid codec: pyramids of integer latents, a small synthesis and small context networks, trained to one image.

In the family of COOL-CHIC (Ladune et al., ICCV 2023) and C3 (Kim et al., CVPR 2024), with three differences. Networks start
from shipped ones, and a file holds what differs. Latents start from a shipped analysis and sit in a wavelet-like
pyramid at half the image's size and below. Everything that a decoder computes is in integers.

    from netweight.image import encode, decode
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError


def decode(payload: bytes | memoryview, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Pixels, uint8 [height, width] for one channel, else [height, width, 3].

    Raises FormatError and its kin, and BaseMismatchError if the image was coded from another start.
    """
    from . import start, stream, tile

    known = start.load()
    places = stream.tiles(height, width)
    tiles = stream.read(memoryview(payload), known, len(places))
    out = np.empty((height, width, 3), np.uint8)
    for place, coded in zip(places, tiles, strict=True):
        networks, latents = stream.read_tile(coded, known)
        rows, columns = (s.stop - s.start for s in place)
        out[place] = tile.decode(networks, latents, rows, columns)
    return grey(out) if channels == 1 else out


def encode(pixels: NDArray[np.uint8], **options: Any) -> bytes:
    """See `encoder.encode`. Raises MissingExtraError without torch."""
    try:
        from . import encoder
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        raise MissingExtraError("torch", "image") from None
    return encoder.encode(pixels, **options)


def grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean of three channels, rounded: how one channel is decoded."""
    total: NDArray[np.uint16] = pixels.astype(np.uint16).sum(2, dtype=np.uint16)
    return ((total + 1) // 3).astype(np.uint8)
