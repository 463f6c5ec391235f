"""Integers under a prior: the multiples k of a quantiser's step, coded in -log2 P(k) bits.

A prior is a symmetric generalised Gaussian (Gaussian, Laplace and all between and beyond), integrated over each step's
width, perhaps with a spike: extra probability of k = 0. Three small integers say which, and both sides make the same
integer tables from them (survival.py).

symbol := |k| below 64; beyond, one of eight equal parts of an octave: 256 symbols, to 2^30
stream := depths - 1 + 4 lanes code (1) | rANS blob | raw
blob   := steps, each padded to whole 32 by symbols that cost nothing: every symbol under the tables of depth 0, those
          that were escapes under the tables of depth 1, and so on
raw    := of each k but 0: its sign (1 bit), its place among the symbol's magnitudes; low bits first, padded with 0

A table covers its most frequent symbols; the first that it doesn't cover is its escape and stands for all from there
on, which the table of the next depth covers in the same way. So even a probability of 2^-35 costs 35 bits, not 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import FormatError
from ..wire import Reader, Writer, from_zigzag, zigzag
from . import rans
from .survival import BITS, power_of_two, survival

Ints = NDArray[np.int64]
Multiples = NDArray[np.int32]
Number = TypeVar("Number", bound=np.generic)

SCALE: Final = 13
"""Frequencies sum to 2^13. Finer tables gain less than the 31-bit states of rans.py lose with them."""
LIMIT: Final = 1 << 30
"""Magnitudes are below it."""
GAUSSIAN, LAPLACE = 16, 8
SHAPES: Final = range(3, 33)
SCALES: Final = range(-128, 353)
SPIKES: Final = range(256)
DEPTHS: Final = 4
"""Tables of a prior, at most: together they go down to 2^-44, and no mass is under 2^-40."""
CONTEXTS: Final = 63
"""At most, so that one byte numbers contexts x depths, and the padding."""
_LANES, _LEAST = (1, 4, 32), (1, 1 << 12, 1 << 16)  # as rans.lanes_for has it
_ORDER: Final = np.array([*range(255, 0, -2), *range(0, 256, 2)], np.uint8)
_PLACE: Final = np.argsort(_ORDER).astype(np.uint8)
"""Place of each symbol among the slots of rANS: frequent ones in the middle, rare ones in turn at either end.

