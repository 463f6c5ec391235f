"""Interleaved table rANS: many symbols a microsecond, each under its own static distribution.

A state x in [2^15, 2^31) codes symbol s of frequency f and cumulative start c, out of M = 2^scale, as
x -> (x // f) * M + c + x % f, sending 16-bit words before x leaves its range (Duda 2013, arXiv 1311.2540, section 3).
Symbol i belongs to lane i % lanes; the lanes are independent, so the processor works on several at once, and share one
stream of words. Encoding runs backwards, decoding forwards.

Invariant: decode(encode(s)) == s, and the decoder ends with every state at 2^15 and no word left.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import FormatError, TruncatedError
from ..wire import Reader

SYMBOLS: Final = 256
_LOW: Final = 1 << 15
U32, U64 = np.uint32, np.uint64  # unsigned indices spare numba the check for negative ones


def lanes_for(count: int) -> int:
    """More lanes are faster and cost two bytes each."""
    return 32 if count >= 1 << 16 else 4 if count >= 1 << 12 else 1


@njit(nogil=True, cache=True)
def _encode_bulk(symbols, contexts, table, inverses, scale, words, states, p):  # type: ignore[no-untyped-def]
    """Code whole groups of 32, from the last to the first, below `symbols.size // 32 * 32`; the new p."""
    room, whole = U64(31 - scale), U64(1 << scale)
    i = U64(symbols.size) // U64(32) * U64(32)
    p = U64(p)
    while i > U64(0):
        i -= U64(32)
        for k in range(32):
            lane = U64(31 - k)
            at = (U64(contexts[i + lane]) << U64(8)) | U64(symbols[i + lane])
            entry = table[at]
            f = U64(entry & U32(0xFFFF))
            x = U64(states[lane])
            over = U64(x >= (f << room))
            words[p - U64(1)] = np.uint16(x)
            p -= over
            x >>= over << U64(4)
            inverse = inverses[at]
            q = (x * (inverse >> U64(6))) >> (inverse & U64(63))
            states[lane] = U32(x + q * (whole - f) + U64(entry >> U32(16)))
    return np.int64(p)


@njit(nogil=True, cache=True)
def _encode_span(symbols, contexts, table, inverses, scale, words, states, p, begin):  # type: ignore[no-untyped-def]
    """Code symbols [begin, n) backwards with any number of lanes; the new p."""
    room, whole, lanes = U64(31 - scale), U64(1 << scale), states.size
    for i in range(symbols.size - 1, begin - 1, -1):
        at = (np.int64(contexts[i]) << 8) | np.int64(symbols[i])
        f = U64(table[at] & U32(0xFFFF))
        x = U64(states[i % lanes])
        if x >= (f << room):
            p -= 1
            words[p] = np.uint16(x)
            x >>= U64(16)
        q = (x * (inverses[at] >> U64(6))) >> (inverses[at] & U64(63))
        states[i % lanes] = U32(x + q * (whole - f) + U64(table[at] >> U32(16)))
    return p


@njit(nogil=True, cache=True)
def _decode_bulk(words, contexts, slots, table, scale, states, out, p):  # type: ignore[no-untyped-def]
    """Decode whole groups of 32 from word p on while 32 words are left; (symbols decoded, words read in all)."""
    mask, shift, wide = U32((1 << scale) - 1), U32(scale), U64(scale)
    n, p, i = U64(out.size), U64(p), U64(0)
    limit = U64(words.size)
    while i + U64(32) <= n and p + U64(32) <= limit:
        for k in range(32):
            lane = U64(k)
            c = U64(contexts[i + lane])
            x = states[lane]
            slot = x & mask
            s = slots[(c << wide) | U64(slot)]
            out[i + lane] = s
            entry = table[(c << U64(8)) | U64(s)]
            x = U32(entry & U32(0xFFFF)) * (x >> shift) + slot - U32(entry >> U32(16))
            need = U32(x < U32(_LOW))
            x = (x << (need << U32(4))) | (U32(words[p]) & (U32(0) - need))
            p += U64(need)
            states[lane] = x
        i += U64(32)
    return np.int64(i), np.int64(p)


@njit(nogil=True, cache=True)
def _decode_span(words, contexts, slots, table, scale, states, out, begin, p):  # type: ignore[no-untyped-def]
    """Decode symbols [begin, n) with any number of lanes; words read in all, or -1 if they ran out."""
    mask, lanes = U32((1 << scale) - 1), states.size
    for i in range(begin, out.size):
        c = np.int64(contexts[i])
        x = states[i % lanes]
        slot = x & mask
        s = slots[(c << np.int64(scale)) | np.int64(slot)]
        out[i] = s
        entry = table[(c << 8) | np.int64(s)]
        x = U32(entry & U32(0xFFFF)) * (x >> U32(scale)) + slot - U32(entry >> U32(16))
        if x < U32(_LOW):
            if p >= words.size:
                return -1
            x = (x << U32(16)) | U32(words[p])
            p += 1
        states[i % lanes] = x
    return p


@njit(nogil=True, cache=True)
def _slots(frequencies, scale, slots):  # type: ignore[no-untyped-def]
    """Slot -> symbol for each context, by runs."""
    size = 1 << scale
    for c in range(frequencies.size >> 8):
        at = c * size
        for s in range(256):
            for _ in range(frequencies[(c << 8) | s]):
                slots[at] = s
                at += 1


def decoding_tables(frequencies: NDArray[np.uint16], scale: int) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """(symbol of each slot, uint8 [contexts << scale]; start << 16 | frequency, uint32 [contexts * 256])."""
    slots = np.empty((frequencies.size >> 8) << scale, np.uint8)
    _slots(frequencies, scale, slots)
    return slots, _table(frequencies)


def _table(frequencies: NDArray[np.uint16]) -> NDArray[np.uint32]:
    """Start << 16 | frequency for each context and symbol: one look-up gives both."""
    wide = frequencies.reshape(-1, SYMBOLS).astype(np.uint32)
    starts = np.cumsum(wide, axis=1, dtype=np.uint32) - wide
    return ((starts << np.uint32(16)) | wide).reshape(-1)


@njit(nogil=True, cache=True)
def _inverses(frequencies):  # type: ignore[no-untyped-def]
    """M << 6 | s for each frequency f such that (x * m) >> s == x // f for all x < 2^31.

    s = 31 + k and m = ceil(2^s / f) with 2^(k-1) < f <= 2^k: m f exceeds 2^s by less than f <= 2^k, so x m / 2^s exceeds x / f
    by less than 2^31 2^k / (2^s f) = 1 / f, which never reaches the next integer (Granlund and Montgomery 1994, theorem 4.2).
    """
    out = np.zeros(frequencies.size, np.uint64)
    for i in range(frequencies.size):
        f = U64(frequencies[i])
        if f:
            k = U64(31)
            while (U64(1) << (k - U64(31))) < f:
                k += U64(1)
            out[i] = (((U64(1) << k) + f - U64(1)) // f) << U64(6) | k
    return out


def encode(
    symbols: NDArray[np.uint8], contexts: NDArray[np.uint8], frequencies: NDArray[np.uint16], scale: int
) -> NDArray[np.uint8]:
    """Code `symbols` (uint8 [n] or [steps, n]): symbol i has frequency `frequencies[contexts[i] * 256 + symbols[i]]` of 2^scale.

    `frequencies` is uint16 [contexts * 256]; each context sums to 2^scale (scale <= 14) and no coded symbol has 0. Steps can be
    decoded one after the other, each with contexts that follow from those before.
    """
    rows, columns = np.atleast_2d(symbols), np.atleast_2d(contexts)
    lanes = lanes_for(symbols.size)
    states = np.full(lanes, _LOW, np.uint32)
    words = np.empty(symbols.size + 1 + 2 * lanes, np.uint16)
    table, inverses, first = _table(frequencies), _inverses(frequencies), words.size
    bulk = rows.shape[1] // 32 * 32 if lanes == 32 else 0
    for row, column in zip(rows[::-1], columns[::-1], strict=True):
        args = (row, column, table, inverses, scale, words, states)
        first = _encode_span(*args, first, bulk)
        if bulk:
            first = _encode_bulk(*args, first)
    words[first - 2 * lanes : first] = states.view(np.uint16)
    return words[first - 2 * lanes :].view(np.uint8)


class Decoder:
    """Takes the steps of one stream in turn. The caller guarantees valid tables. Raises FormatError."""

    def __init__(self, payload: bytes | memoryview, count: int, frequencies: NDArray[np.uint16], scale: int) -> None:
        source = Reader(payload, "rANS stream")
        self._states = source.array(lanes_for(count), "<u4").astype(np.uint32)
        if source.remaining % 2:
            raise FormatError("rANS stream: odd length")
        self._words = np.frombuffer(source.raw(source.remaining), "<u2")
        self._slots, self._table = decoding_tables(frequencies, scale)
        self._scale, self._used = scale, 0

    def step(self, contexts: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The next symbols (uint8 [n]); `count` of the constructor is the total over all steps."""
        out, done = np.empty(contexts.size, np.uint8), 0
        args = (self._words, contexts, self._slots, self._table, self._scale, self._states, out)
        if self._states.size == 32:
            done, self._used = _decode_bulk(*args, self._used)
        self._used = _decode_span(*args, done, self._used)
        if self._used < 0:
            raise TruncatedError("rANS stream: ends early")
        return out

    def end(self) -> None:
        """Raises FormatError unless all is read and every state is back where the encoder began."""
        if self._used != self._words.size or not bool((self._states == _LOW).all()):
            raise FormatError("rANS stream: doesn't end where it should")


def decode(
    payload: bytes | memoryview, contexts: NDArray[np.uint8], frequencies: NDArray[np.uint16], scale: int
) -> NDArray[np.uint8]:
    """The inverse of `encode` in one step; the contexts give the length. Raises FormatError."""
    decoder = Decoder(payload, contexts.size, frequencies, scale)
    out = decoder.step(contexts)
    decoder.end()
    return out
