"""Natural compression: powers of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from ...errors import FormatError
from ..coding import levels, random, scale
from ..compressor import Claim, Compressor, Vector

_DEPTH: Final = 250


@dataclass(frozen=True)
class NaturalCompression(Compressor):
    """Each value to one of the two powers of two around it, so that its mean is the value (arXiv 1905.10988, theorem 1): omega <= 1/8.

    Exponents are sent as how far they are below the largest, entropy-coded: about 3.5 bits a coordinate where the paper counts 9.
    What is under 2^-250 of the largest becomes that or 0, which adds less than d 2^-498 to omega.

    payload = largest exponent (2 bytes), 0 or sign x (1 + depth below the largest) as levels
    """

    name: ClassVar[str] = "natural"

    def bound(self, d: int) -> Claim:  # noqa: ARG002  dimension-free
        return Claim("unbiased", 0.125, "arXiv 1905.10988, theorem 1")

    def encode(self, x: Vector, seed: int) -> bytes:
        magnitude, exponents = np.frexp(np.abs(x.astype(np.float64)))  # in [1/2, 1), 2^exponent
        top = int(exponents[magnitude > 0].max(initial=-1100))
        u = random.units(random.key_of(seed, 0), x.size)
        power = exponents.astype(np.int64) + (2 * magnitude - 1 > u)  # 2^(power - 1) is sent
        depth = top + 1 - power
        deep = depth > _DEPTH
        kept = ~deep | (u < np.ldexp(magnitude, np.minimum(_DEPTH - (top + 1 - exponents) + 1, 0)))
        level = np.where((magnitude > 0) & kept, 1 + np.minimum(depth, _DEPTH), 0)
        head = (top + 2000).to_bytes(2, "little")
        return head + levels.encode(np.where(np.signbit(x), -level, level).astype(np.int32))

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:  # noqa: ARG002
        if len(payload) < 2:
            raise FormatError(f"{self.name}: {len(payload)} bytes")
        top = int.from_bytes(payload[:2], "little") - 2000
        if abs(top) > 1100:
            raise FormatError(f"{self.name}: exponent {top}")
        k = levels.decode(payload[2:], d, 1 + _DEPTH)
        powers = np.where(k != 0, top + 1 - np.abs(k), 0)
        with np.errstate(over="ignore"):
            return scale.to_dtype(np.ldexp(np.sign(k).astype(np.float64), powers), dtype)
