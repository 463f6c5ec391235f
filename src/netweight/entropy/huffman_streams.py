"""Huffman coding at the speed of memory: several symbols a look-up, four streams side by side.

A decode table has one uint64 for every `MAX_BITS` bits that may come next: low byte the number of bits of all whole
codes in them (at most six codes), bytes 1 to 6 their symbols, top byte how many. One look-up stores eight bytes
unaligned and moves on by the count, so there's no branch per symbol, and one refill of 57 bits feeds four look-ups.
Four independent streams hide the latency. An encoder looks up two symbols at a time.

Bits go from the high end of each byte down. Everything here is a numba kernel (`nogil`); arrays are one-dimensional and
contiguous. Indices into tables are unsigned, since numba would test signed ones for being negative.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from .huffman import BAD, MAX_BITS, canonical_order
from .memory import load16, load32, load64_big, store16, store64, store64_big

TABLE_SIZE: Final = 2 << MAX_BITS
"""uint64 entries of a decode table: tables for 0, 1, ... MAX_BITS bits, the one for k bits at [2^k, 2^(k+1))."""
PAIR_SYMBOLS: Final = 64
"""Alphabets up to this size are coded two symbols a look-up; larger ones would push the table out of the cache."""
STREAM_HEADER: Final = 14
"""Bytes before the streams: three symbol counts and four lengths in bytes, 16 bits each."""
MAX_SYMBOLS: Final = 1 << 16

_MOST: Final = 6  # symbols in an entry
_LOOKUPS: Final = 4  # per refill: 7 + 4 * MAX_BITS <= 64
_CHUNK: Final = 64  # symbols between two looks at the length of a stream
_U = np.uint64
_SYMBOL_BYTES: Final = np.uint64(0x0000_FFFF_FFFF_FF00)
_OUTER_BYTES: Final = np.uint64(0xFF00_0000_0000_00FF)


@njit(nogil=True, cache=True)
def decode_table(lengths, table):  # type: ignore[no-untyped-def]
    """The table of the code with lengths (uint8[256]) into table (uint64[TABLE_SIZE]); whether the code is complete.

    The table for k bits is, symbol by symbol in canonical order, the symbol put before each entry of the table for the
    bits that are left; where no code is short enough it is 0. Tables that no other table needs are skipped.
    """
    symbols = np.empty(256, np.int64)
    n = canonical_order(lengths, symbols)
    if n == BAD:
        return False
    shortest = np.int64(lengths[symbols[0]])
    table[1] = _U(0)
    for k in range(1, MAX_BITS + 1):
        if MAX_BITS - shortest < k < MAX_BITS:
            continue
        to, end = np.int64(1) << k, np.int64(2) << k
        for i in range(n):
            s = symbols[i]
            bits = np.int64(lengths[s])
            if bits > k:
                break
            size = 1 << (k - bits)
            _put_before(table, to, size, s, lengths, shortest > 1)
            to += size
        for j in range(to, end):
            table[j] = _U(0)
    return True


@njit(nogil=True, cache=True)
def _put_before(table, to, size, symbol, lengths, always_fits):  # type: ignore[no-untyped-def]
    """table[to : to + size] = `symbol`, then each of the `size` entries of the table of that size."""
    head = _U(symbol) << _U(8) | _U(lengths[symbol]) | _U(1) << _U(56)
    source, target = _U(size), _U(to)  # unsigned: numba then has no negative index to think of, and LLVM vectorises
    if always_fits:  # seven codes of two bits or more are over MAX_BITS
        for j in range(source):
            entry = table[source + _U(j)]
            table[target + _U(j)] = ((entry & _SYMBOL_BYTES) << _U(8)) + (entry & _OUTER_BYTES) + head
        return
    for j in range(source):
        entry = table[source + _U(j)]
        if entry >> _U(56) == _U(_MOST):  # drop the last symbol
            entry -= _U(lengths[(entry >> _U(48)) & _U(255)]) + (_U(1) << _U(56))
        table[target + _U(j)] = ((entry & _SYMBOL_BYTES) << _U(8)) + (entry & _OUTER_BYTES) + head


@njit(nogil=True, cache=True)
def pair_table(lengths, words, pairs):  # type: ignore[no-untyped-def]
    """pairs[a | b << 8] (uint32[65536]) = the code of a then b, << 8 | its length; only for symbols that have codes."""
    symbols, n = np.empty(256, np.int64), 0
    for s in range(256):
        if lengths[s]:
            symbols[n] = s
            n += 1
    for j in range(n):
        second, row = words[symbols[j]], symbols[j] << 8
        bits = second & np.uint32(255)
        for i in range(n):
            first = words[symbols[i]]
            code = ((first >> np.uint32(8)) << bits) | (second >> np.uint32(8))
            pairs[symbols[i] | row] = (code << np.uint32(8)) | ((first & np.uint32(255)) + bits)


@njit(nogil=True, cache=True, inline="always")
def _join(first, second):  # type: ignore[no-untyped-def]
    """Two words (code << 8 | length, at most 4 * MAX_BITS bits in all) as one; off the critical path of the buffer."""
    code = (first >> _U(8)) << (second & _U(63)) | second >> _U(8)
    return code << _U(8) | ((first + second) & _U(255))


@njit(nogil=True, cache=True, inline="always")
def _append(buffer, filled, word):  # type: ignore[no-untyped-def]
    """A bit buffer and its fill after `word` (code << 8 | length) was put behind its bits."""
    return buffer << (word & _U(63)) | word >> _U(8), filled + (word & _U(255))


@njit(nogil=True, cache=True, inline="always")
def _flush(buffer, filled, out, at):  # type: ignore[no-untyped-def]
    """Store the bits; returns the fill left (under 8: these bits stay in the buffer) and the next position."""
    store64_big(out, at, buffer << ((_U(64) - filled) & _U(63)))
    return filled & _U(7), at + np.int64(filled >> _U(3))


@njit(nogil=True, cache=True)
def encode_streams(data, start, n, words, pairs, use_pairs, bits, out, at):  # type: ignore[no-untyped-def]
    """Code data[start : start + n] (n <= MAX_SYMBOLS) as four streams at out[at:]; returns the end.

    `words` and `pairs` are the code's, `bits` its exact length in bits for these symbols. Streams are cut where the
    bits, not the symbols, are a quarter each, so that all four take a decoder the same number of look-ups. Needs
    room for STREAM_HEADER + bits / 8 + 4 bytes and 8 more.
    """
    first = at + STREAM_HEADER
    i, end, to = start, start + n, first
    for stream in range(4):
        begin, before = to, i
        limit = first + (bits * (stream + 1) >> 5) if stream < 3 else np.int64(1) << 62
        buffer, filled = _U(0), _U(0)
        while i + _CHUNK <= end and to < limit:
            if use_pairs:
                for k in range(i, i + _CHUNK, 4):
                    word = _join(_U(pairs[load16(data, k)]), _U(pairs[load16(data, k + 2)]))
                    buffer, filled = _append(buffer, filled, word)
                    filled, to = _flush(buffer, filled, out, to)
            else:
                for k in range(i, i + _CHUNK, 4):
                    four = _U(load32(data, k))
                    low = _join(_U(words[four & _U(255)]), _U(words[(four >> _U(8)) & _U(255)]))
                    high = _join(_U(words[(four >> _U(16)) & _U(255)]), _U(words[four >> _U(24)]))
                    buffer, filled = _append(buffer, filled, low)
                    buffer, filled = _append(buffer, filled, high)
                    filled, to = _flush(buffer, filled, out, to)
            i += _CHUNK
        while i < end and to < limit:
            buffer, filled = _append(buffer, filled, _U(words[data[i]]))
            filled, to = _flush(buffer, filled, out, to)
            i += 1
        to += 1 if filled else 0
        if stream < 3:
            store16(out, at + 2 * stream, np.uint16(i - before))
        store16(out, at + 6 + 2 * stream, np.uint16(to - begin))
    return to


@njit(nogil=True, cache=True, inline="always")
def _look_up(table, bits, out, at):  # type: ignore[no-untyped-def]
    """Store the symbols at the head of `bits`; returns the bits that are left, the next position and the entry."""
    entry = table[bits >> _U(64 - MAX_BITS)]
    store64(out, at, entry >> _U(8))
    return bits << (entry & _U(63)), at + np.int64(entry >> _U(56)), entry


@njit(nogil=True, cache=True, inline="always")
def _refill(payload, position):  # type: ignore[no-untyped-def]
    """At least 57 bits from bit `position` on, at the high end of a word."""
    return load64_big(payload, position >> 3) << _U(position & 7)


@njit(nogil=True, cache=True)
def decode_streams(payload, at, n, table, lengths, out, start):  # type: ignore[no-untyped-def]
    """The inverse of `encode_streams`: n <= MAX_SYMBOLS symbols to out[start : start + n]; the end of it, or BAD.

    `table` and `lengths` are those of one complete code. Writes nothing outside its n bytes and reads nothing outside
    the payload, whatever that holds; each stream must end in the byte that the header says.
    """
    if at + STREAM_HEADER > len(payload):
        return BAD
    full = table[1 << MAX_BITS :]
    e0 = start + np.int64(load16(payload, at))
    e1 = e0 + np.int64(load16(payload, at + 2))
    e2 = e1 + np.int64(load16(payload, at + 4))
    e3 = start + n
    f0 = at + STREAM_HEADER + np.int64(load16(payload, at + 6))
    f1 = f0 + np.int64(load16(payload, at + 8))
    f2 = f1 + np.int64(load16(payload, at + 10))
    f3 = f2 + np.int64(load16(payload, at + 12))
    if e2 > e3 or f3 > len(payload):
        return BAD
    o0, o1, o2, o3 = start, e0, e1, e2
    p0, p1, p2, p3 = 8 * (at + STREAM_HEADER), 8 * f0, 8 * f1, 8 * f2
    last = 8 * (len(payload) - 8)  # no refill beyond
    while True:
        room = min(e0 - o0, e1 - o1, e2 - o2, e3 - o3) - (8 - _MOST)
        rounds = min(room // (_MOST * _LOOKUPS), (last - max(p0, p1, p2, p3)) // (MAX_BITS * _LOOKUPS))
        if rounds <= 0:
            break
        for _ in range(rounds):
            b0, b1 = _refill(payload, p0), _refill(payload, p1)
            b2, b3 = _refill(payload, p2), _refill(payload, p3)
            s0, s1, s2, s3 = _U(0), _U(0), _U(0), _U(0)  # their low bytes add up the bits
            for _ in range(_LOOKUPS):
                b0, o0, x0 = _look_up(full, b0, out, o0)
                b1, o1, x1 = _look_up(full, b1, out, o1)
                b2, o2, x2 = _look_up(full, b2, out, o2)
                b3, o3, x3 = _look_up(full, b3, out, o3)
                s0, s1, s2, s3 = s0 + x0, s1 + x1, s2 + x2, s3 + x3
            p0, p1 = p0 + np.int64(s0 & _U(255)), p1 + np.int64(s1 & _U(255))
            p2, p3 = p2 + np.int64(s2 & _U(255)), p3 + np.int64(s3 & _U(255))
    ok = _finish(payload, p0, f0, full, lengths, out, o0, e0)
    ok &= _finish(payload, p1, f1, full, lengths, out, o1, e1)
    ok &= _finish(payload, p2, f2, full, lengths, out, o2, e2)
    ok &= _finish(payload, p3, f3, full, lengths, out, o3, e3)
    return f3 if ok else BAD


@njit(nogil=True, cache=True)
def _finish(payload, position, last_byte, full, lengths, out, at, end):  # type: ignore[no-untyped-def]
    """Decode out[at:end] from bit `position` on, look-up by look-up; whether that ends just before `last_byte`."""
    while at < end:
        byte = position >> 3
        if byte >= last_byte:
            return False
        if byte + 8 <= len(payload):
            word = load64_big(payload, byte)
        else:
            word = _U(0)
            for k in range(byte, len(payload)):
                word |= _U(payload[k]) << _U(56 - 8 * (k - byte))
        entry = full[(word << _U(position & 7)) >> _U(64 - MAX_BITS)]
        if at + 8 <= end:
            store64(out, at, entry >> _U(8))
            at += np.int64(entry >> _U(56))
            position += np.int64(entry & _U(255))
            continue
        for k in range(min(end - at, np.int64(entry >> _U(56)))):
            symbol = np.uint8((entry >> _U(8 * k + 8)) & _U(255))
            out[at] = symbol
            at += 1
            position += np.int64(lengths[symbol])
    return (position + 7) >> 3 == last_byte
