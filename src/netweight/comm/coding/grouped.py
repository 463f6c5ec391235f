"""Levels of long vectors: several coordinates to a byte, bytes through rANS, at several coordinates a nanosecond.

A level is clipped to +-reach; `group` of them are the digits of a symbol in base 2 reach + 1. Blocks of coordinates have their
own distribution of a level, which costs a few bytes; that of a symbol is the product. Magnitudes at the reach are told what
they exceed it by, in a compact code behind.

    payload = reach (1 byte), shift (1 byte), log2 of the block (1 byte), has excesses (1 byte),
              distributions (blob), rANS stream (blob), low bits, excesses
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import rans, tables
from ...entropy.huffman import histogram
from ...errors import FormatError
from ...wire import Reader, Writer
from . import compact, packing

Levels = NDArray[np.int32]

REACHES: Final = (1, 2, 3, 4, 5, 6, 7, 15, 31, 63, 127)
_SCALE: Final = 14
_LEAST_BLOCK: Final = 14  # log2 of coordinates
_BLOCKS: Final = 200
_MOST_SHIFT: Final = 24
_SHARES: Final = 32
"""The share of negative levels among those that aren't 0 is a whole number of 32nds."""
_RARE: Final = 1 / 128
"""Excesses are to be rarer than this: each costs some 20 ns."""


def group_of(reach: int) -> int:
    """Levels in a symbol."""
    base, group = 2 * reach + 1, 1
    while base ** (group + 1) <= rans.SYMBOLS:
        group += 1
    return group


@njit(nogil=True, cache=True)
def _fives(digits, out):  # type: ignore[no-untyped-def]
    for s in range(out.size):
        i = 5 * s
        symbol = ((digits[i] * 3 + digits[i + 1]) * 3 + digits[i + 2]) * 3 + digits[i + 3]
        out[s] = symbol * 3 + digits[i + 4]


@njit(nogil=True, cache=True)
def _threes(digits, out):  # type: ignore[no-untyped-def]
    for s in range(out.size):
        out[s] = (digits[3 * s] * 5 + digits[3 * s + 1]) * 5 + digits[3 * s + 2]


@njit(nogil=True, cache=True)
def _twos(digits, base, out):  # type: ignore[no-untyped-def]
    for s in range(out.size):
        out[s] = digits[2 * s] * base + digits[2 * s + 1]


