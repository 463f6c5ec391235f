"""Scales of quantised blocks as the extreme weights that they came from.

A block of a BF16 model is scaled by its extremes, which are BF16 numbers: d = (a - m) / steps, rounded to half precision, where m
is the block's minimum (0 if the type has none) and a its largest weight or magnitude. a has 8 significant bits and d has 11, so
coding a and computing d (IEEE single-precision subtraction and division, one rounding to half) saves bits wherever d can be
got back exactly; the other blocks are exceptions.

    body := exceptions varint | their distances varints | their d (2 each) | a as BF16: blob (methods.py)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ...spec import Spec
from ...wire import Reader, Writer

if TYPE_CHECKING:
    from ..methods import Effort

Halves = NDArray[np.uint16]

STEPS: Final = {"Q8_0": 127, "Q4_1": 15, "Q5_1": 31}
_WORTH: Final = 16  # at most one block in so many may be an exception


def _single(bits: Halves) -> NDArray[np.float32]:
    """BF16 bit patterns as float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _scale(extremes: Halves, minima: Halves, steps: int) -> Halves:
    """D as half-precision patterns. Non-finite results differ between machines and are never relied on."""
    with np.errstate(all="ignore"):
        d = (_single(extremes) - minima.view(np.float16).astype(np.float32)) / np.float32(steps)
        return d.astype(np.float16).view(np.uint16)


def _extremes(scales: Halves, minima: Halves, steps: int) -> tuple[Halves, NDArray[np.bool_]]:
    """BF16 patterns that give the scales, and where none was found."""
    with np.errstate(all="ignore"):
        wanted = scales.view(np.float16).astype(np.float32)
        low = minima.view(np.float16).astype(np.float32)
        guess = ((wanted * np.float32(steps) + low).view(np.uint32) + np.uint32(0x8000)) >> np.uint32(16)
    best, found = guess.astype(np.uint16), np.zeros(scales.size, bool)
    for nudge in (0, 1, -1, 2, -2):
        candidate = (guess.astype(np.int64) + nudge).astype(np.uint16)
        finite = (candidate & 0x7F80) != 0x7F80
        right = (_scale(candidate, minima, steps) == scales) & finite & ((scales & 0x7C00) != 0x7C00) & ~found
        best[right] = candidate[right]
        found |= right
    return best, ~found


def _spec(count: int, rows: int) -> Spec:
    return Spec("BF16", ((rows, count // rows),))


def encode_scales(scales: Halves, minima: Halves, steps: int, rows: int, effort: Effort) -> bytes | None:
    """`scales` (uint16 [blocks]) given `minima` (the same; zeros if there are none); None if they aren't on the grid."""
    from ..methods import encode_block

    sample = slice(None, None, max(1, scales.size // 1024))
    if _extremes(scales[sample], minima[sample], steps)[1].mean() * _WORTH > 1:
        return None
    extremes, missing = _extremes(scales, minima, steps)
    places = np.flatnonzero(missing)
    if places.size * _WORTH > scales.size:
        return None
    out = Writer().varint(places.size).varints(np.diff(places, prepend=0).tolist()).raw(scales[missing].view(np.uint8))
    out.blob(encode_block(extremes.view(np.uint8), _spec(scales.size, rows), effort))
    return out.bytes()


def decode_scales(body: memoryview, minima: Halves, steps: int, rows: int) -> Halves:
    """The inverse. Raises FormatError."""
    from ..methods import decode_block

    source = Reader(body, "scales of quantised blocks")
    count = source.varint(limit=minima.size)
    places = np.cumsum(np.array(source.varints(count, limit=minima.size), np.int64))
    if count and int(places[-1]) >= minima.size:
        raise FormatError("scales of quantised blocks: an exception beyond the last block")
    exceptions = source.array(count, "<u2")
    extremes = decode_block(source.blob(), _spec(minima.size, rows)).view("<u2")
    source.end()
    out = _scale(extremes, minima, steps)
    out[places] = exceptions
    return out
