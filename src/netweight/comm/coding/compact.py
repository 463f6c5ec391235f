"""Levels of short vectors: binary arithmetic coding that starts from a model of one byte and learns from there.

    payload = mode + 4 family + 8 number (1 byte), code
            | mode + 4 family + 8 * 31 (1 byte), shift + 64 number (1 byte), code

A level is its magnitude's decisions "more than j?", Exp-Golomb beyond the last, the low `shift` bits as they are, and its sign.
Modes: 0 static; 1 every decision's probability adapts; 2 and it depends on the two levels before; 3 so does the sign's.
The encoder takes the shortest.

A trellis (`Trellis`) may run along: its state says which of two sets of probabilities a level is coded with, and the level's
parity leads to the next state.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import mixing
from ...entropy.mixing import DECODING, code_bit, code_flag
from ...errors import FormatError, TruncatedError
from . import model
from .model import UNARY, Ints

STATIC, ADAPTIVE, CONTEXTS, SIGNED = 0, 1, 2, 3
_SHIFTED: Final = 31
_GAMMA: Final = 31  # decisions for the length in Exp-Golomb
_NODES: Final = 80  # a context's counters: UNARY, _GAMMA, one for a sign
_SIGN: Final = _NODES - 1
_NEIGHBOURS: Final = 3
_CONFIDENCE: Final = (0, 32, 16, 16)  # what the model is worth, in observations, by mode
_TRIED: Final = 1 << 12
"""Vectors up to this length are coded in every mode."""
_MOST_SHIFT: Final = 40
_MOST_SHIFTED: Final = 3
"""Numbers of shifted levels: an octave of ratios."""


class Trellis(NamedTuple):
    """`union`: uint8 [states], which set of probabilities; `following`: int64 [states, 2], the next state by parity."""

    union: NDArray[np.uint8]
    following: Ints


PLAIN: Final = Trellis(np.zeros(1, np.uint8), np.zeros((1, 2), np.int64))


@njit(nogil=True, cache=True)
def _decide(work, buffer, flags, at, adapts, bit):  # type: ignore[no-untyped-def]
    if adapts:
        return code_flag(work, flags, buffer, at, bit)
    return code_bit(work, buffer, min(max(np.int64(flags[at]) >> 16, 16), 65520), bit)


@njit(nogil=True, cache=True)
def _code_tail(work, buffer, flags, base, rest):  # type: ignore[no-untyped-def]
    """A number >= 1 in Exp-Golomb; -1 for one that is too long."""
    length = 0
    while _decide(work, buffer, flags, base + UNARY + length, True, np.int64(rest >> (length + 1) != 0)):
        length += 1
        if length == _GAMMA:
            return -1
    value = 1
    for b in range(length - 1, -1, -1):
        value = value << 1 | code_bit(work, buffer, 1 << 15, (rest >> b) & 1)
    return value


@njit(nogil=True, cache=True)
def _code(work, buffer, flags, levels, mode, shift, typical, limit, union, following):  # type: ignore[no-untyped-def]
    """Code `levels`, or decode into them; False for a level beyond `limit`."""
    state, before, last = np.int64(0), np.int64(0), np.int64(0)
    adapts, decoding = mode != 0, work[DECODING] != 0
    for i in range(levels.size):
        k = np.int64(levels[i])
        m = abs(k)
        context = np.int64(union[state])
        if mode >= 2:
            near = (before + last) >> shift
            context = 3 * context + np.int64(near >= typical) + np.int64(near >= 2 * typical)
        base, high, found = context * _NODES, m >> shift, np.int64(0)
        while found < UNARY and _decide(work, buffer, flags, base + found, adapts, np.int64(high > found)):
            found += 1
        if found == UNARY:
            tail = _code_tail(work, buffer, flags, base, high - UNARY + 1)
            if tail < 0:
                return False
            found += tail - 1
        for b in range(shift - 1, -1, -1):
            found = found << 1 | code_bit(work, buffer, 1 << 15, (m >> b) & 1)
        if found:
            negative = _decide(work, buffer, flags, base + _SIGN, mode == 3, np.int64(k < 0))
            k = -found if negative else found
        else:
            k = np.int64(0)
        if decoding:
            if found > limit:
                return False
            levels[i] = k
        before, last = last, found
        state = following[state, k & 1]
    return True


def _flags(mode: int, family: int, number: int, unions: int) -> NDArray[np.uint32]:
    """Counters before the first level."""
    out = np.full((unions, _NEIGHBOURS if mode >= CONTEXTS else 1, _NODES), (1 << 21) << 10, np.uint32)
    out[..., :UNARY] = (model.passing()[:unions, family, number] << 10 | _CONFIDENCE[mode])[:, None]
    return out.reshape(-1)


def _typical(number: int) -> int:
    """What two neighbours of ordinary size add up to."""
    return max(1, (1 << 16) // model.ratio(number))


def _in_mode(levels: NDArray[np.int32], mode: int, family: int, number: int, shift: int, trellis: Trellis) -> bytes:
    first = mode | family << 2
    head = bytes([first | number << 3]) if not shift else bytes([first | _SHIFTED << 3, shift | number << 6])
    room = 64 + levels.size * (1 + shift // 4)
    while True:
        work, buffer = mixing.make_work(0), np.empty(room, np.uint8)
        flags = _flags(mode, family, number, int(trellis.union.max()) + 1)
        _code(work, buffer, flags, levels, mode, shift, _typical(number), 0, *trellis)
        code = mixing.finish(work, buffer)
        if code is not None:
            return head + code
        room *= 2


@njit(nogil=True, cache=True)
def _walk(levels, union, following, out):  # type: ignore[no-untyped-def]
    state = np.int64(0)
    for i in range(levels.size):
        out[i] = union[state]
        state = following[state, levels[i] & 1]


def _sets(levels: NDArray[np.int32], trellis: Trellis) -> NDArray[np.uint8] | None:
    """The set that each level is of, None for a machine of one set."""
    if not trellis.union.any():
        return None
    out = np.empty(levels.size, np.uint8)
    _walk(levels, *trellis, out)
    return out


def encode(levels: NDArray[np.int32], trellis: Trellis = PLAIN) -> bytes:
    """The bytes of int32 [n] levels, n >= 1."""
    magnitudes = np.abs(levels.astype(np.int64))
    typical, shift = int(np.median(magnitudes)), 0
    while typical >> shift >= 6:
        shift += 1
    family, number = model.closest(magnitudes >> shift, _sets(levels, trellis))
    if shift:
        number = min(number, _MOST_SHIFTED)
    negative, positive = int((levels < 0).sum()), int((levels > 0).sum())
    lopsided = (negative - positive) ** 2 > 16 * (negative + positive)
    modes = (STATIC, ADAPTIVE, CONTEXTS) if levels.size <= _TRIED else (CONTEXTS,)
    if lopsided:
        modes = (*modes, SIGNED) if levels.size <= _TRIED else (SIGNED,)
    return min((_in_mode(levels, mode, family, number, shift, trellis) for mode in modes), key=len)


def decode(payload: bytes | memoryview, n: int, limit: int, trellis: Trellis = PLAIN) -> NDArray[np.int32]:
    """The inverse: int32 [n] within +-limit. Raises FormatError."""
    data, head = np.frombuffer(payload, np.uint8).copy(), 1
    if data.size < 1:
        raise TruncatedError("levels: no bytes")
    mode, family, number, shift = int(data[0]) & 3, int(data[0]) >> 2 & 1, int(data[0]) >> 3, 0
    if number == _SHIFTED:
        second, head = int(data[1]) if data.size > 1 else 0, 2
        shift, number = second & 63, second >> 6
        if not 1 <= shift <= _MOST_SHIFT:
            raise FormatError(f"levels: shift {shift}")
    work, levels = mixing.make_work(0), np.zeros(n, np.int32)
    code = data[head:]
    mixing.start_decoding(work, code)
    flags = _flags(mode, family, number, int(trellis.union.max()) + 1)
    if not _code(work, code, flags, levels, mode, shift, _typical(number), limit, *trellis):
        raise FormatError(f"levels: one beyond {limit}")
    if mixing.consumed(work) != code.size:
        raise FormatError(f"levels: {mixing.consumed(work)} bytes expected, {code.size} are there")
    return levels
