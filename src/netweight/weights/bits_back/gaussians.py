"""Bits-back for independent Gaussian weights: a sample of the posterior costs its KL divergence from the prior.

Pop w from the message under the posterior, push it under the prior (Hinton and van Camp 1993; Townsend et al. 2019). Weights
go one by one, so that only a few bits are lent at any time. Weights lie on a grid of cells, 2^14 to a standard
deviation of the prior: so fine that what it costs is returned with the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.normal import CELLS, POINT, Normals
from ...entropy.stack import Stack
from ...errors import FormatError, InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CELLS_PER_SIGMA: Final = 1 << 14
_LEAST_CELLS: Final = 8
_LENT_AT_ONCE: Final = 64  # weights


@dataclass(frozen=True)
class Posterior:
    """`means` and `widths` (float64 [n]) of independent Gaussians, and their prior N(0, sigma^2).

    Raises InputError for numbers that aren't finite, widths that aren't positive, and what lies over 60 sigma away.
    """

    means: Floats
    widths: Floats
    sigma: float

    def __post_init__(self) -> None:
        numbers = np.concatenate([self.means, self.widths, [self.sigma]])
        if self.means.shape != self.widths.shape or not bool(np.isfinite(numbers).all()):
            raise InputError("posterior: means and widths must be finite numbers, one each a weight")
        if self.sigma <= 0 or bool((self.widths <= 0).any()):
            raise InputError("posterior: a width that isn't positive")
        if bool((np.abs(self.means) + 8 * self.widths > 60 * self.sigma).any()):
            raise InputError("posterior: a weight lies over 60 standard deviations of the prior away")

    @property
    def cell(self) -> float:
        """What one cell is worth."""
        return self.sigma / CELLS_PER_SIGMA

    def code(self) -> Normals:
        """The posterior on the grid, at least `_LEAST_CELLS` wide."""
        unit = self.cell / (1 << POINT)
        widths = np.maximum(np.rint(self.widths / unit), _LEAST_CELLS << POINT)
        return Normals(self.means.size, np.rint(self.means / unit).astype(np.int64), widths.astype(np.int64))

    def divergences(self) -> Floats:
        """KL(posterior || prior) of each weight, in bits: a bound."""
        s, m = self.widths / self.sigma, self.means / self.sigma
        out: Floats = (np.log(1 / s) + (s * s + m * m - 1) / 2) / math.log(2)
        return out


def prior_code(count: int) -> Normals:
    """The prior on the grid; it can code whatever a posterior may draw."""
    return Normals(count, 0, CELLS_PER_SIGMA << POINT, floor=True)


@dataclass(frozen=True)
class Drawn:
    """What bits-back did: the sample (cells, int64 [n]), bits pushed under the prior and popped (refunded) under the
    posterior, and the most that were lent at any time (initial bits), all as the message grew and shrank.
    """

    cells: Ints
    prior_bits: float
    refund_bits: float
    initial_bits: float

    @property
    def net_bits(self) -> float:
        """What the message grew by."""
        return self.prior_bits - self.refund_bits


def _parts(posterior: Posterior) -> list[tuple[Normals, Normals]]:
    """(posterior, prior) codes of runs of weights, the first run first."""
    code, out = posterior.code(), []
    for at in range(0, posterior.means.size, _LENT_AT_ONCE):
        own = slice(at, at + _LENT_AT_ONCE)
        means, widths = code.means[own], code.widths[own]
        out.append((Normals(means.size, means, widths), prior_code(means.size)))
    return out


def push_sample(stack: Stack, posterior: Posterior) -> Drawn:
    """Draw weights from the message and push them. Raises TruncatedError if the message has too few bits to lend."""
    found, prior_bits, refund, start = [], 0.0, 0.0, stack.bits
    lowest = start
    for code, prior in reversed(_parts(posterior)):
        before = stack.bits
        cells = code.pop(stack)
        lent = stack.bits
        prior.push(stack, cells)
        refund, prior_bits, lowest = refund + before - lent, prior_bits + stack.bits - lent, min(lowest, lent)
        found.append(cells)
    cells = np.concatenate(found[::-1]) if found else np.zeros(0, np.int64)
    return Drawn(cells, prior_bits, refund, start - lowest)


def pop_sample(stack: Stack, posterior: Posterior) -> Ints:
    """The inverse for a receiver who knows the posterior: the cells, and the message as it was. Raises FormatError."""
    found = []
    for code, prior in _parts(posterior):
        cells = prior.pop(stack)
        try:
            code.push(stack, cells)
        except ValueError as error:
            raise FormatError(f"bits-back: no sample of this posterior: {error}") from None
        found.append(cells)
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def weights_of(cells: Ints, sigma: float) -> Floats:
    """Cells as weights: one exact product each."""
    return cells.astype(np.float64) * (sigma / CELLS_PER_SIGMA)


def largest_cell() -> int:
    """No weight has more cells than this."""
    return CELLS - 1
