"""A tensor's numbers as tokens, signs and raw bits, and what the receiver must be told of that.

alphabet := kind(1) | GRID:  step (float32) | tokens varint
                    | FLOAT: bits of mantissa in a token(1) | zero low bits of all mantissas(1) | fine varint | tops
                    | WHOLE: zigzag lowest varint | tops
                    | PATH:  log2 of the states(1) | step (float32) | tokens varint | groups of columns varint | offsets blob
                  (trellis_points.py) | group of each column, blob, if there are several
tops     := lowest varint | tokens - 1 (1) | gaps - 1 between tokens, blob (entropy/adaptive.py)

GRID: the number is k steps; token min(|k|, 15 + e), e the bit length of |k| - 14 less 1, whose lower bits are raw. FLOAT: the
token is the number of the exponent (from exponent `fine` on, with the highest bits of mantissa) among those in use, the rest is
raw; 0 has a token of its own, and no sign where the first byte's highest bit is set. WHOLE: integers of which no more than 256
differ, the token is the number of the value. PATH: as GRID, of indices of a trellis (coders/trellis.py) whose points depend on
the column's group.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...entropy import adaptive
from ...errors import FormatError
from ...spec import DTYPES
from ...tensors import numpy_dtype
from ...wire import Reader, Writer, from_zigzag, zigzag
from ..coders import trellis_points
from ..coders.multiples import step_of
from ..coders.state_machine import STATES, machine
from ..lossy.values import bytes_of, is_float
from .urn import LEVELS, Ints, Record
from .urn_walk import UNARY_NODES
from .words import from_words, to_words

Array = NDArray[Any]

GRID, FLOAT, WHOLE, PATH = range(4)
TOKENS: Final = 256
GROUPS: Final = 16
_EXACT: Final = 15
_UNIT: Final = np.float32(1)
_MOST_UNARY: Final = min(UNARY_NODES - 1, _EXACT + 28)
_TRIED_BITS: Final = (2, 1, 0)
_FINE_OCTAVES: Final = 16


@dataclass(frozen=True)
class Alphabet:
    """`tops` int64 [tokens]: FLOAT: 0 for zero, else 1 + the number among all exponents, those from `fine` on with `kept` bits;
    WHOLE: the value over `lowest`; GRID and PATH: only their length tells. PATH: `groups` int64 [columns] (None: one group) and
    `offsets` of each group.
    """

    kind: int
    dtype: str
    tops: Ints = field(repr=False)
    step: np.float32 = _UNIT
    kept: int = 0
    zeros: int = 0
    fine: int = 0
    unsigned_zero: bool = False
    lowest: int = 0
    states: int = 1
    offsets: Ints = field(default_factory=lambda: np.zeros(trellis_points.PER_GROUP, np.int64), repr=False)
    groups: Ints | None = field(default=None, repr=False)

    @property
    def unary(self) -> bool:
        """Whether tokens are told in unary."""
        return self.kind in (GRID, PATH)

    @property
    def depth(self) -> int:
        """Bits of a token's number; 0 for unary."""
        return 0 if self.unary else max(1, (self.tops.size - 1).bit_length())

    @property
    def signs(self) -> int:
        """As of urn.Form."""
        return {GRID: 1, PATH: 1, FLOAT: 1 if self.unsigned_zero else 2, WHOLE: 0}[self.kind]

    @cached_property
    def widths(self) -> Ints:
        """int64 [tokens]."""
        if self.unary:
            return np.maximum(np.arange(self.tops.size) - _EXACT, 0)
        if self.kind == WHOLE:
            return np.zeros(self.tops.size, np.int64)
        mantissa = DTYPES[self.dtype].mantissa
        widths = np.where(self.tops <= self.fine, mantissa, mantissa - self.kept) - self.zeros
        return np.where(self.tops == 0, 0, widths)

    @cached_property
    def firsts(self) -> Ints:
        """int64 [tokens]: the least magnitude of each."""
        if self.unary:
            k = np.arange(self.tops.size, dtype=np.int64)
            return np.where(k < _EXACT, k, _EXACT - 1 + (1 << np.maximum(k - _EXACT, 0)))
        if self.kind == WHOLE:
            return self.tops
        mantissa = DTYPES[self.dtype].mantissa
        codes = np.maximum(self.tops - 1, 0)
        above = (codes - self.fine) + (self.fine << self.kept) << (mantissa - self.kept)
        least = np.maximum(np.where(codes < self.fine, codes << mantissa, above), 1 << self.zeros)
        found: Ints = np.where(self.tops == 0, 0, least)
        return found

    @cached_property
    def levels(self) -> Ints:
        """int64 [tokens]: half octaves under the largest."""
        if self.kind == FLOAT:
            halves = self.firsts >> (DTYPES[self.dtype].mantissa - 1)
            return np.asarray(np.minimum(halves[-1] - halves, LEVELS - 1), np.int64)
        return np.minimum(np.arange(self.tops.size)[::-1], LEVELS - 1)

    # --- numbers ---------------------------------------------------------------------------------------------------------

    def keys(self, records: Array) -> Ints:
        """int64 of the shape of `records` (numbers of the dtype, contiguous): magnitude << 1 | sign. GRID, FLOAT, WHOLE."""
        if self.kind == GRID:
            k = np.rint(records.astype(np.float32) / self.step).astype(np.int64)
            return np.asarray(np.abs(k) << 1 | (k < 0), np.int64)
        if self.kind == WHOLE:
            return (records.astype(np.int64) - self.lowest) << 1
        words = to_words(records.reshape(1, -1)).view(f"<u{records.dtype.itemsize}").reshape(records.shape)
        return np.asarray(words, np.int64)

    def numbers(self, keys: Ints) -> Array:
        """The inverse."""
        if self.kind == WHOLE:
            return ((keys >> 1) + self.lowest).astype(numpy_dtype(self.dtype))
        if self.kind == FLOAT:
            words = keys.astype(f"<u{numpy_dtype(self.dtype).itemsize}")
            return from_words(words.reshape(1, -1).view(np.uint8), self.dtype).reshape(keys.shape)
        k = np.where(keys & 1, -(keys >> 1), keys >> 1)
        values = k.astype(np.float32) * self.step if self.kind == GRID else self._points(k.astype(np.int32))
        return bytes_of(values.reshape(-1), self.dtype).view(numpy_dtype(self.dtype)).reshape(keys.shape)

    def _points(self, indices: NDArray[np.int32]) -> NDArray[np.float32]:
        """Where the indices [n, columns] of a path are put, each row from state 0."""
        contexts, count = path_contexts(indices, self.states, self.groups)
        out = np.empty(indices.size, np.float32)
        unit = self.step * np.float32(1 / trellis_points.UNIT)
        trellis_points.restore(indices.reshape(-1), contexts.reshape(-1), count, self.offsets, unit, out)
        return out.reshape(indices.shape)

    def split(self, keys: Ints) -> Record:
        """(tokens, signs, raw bits) of keys of magnitudes that have tokens."""
        magnitude = keys >> 1
        token = np.searchsorted(self.firsts, magnitude, side="right") - 1
        return token, keys & 1, (magnitude - self.firsts[token]) >> self.zeros

    def join(self, record: Record) -> Ints:
        """The inverse."""
        token, sign, raw = record
        return self.firsts[token] + (raw << self.zeros) << 1 | sign

    # --- wire ------------------------------------------------------------------------------------------------------------

    def write(self, out: Writer) -> None:
        out.raw(bytes([self.kind]))
        if self.kind == FLOAT:
            _write_tops(out.raw(bytes([self.kept | self.unsigned_zero << 7, self.zeros])).varint(self.fine), self.tops)
        elif self.kind == WHOLE:
            _write_tops(out.varint(zigzag(self.lowest)), self.tops)
        else:
            if self.kind == PATH:
                out.raw(bytes([self.states.bit_length() - 1]))
            out.raw(np.array([self.step], "<f4").view(np.uint8)).varint(self.tops.size)
            if self.kind == PATH:
                out.varint(self.offsets.size // trellis_points.PER_GROUP)
                trellis_points.write(out, self.offsets)
            if self.groups is not None:
                out.blob(adaptive.encode(self.groups, np.zeros(self.groups.size, np.uint8)))


def unions_of(indices: NDArray[np.int32], states: int) -> Ints:
    """Int64 of the shape of `indices` [n, columns]: the union of the state that each meets, each row from state 0."""
    path = machine(states)
    out, state = np.zeros(indices.shape, np.int64), np.zeros(len(indices), np.int64)
    parity = (indices & 1).astype(np.int64)
    for k in range(indices.shape[1]):
        out[:, k] = path.union_of[state]
        state = path.next_state[state, parity[:, k]].astype(np.int64)
    return out


def path_contexts(indices: NDArray[np.int32], states: int, groups: Ints | None) -> tuple[NDArray[np.uint8], int]:
    """(group of each index's column and, beyond the groups, again in union 1: uint8 like `indices`; how many groups)."""
    count = 1 if groups is None else GROUPS
    found = unions_of(indices, states) * count + (0 if groups is None else groups)
    return found.astype(np.uint8), count


def _write_tops(out: Writer, tops: Ints) -> None:
    out.varint(int(tops[0])).raw(bytes([tops.size - 1]))
    out.blob(adaptive.encode(np.diff(tops) - 1, np.zeros(tops.size - 1, np.uint8)))


def _read_tops(source: Reader, limit: int) -> Ints:
    """Rising numbers below `limit`. Raises FormatError."""
    lowest, count = source.varint(limit=limit - 1), source.byte()
    gaps = adaptive.decode(source.blob(), np.zeros(count, np.uint8), min(limit, (1 << 31) - 1))
    tops = lowest + np.concatenate([np.zeros(1, np.int64), np.cumsum(gaps + 1)])
    if int(tops[-1]) >= limit:
        raise FormatError("units: a token out of range")
    return tops


def read_alphabet(source: Reader, dtype: str, columns: int) -> Alphabet:
    """The inverse of `Alphabet.write` for records of `columns` numbers. Raises FormatError."""
    kind = source.byte()
    if kind == FLOAT and is_float(dtype) and DTYPES[dtype].bits <= 32:
        flags, zeros, form = source.byte(), source.byte(), DTYPES[dtype]
        kept, unsigned = flags & 127, flags > 127
        fine = source.varint(limit=1 << form.exponent)
        if kept + zeros > form.mantissa or not form.mantissa:
            raise FormatError("units: an impossible mantissa")
        tops = _read_tops(source, 1 + fine + (((1 << form.exponent) - fine) << kept))
        if unsigned and tops[0]:
            raise FormatError("units: no zero to be without a sign")
        return Alphabet(FLOAT, dtype, tops, kept=kept, zeros=zeros, fine=fine, unsigned_zero=unsigned)
    if kind == WHOLE and _is_whole(dtype):
        lowest, info = from_zigzag(source.varint()), np.iinfo(numpy_dtype(dtype))
        if not info.min <= lowest <= info.max:
            raise FormatError("units: an integer out of range")
        return Alphabet(WHOLE, dtype, _read_tops(source, int(info.max) - lowest + 1), lowest=lowest)
    if kind in (GRID, PATH) and is_float(dtype):
        states = 1 << source.byte() if kind == PATH else 1
        step, count = source.array(1, "<f4").astype(np.float32)[0], source.varint(limit=_MOST_UNARY)
        if states not in STATES or not (np.isfinite(step) and step > 0) or not count:
            raise FormatError("units: an impossible grid")
        grid = Alphabet(kind, dtype, np.zeros(count, np.int64), step=step, states=states)
        return _read_points(source, grid, columns) if kind == PATH else grid
    raise FormatError(f"units: {dtype} has no alphabet of kind {kind}")


def _read_points(source: Reader, grid: Alphabet, columns: int) -> Alphabet:
    count = source.varint(limit=GROUPS)
    if count not in (1, GROUPS):
        raise FormatError("units: impossible groups")
    offsets = trellis_points.read(source, count)
    groups = adaptive.decode(source.blob(), np.zeros(columns, np.uint8), GROUPS - 1) if count > 1 else None
    return replace(grid, offsets=offsets, groups=groups)


def _is_whole(dtype: str) -> bool:
    """Integers that fit int64, differences too."""
    return dtype in DTYPES and DTYPES[dtype].kind in ("uint", "int") and DTYPES[dtype].bits <= 32


# --- the sender's choice --------------------------------------------------------------------------------------------------


def grid_tokens(largest: int) -> Ints | None:
    """What stands for the tokens of magnitudes up to `largest`; None if there are none for it."""
    count = largest + 1 if largest < _EXACT else _EXACT + (largest - _EXACT + 1).bit_length()
    return np.zeros(count, np.int64) if count <= _MOST_UNARY else None


def alphabets_of(records: Array, dtype: str) -> list[Alphabet]:
    """Alphabets that hold the numbers [units, columns] exactly: none for dtypes that there are none for."""
    found = []
    if is_float(dtype):
        grid = _grid(records, dtype)
        found = [made for made in (grid, _float(records, dtype)) if made is not None]
    elif _is_whole(dtype):
        values = np.unique(records).astype(np.int64)
        if 0 < values.size <= TOKENS:
            found = [Alphabet(WHOLE, dtype, values - values[0], lowest=int(values[0]))]
    return [made for made in found if _exact(made, records)]


def _exact(made: Alphabet, records: Array) -> bool:
    keys = made.keys(np.ascontiguousarray(records))
    again = made.numbers(np.stack([made.join(made.split(row)) for row in keys]))
    return again.tobytes() == np.ascontiguousarray(records).tobytes()


def _grid(records: Array, dtype: str) -> Alphabet | None:
    values = records.astype(np.float32).reshape(-1)
    step = step_of(values) if bool(np.isfinite(values).all()) and values.any() else None
    if step is None:
        return None
    tops = grid_tokens(int(np.rint(np.abs(values).max() / step)))
    return None if tops is None else Alphabet(GRID, dtype, tops, step=step)


def _float(records: Array, dtype: str) -> Alphabet | None:
    form = DTYPES[dtype]
    if form.bits > 32 or not form.mantissa:
        return None  # keys are int64
    blank = Alphabet(FLOAT, dtype, np.zeros(1, np.int64))
    keys = np.unique(blank.keys(np.ascontiguousarray(records)))
    magnitude, unsigned = keys >> 1, bool(keys[0] == 0 and not (keys == 1).any())
    used = int(np.bitwise_or.reduce(magnitude & ((1 << form.mantissa) - 1)))
    zeros = form.mantissa if used == 0 else (used & -used).bit_length() - 1
    exponents = magnitude >> form.mantissa
    fine = max(0, int(exponents.max()) + 1 - _FINE_OCTAVES)
    for kept in _TRIED_BITS:
        if kept + zeros <= form.mantissa:
            above = (magnitude >> (form.mantissa - kept)) - (fine << kept) + fine
            tops = np.unique(np.where(magnitude == 0, 0, 1 + np.where(exponents < fine, exponents, above)))
            if tops.size <= TOKENS:
                return Alphabet(FLOAT, dtype, tops, kept=kept, zeros=zeros, fine=fine, unsigned_zero=unsigned)
    return None
