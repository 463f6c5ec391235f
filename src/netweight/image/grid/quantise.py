"""Weights in floating point to the decoder's integers, for the start and for an image's own differences."""

from __future__ import annotations

from math import ceil, floor, log2
from typing import Final

import numpy as np
from numpy.typing import NDArray

from . import networks
from .kernels import FULL
from .networks import LEAST_FRACTION, MOST_FRACTION, Values

Floats = dict[str, NDArray[np.float32]]

_LEVELS: Final = 12.0
"""Quantisation levels to a tensor's root mean square, at least: the error is 2.4 % of it, and costs 0.1 % of the bits."""
_SAFETY: Final = 2.0
"""By what factor the sums may grow in an image's own training before 32 bits are too few."""


def _fraction(name: str, w: NDArray[np.float32]) -> int:
    """As many fractional bits as are useful and as sums allow."""
    outputs = w.transpose(1, 0, 2, 3) if networks.kind_of(name) == "up" else w
    largest = float(np.abs(outputs).reshape(len(outputs), -1).sum(1).max())
    rms = float(np.sqrt(np.square(w, dtype=np.float64).mean()))
    useful = ceil(log2(_LEVELS / max(rms, 1e-9)))
    fits = floor(log2((1 << 31) / (_SAFETY * FULL * max(largest, 1e-9))))
    return max(LEAST_FRACTION, min(useful, fits, MOST_FRACTION))


def integers(weights: Floats, fractions: dict[str, int] | None = None) -> tuple[Values, dict[str, int]]:
    """int32 tensors and their fractional bits (those given, or the best) of float tensors."""
    out, chosen = {}, {}
    for name, w in weights.items():
        fixed = networks.fixed_fraction(name) if fractions is None else fractions[name]
        chosen[name] = _fraction(name, w) if fixed is None else fixed
        out[name] = np.rint(np.ldexp(w.astype(np.float64), chosen[name])).astype(np.int32)
    return out, chosen


def floats(values: Values, fractions: dict[str, int]) -> Floats:
    """The inverse of `integers`."""
    return {name: np.ldexp(v.astype(np.float32), -fractions[name]) for name, v in values.items()}
