"""The kernels of urn.py: one walk along a record that takes it out of the counts, prices it, or pops it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from ...entropy.fixedpoint import SQUASH, STRETCH, STRETCH_LIMIT
from ...entropy.stack import U64, pop_one, push_one, slot_of

REMOVE, PRICE, DECODE = 0, 1, 2
ALL, ROW, BESIDE, COLUMN, LEFT, CLASS, WIDE, ABOVE = range(8)
CONTEXTS: Final = 8
SETS: Final = 32
"""Sets of weights, by decision."""
CLASSES: Final = 16
ROWS: Final = 33
SIDES: Final = 8
AROUND: Final = 24
UNARY_NODES: Final = 64
_SIGN: Final = UNARY_NODES - 1
PARENT: Final = np.array([-1, ALL, ALL, BESIDE, ROW, ROW, CLASS, LEFT])
_STRENGTH: Final = np.array([4, 4, 16, 16, 8, 8, 8, 8])  # of the more general prediction, in half counts
_BITS: Final = 16
_RATE: Final = 14
_CHUNK: Final = 16


@njit(nogil=True, cache=True)
def _counts_beside(slot, counts, low, high, nodes, stride):  # type: ignore[no-untyped-def]
    """(zeros, ones) in the counters of a column and of those beside, above and below it; counters are in [low, high)."""
    zeros, ones = np.int64(counts[slot, 0]), np.int64(counts[slot, 1])
    for k in range(4):
        step = (nodes, -nodes, stride * nodes, -stride * nodes)[k]
        at = slot + step
        if step != 0 and low <= at < high:
            zeros += counts[at, 0]
            ones += counts[at, 1]
    return zeros, ones


@njit(nogil=True, cache=True)
def _predict(at, first, counts, bases, nodes, stride, scratch):  # type: ignore[no-untyped-def]
    """The probability of a one (of 65536) in each context, and its stretch, to int64 `scratch` [2, CONTEXTS]."""
    for k in range(CONTEXTS if stride else CONTEXTS - 1):
        parent = 32768 if PARENT[k] < 0 else scratch[0, PARENT[k]]
        if k == BESIDE:
            zeros, ones = _counts_beside(first[COLUMN] + at, counts, bases[COLUMN], bases[COLUMN + 1], nodes, stride)
        else:
            zeros, ones = np.int64(counts[first[k] + at, 0]), np.int64(counts[first[k] + at, 1])
        c = _STRENGTH[k]
        scratch[0, k] = (2 * ones * 65536 + c * parent) // (2 * (zeros + ones) + c)
        scratch[1, k] = STRETCH[min(max(scratch[0, k], 16), 65519) >> 4]


@njit(nogil=True, cache=True)
def _mixed(weights, scratch, used):  # type: ignore[no-untyped-def]
    total = np.int64(0)
    for k in range(used):
        total += weights[k] * scratch[1, k]
    total = min(max(total >> 16, -STRETCH_LIMIT), STRETCH_LIMIT)
    return min(max(SQUASH[total + STRETCH_LIMIT], 16), 65520)


@njit(nogil=True, cache=True)
def _answer(mode, bit, p, out, words, state):  # type: ignore[no-untyped-def]
    """The bit, popped or recorded, whose probability of being 1 is p / 65536; `state` is uint64 [head, size, decisions]."""
    if mode == DECODE:
        bit = np.int64(slot_of(state[0], U64(_BITS)) < U64(p))
    start, frequency = (0, p) if bit else (p, (1 << _BITS) - p)
    if mode == DECODE:
        state[0], state[1] = pop_one(state[0], state[1], words, U64(start), U64(frequency), U64(_BITS))
    else:
        made = np.int64(state[2])
        out[made, 0], out[made, 1], out[made, 2] = start, frequency, _BITS
        state[2] += U64(1)
    return bit


@njit(nogil=True, cache=True)
def _decide(mode, bit, at, weights, first, counts, bases, nodes, stride, scratch, out, words, state):  # type: ignore[no-untyped-def]
    """One decision with its counters at `at`: its answer."""
    used = CONTEXTS if stride else CONTEXTS - 1
    if mode != REMOVE:
        _predict(at, first, counts, bases, nodes, stride, scratch)
        p = _mixed(weights, scratch, used)
        bit = _answer(mode, bit, p, out, words, state)
        error = (65535 if bit else 0) - p
        for k in range(used):
            weights[k] += (error * scratch[1, k]) >> _RATE
    for k in range(used):
        if k != BESIDE:
            counts[first[k] + at, bit] += -1 if mode == REMOVE else 1
    return bit


@njit(nogil=True, cache=True)
def _plain(mode, value, width, out, words, state):  # type: ignore[no-untyped-def]
    """`width` bits as they are: their value."""
    found = np.int64(0)
    for low in range(0, width, _CHUNK):
        part = min(_CHUNK, width - low)
        if mode == PRICE:
            made = np.int64(state[2])
            out[made, 0], out[made, 1], out[made, 2] = (value >> low) & ((1 << part) - 1), 1, part
            state[2] += U64(1)
        elif mode == DECODE and state[0] != U64(0):
            piece = slot_of(state[0], U64(part))
            state[0], state[1] = pop_one(state[0], state[1], words, piece, U64(1), U64(part))
            found |= np.int64(piece) << low
    return found if mode == DECODE else value


@njit(nogil=True, cache=True)
def _row_context(total, seen, unary):  # type: ignore[no-untyped-def]
    """What the record looks like so far: 0 .. ROWS - 1."""
    if seen == 0:
        return ROWS - 1
    if not unary:
        return min(2 * total // seen, ROWS - 2)  # of mean level
    ratio, octaves = (128 * total + seen) // seen, 0  # of mean magnitude, in half octaves
    while ratio >> (octaves + 1):
        octaves += 1
    half = (ratio >> (octaves - 1)) & 1 if octaves else 0
    return min(2 * octaves + half, ROWS - 2)


@njit(nogil=True, cache=True)
def _side(sizes, i, unary):  # type: ignore[no-untyped-def]
    """The size of a neighbour, 0 .. SIDES - 1."""
    if i < 0:
        return SIDES - 1
    return min(sizes[i] if unary else sizes[i] >> 1, SIDES - 2)


@njit(nogil=True, cache=True)
def _around(sizes, i, stride, unary):  # type: ignore[no-untyped-def]
    """The sizes of up to ten neighbours together, 0 .. AROUND - 1."""
    total, weight = np.int64(0), np.int64(0)
    for k in range(10):
        back = (1, 2, 3, 4, stride - 2, stride - 1, stride, stride + 1, stride + 2, 2 * stride)[k]
        if back > 0 and i >= back and (k < 4 or stride > 4):
            own = 2 if k in (0, 6) else 1
            total += own * (min(sizes[i - back], 12) if unary else sizes[i - back])
            weight += own
    if weight == 0:
        return AROUND - 1
    if not unary:
        return min(total // weight, AROUND - 2)
    few, shift = (8, 2) if stride > 4 else (6, 1)
    return min(total if total < few else few - (few >> shift) + (total >> shift), AROUND - 2)


@njit(nogil=True, cache=True)
def _contexts(i, sizes, total, unary, stride, column, class_of, union, nodes, bases, first):  # type: ignore[no-untyped-def]
    """The first counter of each family's context for the decisions of token i."""
    row, left = _row_context(total, i, unary), _side(sizes, i - 1, unary)
    shift = union * (nodes >> 1)
    first[ALL] = bases[ALL] + shift
    first[ROW] = bases[ROW] + row * nodes + shift
    first[COLUMN] = bases[COLUMN] + column * nodes + shift
    first[LEFT] = bases[LEFT] + (left * SIDES + _side(sizes, i - 2, unary)) * nodes + shift
    first[CLASS] = bases[CLASS] + (class_of * ROWS + row) * nodes + shift
    around = _around(sizes, i, stride, unary)
    first[WIDE] = bases[WIDE] + (class_of * AROUND + around) * nodes + shift
    if stride:
        above, right = _side(sizes, i - stride, unary), _side(sizes, i - stride + (i >= stride), unary)
        first[ABOVE] = bases[ABOVE] + ((left * SIDES + above) * SIDES + right) * nodes + shift


