"""zlib's level 9 search for matches, for many texts after one prefix: deflate_slow and longest_match of deflate.c.

At level 9 zlib takes the longest match, the nearest of the longest, and looks one byte further before it takes it. In a
window that holds all of a short text (`LONGEST_TEXT`) and with hash chains too short to be cut (`LONGEST_CHAIN`) that
is all there is to it, so the longest match of each place in a suffix *with the suffix itself* is found once, and only
the prefix is searched for each pair. The state after the prefix is found once too: up to the first place whose match
depends on what follows.

Texts are bytes of one uint8 array with `PADDING` bytes after the last, so that words can be read at any place. Places of
a text count from 0; hashes are zlib's; chains are `head` (int16[32768], 0 for none) and `previous` (int16[places]).
As in zlib, no match begins at place 0.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy.memory import load16, load32
from .deflate_trees import DISTANCE_EXTRA, INFORMATION, LENGTH_EXTRA

LONGEST_TEXT: Final = 16_383
"""Bytes of prefix and suffix: more symbols would be two blocks."""
LONGEST_CHAIN: Final = 1_000
"""Places of one hash: zlib gives up after 1,024 when it has a match of 32 bytes."""
PADDING: Final = 272
HASHES: Final = 1 << 15
SHORTEST: Final = 3
LONGEST: Final = 258
TOO_FAR: Final = 4096  # a match of 3 bytes from further away isn't worth its distance


def _symbols(extra: list[int], base: int) -> NDArray[np.int64]:
    """Symbol of each value from 0 on, where symbol base + k covers 2^extra[k] values."""
    return np.repeat(np.arange(len(extra)) + base, 1 << np.array(extra))


_LENGTH_SYMBOL: Final = np.concatenate(
    [np.zeros(3, np.int64), _symbols([0] * 4 + [k // 4 for k in range(24)], 257)[:255], [285]]
)
_DISTANCE_SYMBOL: Final = _symbols([0, 0, *(k // 2 for k in range(28))], 0)


_GAIN: Final = np.diff(INFORMATION)

SYMBOLS: Final = 0
"""Of the sums of what is written: literals and matches, how many; then n log2 n of each of their symbols' counts."""
PARTS: Final = 1
MATCHES: Final = 2
"""Matches alone, and the same of their distances."""
MATCH_PARTS: Final = 3
EXTRA: Final = 4
"""Bits that no tree codes."""
USED: Final = 5
"""Symbols that occur."""
SUMS: Final = 6


@njit(nogil=True, cache=True)
def counted(counts, symbol):  # type: ignore[no-untyped-def]
    """Count a symbol; returns by how much its n log2 n grows, in the units of INFORMATION."""
    count = counts[np.uint64(symbol)]
    counts[np.uint64(symbol)] = count + 1
    return _GAIN[np.uint64(count)]


@njit(nogil=True, cache=True)
def match_symbols(length, distance):  # type: ignore[no-untyped-def]
    """(symbol of the length, symbol of the distance, extra bits of both)."""
    symbol, far = _LENGTH_SYMBOL[np.uint64(length)], _DISTANCE_SYMBOL[np.uint64(distance - 1)]
    return symbol, far, LENGTH_EXTRA[np.uint64(symbol)] + DISTANCE_EXTRA[np.uint64(far)]


@njit(nogil=True, cache=True)
def write_literal(byte, literals, sums):  # type: ignore[no-untyped-def]
    """Count a literal and sum it up."""
    sums[SYMBOLS] += 1
    sums[USED] += literals[byte] == 0
    sums[PARTS] += counted(literals, byte)


@njit(nogil=True, cache=True)
def _write_match(length, distance, literals, distances, sums):  # type: ignore[no-untyped-def]
    symbol, far, extra = match_symbols(length, distance)
    write_literal(symbol, literals, sums)
    sums[MATCHES] += 1
    sums[USED] += distances[far] == 0
    sums[MATCH_PARTS] += counted(distances, far)
    sums[EXTRA] += extra


@njit(nogil=True, cache=True)
def hash3(text, at):  # type: ignore[no-untyped-def]
    word = np.int64(load32(text, at))
    return ((word & 255) << 10 ^ (word >> 8 & 255) << 5 ^ word >> 16 & 255) & (HASHES - 1)


@njit(nogil=True, cache=True)
def _common(text, a, b, most):  # type: ignore[no-untyped-def]
    """How many bytes from `a` and from `b` are the same, at most `most`."""
    length = 0
    while length < most and text[np.uint64(a + length)] == text[np.uint64(b + length)]:
        length += 1
    return length


