"""What a coder expects of levels before it has seen any: magnitudes of a rounded Gaussian or Laplace variable.

A magnitude m is told by decisions "more than j?" for j = 0, 1, ... (UNARY of them). Their probabilities follow from the ratio
step / standard deviation alone, so a family and a ratio, in one byte, stand for a whole table.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.fixedpoint import EXP2, SURVIVAL, SURVIVAL_END

UNARY: Final = 40
SETS: Final = 2
FAMILIES: Final = 2
RATIOS: Final = 31
_BITS: Final = 22

Ints = NDArray[np.int64]


def ratio(number: int) -> int:
    """Step / standard deviation number 0 .. RATIOS - 1 in Q16: from 1/8, four to an octave."""
    octaves, part = divmod(number, 4)
    return int(EXP2[64 * part]) << octaves >> 3


@lru_cache(maxsize=1)
def passing() -> Ints:
    """P(m > j | m >= j) in Q22: int64 [SETS, FAMILIES, RATIOS, UNARY], in [2^6, 2^22 - 2^6].

    Set 0 has the points 0, 1, 2, ... steps; set 1, that of a trellis, 0, 1/2, 3/2, ...
    """
    out = np.zeros((SETS, FAMILIES, RATIOS, UNARY), np.int64)
    j = np.arange(UNARY + 1)
    quarters = np.stack([4 * j - 2, np.maximum(4 * j - 4, 1)])  # of a step: where magnitude j begins
    for number in range(RATIOS):
        edges = np.minimum(np.maximum(quarters, 0) * ratio(number) >> 10, SURVIVAL_END)
        for family in range(FAMILIES):
            beyond = SURVIVAL[family][edges]
            out[:, family, number] = (beyond[:, 1:] << _BITS) // np.maximum(beyond[:, :-1], 1)
            out[:, family, number, 0] = np.minimum(beyond[:, 1] >> (39 - _BITS), 1 << _BITS)
    return np.clip(out, 1 << 6, (1 << _BITS) - (1 << 6))


@lru_cache(maxsize=1)
def _prices() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bits of yes and of no: float64 [SETS, FAMILIES * RATIOS, UNARY]. The encoder alone looks at them."""
    p = passing().reshape(SETS, -1, UNARY) / float(1 << _BITS)
    return -np.log2(p), -np.log2(1 - p)


def closest(magnitudes: Ints, sets: NDArray[np.uint8] | None = None) -> tuple[int, int]:
    """(family, number of the ratio) with the shortest code for magnitudes (int64 [n]), each of set 0 or of its own."""
    yes, no = _prices()
    total = np.zeros(FAMILIES * RATIOS)
    for which in range(SETS if sets is not None else 1):
        own = magnitudes if sets is None else magnitudes[sets == which]
        counts = np.bincount(np.minimum(own, UNARY), minlength=UNARY + 1)
        at_least = np.cumsum(counts[::-1])[::-1]
        total += yes[which] @ at_least[1:] + no[which] @ counts[:-1]
    best = int(np.argmin(total))
    return best // RATIOS, best % RATIOS
