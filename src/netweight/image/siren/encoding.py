"""What the network is told of a pixel's place, in integers: its coordinates and their positional encoding.

gamma(x) = (x, sin(s^0 pi x), ..., sin(s^(L-1) pi x), cos(s^0 pi x), ..., cos(s^(L-1) pi x)) with s = 1.4 (Struempler et
al. 2022, arXiv 2112.04267, section 3.2). Coordinates are centred and have the longer side run from -1 to 1, so pixels
are square. A column's part and a row's part are apart: the first layer is a sum over both.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .sine import ONE_BITS, TURN_BITS, sines

Ints = NDArray[np.int32]

MOST_FREQUENCIES: Final = 16
_BASE: Final = (7, 5)
"""s as a fraction."""
_SCALE_BITS: Final = 20
_QUARTER: Final = 1 << (TURN_BITS - 2)


def width_of(frequencies: int) -> int:
    """Inputs that one coordinate becomes."""
    return 1 + 2 * frequencies


def _scales(frequencies: int) -> NDArray[np.int64]:
    """s^i in Q20 (int64 [frequencies]), rounded down."""
    over, under = _BASE
    return np.array([(over**i << _SCALE_BITS) // under**i for i in range(frequencies)], np.int64)


def encode_axis(size: int, longest: int, frequencies: int) -> Ints:
    """Gamma in Q14 of `size` pixels, the longer side of the picture having `longest` (int32 [1 + 2 frequencies, size]).

    The coordinate of pixel k is (2k + 1 - size) / longest.
    """
    doubled = 2 * np.arange(size, dtype=np.int64) + 1 - size
    coordinate = (doubled << ONE_BITS) // longest
    # s^i pi x is s^i x / 2 turns
    turns = _scales(frequencies)[:, None] * doubled[None, :]
    phases = ((turns << (TURN_BITS - _SCALE_BITS - 1)) // longest).astype(np.uint32)
    both = np.concatenate([phases, phases + np.uint32(_QUARTER)])
    return np.concatenate([coordinate[None].astype(np.int32), sines(both)])
