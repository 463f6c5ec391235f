"""Indices to bytes and back: rANS whose lanes are segments of the block, each with a trellis path of its own.

Weight start(l) + t of segment l is step t of rANS lane l, so that the state of 32 trellises waits for none of the others.
Segment l holds n // lanes weights, the first n % lanes one more; each path begins in state 0.
The context of a weight is union x groups + group, where the union follows from the symbols before it in its segment.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import rans
from ...errors import FormatError, TruncatedError
from ...wire import Reader
from .state_machine import StateMachine
from .trellis_symbols import PARITY

U32, U64 = np.uint32, np.uint64
_LOW = 1 << 15


def segments(count: int) -> list[tuple[int, int]]:
    """[start, end) of each segment of a block of `count` weights."""
    lanes = rans.lanes_for(count)
    size, longer = divmod(count, lanes)
    starts = [k * size + min(k, longer) for k in range(lanes + 1)]
    return list(pairwise(starts))


@njit(nogil=True, cache=True)
def _interleave(source, lanes, out):  # type: ignore[no-untyped-def]
    """out[t * lanes + l] = element t of segment l."""
    size, longer = source.size // lanes, source.size % lanes
    for lane in range(lanes):
        start = lane * size + min(lane, longer)
        for t in range(size + (lane < longer)):
            out[t * lanes + lane] = source[start + t]


@njit(nogil=True, cache=True)
def walk(indices, next_state, union_of, out):  # type: ignore[no-untyped-def]
    """out[i] = union of the state before indices[i], of one path from state 0."""
    state = 0
    for i in range(indices.size):
        out[i] = union_of[state]
        state = next_state[state, indices[i] & 1]


@njit(nogil=True, cache=True)
def _decode(words, slots, table, scale, states, moves, union_of, parity, groups, contexts, out):  # type: ignore[no-untyped-def]
    """Symbols to `out`; contexts[i] (a group) becomes the full context. Words read, or -1 if they ran out."""
    mask, shift, lanes, n = U32((1 << scale) - 1), U32(scale), states.size, out.size
    size, longer, p, wide = n // lanes, n % lanes, 0, U64(scale)
    at = np.empty(lanes, np.int64)
    path = np.zeros(lanes, np.int64)
    for lane in range(lanes):
        at[lane] = lane * size + min(lane, longer)
    for t in range(size + (longer > 0)):
        active = lanes if t < size else longer
        if p + active > words.size:
            # near the end: only as many words as are really needed
            need = 0
            for lane in range(active):
                i = at[lane]
                c = U64(union_of[path[lane]]) * U64(groups) + U64(contexts[i])
                x = states[lane]
                slot = x & mask
                s = slots[(c << wide) | U64(slot)]
                entry = table[(c << U64(8)) | U64(s)]
                need += U32(entry & U32(0xFFFF)) * (x >> shift) + slot - U32(entry >> U32(16)) < U32(_LOW)
            if p + need > words.size:
                return -1
        for lane in range(active):
            i = U64(at[lane])
            c = U64(union_of[path[lane]]) * U64(groups) + U64(contexts[i])
            x = states[lane]
            slot = x & mask
            s = slots[(c << wide) | U64(slot)]
            out[i] = s
            contexts[i] = np.uint8(c)
            entry = table[(c << U64(8)) | U64(s)]
            x = U32(entry & U32(0xFFFF)) * (x >> shift) + slot - U32(entry >> U32(16))
            if x < U32(_LOW):
                x = (x << U32(16)) | U32(words[p])
                p += 1
            states[lane] = x
            path[lane] = moves[path[lane], parity[s]]
            at[lane] += 1
    return p


def encode(
    symbols: NDArray[np.uint8], contexts: NDArray[np.uint8], frequencies: NDArray[np.uint16], scale: int
) -> NDArray[np.uint8]:
    """Code `symbols` (uint8 [n]) with the full contexts (uint8 [n]); tables as in `rans.encode`."""
    lanes = rans.lanes_for(symbols.size)
    order = [np.empty_like(a) for a in (symbols, contexts)]
    _interleave(symbols, lanes, order[0])
    _interleave(contexts, lanes, order[1])
    return rans.encode(order[0], order[1], frequencies, scale)


def decode(
    payload: memoryview, groups: NDArray[np.uint8], count: int, machine: StateMachine, frequencies: NDArray[np.uint16],
    scale: int,
) -> NDArray[np.uint8]:  # fmt: skip
    """The inverse: the symbols. `groups` (uint8 [n], below `count`) is overwritten with the full contexts.

    Raises FormatError.
    """
    source = Reader(payload, "trellis stream")
    states = source.array(rans.lanes_for(groups.size), "<u4").astype(np.uint32)
    if source.remaining % 2:
        raise FormatError("trellis stream: odd length")
    words = np.frombuffer(source.raw(source.remaining), "<u2")
    slots, table = rans.decoding_tables(frequencies, scale)
    out = np.empty(groups.size, np.uint8)
    moves, union_of = machine.next_state, machine.union_of
    used = _decode(words, slots, table, scale, states, moves, union_of, PARITY, count, groups, out)
    if used < 0:
        raise TruncatedError("trellis stream: ends early")
    if used != words.size or not bool((states == _LOW).all()):
        raise FormatError("trellis stream: doesn't end where it should")
    return out
