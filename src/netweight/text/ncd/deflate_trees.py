"""How many bytes zlib's deflate writes for one last block, from the counts of its symbols: no bit of it is written.

This follows trees.c of zlib 1.2 and 1.3 step by step (build_tree, gen_bitlen, scan_tree, _tr_flush_block; Gailly and
Adler), because an optimal code isn't unique: which of two equally rare symbols gets the longer word decides what the
run lengths of RFC 1951, section 3.2.7, cost. Its heap compares (count, depth), so does this one.

An entry of the heap is an int64, count << 24 | depth << 16 | node: what is above bit 16 is what zlib compares.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

LITERALS: Final = 286
"""Symbols of the literal and length alphabet: 256 bytes, the end of the block, 29 lengths."""
DISTANCES: Final = 30
END_OF_BLOCK: Final = 256
_RUNS: Final = 19
_NODES: Final = 2 * LITERALS + 1
_LONGEST: Final = 15  # bits of a code word
_LONGEST_RUN: Final = 7  # bits of a code word for run lengths


def _extra(codes: int, first: int, group: int) -> NDArray[np.int64]:
    """Extra bits of length or distance codes: `first` codes with none, then one more every `group` codes."""
    return np.maximum(0, (np.arange(codes) - first) // group + 1)


LENGTH_EXTRA: Final = np.concatenate([np.zeros(257, np.int64), _extra(28, 8, 4), [0]])
DISTANCE_EXTRA: Final = _extra(DISTANCES, 4, 2)
_RUN_ORDER: Final = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15])
_FIXED_DISTANCE: Final = np.full(DISTANCES, 5)
_FIXED_LITERAL: Final = np.array([8] * 144 + [9] * 112 + [7] * 24 + [8] * 6)


def _information(most: int) -> NDArray[np.int64]:
    """Of n = 0 .. most the n log2 n, in units of 2^-16 bits, rounded."""
    n = np.arange(most + 1)
    return np.rint(n * np.log2(np.maximum(n, 1)) * 65536).astype(np.int64)


INFORMATION: Final = _information(1 << 14)
"""Of as many symbols as a block has at most."""


def workspace() -> NDArray[np.int64]:
    """What `block_bytes` works in, int64[7, nodes]: runs, used symbols, parents, lengths, heap, order, words a length."""
    return np.zeros((7, _NODES + 2), np.int64)


@njit(nogil=True, cache=True)
def _sift(heap, size, start):  # type: ignore[no-untyped-def]
    """pqdownheap: let the entry at `start` (1-based) sink. Places are unsigned: numba then doesn't ask for negative ones."""
    one, end, at = np.uint64(1), np.uint64(size), np.uint64(start)
    value, child = heap[at], at << one
    key = value >> 16
    while child < end:
        left, right = heap[child], heap[child + one]
        if right >> 16 <= left >> 16:
            left = right
            child += one
        if key <= left >> 16:
            heap[at] = value
            return
        heap[at] = left
        at, child = child, child << one
    if child == end and heap[child] >> 16 < key:
        heap[at] = heap[child]
        at = child
    heap[at] = value


@njit(nogil=True, cache=True)
def _gather(counts, used, symbols, heap):  # type: ignore[no-untyped-def]
    """Entries of the symbols that occur, at least two: zlib adds some. Returns (entries, symbols added)."""
    size, added = 0, 0
    for symbol in range(symbols):
        if counts[symbol]:
            used[size] = symbol
            size += 1
            heap[size] = counts[symbol] << 24 | symbol
    while size < 2:
        symbol = used[0] + 1 if size and used[0] < 2 else 0
        if size and symbol < used[0]:
            used[0], used[1] = symbol, used[0]
        else:
            used[size] = symbol
        counts[symbol] = 1
        size, added = size + 1, added + 1
        heap[size] = 1 << 24 | symbol
    return size, added


@njit(nogil=True, cache=True)
def _join(heap, size, symbols, parents, order):  # type: ignore[no-untyped-def]
    """Huffman's algorithm: parents, and in `order` the nodes, the root first. Returns (its start, bits of all symbols)."""
    for k in range(size >> 1, 0, -1):
        _sift(heap, size, k)
    top, node, bits = _NODES, symbols, 0
    while size >= 2:
        least = heap[1]
        heap[1] = heap[size]
        size -= 1
        _sift(heap, size, 1)
        second = heap[1]
        a, b = least & 0xFFFF, second & 0xFFFF
        top -= 2
        order[np.uint64(top)], order[np.uint64(top + 1)] = b, a
        parents[np.uint64(a)] = parents[np.uint64(b)] = node
        depth = max(least >> 16 & 0xFF, second >> 16 & 0xFF) + 1
        count = (least >> 24) + (second >> 24)
        bits += count
        heap[1] = count << 24 | depth << 16 | node
        _sift(heap, size, 1)
        node += 1
    order[top - 1] = node - 1
    return top - 1, bits