@njit(nogil=True, cache=True)
def _side_sign(tilts, i):  # type: ignore[no-untyped-def]
    """0, 1 or 2: a neighbour that is zero or isn't there, positive, negative."""
    return 0 if i < 0 or tilts[i] == 0 else 1 + (tilts[i] < 0)


@njit(nogil=True, cache=True)
def _sign_contexts(i, tilts, stride, class_of, union, nodes, bases, first):  # type: ignore[no-untyped-def]
    """`_contexts` once token i is known and its sign is next: neighbours' signs take the place of their sizes."""
    shift = union * (nodes >> 1)
    left, before = _side_sign(tilts, i - 1), _side_sign(tilts, i - 2)
    first[LEFT] = bases[LEFT] + (left * 3 + before) * nodes + shift
    total = np.int64(AROUND // 2)
    for k in range(10):
        back = (1, 2, 3, 4, stride - 2, stride - 1, stride, stride + 1, stride + 2, 2 * stride)[k]
        if back > 0 and i >= back and (k < 4 or stride > 4):
            total += tilts[i - back] * (2 if k in (0, 6) else 1)
    first[WIDE] = bases[WIDE] + (class_of * AROUND + min(max(total, 0), AROUND - 1)) * nodes + shift
    if stride:
        above, right = _side_sign(tilts, i - stride), _side_sign(tilts, i - stride + (i >= stride))
        first[ABOVE] = bases[ABOVE] + ((left * 3 + above) * 3 + right) * nodes + shift


@njit(nogil=True, cache=True)
def _token(mode, token, depth, last, weights, first, counts, bases, nodes, stride, scratch, out, words, state):  # type: ignore[no-untyped-def]
    """A token's decisions: the token, which may be over `last`."""
    found = np.int64(0)
    for step in range(depth):
        bit, at = (token >> (depth - 1 - step)) & 1, (np.int64(1) << step) + found
        bit = _decide(mode, bit, at, weights[step], first, counts, bases, nodes, stride, scratch, out, words, state)
        found = 2 * found + bit
    going = depth == 0
    while going and found < last:
        bit, own = np.int64(token > found), weights[min(found, SETS - 2)]
        bit = _decide(mode, bit, found, own, first, counts, bases, nodes, stride, scratch, out, words, state)
        found, going = found + bit, bit == 1
    return found


@njit(nogil=True, cache=True)
def walk(mode, record, arrays, numbers, bases, counts, weights, out, words, state):  # type: ignore[no-untyped-def]
    """Go along a record: take it out of `counts`, price it to `out`, or pop it into `record`. False for a token that there isn't.

    `weights` int64 [SETS, CONTEXTS] are changed, and `state` (uint64 [head, size, decisions]), whose head is 0 if words ran out.
    """
    tokens, negatives, raws = record
    widths, firsts, levels, places, classes, next_state, union_of = arrays
    depth, signs, plain_signs, stride, nodes = numbers
    unary, last = depth == 0, widths.size - 1
    sizes, tilts, first = np.zeros(tokens.size, np.int64), np.zeros(tokens.size, np.int64), np.zeros(CONTEXTS, np.int64)
    scratch = np.zeros((2, CONTEXTS), np.int64)
    total, trellis = np.int64(0), np.int64(0)
    for i in range(tokens.size):
        union = union_of[trellis]
        _contexts(i, sizes, total, unary, stride, places[i], classes[i], union, nodes, bases, first)
        found = _token(
            mode,
            tokens[i],
            depth,
            last,
            weights,
            first,
            counts,
            bases,
            nodes,
            stride,
            scratch,
            out,
            words,
            state,
        )
        if found > last:
            return False
        negative = negatives[i]
        told = signs == 2 or (signs == 1 and found > 0)
        if told and plain_signs:
            negative = _plain(mode, negative, 1, out, words, state)
        elif told:
            _sign_contexts(i, tilts, stride, classes[i], union, nodes, bases, first)
            negative = _decide(
                mode, negative, _SIGN if unary else 0, weights[SETS - 1], first, counts, bases, nodes, stride, scratch,
                out, words, state,
            )  # fmt: skip
        raw = _plain(mode, raws[i], widths[found], out, words, state)
        if mode == DECODE:
            if state[0] == U64(0):
                break
            tokens[i], negatives[i], raws[i] = found, negative, raw
        magnitude = firsts[found] + raw
        trellis = next_state[trellis, magnitude & 1]
        sizes[i] = min(magnitude, 15) if unary else levels[found]
        total += sizes[i]
        tilts[i] = 1 - 2 * negative if told else 0
    return True


@njit(nogil=True, cache=True)
def push_all(made, head, size, words):  # type: ignore[no-untyped-def]
    """Push decisions (int64 [n, 3]), the last first."""
    for i in range(len(made) - 1, -1, -1):
        head, size = push_one(head, size, words, U64(made[i, 0]), U64(made[i, 1]), U64(made[i, 2]))
    return head, size