A symbol costs a little less than its share at one end and a little more at the other, for a state is finite; so bits
stay true on average even for data much wider than the prior.
"""
_EXACT: Final = 64
_PARTS: Final = 8
_RARE: Final = (8, 12, 12, 12)  # the table of a depth ends where 2^-8 or 2^-12 of its probability is left


def _bounds() -> Ints:
    octaves = [(_PARTS + part) << up for up in range(3, 27) for part in range(_PARTS)]
    return np.array([*range(_EXACT), *octaves, LIMIT], np.int64)


BOUNDS: Final = _bounds()
"""int64 [257]: the least magnitude of each symbol, and the limit."""
RAW_BITS: Final = np.array([0] + [int(width).bit_length() for width in np.diff(BOUNDS)[1:]], np.uint8)
"""uint8 [256]: bits that follow a symbol as they are: none after 0, else the sign and the place among its magnitudes."""


@dataclass(frozen=True, slots=True)
class Prior:
    """exp(-|k / alpha|^beta) over steps' widths, and a spike at 0.

    `shape` = 8 beta (in SHAPES); `scale` = 16 log2 of alpha in steps (in SCALES): a Gaussian's standard deviation is alpha / sqrt 2;
    a Laplace distribution's mean magnitude is alpha. `spike` (in SPIKES): a share 1 - 2^(-spike / 16) of all is 0 beside
    what the density has there.
    """

    shape: int
    scale: int
    spike: int = 0

    def __post_init__(self) -> None:
        """Raises FormatError."""
        if self.shape not in SHAPES or self.scale not in SCALES or self.spike not in SPIKES:
            raise FormatError(f"no such prior: {self}")

    def moved(self, steps: int) -> Prior:
        """The same prior 2^(steps / 16) times as wide, as far as scales go."""
        return replace(self, scale=min(max(self.scale + steps, SCALES[0]), SCALES[-1]))

    def write(self, out: Writer) -> None:
        out.raw(bytes([self.shape])).varint(zigzag(self.scale))
        out.raw(bytes([self.spike]))

    @classmethod
    def read(cls, source: Reader) -> Prior:
        """Raises FormatError."""
        shape, scale = source.byte(), from_zigzag(source.varint(limit=2 * SCALES[-1]))
        return cls(shape, scale, source.byte())


@lru_cache(maxsize=4096)
def masses(prior: Prior) -> Ints:
    """P(symbol) in Q40 (int64 [256], read-only): at least 1 each, 2^40 in all; the last symbol has the whole tail."""
    tails = [1 << BITS]
    for bound in BOUNDS[1:-1].tolist():
        tails.append(survival(2 * bound - 1, prior.shape, prior.scale) if tails[-1] else 0)
    keep = power_of_two(-8 * prior.spike, BITS)
    out = [max(1, (high - low) * keep >> BITS) for high, low in zip(tails, [*tails[1:], 0], strict=True)]
    out[0] = (1 << BITS) - sum(out[1:])
    return _frozen(np.array(out, np.int64))


@dataclass(frozen=True, slots=True)
class Table:
    """`frequencies` (uint16 [256]) sum to 2^13. Symbol `end`, if below 256, stands for all from there on."""

    frequencies: NDArray[np.uint16]
    end: int


@lru_cache(maxsize=4096)
def table(prior: Prior, depth: int) -> Table:
    """What codes the escapes of depth - 1 (at depth 0: every symbol). Where none is left to be coded, symbol 255 alone."""
    begin = table(prior, depth - 1).end if depth else 0
    begin = min(begin, rans.SYMBOLS - 1)
    tails = np.cumsum(masses(prior)[::-1])[::-1]
    rare = (
        np.flatnonzero(tails[begin + 1 :] << _RARE[depth] < tails[begin]) if begin + 1 < rans.SYMBOLS else np.empty(0)
    )
    end = begin + 1 + int(rare[0]) if rare.size else rans.SYMBOLS
    if end == rans.SYMBOLS - 1:  # its escape would stand for itself
        end = rans.SYMBOLS
    parts = [*masses(prior)[begin : min(end, rans.SYMBOLS - 1)].tolist(), int(tails[min(end, rans.SYMBOLS - 1)])]
    frequencies = np.zeros(rans.SYMBOLS, np.uint16)
    frequencies[begin : end + 1] = _shares(parts, int(tails[begin]))
    return Table(_frozen(frequencies), end)


def _shares(parts: list[int], whole: int) -> Ints:
    """2^13 shared out by `parts`, which add up to `whole`: rounded so that the sum is right, and 1 at least."""
    scaled = [p << SCALE for p in parts]
    shares = np.array([max(1, p // whole) for p in scaled], np.int64)
    left = (1 << SCALE) - int(shares.sum())
    if left < 0:
        shares[shares.argmax()] += left
    else:
        by_rest = sorted(range(len(parts)), key=lambda i: -(scaled[i] % whole))
        shares[by_rest[:left]] += 1
    return shares


def _frozen(array: NDArray[Number]) -> NDArray[Number]:
    array.flags.writeable = False
    return array


def bits(prior: Prior) -> NDArray[np.float64]:
    """-log2 P(k) for a k of each symbol (float64 [256]): what an ideal code takes, a bound."""
    return np.asarray(BITS - np.log2(masses(prior)) + RAW_BITS)


# --- magnitudes to symbols -----------------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _symbols(multiples, out):  # type: ignore[no-untyped-def]
    """Symbol of each |k|."""
    for i in range(multiples.size):
        m = abs(np.int64(multiples[i]))
        if m < 64:
            out[i] = m
            continue
        octave = 6
        while m >> (octave + 1):
            octave += 1
        out[i] = 64 + 8 * (octave - 6) + ((m >> (octave - 3)) & 7)


@njit(nogil=True, cache=True)
def _pack(multiples, symbols, bounds, widths, out):  # type: ignore[no-untyped-def]
    """The bits that aren't modelled, low bits first."""
    held, filled, at = np.uint64(0), 0, 0
    for i in range(multiples.size):
        k, s = np.int64(multiples[i]), symbols[i]
        if s == 0:
            continue
        value = (abs(k) - bounds[s]) << 1 | (k < 0)
        held |= np.uint64(value) << np.uint64(filled)
        filled += np.int64(widths[s])
        while filled >= 8:
            out[at] = held & np.uint64(255)
            held >>= np.uint64(8)
            filled -= 8
            at += 1
    if filled:
        out[at] = held


@njit(nogil=True, cache=True)
def _unpack(data, symbols, bounds, widths, out):  # type: ignore[no-untyped-def]
    """The inverse; what is left of the last byte. The caller guarantees that the bits are there."""
    held, filled, at = np.uint64(0), 0, 0
    for i in range(symbols.size):
        s = symbols[i]
        width = np.int64(widths[s])
        while filled < width:
            held |= np.uint64(data[at]) << np.uint64(filled)
            filled += 8
            at += 1
        value = np.int64(held & ((np.uint64(1) << np.uint64(width)) - np.uint64(1)))
        held >>= np.uint64(width)
        filled -= width
        m = bounds[s] + (value >> 1)
        out[i] = -m if value & 1 else m
    return held


