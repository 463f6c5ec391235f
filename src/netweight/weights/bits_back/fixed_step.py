"""The plain code: every weight rounded to one step size and coded under the prior; and the same with a shared dither.

A step D has the error D^2 / 12. Where posteriors differ in width, a step that harms the loss as much as sampling does is set by
the narrowest: sum of (D^2 / 12) / width^2 = n. A uniform dither known to both (Roberts 1962; Zamir and Feder 1992)
makes the error uniform and independent of the weight; the expected cost is then exactly the KL divergence of that
uniform posterior from the prior, and the receiver needs only the seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.normal import POINT, Normals
from ...entropy.stack import Stack
from ...errors import FormatError
from ...wire import Reader, Writer, from_zigzag, zigzag
from .gaussians import Posterior

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS: Final = 64
"""Steps are 2^(k / 64) of the prior's sigma."""
_FINEST: Final = -14 * _STEPS
_MOST: Final = 1 << 24


def matched_step(posterior: Posterior) -> float:
    """The step whose rounding raises a quadratic loss as much as sampling from the posterior: 1 / (12 <1 / width^2>)^-1/2."""
    return float(math.sqrt(12 / np.mean(posterior.widths**-2.0)))


def _step_number(step: float, sigma: float) -> int:
    return int(np.clip(round(_STEPS * math.log2(step / sigma)), _FINEST, -_FINEST))


def step_of(number: int, sigma: float) -> float:
    """The step of that number: a power of two times an exact table entry, the same on every machine."""
    octave, part = divmod(number, _STEPS)
    return math.ldexp(sigma * _PARTS[part], octave)


_PARTS: Final = tuple(round(65536 * 2 ** (k / _STEPS)) / 65536 for k in range(_STEPS))


def dithers(count: int, seed: int) -> Ints:
    """Int64 [count] in [0, 2^16): where in a step each weight's grid begins. PCG64's raw words, which never change."""
    raw = np.random.PCG64(seed).random_raw(-(-count // 4))
    return np.frombuffer(raw.astype("<u8").tobytes(), "<u2")[:count].astype(np.int64)


@dataclass(frozen=True)
class Stepped:
    """Weights in steps: `numbers` (int64 [n]), the number of the `step`, and the dither's `seed` (None: no dither)."""

    numbers: Ints
    step: int
    sigma: float
    seed: int | None = None

    def weights(self) -> Floats:
        """float64 [n]."""
        step = step_of(self.step, self.sigma)
        places = self.numbers.astype(np.float64)
        return (places if self.seed is None else places + dithers(places.size, self.seed) / 65536) * step


def quantised(weights: Floats, step: float, sigma: float, seed: int | None = None) -> Stepped:
    """`weights` rounded to the one of our steps that is nearest to `step`."""
    number = _step_number(step, sigma)
    places = weights / step_of(number, sigma)
    shift = 0.0 if seed is None else dithers(weights.size, seed) / 65536
    return Stepped(np.rint(places - shift).astype(np.int64), number, sigma, seed)


def _prior(count: int, step: int, seed: int | None) -> Normals:
    """The prior in steps, moved by the dither. Integers from here on."""
    width = round((1 << POINT) / step_of(step, 1.0))
    means = np.zeros(count, np.int64) if seed is None else -(dithers(count, seed) << (POINT - 16))
    return Normals(count, means, width, floor=True)


def encode(stepped: Stepped) -> bytes:
    """Count varint | step varint, zigzag | stack; the receiver knows the prior and the seed. Raises ValueError for absurd weights."""
    stack = Stack()
    _prior(stepped.numbers.size, stepped.step, stepped.seed).push(stack, stepped.numbers)
    out = Writer().varint(stepped.numbers.size).varint(zigzag(stepped.step))
    return out.raw(stack.to_bytes()).bytes()


def decode(data: bytes, sigma: float, seed: int | None = None, most: int = _MOST) -> Stepped:
    """The inverse, of at most `most` weights. Raises FormatError."""
    source = Reader(data, "stepped weights")
    count = source.varint(most)
    step = from_zigzag(source.varint(-2 * _FINEST))
    stack = Stack.from_bytes(source.raw(source.remaining))
    numbers = _prior(count, step, seed).pop(stack)
    if stack != Stack():
        raise FormatError("stepped weights: more in the message than weights")
    return Stepped(numbers, step, sigma, seed)


def dither_divergence(weights: Floats, stepped: Stepped) -> float:
    """KL(uniform around each weight || prior) in bits, in all: a bound on what the dithered code costs on average."""
    d, w = step_of(stepped.step, 1.0), weights / stepped.sigma
    return float((np.log2(math.sqrt(2 * math.pi) / d) + (w * w + d * d / 12) / (2 * math.log(2))).sum())
