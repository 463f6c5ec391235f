"""Canonical length-limited Huffman codes of bytes: counting, code lengths, code words, and the lengths on the wire.

Codes are at most `MAX_BITS` long and optimal under that limit (package-merge: Larmore and Hirschberg, "A fast algorithm
for optimal length-limited Huffman codes", 1990). They are canonical, so a code on the wire is 256 lengths, written in
nibbles with run lengths. huffman_streams.py codes bytes with them.

Everything here is a numba kernel (`nogil`); arrays are one-dimensional and contiguous. Kernels that read a payload
bound every access by its length and return `BAD` instead of raising.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from .memory import load64

MAX_BITS: Final = 12
BAD: Final = -1

_ZEROS, _REPEAT, _MANY_ZEROS = 13, 14, 15  # nibbles above MAX_BITS: runs
_U = np.uint64


@njit(nogil=True, cache=True)
def histogram(data, start, n, counts, work):  # type: ignore[no-untyped-def]
    """Counts of the bytes data[start : start + n] into counts (int64[256]); `work` is uint32[1024].

    Four tables take turns, since two increments of one counter in a row wait for each other.
    """
    work[:] = 0
    for i in range(start, start + n - 7, 8):
        w = load64(data, i)
        for k in range(8):
            work[_U((k & 3) << 8) + ((w >> _U(8 * k)) & _U(255))] += np.uint32(1)
    for i in range(start + n - (n & 7), start + n):
        work[np.int64(data[i])] += np.uint32(1)
    for s in range(256):
        counts[s] = np.int64(work[s]) + work[256 + s] + work[512 + s] + work[768 + s]


@njit(nogil=True, cache=True)
def _sorted_symbols(counts, keys):  # type: ignore[no-untyped-def]
    """Ascending count << 8 | symbol of all symbols that occur, into keys (int64[256]); returns how many."""
    n = 0
    for s in range(256):
        if counts[s] > 0:
            keys[n] = counts[s] << 8 | s
            n += 1
    for gap in (57, 23, 10, 4, 1):  # Shell's sort: short lists, no allocation
        for i in range(gap, n):
            key, j = keys[i], i
            while j >= gap and keys[j - gap] > key:
                keys[j] = keys[j - gap]
                j -= gap
            keys[j] = key
    return n


@njit(nogil=True, cache=True)
def code_lengths(counts, lengths, work):  # type: ignore[no-untyped-def]
    """Optimal code lengths up to MAX_BITS for counts (int64[256]) into lengths (uint8[256]); 0 for what doesn't occur.

    Package-merge: level by level, the sorted symbols merge with the packages (pairs) of the level below; a symbol is as
    long as it is often among the first 2n - 2 of the top level. `work` is int64[2048]. Returns the number of symbols;
    with fewer than two there is no code and all lengths are 0.
    """
    keys, flags, lower, upper = work[:256], work[256:1024].view(np.uint8), work[1024:1536], work[1536:2048]
    lengths[:] = 0
    n = _sorted_symbols(counts, keys)
    if n < 2:
        return n
    size = 0
    for level in range(MAX_BITS):
        packages, size = size >> 1, n + (size >> 1)
        item, package = 0, 0
        for k in range(size):
            weight = lower[2 * package] + lower[2 * package + 1] if package < packages else np.int64(1) << 62
            is_item = item < n and (keys[item] >> 8) <= weight
            flags[level * 512 + k] = is_item
            if is_item:
                upper[k] = keys[item] >> 8
                item += 1
            else:
                upper[k] = weight
                package += 1
        lower, upper = upper, lower
    taken = np.int64(2 * n - 2)
    for level in range(MAX_BITS - 1, -1, -1):
        items = np.int64(0)
        for k in range(taken):
            items += np.int64(flags[level * 512 + k])
        for k in range(items):
            lengths[keys[k] & 255] += np.uint8(1)
        taken = 2 * (taken - items)
    return n


@njit(nogil=True, cache=True)
def canonical_order(lengths, symbols):  # type: ignore[no-untyped-def]
    """Symbols by length (uint8[256]), equal ones by value, into symbols (int64[256]); returns how many.

    BAD unless the code is complete: Kraft's sum is exactly 1, so that every bit string decodes. A lone symbol has none.
    """
    place = np.zeros(MAX_BITS + 2, np.int64)
    for s in range(256):
        place[lengths[s]] += 1
    n, code = np.int64(0), np.int64(0)
    for bits in range(1, MAX_BITS + 1):
        code = 2 * code + place[bits]
        if code > 1 << bits:
            return BAD
        place[bits], n = n, n + place[bits]
    for s in range(256):
        if lengths[s]:
            symbols[place[lengths[s]]] = s
            place[lengths[s]] += 1
    return n if code == 1 << MAX_BITS else BAD


@njit(nogil=True, cache=True)
def code_words(lengths, words):  # type: ignore[no-untyped-def]
    """Canonical codes of lengths (uint8[256], a complete code) into words (uint32[256]), each code << 8 | length."""
    symbols = np.empty(256, np.int64)
    code, bits = np.int64(0), np.int64(0)
    for i in range(canonical_order(lengths, symbols)):
        longer = np.int64(lengths[symbols[i]])
        code, bits = code << (longer - bits), longer
        words[symbols[i]] = np.uint32(code << 8 | bits)
        code += 1


@njit(nogil=True, cache=True)
def write_lengths(lengths, out, at):  # type: ignore[no-untyped-def]
    """Write code lengths (uint8[256]) as nibbles, low first, from out[at] on; returns the end (at most 129 bytes on).

    0..12 a length; 13, r: r + 2 zeros; 14, r: the last length r + 2 times more; 15, r, q: 16 q + r + 18 zeros.
    """
    half, s = 2 * at, np.int64(0)
    while s < 256:
        value, run = np.int64(lengths[s]), np.int64(1)
        while s + run < 256 and lengths[s + run] == value:
            run += 1
        nibbles, used, step = value, 1, np.int64(1)
        if value == 0 and run >= 18:
            step = run
            nibbles, used = _MANY_ZEROS | (run - 18) << 4, 3
        elif value == 0 and run >= 2:
            step = run
            nibbles, used = _ZEROS | (run - 2) << 4, 2
        elif s > 0 and value == lengths[s - 1] and run >= 2:
            step = run if run < 17 else np.int64(17)
            nibbles, used = _REPEAT | (step - 2) << 4, 2
        for _ in range(used):
            if half & 1:
                out[half >> 1] |= np.uint8((nibbles & 15) << 4)
            else:
                out[half >> 1] = np.uint8(nibbles & 15)
            half, nibbles = half + 1, nibbles >> 4
        s += step
    return (half + 1) >> 1


@njit(nogil=True, cache=True)
def read_lengths(payload, at, lengths):  # type: ignore[no-untyped-def]
    """The inverse of `write_lengths`; BAD if the payload ends or the runs pass symbol 255."""
    half, end, s, last = 2 * at, 2 * len(payload), 0, np.uint8(0)
    while s < 256:
        if half >= end:
            return BAD
        nibble = (payload[half >> 1] >> (4 * (half & 1))) & 15
        half += 1
        run = np.int64(1)
        if nibble > MAX_BITS:
            used = 2 if nibble == _MANY_ZEROS else 1
            if half + used > end:
                return BAD
            run = np.int64(18 if nibble == _MANY_ZEROS else 2)
            for k in range(used):
                run += np.int64((payload[half >> 1] >> (4 * (half & 1))) & 15) << (4 * k)
                half += 1
            if nibble != _REPEAT:
                last = np.uint8(0)
        else:
            last = np.uint8(nibble)
        if s + run > 256:
            return BAD
        for _ in range(run):
            lengths[s] = last
            s += 1
    return (half + 1) >> 1