def symbols_of(multiples: Multiples) -> NDArray[np.uint8]:
    """uint8 [n] of multiples (int32 [n], magnitudes below LIMIT)."""
    out = np.empty(multiples.size, np.uint8)
    _symbols(multiples, out)
    return out


def write_raw(out: Writer, multiples: Multiples, symbols: NDArray[np.uint8]) -> None:
    """The RAW_BITS that tell the multiples of a symbol apart."""
    data = np.zeros(_raw_bytes(symbols), np.uint8)
    _pack(multiples, symbols, BOUNDS, RAW_BITS, data)
    out.raw(data)


def read_raw(source: Reader, symbols: NDArray[np.uint8]) -> Multiples:
    """The inverse: int32 [n]. Raises FormatError."""
    data = np.frombuffer(source.raw(_raw_bytes(symbols)), np.uint8)
    out = np.empty(symbols.size, np.int32)
    if _unpack(data, symbols, BOUNDS, RAW_BITS, out):
        raise FormatError("multiples: bits are left over")
    return out


def _raw_bytes(symbols: NDArray[np.uint8]) -> int:
    counts = np.bincount(symbols, minlength=rans.SYMBOLS)
    return (int(counts @ RAW_BITS.astype(np.int64)) + 7) // 8


# --- multiples to bytes --------------------------------------------------------------------------------------------------


class _Steps:
    """Contexts and tables of the steps: at depth d, context c has number d * contexts + c; the last number is the padding's."""

    def __init__(self, priors: Sequence[Prior], depths: int) -> None:
        self._count, self._depths = len(priors), depths
        made = [table(p, depth) for depth in range(depths) for p in priors]
        free = np.zeros(rans.SYMBOLS, np.uint16)
        free[_PLACE[0]] = 1 << SCALE  # padding is symbol 0
        self.frequencies = np.concatenate([*(t.frequencies[_ORDER] for t in made), free])
        self.ends = np.array([t.end for t in made], np.int16).reshape(depths, -1)

    def padded(self, contexts: NDArray[np.uint8], depth: int) -> NDArray[np.uint8]:
        """Numbers (uint8) of a step's contexts (uint8 [n]), up to a multiple of 32, which lanes share evenly."""
        out = np.full(_whole(contexts.size), self._depths * self._count, np.uint8)
        out[: contexts.size] = contexts + np.uint8(depth * self._count)
        return out


def _whole(count: int) -> int:
    return -(-count // 32) * 32


def write(out: Writer, multiples: Multiples, contexts: NDArray[np.uint8], priors: Sequence[Prior]) -> None:
    """`multiples` (int32 [n], magnitudes below LIMIT), number i under `priors[contexts[i]]` (contexts: uint8 [n], below CONTEXTS).

    The reader knows contexts and priors.
    """
    symbols, tried = symbols_of(multiples), _Steps(priors, DEPTHS)
    left, steps = symbols, list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]()
    while left.size or not steps:
        escapes = tried.ends[len(steps)][contexts]
        rest = left >= escapes
        steps.append((np.where(rest, escapes, left).astype(np.uint8), contexts))
        left, contexts = left[rest], contexts[rest]
    final = _Steps(priors, len(steps))
    numbers = np.concatenate([final.padded(c, depth) for depth, (_, c) in enumerate(steps)])
    coded = np.concatenate([np.pad(s, (0, _whole(s.size) - s.size)) for s, _ in steps])
    lanes = _LANES.index(rans.lanes_for(coded.size))
    out.raw(bytes([len(steps) - 1 + DEPTHS * lanes])).blob(
        rans.encode(_PLACE[coded], numbers, final.frequencies, SCALE)
    )
    write_raw(out, multiples, symbols)


def read(source: Reader, contexts: NDArray[np.uint8], priors: Sequence[Prior]) -> Multiples:
    """The inverse of `write`: int32 [n]. Raises FormatError."""
    lanes, depths = divmod(source.byte(), DEPTHS)
    if lanes >= len(_LANES):
        raise FormatError("multiples: an unknown number of lanes")
    steps = _Steps(priors, depths + 1)
    decoder = rans.Decoder(source.blob(), _LEAST[lanes], steps.frequencies, SCALE)
    symbols, places = np.zeros(contexts.size, np.uint8), np.arange(contexts.size)
    for depth, ends in enumerate(steps.ends):
        if depth and not places.size:
            raise FormatError("multiples: deeper than their escapes")
        found = _ORDER[decoder.step(steps.padded(contexts, depth))[: contexts.size]]
        symbols[places] = found
        rest = found == ends[contexts]
        places, contexts = places[rest], contexts[rest]
    decoder.end()
    if places.size:
        raise FormatError("multiples: an escape from the last table")
    return read_raw(source, symbols)
