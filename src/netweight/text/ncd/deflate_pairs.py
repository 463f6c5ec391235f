"""What zlib's level 9 makes of many texts after one prefix: their symbols counted (as deflate_slow finds them), and priced.

Most places of a text have no match in the prefix that is better than the one in the text itself. A sieve says so: the
places where one may begin have three bytes that the prefix has, or four if the text's own match has three or more.

The price of symbols can't fall as more of them come, so a pair that will be more than its limit is left before its end:
no code is shorter than the entropy of what there is so far, an optimal one of all that comes is no shorter than that.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from ...entropy.memory import load32, load64, store64
from .deflate_matches import (
    EXTRA,
    LONGEST,
    MATCH_PARTS,
    MATCHES,
    PARTS,
    SHORTEST,
    SUMS,
    SYMBOLS,
    TOO_FAR,
    USED,
    counted,
    hash3,
    longer_match,
    match_symbols,
    parse,
    write_literal,
)
from .deflate_trees import DISTANCES, END_OF_BLOCK, INFORMATION, LITERALS, block_bytes

BEYOND: Final = 1 << 40
"""Bytes: no text is as long."""
SIEVE_WORDS: Final = 1024
"""Of 64 bits: half of them for three bytes, half for four."""
_FOUR: Final = 1 << 15
_ROUNDING: Final = LITERALS + DISTANCES + 2  # of all the terms of an entropy, in units of 2^-16 bits


@njit(nogil=True, cache=True)
def _gram4(text, at):  # type: ignore[no-untyped-def]
    return _FOUR | (np.int64(load32(text, at)) * 2654435761 & 0xFFFFFFFF) >> 17


@njit(nogil=True, cache=True)
def _has(sieve, gram):  # type: ignore[no-untyped-def]
    return (sieve[np.uint64(gram >> 6)] >> np.uint64(gram & 63)) & np.uint64(1)


@njit(nogil=True, cache=True)
def _add(sieve, gram):  # type: ignore[no-untyped-def]
    sieve[gram >> 6] |= np.uint64(1) << np.uint64(gram & 63)


@njit(nogil=True, cache=True)
def grams(text, size, own, out):  # type: ignore[no-untyped-def]
    """What a prefix must have for a match of text[:size] to begin at each place that is better than its own: uint16."""
    for at in range(size):
        if at + SHORTEST <= size:
            out[at] = hash3(text, at) if own[at] < SHORTEST else _gram4(text, at)
        else:
            out[at] = 0


@njit(nogil=True, cache=True)
def fill(text, size, sieve):  # type: ignore[no-untyped-def]
    """The grams of text[:size] into `sieve`, uint64[SIEVE_WORDS]."""
    sieve[:] = 0
    for at in range(1, size - 2):
        _add(sieve, hash3(text, at))
    for at in range(1, size - 3):
        _add(sieve, _gram4(text, at))


@njit(nogil=True, cache=True)
def _least(symbols, parts, matches, match_parts, extra, used, stored):  # type: ignore[no-untyped-def]
    """What `block_bytes` can't be less than, without a tree, whatever comes yet.

    A dynamic block says code lengths in half a bit a symbol or more (a repetition is of six at most, in three bits or
    more); a fixed one has words of seven bits or more, and of five for distances.
    """
    entropy = INFORMATION[np.uint64(symbols)] - parts + INFORMATION[np.uint64(matches)] - match_parts - _ROUNDING
    dynamic = (max(0, entropy) >> 16) + 14 + 3 * 4 + used // 2
    return min((min(dynamic, 7 * symbols + 5 * matches) + extra + 10) >> 3, 5 + stored)


@njit(nogil=True, cache=True)
def _unpacked(sums):  # type: ignore[no-untyped-def]
    return sums[SYMBOLS], sums[PARTS], sums[MATCHES], sums[MATCH_PARTS], sums[EXTRA], sums[USED]


@njit(nogil=True, cache=True)
def _suffix(text, size, at, end, own, own_distances, places, sieve, head, previous, limit, literals, distances, sums):  # type: ignore[no-untyped-def]
    """deflate_slow from `at` on, before which all is written. Returns whether the block may be within its limit."""
    symbols, parts, matches, match_parts, extra, used = _unpacked(sums)
    while at < end:
        here = np.uint64(at - size)
        length, distance = np.int64(own[here]), np.int64(own_distances[here])
        if _has(sieve, np.int64(places[here])):
            most, candidate = min(LONGEST, end - at), np.int64(head[np.uint64(hash3(text, at))])
            found, place = longer_match(text, at, length, most, candidate, previous)
            if place:
                length, distance = found, place
        if length < SHORTEST or (length == SHORTEST and distance > TOO_FAR):
            parts += counted(literals, text[np.uint64(at)])
            symbols += 1
            at += 1
            continue
        while at + 1 < end:  # is there a longer one a byte further on?
            here = np.uint64(at + 1 - size)
            best, further = max(length, np.int64(own[here])), np.int64(own_distances[here])
            if _has(sieve, np.int64(places[here])):
                most, candidate = min(LONGEST, end - at - 1), np.int64(head[np.uint64(hash3(text, at + 1))])
                found, place = longer_match(text, at + 1, best, most, candidate, previous)
                if place:
                    best, further = found, place
            if best <= length:
                break
            parts += counted(literals, text[np.uint64(at)])
            symbols += 1
            at, length, distance = at + 1, best, further
        symbol, far, more = match_symbols(length, distance)
        parts += counted(literals, symbol)
        match_parts += counted(distances, far)
        symbols, matches, extra, at = symbols + 1, matches + 1, extra + more, at + length
        if _least(symbols, parts, matches, match_parts, extra, used, end) > limit:
            return False
    return _least(symbols, parts, matches, match_parts, extra, used, end) <= limit


@njit(nogil=True, cache=True)
def after(text, size, primed, sieve, texts, wanted, limits, work, out):  # type: ignore[no-untyped-def]
    """Bytes of deflate's one block for prefix + suffix, for each suffix of `wanted` (int64), into out (int64[wanted]).

    `text` holds the prefix of `size` bytes and has room for the longest suffix and PADDING; `primed` is what `prime`
    filled, `sieve` what `fill` did. texts: (bytes, offsets, own matches' lengths, their distances, grams); suffix k is
    bytes[offsets[k]:offsets[k + 1]]. What is surely more than its limit (int64 [wanted], bytes) becomes BEYOND.
    """
    head, previous, state_0, literals_0, distances_0, sums_0 = primed
    suffixes, offsets, own, own_distances, places = texts
    state, literals, distances = np.empty(4, np.int64), np.empty(LITERALS, np.int64), np.empty(DISTANCES, np.int64)
    sums, seam, kept = np.empty(SUMS, np.int64), np.empty(5, np.int64), np.empty(5, np.uint64)
    for n in range(len(wanted)):
        start, stop = offsets[wanted[n]], offsets[wanted[n] + 1]
        end = size + stop - start
        out[n] = BEYOND
        if _least(*_unpacked(sums_0), end) > limits[n]:
            continue
        for at in range(0, stop - start, 8):  # up to 7 bytes too many: there is PADDING
            store64(text, size + at, load64(suffixes, start + at))
        state[:], literals[:], distances[:], sums[:] = state_0, literals_0, distances_0, sums_0
        first, last = max(size - 2, 1), min(size, end - 2)
        for at in range(first, last):  # the places whose three bytes lie across the seam
            h = hash3(text, at)
            previous[at] = head[h]
            head[h] = at
        _across(text, size, sieve, seam, kept)
        lengths, far = own[start:stop], own_distances[start:stop]
        parse(text, size, end, False, lengths, far, head, previous, state, literals, distances, sums)
        if state[1]:
            write_literal(text[state[0] - 1], literals, sums)
        within = _suffix(
            text, size, state[0], end, lengths, far, places[start:stop], sieve, head, previous, limits[n], literals,
            distances, sums,
        )  # fmt: skip
        for k in range(5):
            sieve[seam[k] >> 6] = kept[k]
        for at in range(last - 1, first - 1, -1):
            head[hash3(text, at)] = previous[at]
        if within:
            literals[END_OF_BLOCK] += 1
            out[n] = block_bytes(literals, distances, end, work)


@njit(nogil=True, cache=True)
def _across(text, size, sieve, seam, kept):  # type: ignore[no-untyped-def]
    """Add the grams that lie across the seam, whose places and former words go into `seam` and `kept`."""
    first = max(size - 3, 0)
    for k in range(2):
        seam[k] = hash3(text, max(size - 2, 0) + k)
    for k in range(3):
        seam[2 + k] = _gram4(text, first + k)
    for k in range(5):
        kept[k] = sieve[seam[k] >> 6]
    for k in range(5):
        _add(sieve, seam[k])
