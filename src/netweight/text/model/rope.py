"""The rotations' frequencies of models that were stretched to a longer context."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from .tables import root

_BITS: Final = 96
_TWO_PI: Final = Fraction(6283185307179586476925286766559005768394, 10**39)


def llama3_factors(
    base: Fraction, size: int, factor: Fraction, low: Fraction, high: Fraction, original: Fraction
) -> tuple[float, ...]:
    """What divides each of size / 2 frequencies in Llama 3.1: nothing the fast ones, `factor` the slow ones, and a blend.

    A pair turns original x frequency / 2 pi times in the original context: over `high` is fast, below `low` slow.
    """
    pairs = size // 2
    ratio = root((base.denominator << _BITS * pairs) // base.numerator, pairs)
    frequency, out = 1 << _BITS, []
    for _ in range(pairs):
        turns = original * Fraction(frequency, 1 << _BITS) / _TWO_PI
        blend = (
            min(max((turns - low) / (high - low), Fraction(0)), Fraction(1)) if high > low else Fraction(turns >= low)
        )
        out.append(float(1 / (blend + (1 - blend) / factor)))
        frequency = frequency * ratio >> _BITS
    return tuple(out)