@njit(nogil=True, cache=True)
def _symbols(levels, reach, shift, group, out):  # type: ignore[no-untyped-def]
    """Levels to symbols; the last one is filled up with zeros. Chunks of a multiple of every group stay in the cache."""
    low, high, chunk = np.int32(-reach), np.int32(reach), 30 * 512
    digits = np.empty(chunk, np.uint8)
    for start in range(0, levels.size, chunk):
        part = levels[start : start + chunk]
        for i in range(part.size):
            digits[i] = np.uint8(min(max(part[i] >> shift, low), high) + high)
        count = -(-part.size // group)
        digits[part.size : count * group] = np.uint8(reach)
        to = out[start // group : start // group + count]
        if group == 5:
            _fives(digits, to)
        elif group == 3:
            _threes(digits, to)
        elif group == 2:
            _twos(digits, np.uint8(2 * reach + 1), to)
        else:
            to[:] = digits[:count]


@njit(nogil=True, cache=True)
def _pairs(symbols, table, out):  # type: ignore[no-untyped-def]
    for s in range(symbols.size):
        out[s] = table[symbols[s]]


@njit(nogil=True, cache=True)
def _several(symbols, table, group, out):  # type: ignore[no-untyped-def]
    for s in range(symbols.size):
        row = np.uint64(symbols[s]) * np.uint64(group)
        for g in range(group):
            out[s * group + g] = table[row + np.uint64(g)]


def _unpack(symbols: NDArray[np.uint8], reach: int, group: int, n: int) -> Levels:
    """The inverse of `_symbols` without a shift: int32 [n]."""
    table = _digits(reach, group).astype(np.int32)
    out = np.empty(symbols.size * group, np.int32)
    if group == 2:
        _pairs(symbols, table.view(np.uint64).reshape(-1), out.view(np.uint64))
    else:
        _several(symbols, table.reshape(-1), group, out)
    return out[:n]


def _edges(symbols: NDArray[np.uint8], reach: int, group: int, n: int) -> NDArray[np.int64]:
    """Where levels may be at the reach: coordinates of the symbols with such a digit."""
    flagged = (np.abs(_digits(reach, group)) == reach).any(axis=1)
    found = np.flatnonzero(flagged[symbols])
    places = (found[:, None] * group + np.arange(group)).reshape(-1)
    return places[places < n]


def _digits(reach: int, group: int) -> NDArray[np.int8]:
    """The levels in each symbol: int8 [256, group]; all reach for a number that is no symbol."""
    base = 2 * reach + 1
    symbols = np.arange(rans.SYMBOLS)[:, None]
    places = base ** np.arange(group - 1, -1, -1)
    return np.where(symbols < base**group, symbols // places % base - reach, reach).astype(np.int8)


def _marginals(counts: NDArray[np.int64], reach: int, group: int) -> NDArray[np.int64]:
    """Counts of symbols (int64 [blocks, 256]) as what is sent: levels of the counts of magnitudes, and the share of negatives."""
    digits = _digits(reach, group)
    each = np.zeros((len(counts), 2 * reach + 1), np.int64)
    for value in range(-reach, reach + 1):
        each[:, value + reach] = counts @ (digits == value).sum(axis=1)
    negative, positive = each[:, :reach].sum(axis=1), each[:, reach + 1 :].sum(axis=1)
    magnitudes = np.concatenate([each[:, reach : reach + 1], each[:, reach + 1 :] + each[:, reach - 1 :: -1]], axis=1)
    share = np.rint(_SHARES * negative / np.maximum(negative + positive, 1)).astype(np.int64)
    share = np.clip(share, (negative > 0).astype(np.int64), _SHARES - (positive > 0).astype(np.int64))
    return np.concatenate([tables.levels_of(magnitudes), share[:, None]], axis=1)


def _frequencies(sent: NDArray[np.int64], group: int) -> NDArray[np.uint16]:
    """What `_marginals` says as frequencies of symbols: uint16 [blocks * 256], by integers alone."""
    weights, share = tables.weights_of(sent[:, :-1]), sent[:, -1:]
    weights[:, 0] += weights.sum(axis=1) == 0
    total = weights.sum(axis=1, keepdims=True)
    whole = np.maximum((weights << 16) // np.maximum(total, 1), weights > 0)
    positive, negative = whole[:, 1:] * (_SHARES - share), (whole[:, 1:] * share)[:, ::-1]
    each = np.concatenate([negative, whole[:, :1] * _SHARES, positive], axis=1)  # Q21
    product = np.ones((len(sent), 1), np.int64) << 21
    for _ in range(group):
        crossed = product[:, :, None] * each[:, None, :]
        crossed = np.maximum(crossed >> 21, crossed > 0)
        product = crossed.reshape(len(sent), -1)
    return _normalised(product)


def _normalised(weights: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Weights (int64 [blocks, symbols]) as frequencies of 2^14; what has a weight has at least 1."""
    out = np.zeros((len(weights), rans.SYMBOLS), np.int64)
    present = weights > 0
    spare = (1 << _SCALE) - present.sum(axis=1, keepdims=True)
    out[:, : weights.shape[1]] = present + weights * spare // weights.sum(axis=1, keepdims=True)
    out[np.arange(len(out)), out.argmax(axis=1)] += (1 << _SCALE) - out.sum(axis=1)
    return out.astype(np.uint16).reshape(-1)


def _contexts(symbols: int, group: int, block: int) -> NDArray[np.uint8]:
    """The block of each symbol."""
    each = min((1 << block) // group, symbols)
    return np.repeat(np.arange(-(-symbols // each), dtype=np.uint8), each)[:symbols]


def _choose(levels: Levels) -> tuple[int, int, bool]:
    """(reach, shift, whether anything may exceed the reach)."""
    sample = np.abs(levels[:: max(1, levels.size >> 15)])
    most, shift = max(int(levels.max()), -int(levels.min())), 0
    while int(np.quantile(sample, 0.999)) >> shift > 2 * REACHES[-1] // 3 and most >> shift > REACHES[-1]:
        shift += 1
    for reach in REACHES:
        if most >> shift < reach or float((sample >> shift >= reach).mean()) < _RARE:
            break
        if most >> shift == reach and shift == 0:
            return reach, 0, False
    return reach, shift, most >> shift >= reach


def _count(symbols: NDArray[np.uint8], contexts: NDArray[np.uint8], each: int) -> NDArray[np.int64]:
    """How often each block has each symbol: int64 [blocks, 256]."""
    counts = np.zeros((int(contexts[-1]) + 1, rans.SYMBOLS), np.int64)
    work = np.empty(1024, np.uint32)
    for b, row in enumerate(counts):
        histogram(symbols, b * each, min(each, symbols.size - b * each), row, work)
    return counts


def encode(levels: Levels) -> bytes:
    """The bytes of int32 [n] levels; short of 2^31 - 128."""
    reach, shift, exceeds = _choose(levels)
    group, block = group_of(reach), _LEAST_BLOCK
    while levels.size >> block > _BLOCKS - 1:
        block += 1
    symbols = np.empty(-(-levels.size // group), np.uint8)
    _symbols(levels, reach, shift, group, symbols)
    contexts = _contexts(symbols.size, group, block)
    sent = _marginals(_count(symbols, contexts, (1 << block) // group), reach, group)
    out = Writer().raw(bytes([reach, shift, block, exceeds]))
    part = Writer()
    tables.write_tables(part, sent)
    out.blob(part.bytes()).blob(rans.encode(symbols, contexts, _frequencies(sent, group), _SCALE))
    if shift:
        out.raw(packing.pack((levels & ((1 << shift) - 1)).astype(np.uint32), shift))
    if exceeds:
        high = np.abs(levels[_edges(symbols, reach, group, levels.size)] >> shift)
        out.raw(compact.encode(high[high >= reach] - reach))
    return out.bytes()


def decode(payload: bytes | memoryview, n: int, limit: int) -> Levels:
    """The inverse: int32 [n] within +-limit. Raises FormatError."""
    source = Reader(payload, "levels")
    reach, shift, block, exceeds = source.raw(4)
    if not 1 <= reach <= REACHES[-1] or shift > _MOST_SHIFT or exceeds > 1 or block < _LEAST_BLOCK:
        raise FormatError(f"levels: reach {reach}, shift {shift}, blocks of 2^{block}")
    group = group_of(reach)
    if block > 40 or n >> block >= _BLOCKS:
        raise FormatError(f"levels: blocks of 2^{block} in {n}")
    contexts = _contexts(-(-n // group), group, block)
    sent = tables.read_tables(Reader(source.blob(), "distributions"), int(contexts[-1]) + 1, reach + 2)
    if int(sent[:, -1].max()) > _SHARES:
        raise FormatError("levels: a share over 1")
    symbols = rans.decode(source.blob(), contexts, _frequencies(sent, group), _SCALE)
    levels = _unpack(symbols, reach, group, n)
    low = source.raw(packing.size(n, shift)) if shift else None
    if exceeds:
        edges = _edges(symbols, reach, group, n)
        _exceed(levels, edges[np.abs(levels[edges]) == reach], source.raw(source.remaining), limit >> shift)
    if low is not None:
        levels = (levels << shift) | packing.unpack(low, n, shift).view(np.int32)
    source.end()
    if max(int(levels.max()), -int(levels.min())) > limit:
        raise FormatError(f"levels: one beyond {limit}")
    return levels


def _exceed(levels: Levels, places: NDArray[np.int64], payload: memoryview, limit: int) -> None:
    """Add what exceeds the reach, at the places where it may."""
    if not places.size:
        raise FormatError("levels: nothing exceeds")
    excess = compact.decode(payload, places.size, limit + 1)
    if int(excess.min()) < 0:
        raise FormatError("levels: an excess under 0")
    levels[places] += np.sign(levels[places]) * excess
