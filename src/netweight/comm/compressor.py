"""What a compressor of vectors is, and what it promises.

A compressor is a frozen dataclass: stateless and pure. Its payload decodes with the compressor, the length and dtype of
the vector, and (where `shares_seed`) the sender's seed; nothing else. State that remembers what was lost (error feedback,
differences) stands around it, never in it.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, InputError

Vector = NDArray[np.float32] | NDArray[np.float64]
"""One-dimensional, C-contiguous, finite."""

Kind = Literal["identity", "unbiased", "contractive", "none"]
DTYPES: Final = ("float32", "float64")
NEGLIGIBLE: Final = 2.0**-1000
"""A float64 vector with no larger coordinate counts as zeros: steps and scales are normal numbers."""
LARGEST: Final = 2.0**1000
"""Larger coordinates are refused: norms and multiples of scales are finite."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a paper proves of C on R^d.

    identity     C(x) = x up to the rounding of x's own dtype
    unbiased     E C(x) = x and E ||C(x) - x||^2 <= value ||x||^2: `value` is omega >= 0
    contractive  E ||C(x) - x||^2 <= value ||x||^2: `value` is alpha in [0, 1); surely, not in the mean, where `sure`
    none         nothing is proved
    """

    kind: Kind
    value: float
    source: str
    sure: bool = False

    @property
    def contraction(self) -> float:
        """The alpha of the compressor, or of C / (1 + omega) for an unbiased one (arXiv 2010.03246, eq. 2)."""
        return self.value / (1 + self.value) if self.kind == "unbiased" else self.value

    def gap(self, bits: float, d: int) -> float:
        """The product alpha 4^(bits/d), which no compressor brings under 1 (arXiv 2010.03246, theorem 1)."""
        return self.contraction * math.exp2(2 * bits / d)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was measured of one message: `bits` of the payload, ||C(x) - x||^2 / ||x||^2, and the claim beside them.

    `holds` is None where one message can't tell: the claim is about a mean.
    """

    bits: int
    error: float
    claim: Claim
    holds: bool | None


class Compressor(ABC):
    """float32 or float64 [d] to bytes and back. Subclasses are frozen dataclasses of numbers and strings alone.

    `compress` draws all its randomness from `seed`, so the same arguments give the same bytes. A zero vector decodes to
    zeros (so may one of NEGLIGIBLE coordinates), an empty one from an empty payload.
    """

    name: ClassVar[str]

    @property
    def shares_seed(self) -> bool:
        """The receiver must know the sender's seed (a rotation, a choice of coordinates)."""
        return False

    @property
    def linear(self) -> bool:
        """C(x) + C(y) = C(x + y) for one seed: the payloads, as arrays of x's dtype, may be summed by an all-reduce."""
        return False

    @abstractmethod
    def bound(self, d: int) -> Claim:
        """The paper's claim for vectors of length `d`."""

    @abstractmethod
    def encode(self, x: Vector, seed: int) -> bytes:
        """The payload of finite `x` with d >= 1."""

    @abstractmethod
    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:
        """The float [d] of a payload; FormatError for one that `encode` can't have made."""

    def size(self, d: int) -> int | None:
        """Bytes of the payload of every vector of length `d`; None if it depends on the vector."""
        return 0 if d == 0 else None

    def compress(self, x: Vector, seed: int = 0) -> bytes:
        """The payload of `x`. Raises InputError if `x` isn't a finite float vector."""
        check_vector(x)
        return self.encode(x, seed) if x.size else b""

    def decompress(self, payload: bytes | memoryview, d: int, dtype: Any = np.float32, seed: int = 0) -> Vector:
        """The vector that the sender's receiver sees: new, writable, float [d]. Raises FormatError."""
        kind = np.dtype(dtype)
        if kind.name not in DTYPES:
            raise InputError(f"a compressor decodes to float32 or float64, not to {kind.name}")
        if d == 0:
            if len(payload):
                raise FormatError(f"{self.name}: {len(payload)} bytes for an empty vector")
            return np.zeros(0, kind)
        return self.decode(memoryview(payload), d, kind, seed)

    def certificate(self, x: Vector, payload: bytes, seed: int = 0) -> Certificate:
        """Decode `payload` and say what it cost and lost."""
        decoded = self.decompress(payload, x.size, x.dtype, seed)
        claim, error = self.bound(x.size), relative_error(x, decoded)
        sure = claim.kind == "identity" or claim.sure
        limit = (math.sqrt(claim.value) + _rounding(x)) ** 2 if sure else math.inf
        return Certificate(8 * len(payload), error, claim, error <= limit if sure else None)

    def fingerprint(self) -> str:
        """Sixteen hex digits that differ between compressors that aren't equal: what ranks compare at start."""
        return hashlib.sha256(f"{type(self).__module__}:{self!r}".encode()).hexdigest()[:16]

    def config(self) -> dict[str, Any]:
        """The fields, JSON-able."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]


def check_vector(x: Vector) -> None:
    """Raises InputError unless `x` is float32 or float64 [d], contiguous, finite and within LARGEST."""
    if not isinstance(x, np.ndarray) or x.dtype.name not in DTYPES or x.ndim != 1:
        raise InputError(
            f"a compressor takes a float32 or float64 vector, not {type(x).__name__} {getattr(x, 'shape', '')}"
        )
    if not x.flags.c_contiguous:
        raise InputError("a compressor takes a contiguous vector: pass np.ascontiguousarray(x)")
    if not np.isfinite(x).all():
        raise InputError(f"{int((~np.isfinite(x)).sum())} of {x.size} values aren't finite")
    if x.dtype == np.float64 and x.size and max(float(x.max()), -float(x.min())) > LARGEST:
        raise InputError(f"a value over 2^1000: {max(float(x.max()), -float(x.min()))}")


def relative_error(x: Vector, decoded: Vector) -> float:
    """||decoded - x||^2 / ||x||^2; 0 for two negligible ones, infinity for one that came back as another."""
    exact, found = x.astype(np.float64), decoded.astype(np.float64)
    if float(np.abs(exact).max(initial=0.0)) <= NEGLIGIBLE:
        return 0.0 if float(np.abs(found).max(initial=0.0)) <= 2 * NEGLIGIBLE else math.inf
    exponent = math.frexp(float(np.abs(exact).max(initial=0.0)))[
        1
    ]  # by its power of two, squares neither overflow nor vanish
    if exponent and abs(exponent) < 1022:
        exact, found = np.ldexp(exact, -exponent), np.ldexp(found, -exponent)
    lost, energy = (float(np.sum(np.square(v))) for v in (found - exact, exact))
    if energy:
        return lost / energy
    return math.inf if lost else 0.0


def _rounding(x: Vector) -> float:
    """What rounding to the dtype of `x` may add to ||C(x) - x||, relative to ||x||."""
    kind = np.finfo(x.dtype)
    largest = float(np.abs(x).max(initial=0.0))
    absolute = math.sqrt(x.size) * float(kind.smallest_subnormal) / largest if largest else 0.0
    return float(kind.eps) + absolute
