"""DRIVE and EDEN: a random rotation makes coordinates Gaussian, so fixed levels fit every vector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...errors import FormatError, InputError
from ..coding import levels, packing, random, rotation, rounding, scale
from ..compressor import Claim, Compressor, Vector

CENTROIDS: Final = {
    1: (0.7978845608028654,),
    2: (0.4527800398860679, 1.5104176087114887),
    3: (0.24509416307340598, 0.7560052489539643, 1.3439092613750225, 2.151945669890335),
    4: (
        0.12839501671105813, 0.38804823445328507, 0.6567589957631145, 0.9423402689122875,
        1.2562309480263467, 1.6180460517130526, 2.069016730231837, 2.732588804065177,
    ),
}  # fmt: skip
"""Positive levels of the Lloyd-Max quantiser of a standard Gaussian, by bits (Max 1960, table I)."""
DISTORTION: Final = {0: 1.0, 1: 0.36338, 2: 0.11748, 3: 0.034548, 4: 0.0095008}
"""Their mean squared errors."""
_LEAST_D: Final = 64
_SOURCE: Final = "arXiv 2108.08842, theorem 2.3 as d grows, with a margin of 4 / sqrt d"


@njit(nogil=True, cache=True)
def _to_codes(y, centroids, out):  # type: ignore[no-untyped-def]
    """Sign bit over the number of the nearest centroid."""
    top = np.uint32(centroids.size)
    for i in range(y.size):
        out[i] = top if y[i] < 0 else np.uint32(0)
    for j in range(1, centroids.size):
        edge = 0.5 * (centroids[j - 1] + centroids[j])
        for i in range(y.size):
            out[i] += np.uint32(abs(y[i]) > edge)


@njit(nogil=True, cache=True)
def _look_up(codes, table, out):  # type: ignore[no-untyped-def]
    for i in range(codes.size):
        out[i] = table[codes[i]]


def _values_of(codes: NDArray[np.uint32], bits: int) -> NDArray[np.float64]:
    """What codes stand for, in deviations."""
    positive = np.array(CENTROIDS[bits])
    out = np.empty(codes.size)
    _look_up(codes, np.concatenate([positive, -positive]), out)
    return out


@njit(nogil=True, cache=True)
def _products(y, q):  # type: ignore[no-untyped-def]
    """(||y||^2, <q, y>, ||q||^2), in sixteen parts."""
    sums = np.zeros((3, 16))
    first, second, third = sums[0], sums[1], sums[2]
    for at in range(0, y.size, 16):
        own, other = y[at : at + 16], q[at : at + 16]
        for i in range(own.size):
            a, b = own[i], np.float64(other[i])
            first[i] += a * a
            second[i] += a * b
            third[i] += b * b
    return first.sum(), second.sum(), third.sum()


@lru_cache(maxsize=64)
def uniform_step(bits: float) -> tuple[float, float]:
    """(step, omega) of the uniform quantiser of a standard Gaussian whose entropy is `bits`, after the unbiased scale."""
    low, high = 1e-6, 64.0
    for _ in range(80):
        step = math.sqrt(low * high)
        low, high = (step, high) if _entropy_of(step)[0] > bits else (low, step)
    _, product, energy = _entropy_of(low)
    return low, energy / product**2 - 1


def _entropy_of(step: float) -> tuple[float, float, float]:
    """(entropy, E k y, E k^2) of k = round(y / step)."""
    reach = min(math.ceil(9 / step) + 1, 1 << 16)
    edges = (np.arange(reach + 1) + 0.5) * step
    below = np.array([math.erf(e / math.sqrt(2)) for e in edges])
    density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
    p = np.diff(below) / 2
    k, p0 = np.arange(1, reach + 1), float(below[0])
    logs = float(np.sum(p[p > 0] * np.log2(p[p > 0])))
    entropy = -2 * logs - (p0 * math.log2(p0) if p0 > 0 else 0.0)
    return entropy, 2 * float(np.sum(k * (density[:-1] - density[1:]))), 2 * float(np.sum(k**2 * p))


@dataclass(frozen=True)
class _Rotated(Compressor):
    """Levels of rotated coordinates in units of each block's deviation, and a factor a block.

    payload = factor of each block of the rotation (3 bytes), codes
    """

    shares_seed: ClassVar[bool] = True
    shrunk: bool = False

    def _factor(self, products: tuple[float, float, float]) -> float:
        """Of (||y||^2, <q, y>, ||q||^2): ||y||^2 / <q, y>, which is unbiased, or the least squares <q, y> / ||q||^2."""
        energy, product, own = products
        over, under = (product, own) if self.shrunk else (energy, product)
        return over / under if under > 0 else 0.0

    def _finish(self, q: NDArray[np.float64], factors: NDArray[np.float64], dtype: np.dtype[Any], seed: int) -> Vector:
        with np.errstate(over="ignore"):
            for factor, (a, b) in zip(factors, rotation.blocks(q.size), strict=True):
                q[a:b] *= factor
        return scale.to_dtype(rotation.rotate_back(q, rotation.key(seed)), dtype)

    def _claim(self, d: int, distortion: float, omega: float) -> Claim:
        if d < _LEAST_D:
            return Claim("none", 1.0, "too few coordinates for a Hadamard transform to make them Gaussian")
        margin = 1 + 4 / math.sqrt(d)
        if self.shrunk:
            return Claim("contractive", min(distortion * margin, 1.0), _SOURCE)
        return Claim("unbiased", omega * margin, _SOURCE)


@dataclass(frozen=True)
class Eden(_Rotated):
    """EDEN (arXiv 2108.08842): Lloyd-Max levels of `bits` bits, 0 < bits <= 4; a fraction is a random share of the coordinates at
    one bit more, known from the seed. `coded`: uniform levels, entropy-coded, of that many bits in the mean (up to 16).

    Unbiased with omega -> D / (1 - D), D the distortion of the levels, for a uniformly random rotation; ours is a Hadamard one. A
    block of levels takes the factor ||y||^2 / <q, y>. `shrunk`: <q, y> / ||q||^2 instead, contractive with D.
    """

    name: ClassVar[str] = "EDEN"
    bits: float = 2
    coded: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.bits <= (16 if self.coded else 4):
            raise InputError(f"{self.name}: bits must be over 0 and at most {16 if self.coded else 4}, not {self.bits}")

    def bound(self, d: int) -> Claim:
        if self.coded:
            omega = uniform_step(self.bits)[1]
            return self._claim(d, omega / (1 + omega), omega)
        low, share = divmod(self.bits, 1)
        distortion = DISTORTION[int(low)] * (1 - share) + (DISTORTION[int(low) + 1] * share if share else 0.0)
        return self._claim(d, distortion, distortion / (1 - distortion))

    def size(self, d: int) -> int | None:
        if not d or self.coded:
            return 0 if not d else None
        coded = sum(packing.size(self._count(d, part), width) for part, width in enumerate(self._widths()))
        return scale.BYTES * len(rotation.blocks(d)) + coded

    def _widths(self) -> tuple[int, int]:
        """Bits of the coordinates that aren't chosen, and of those that are."""
        low = math.ceil(self.bits) - 1
        return low, low + 1

    def _count(self, d: int, part: int) -> int:
        chosen = max(1, round((self.bits - self._widths()[0]) * d))
        return chosen if part else d - chosen

    def _parts(self, d: int, seed: int) -> list[tuple[int, Any]]:
        """(bits, coordinates) of those that get any."""
        low, high = self._widths()
        if self._count(d, 0) == 0:
            return [(high, slice(None))]
        chosen = np.zeros(d, np.bool_)
        chosen[random.subset(random.key_of(seed, 9), self._count(d, 1), d)] = True
        parts = [(low, ~chosen)] if low else []
        return [*parts, (high, chosen)]

    def encode(self, x: Vector, seed: int) -> bytes:
        exponent = math.frexp(float(np.abs(x).max()))[1]
        y = np.ldexp(x, -exponent).astype(np.float64)
        rotation.rotate(y, rotation.key(seed))
        blocks = rotation.blocks(x.size)
        deviations = [math.sqrt(scale.norm(y[a:b]) ** 2 / (b - a)) for a, b in blocks]
        coded, q = self._encode_coded(y, deviations) if self.coded else self._encode_packed(y, deviations, seed)
        factors = np.array([self._factor(_products(y[a:b], q[a:b])) for a, b in blocks])
        with np.errstate(over="ignore"):
            factors = np.minimum(np.ldexp(factors, exponent), np.finfo(np.float64).max)
        return scale.write_all(scale.cut_up(factors)) + coded

    def _encode_coded(self, y: NDArray[np.float64], deviations: list[float]) -> tuple[bytes, NDArray[np.int32]]:
        """The levels' bytes, and the levels."""
        step, blocks = uniform_step(self.bits)[0], rotation.blocks(y.size)
        parts = [
            rounding.to_levels(y[a:b], rounding.one(step * s), b - a, levels.MOST)
            for (a, b), s in zip(blocks, deviations, strict=True)
        ]
        k = np.concatenate(parts)
        return levels.encode(k), k

    def _encode_packed(
        self, y: NDArray[np.float64], deviations: list[float], seed: int
    ) -> tuple[bytes, NDArray[np.float64]]:
        """The codes' bytes, and about what they stand for."""
        out, q = [], np.zeros(y.size)
        for (a, b), s in zip(rotation.blocks(y.size), deviations, strict=True):
            if s:
                y[a:b] /= s
        for bits, places in self._parts(y.size, seed):
            own = np.ascontiguousarray(y[places])
            codes = np.empty(own.size, np.uint32)
            _to_codes(own, np.array(CENTROIDS[bits]), codes)
            out.append(packing.pack(codes, bits))
            q[places] = _values_of(codes, bits)
        for (a, b), s in zip(rotation.blocks(y.size), deviations, strict=True):
            y[a:b] *= s
        return b"".join(out), q

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:
        head = scale.BYTES * len(rotation.blocks(d))
        factors, rest = scale.read_all(payload[:head], head // scale.BYTES), payload[head:]
        if self.coded:
            return self._finish(levels.decode(rest, d, levels.MOST).astype(np.float64), factors, dtype, seed)
        if len(payload) != self.size(d):
            raise FormatError(f"{self.name}: {len(payload)} bytes for {d} coordinates, not {self.size(d)}")
        q, at = np.zeros(d), 0
        for bits, places in self._parts(d, seed):
            count = self._count(d, 1 if bits == self._widths()[1] else 0)
            nbytes = packing.size(count, bits)
            q[places] = _values_of(packing.unpack(rest[at : at + nbytes], count, bits), bits)
            at += nbytes
        return self._finish(q, factors, dtype, seed)


@dataclass(frozen=True)
class Drive(_Rotated):
    """DRIVE (arXiv 2105.08339): the signs of the rotated coordinates, one bit each; EDEN of one bit.

    Unbiased, omega -> pi/2 - 1 (theorem 4 as d grows); `shrunk`, contractive with 1 - 2/pi (theorem 2).
    """

    name: ClassVar[str] = "DRIVE"

    @property
    def _eden(self) -> Eden:
        return Eden(self.shrunk, 1)

    def bound(self, d: int) -> Claim:
        return self._eden.bound(d)

    def size(self, d: int) -> int | None:
        return self._eden.size(d)

    def encode(self, x: Vector, seed: int) -> bytes:
        return self._eden.encode(x, seed)

    def decode(self, payload: memoryview, d: int, dtype: np.dtype[Any], seed: int) -> Vector:
        return self._eden.decode(payload, d, dtype, seed)