@njit(nogil=True, cache=True)
def _shorten(counts, lengths, order, per_length, overflow, longest, symbols):  # type: ignore[no-untyped-def]
    """gen_bitlen's second half: bring codes that are too long down to `longest` bits. Returns the bits of all symbols."""
    while overflow > 0:
        bits = longest - 1
        while per_length[bits] == 0:
            bits -= 1
        per_length[bits] -= 1
        per_length[bits + 1] += 2
        per_length[longest] -= 1
        overflow -= 2
    at, total = _NODES, 0
    for bits in range(longest, 0, -1):
        left = per_length[bits]
        while left:
            at -= 1
            if order[at] < symbols:
                lengths[order[at]] = bits
                total += counts[order[at]] * bits
                left -= 1
    return total


@njit(nogil=True, cache=True)
def _code(counts, symbols, longest, work):  # type: ignore[no-untyped-def]
    """Code lengths of the symbols that occur; returns (how many, bits of all of them without those that were added)."""
    used, parents, lengths, heap, order, per_length = work[1], work[2], work[3], work[4], work[5], work[6]
    size, added = _gather(counts, used, symbols, heap)
    start, total = _join(heap, size, symbols, parents, order)
    per_length[: longest + 1] = 0
    lengths[order[start]] = 0
    overflow = 0
    for at in range(start + 1, _NODES):
        node = order[np.uint64(at)]
        bits = lengths[np.uint64(parents[np.uint64(node)])] + 1
        if bits > longest:
            bits = longest
            overflow += 1
        lengths[np.uint64(node)] = bits
        if node < symbols:
            per_length[np.uint64(bits)] += 1
    if overflow:
        total = _shorten(counts, lengths, order, per_length, overflow, longest, symbols)
    return size, total - added


@njit(nogil=True, cache=True)
def _zeros(run, counts):  # type: ignore[no-untyped-def]
    """scan_tree: count the symbols that send a run of lengths 0."""
    while run >= 138:
        counts[18] += 1
        run -= 138
    if run >= 11:
        counts[18] += 1
    elif run >= 3:
        counts[17] += 1
    else:
        counts[0] += run


@njit(nogil=True, cache=True)
def _repeats(length, run, counts):  # type: ignore[no-untyped-def]
    """scan_tree: count the symbols that send a run of one length: itself, then repetitions of 3 to 6."""
    if run >= 4:
        counts[length] += 1
        counts[16] += 1
        run -= min(run, 7)
        while run >= 3:
            counts[16] += 1
            run -= min(run, 6)
    counts[length] += run


@njit(nogil=True, cache=True)
def _runs(lengths, used, size, counts):  # type: ignore[no-untyped-def]
    """scan_tree: count the symbols that send the code lengths of used[:size] (ascending) and of those between them."""
    following, at = 0, 0
    while at < size:
        symbol = used[at]
        if symbol > following:
            _zeros(symbol - following, counts)
        length, run = lengths[symbol], 1
        while at + run < size and used[at + run] == symbol + run and lengths[symbol + run] == length:
            run += 1
        _repeats(length, run, counts)
        at, following = at + run, symbol + run


@njit(nogil=True, cache=True)
def _weighted(counts, used, size, weights):  # type: ignore[no-untyped-def]
    total = 0
    for k in range(size):
        symbol = np.uint64(used[k])
        total += counts[symbol] * weights[symbol]
    return total


@njit(nogil=True, cache=True)
def block_bytes(literals, distances, stored, work):  # type: ignore[no-untyped-def]
    """Bytes of the last block, padded: the shortest of a stored, a fixed and a dynamic one, as zlib chooses.

    literals int64[286] (the end of the block counted) and distances int64[30] are counts, at most 2^16 in all, and may
    be altered; `stored` is the length of the text in bytes; `work` is `workspace()`.
    """
    runs, used, lengths = work[0], work[1], work[3]
    runs[:_RUNS] = 0
    matches = 0
    for k in range(DISTANCES):
        matches += distances[k]
    size, dynamic = _code(literals, LITERALS, _LONGEST, work)
    extra = _weighted(literals, used, size, LENGTH_EXTRA)
    fixed = _weighted(literals, used, size, _FIXED_LITERAL) + 5 * matches
    _runs(lengths, used, size, runs)
    size, bits = _code(distances, DISTANCES, _LONGEST, work)
    extra += _weighted(distances, used, size, DISTANCE_EXTRA)
    _runs(lengths, used, size, runs)
    dynamic += bits
    _, bits = _code(runs, _RUNS, _LONGEST_RUN, work)
    dynamic += bits + 2 * runs[16] + 3 * runs[17] + 7 * runs[18]
    dynamic += 3 * _sent(runs) + 14
    best = min((dynamic + extra + 10) >> 3, (fixed + extra + 10) >> 3)
    return 5 + stored if stored + 4 <= best else best


@njit(nogil=True, cache=True)
def _sent(runs):  # type: ignore[no-untyped-def]
    """How many lengths of the code for run lengths are sent: up to the last that isn't 0."""
    last = _RUNS - 1
    while last > 3 and runs[_RUN_ORDER[last]] == 0:
        last -= 1
    return last + 1
