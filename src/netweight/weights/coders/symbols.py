"""Words as symbols and rest: the part of a number worth modelling in one byte, the other bits as they are.

A word's *key* is its exponent and its top mantissa bits (a whole byte for one-byte types). Frequent exponents have a symbol for
each key ("fine"), rarer ones a symbol for the exponent alone, whose mantissa bits are kept beside ("coarse"), and the rarest share
an escape whose keys are kept beside. So an alphabet has at most 256 symbols and none of them is wasted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...spec import DType, dtype

COARSE, FINE = 1, 2  # kinds of exponents; 0 is an absent one
_MAX_FINE_SYMBOLS: Final = 192
_MAX_COARSE: Final = 60
_FINE_SHARE: Final = 1 << 9
_COARSE_SHARE: Final = 1 << 13
_TABLE_BITS: Final = 8.0  # a symbol's cost over all contexts, to choose the number of mantissa bits


@dataclass(frozen=True, slots=True)
class Fields:
    """Where a word is cut, from its low end: `clean` zero bits | `low` raw bits | `top` mantissa bits | exponent | sign.

    `key_bits` = exponent + top. `sign` tells whether there is a sign bit to keep.
    """

    word: int
    exponent: int
    top: int
    low: int
    clean: int
    sign: int

    @property
    def key_bits(self) -> int:
        return self.exponent + self.top

    @property
    def key_shift(self) -> int:
        return self.clean + self.low

    @property
    def rest(self) -> int:
        """Raw bits a word."""
        return self.low + self.sign


def float_fields(kind: DType, clean: int, top: int, sign: int) -> Fields:
    """Fields of a float type of which the `clean` low bits are zero throughout."""
    exponent, mantissa = (8, 23) if kind.kind == "complex" and kind.word == 32 else (11, 52)
    if kind.kind == "float":
        exponent, mantissa = kind.exponent, kind.mantissa
    clean = min(clean, mantissa)
    top = min(top, mantissa - clean)
    return Fields(kind.word, exponent, top, mantissa - clean - top, clean, sign)


def is_float(name: str) -> bool:
    """Whether words of this dtype have an exponent field that fits a key."""
    return dtype(name).kind in ("float", "complex") and name != "F8_E8M0"


@njit(nogil=True, cache=True)
def common_bits(words):  # type: ignore[no-untyped-def]
    """(OR, AND) of all words."""
    any_bits, all_bits = words.dtype.type(0), ~words.dtype.type(0)
    for i in range(words.size):
        any_bits |= words[i]
        all_bits &= words[i]
    return any_bits, all_bits


@njit(nogil=True, cache=True)
def count_keys(words, shift, mask, every, counts):  # type: ignore[no-untyped-def]
    """Histogram of the keys of runs of 64 words out of every 64 * `every`."""
    s, m = words.dtype.type(shift), words.dtype.type(mask)
    for start in range(0, words.size, 64 * every):
        for i in range(start, min(start + 64, words.size)):
            counts[np.uint64((words[i] >> s) & m)] += np.uint32(1)


@njit(nogil=True, cache=True)
def map_keys(words, shift, mask, symbol_of, first_special, out, specials):  # type: ignore[no-untyped-def]
    """out[i] = symbol of words[i]; keys whose symbol is special (from `first_special` on) also go to `specials`, in order.

    Returns how many.
    """
    s, m = words.dtype.type(shift), words.dtype.type(mask)
    first, k = np.uint8(first_special), 0
    for i in range(words.size):
        key = np.uint64((words[i] >> s) & m)
        symbol = symbol_of[key]
        out[i] = symbol
        if symbol >= first:
            specials[k] = np.uint16(key)
            k += 1
    return k


@njit(nogil=True, cache=True)
def words_of(symbols, word_of, first_special, escape, mantissas, keys, shift, out):  # type: ignore[no-untyped-def]
    """out[i] = word with the key of symbols[i] and zeros elsewhere; special symbols take what they lack from the lists.

    Returns (mantissas used, keys used); past the end of a list nothing is added.
    """
    first, s = np.uint8(first_special), np.uint64(shift)
    m, k = 0, 0
    for i in range(symbols.size):
        symbol = symbols[i]
        word = word_of[symbol]
        if symbol >= first:
            if symbol == escape:
                if k < keys.size:
                    word |= np.uint64(keys[k]) << s
                k += 1
            else:
                if m < mantissas.size:
                    word |= np.uint64(mantissas[m]) << s
                m += 1
        out[i] = out.dtype.type(word)
    return m, k


@dataclass(frozen=True)
class Alphabet:
    """Which exponents are fine, coarse or absent: `kinds` (uint8 per exponent from `first`), `top` bits of mantissa."""

    first: int
    kinds: NDArray[np.uint8]
    top: int

    @property
    def size(self) -> int:
        """Symbols, the escape included (always the last)."""
        return int((self.kinds == FINE).sum() << self.top) + int((self.kinds == COARSE).sum()) + 1

    @property
    def first_special(self) -> int:
        """Symbols from here on lack bits of their keys: coarse ones, then the escape."""
        return int((self.kinds == FINE).sum() << self.top)

    def tables(self, key_bits: int) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
        """(symbol of each key, first key of each symbol; 0 for the escape)."""
        symbol_of = np.full(1 << key_bits, self.size - 1, np.uint8)
        key_of = np.zeros(256, np.uint64)
        fan = 1 << self.top
        for at, e in enumerate(np.flatnonzero(self.kinds == FINE) + self.first):
            keys = slice(e << self.top, (e + 1) << self.top)
            symbol_of[keys] = np.arange(at * fan, (at + 1) * fan)
            key_of[at * fan : (at + 1) * fan] = np.arange(keys.start, keys.stop)
        for at, e in enumerate(np.flatnonzero(self.kinds == COARSE) + self.first, self.first_special):
            symbol_of[e << self.top : (e + 1) << self.top] = at
            key_of[at] = e << self.top
        return symbol_of, key_of


def choose_top(counts: NDArray[np.int64], exponent: int, most: int, size: int) -> int:
    """How many of the `most` mantissa bits are worth modelling in a block of `size` words; `counts` (int64
    [2^(exponent + most)]) may be those of a sample.
    """
    best, chosen = np.inf, 0
    total = counts.sum()
    for top in range(most + 1):
        merged = counts.reshape(1 << (exponent + top), -1).sum(axis=1)
        used = merged[merged > 0].astype(np.float64)
        bits = (used * np.log2(total / used)).sum() + (most - top) * total
        frequent = int((used > total / (_FINE_SHARE << top)).sum())
        bits = bits * size / total + _TABLE_BITS * frequent
        if bits < best:
            best, chosen = bits, top
    return chosen


def make_alphabet(counts: NDArray[np.int64], exponent: int, top: int) -> Alphabet:
    """From key counts (int64 [2^(exponent + top)])."""
    by_exponent = counts.reshape(1 << exponent, -1).sum(axis=1)
    total = int(by_exponent.sum())
    order = np.argsort(-by_exponent, kind="stable")
    kinds = np.zeros(1 << exponent, np.uint8)
    fine = order[: _MAX_FINE_SYMBOLS >> top]
    fine = fine[by_exponent[fine] * _FINE_SHARE >= total]
    rest = order[len(fine) : len(fine) + _MAX_COARSE]
    coarse = rest[(by_exponent[rest] * _COARSE_SHARE >= total) & (by_exponent[rest] > 1)]
    kinds[fine] = FINE
    kinds[coarse] = COARSE
    used = np.flatnonzero(kinds)
    if not used.size:
        return Alphabet(0, np.zeros(0, np.uint8), top)
    return Alphabet(int(used[0]), kinds[used[0] : used[-1] + 1], top)


def energies(alphabet: Alphabet, key_bits: int) -> NDArray[np.float64]:
    """Mean square of the words of each symbol, relative to the largest; 0 for zeros, infinities and the escape."""
    _, key_of = alphabet.tables(key_bits)
    keys, number = key_of.astype(np.int64), np.arange(256)
    exponents = keys >> alphabet.top
    fine = number < alphabet.first_special
    middle = np.where(fine, ((keys & ((1 << alphabet.top) - 1)) + 0.5) / (1 << alphabet.top), 0.5)
    largest = alphabet.first + len(alphabet.kinds)
    out: NDArray[np.float64] = (1 + middle) ** 2 * np.exp2(2.0 * np.maximum(exponents - largest, -200))
    out[(exponents == 0) | (exponents == (1 << (key_bits - alphabet.top)) - 1) | (number >= alphabet.size - 1)] = 0
    return out
