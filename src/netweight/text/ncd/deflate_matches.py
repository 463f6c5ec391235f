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

from ...entropy.memory import load16, load32, load64, store64
from .deflate_trees import DISTANCES, END_OF_BLOCK, LITERALS, block_bytes, least_bytes

LONGEST_TEXT: Final = 16_383
"""Bytes of prefix and suffix: more symbols would be two blocks."""
LONGEST_CHAIN: Final = 1_000
"""Places of one hash: zlib gives up after 1,024 when it has a match of 32 bytes."""
BEYOND: Final = 1 << 40
"""Bytes: no text is as long."""
PADDING: Final = 272
HASHES: Final = 1 << 15
_SHORTEST: Final = 3
_LONGEST: Final = 258
_TOO_FAR: Final = 4096  # a match of 3 bytes from further away isn't worth its distance


def _symbols(extra: list[int], base: int) -> NDArray[np.int64]:
    """Symbol of each value from 0 on, where symbol base + k covers 2^extra[k] values."""
    return np.repeat(np.arange(len(extra)) + base, 1 << np.array(extra))


_LENGTH_SYMBOL: Final = np.concatenate(
    [np.zeros(3, np.int64), _symbols([0] * 4 + [k // 4 for k in range(24)], 257)[:255], [285]]
)
_DISTANCE_SYMBOL: Final = _symbols([0, 0, *(k // 2 for k in range(28))], 0)


@njit(nogil=True, cache=True)
def _hash(text, at):  # type: ignore[no-untyped-def]
    word = np.int64(load32(text, at))
    return ((word & 255) << 10 ^ (word >> 8 & 255) << 5 ^ word >> 16 & 255) & (HASHES - 1)


@njit(nogil=True, cache=True)
def _common(text, a, b, most):  # type: ignore[no-untyped-def]
    """How many bytes from `a` and from `b` are the same, at most `most`."""
    length = 0
    while length < most and text[a + length] == text[b + length]:
        length += 1
    return length


@njit(nogil=True, cache=True)
def _link(text, size, head, previous):  # type: ignore[no-untyped-def]
    """Chains of all places of text[:size]; returns how many places share a hash at most."""
    counts = np.zeros(HASHES, np.int32)
    longest = 0
    for at in range(size - 2):
        h = _hash(text, at)
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
        best, place = _SHORTEST - 1, at
        most = min(_LONGEST, size - at)
        candidate = previous[at] if at + _SHORTEST <= size else -1
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
    if at + _SHORTEST > size:
        return False
    if at + _LONGEST < size:
        return True
    candidate = previous[at]
    while candidate > 0:
        if _common(text, candidate, at, size - at) == size - at:
            return False
        candidate = previous[candidate]
    return True


@njit(nogil=True, cache=True)
def _parse(text, size, end, whole, own, own_distances, head, previous, state, literals, distances):  # type: ignore[no-untyped-def]
    """deflate_slow from `state` on: text[:size] is the prefix, text[size:end] a suffix with its own matches.

    Unless that is the `whole` text, it stops before the first place that isn't settled. state is int64[4]: the next place,
    whether the byte before it is still to be written, length and distance of the match found there.
    """
    at, pending, before, before_distance = state[0], state[1], state[2], state[3]
    while at < end and (whole or _settled(text, at, size, previous)):
        length, distance, best, most = _SHORTEST - 1, 0, before, min(_LONGEST, end - at)
        candidate = np.int64(0)
        if at >= size:
            if own[at - size] > best:
                best = length = np.int64(own[at - size])
                distance = np.int64(own_distances[at - size])
            if most >= _SHORTEST:
                candidate = np.int64(head[_hash(text, at)])
        elif most >= _SHORTEST:
            candidate = np.int64(previous[at])
        if candidate > 0 and best < most:
            first, last = load16(text, at), load16(text, at + best - 1)
            while candidate > 0:
                if load16(text, candidate + best - 1) == last and load16(text, candidate) == first:
                    common = _common(text, candidate, at, most)
                    if common > best:
                        best = length = common
                        distance = at - candidate
                        if best >= most:
                            break
                        last = load16(text, at + best - 1)
                candidate = np.int64(previous[candidate])
        if length == _SHORTEST and distance > _TOO_FAR:
            length = _SHORTEST - 1
        if before >= _SHORTEST and length <= before:
            literals[_LENGTH_SYMBOL[before]] += 1
            distances[_DISTANCE_SYMBOL[before_distance - 1]] += 1
            at, pending, before = at + before - 1, 0, _SHORTEST - 1
        else:
            if pending:
                literals[text[at - 1]] += 1
            at, pending, before, before_distance = at + 1, 1, length, distance
    state[0], state[1], state[2], state[3] = at, pending, before, before_distance


@njit(nogil=True, cache=True)
def prime(text, size, head, previous, state, literals, distances):  # type: ignore[no-untyped-def]
    """Code text[:size] as far as nothing that follows can change it; returns how many places share a hash at most.

    Fills `head`, `previous` (int16, as long as the text), `state` (int64[4]) and the counts of symbols.
    """
    head[:], literals[:], distances[:], state[:] = 0, 0, 0, 0
    state[2] = _SHORTEST - 1
    longest = _link(text, size, head, previous)
    _parse(text, size, size, False, previous[:0], previous[:0], head, previous, state, literals, distances)
    return longest


@njit(nogil=True, cache=True)
def after(text, size, primed, suffixes, offsets, wanted, own, own_distances, limits, work, out):  # type: ignore[no-untyped-def]
    """Bytes of deflate's one block for prefix + suffix, for each suffix of `wanted` (int64), into out (int64[wanted]).

    `text` holds the prefix of `size` bytes and has room for the longest suffix and PADDING; `primed` is what `prime`
    filled: (head, previous, state, literals, distances). Suffix k is suffixes[offsets[k]:offsets[k + 1]]. What is surely
    more than its limit (int64 [wanted], bytes) becomes BEYOND.
    """
    head, previous, state_0, literals_0, distances_0 = primed
    state, literals, distances = np.empty(4, np.int64), np.empty(LITERALS, np.int64), np.empty(DISTANCES, np.int64)
    for n in range(len(wanted)):
        start, stop = offsets[wanted[n]], offsets[wanted[n] + 1]
        end = size + stop - start
        for at in range(0, stop - start, 8):  # up to 7 bytes too many: there is PADDING
            store64(text, size + at, load64(suffixes, start + at))
        state[:], literals[:], distances[:] = state_0, literals_0, distances_0
        first, last = max(size - 2, 1), min(size, end - 2)
        for at in range(first, last):  # the places whose three bytes lie across the seam
            h = _hash(text, at)
            previous[at] = head[h]
            head[h] = at
        _parse(
            text,
            size,
            end,
            True,
            own[start:stop],
            own_distances[start:stop],
            head,
            previous,
            state,
            literals,
            distances,
        )
        for at in range(last - 1, first - 1, -1):
            head[_hash(text, at)] = previous[at]
        if state[1]:
            literals[text[end - 1]] += 1
        literals[END_OF_BLOCK] += 1
        if limits[n] < BEYOND and least_bytes(literals, distances, end) > limits[n]:
            out[n] = BEYOND
        else:
            out[n] = block_bytes(literals, distances, end, work)