@njit(nogil=True, cache=True)
def _link(text, size, head, previous):  # type: ignore[no-untyped-def]
    """Chains of all places of text[:size]; returns how many places share a hash at most."""
    counts = np.zeros(HASHES, np.int32)
    longest = 0
    for at in range(size - 2):
        h = hash3(text, at)
        previous[at] = head[h]
        head[h] = at
        counts[h] += 1
        longest = max(longest, np.int64(counts[h]))
    return longest


@njit(nogil=True, cache=True)
def own_matches(text, size, head, previous, lengths, distances):  # type: ignore[no-untyped-def]
    """The longest match of each place of text[:size] within it, into lengths and distances (int16[size]; 2, 0 for none).

    Returns how many places share a hash at most. `head` and `previous` are scratch. Here place 0 may be matched: the text
    will stand after a prefix.
    """
    head[:] = -1
    longest = _link(text, size, head, previous)
    for at in range(size):
        best, place = SHORTEST - 1, at
        most = min(LONGEST, size - at)
        candidate = previous[at] if at + SHORTEST <= size else -1
        while candidate >= 0 and best < most:
            if text[candidate + best] == text[at + best]:
                length = _common(text, candidate, at, most)
                if length > best:
                    best, place = length, candidate
            candidate = previous[candidate]
        lengths[at], distances[at] = best, at - place
    return longest


@njit(nogil=True, cache=True)
def _settled(text, at, size, previous):  # type: ignore[no-untyped-def]
    """Whether the longest match at `at` is the same whatever follows text[:size]: no candidate is equal to the end."""
    if at + SHORTEST > size:
        return False
    if at + LONGEST < size:
        return True
    candidate = previous[at]
    while candidate > 0:
        if _common(text, candidate, at, size - at) == size - at:
            return False
        candidate = previous[candidate]
    return True


@njit(nogil=True, cache=True)
def longer_match(text, at, best, most, candidate, previous):  # type: ignore[no-untyped-def]
    """The nearest of the longest matches of more than `best` bytes at `at`, along the chain from `candidate`.

    Returns (length, distance), or (best, 0) if there is none. No match is longer than `most`.
    """
    distance = 0
    if best < most:
        first, last = load16(text, at), load16(text, at + best - 1)
        while candidate > 0:
            if load16(text, candidate + best - 1) == last and load16(text, candidate) == first:
                common = _common(text, candidate, at, most)
                if common > best:
                    best, distance = common, at - candidate
                    if best >= most:
                        break
                    last = load16(text, at + best - 1)
            candidate = np.int64(previous[np.uint64(candidate)])
    return best, distance


@njit(nogil=True, cache=True)
def parse(text, size, end, alone, own, own_distances, head, previous, state, literals, distances, sums):  # type: ignore[no-untyped-def]
    """deflate_slow from `state` on: text[:size] is the prefix, text[size:end] a suffix with its own matches.

    The prefix `alone` (then end is size) is written up to the first place that isn't settled. Otherwise it stops at the
    first place in the suffix before which all can be written. state is int64[4]: the next place, whether the byte before
    it is still to be written, length and distance of the match found there.
    """
    at, pending, before, before_distance = state[0], state[1], state[2], state[3]
    while at < end:
        if alone:
            if not _settled(text, at, size, previous):
                break
        elif at >= size and before < SHORTEST:
            break
        length, distance, best, most = SHORTEST - 1, 0, before, min(LONGEST, end - at)
        candidate = np.int64(0)
        if at >= size:
            if own[at - size] > best:
                best = length = np.int64(own[at - size])
                distance = np.int64(own_distances[at - size])
            if most >= SHORTEST:
                candidate = np.int64(head[hash3(text, at)])
        elif most >= SHORTEST:
            candidate = np.int64(previous[at])
        found, place = longer_match(text, at, best, most, candidate, previous)
        if place:
            length, distance = found, place
        if length == SHORTEST and distance > TOO_FAR:
            length = SHORTEST - 1
        if before >= SHORTEST and length <= before:
            _write_match(before, before_distance, literals, distances, sums)
            at, pending, before = at + before - 1, 0, SHORTEST - 1
        else:
            if pending:
                write_literal(text[at - 1], literals, sums)
            at, pending, before, before_distance = at + 1, 1, length, distance
    state[0], state[1], state[2], state[3] = at, pending, before, before_distance


@njit(nogil=True, cache=True)
def prime(text, size, head, previous, state, literals, distances, sums):  # type: ignore[no-untyped-def]
    """Code text[:size] as far as nothing that follows can change it; returns how many places share a hash at most.

    Fills `head`, `previous` (int16, as long as the text), `state` (int64[4]), the counts of symbols and their `sums` (int64[SUMS]).
    """
    head[:], literals[:], distances[:], state[:], sums[:] = 0, 0, 0, 0, 0
    state[2] = SHORTEST - 1
    longest = _link(text, size, head, previous)
    parse(text, size, size, True, previous[:0], previous[:0], head, previous, state, literals, distances, sums)
    return longest
