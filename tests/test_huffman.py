"""Huffman: code lengths are optimal and never under the entropy, tables and streams round-trip, damage is noticed."""

from __future__ import annotations

import heapq
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from netweight.entropy import huffman as h
from netweight.entropy import huffman_streams as hs

_QUICK = settings(deadline=None, max_examples=60)


def counts_of(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    counts = np.zeros(256, np.int64)
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    h.histogram(padded, 0, data.size, counts, np.zeros(1024, np.uint32))
    return counts


def lengths_of(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    lengths = np.zeros(256, np.uint8)
    h.code_lengths(counts, lengths, np.zeros(2048, np.int64))
    return lengths


def huffman_bits(counts: NDArray[np.int64]) -> int:
    """Total length of an unlimited Huffman code, by the textbook."""
    queue = [int(c) for c in counts if c]
    heapq.heapify(queue)
    total = 0
    while len(queue) > 1:
        both = heapq.heappop(queue) + heapq.heappop(queue)
        total += both
        heapq.heappush(queue, both)
    return total


def encode(data: NDArray[np.uint8], pairs: bool = True) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(streams, lengths) of data with its own code."""
    counts = counts_of(data)
    lengths = lengths_of(counts)
    words, table = np.zeros(256, np.uint32), np.zeros(1 << 16, np.uint32)
    h.code_words(lengths, words)
    hs.pair_table(lengths, words, table)
    bits = int(counts @ lengths.astype(np.int64))
    out = np.zeros(hs.STREAM_HEADER + bits // 8 + 12, np.uint8)
    end = hs.encode_streams(data, 0, data.size, words, table, pairs, bits, out, 0)
    assert bits <= 8 * (end - hs.STREAM_HEADER) < bits + 4 * 8
    return out[:end], lengths


def decode(payload: NDArray[np.uint8], lengths: NDArray[np.uint8], n: int) -> tuple[int, NDArray[np.uint8]]:
    """(end or BAD, symbols); the symbols lie between guard bytes that must not change."""
    table = np.zeros(hs.TABLE_SIZE, np.uint64)
    assert hs.decode_table(lengths, table)
    out = np.full(n + 64, 0xA5, np.uint8)
    end = hs.decode_streams(payload, 0, n, table, lengths, out, 32)
    assert (out[:32] == 0xA5).all()
    assert (out[32 + n :] == 0xA5).all()
    return end, out[32 : 32 + n]


def skewed(rng: np.random.Generator, n: int, spread: float) -> NDArray[np.uint8]:
    return (120 + rng.normal(0, spread, n)).clip(0, 255).astype(np.uint8)


def test_histogram_counts_every_byte() -> None:
    data = np.random.default_rng(1).integers(0, 256, 1003).astype(np.uint8)
    assert (counts_of(data) == np.bincount(data, minlength=256)).all()


@_QUICK
@given(st.lists(st.integers(0, 1 << 20), min_size=2, max_size=256))
def test_code_lengths_are_complete_limited_and_optimal(numbers: list[int]) -> None:
    counts = np.zeros(256, np.int64)
    counts[: len(numbers)] = numbers
    lengths = lengths_of(counts)
    used = counts > 0
    if used.sum() < 2:
        assert not lengths.any()
        return
    assert (lengths[used] > 0).all()
    assert not lengths[~used].any()
    assert lengths.max() <= h.MAX_BITS
    assert sum(Fraction(1, 1 << int(b)) for b in lengths[used]) == 1
    bits, best = int(counts @ lengths.astype(np.int64)), huffman_bits(counts)
    p = counts[used] / counts.sum()
    assert bits >= best
    assert bits >= float(-(np.log2(p) * counts[used]).sum()) * (1 - 1e-12)
    if lengths.max() < h.MAX_BITS:
        assert bits == best


def test_limited_code_is_the_best_one_of_its_limit() -> None:
    counts = np.zeros(256, np.int64)
    fibonacci = [1, 1]
    while len(fibonacci) < 20:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    counts[:20] = fibonacci
    lengths = lengths_of(counts)
    assert lengths.max() == h.MAX_BITS
    got = int(counts @ lengths.astype(np.int64))
    assert huffman_bits(counts) < got == _limited_cost(fibonacci, h.MAX_BITS)


def _limited_cost(weights: list[int], limit: int) -> int:
    """Cheapest complete code with lengths <= limit by dynamic programming over the levels of the tree.

    state (symbols placed, leaves open on this level) -> cost; going one level down doubles the open ones.
    """
    ordered = sorted(weights, reverse=True)
    below = [sum(ordered[i:]) for i in range(len(ordered) + 1)]
    states = {(0, 1): 0}
    for _ in range(limit):
        following: dict[tuple[int, int], int] = {}
        for (placed, free), cost in states.items():
            for here in range(min(2 * free, len(ordered) - placed) + 1):
                key, price = (placed + here, 2 * free - here), cost + below[placed]
                if key[1] <= len(ordered) - key[0] and price < following.get(key, price + 1):
                    following[key] = price
        states = following
    return states[(len(ordered), 0)]


def test_code_words_are_prefix_free_and_canonical() -> None:
    lengths = lengths_of(np.arange(256, dtype=np.int64) ** 3)
    words = np.zeros(256, np.uint32)
    h.code_words(lengths, words)
    codes = [format(int(w) >> 8, f"0{int(w) & 255}b") for w, b in zip(words, lengths, strict=True) if b]
    assert all(not b.startswith(a) for a in codes for b in codes if a is not b)
    ranked = sorted((int(b), s) for s, b in enumerate(lengths) if b)
    assert sorted(codes) == [format(int(words[s]) >> 8, f"0{b}b") for b, s in ranked]


@_QUICK
@given(st.lists(st.tuples(st.integers(0, h.MAX_BITS), st.integers(1, 90)), min_size=1, max_size=256))
def test_lengths_on_the_wire(runs: list[tuple[int, int]]) -> None:
    lengths = np.zeros(256, np.uint8)
    flat = [value for value, run in runs for _ in range(run)][:256]
    lengths[: len(flat)] = flat
    out = np.zeros(140, np.uint8)
    end = h.write_lengths(lengths, out, 3)
    assert end - 3 <= 128
    back = np.zeros(256, np.uint8)
    assert h.read_lengths(out[:end], 3, back) == end
    assert (back == lengths).all()
    assert all(h.read_lengths(out[:cut], 3, back) == h.BAD for cut in range(3, end))


def test_a_typical_code_takes_few_bytes() -> None:
    data = skewed(np.random.default_rng(2), 1 << 16, 2.0)
    assert h.write_lengths(lengths_of(counts_of(data)), np.zeros(140, np.uint8), 0) <= 16


@pytest.mark.parametrize("broken", [[1], [1, 2], [1, 1, 1], [12] * 4, [0]])
def test_incomplete_and_overfull_codes_are_refused(broken: list[int]) -> None:
    lengths = np.zeros(256, np.uint8)
    lengths[: len(broken)] = broken
    assert not hs.decode_table(lengths, np.zeros(hs.TABLE_SIZE, np.uint64))


@pytest.mark.parametrize("spread", [0.2, 0.5, 2.0, 9.0, 60.0])
def test_decode_table_matches_bit_by_bit_decoding(spread: float) -> None:
    lengths = lengths_of(counts_of(skewed(np.random.default_rng(3), 1 << 14, spread)))
    words, table = np.zeros(256, np.uint32), np.zeros(hs.TABLE_SIZE, np.uint64)
    h.code_words(lengths, words)
    assert hs.decode_table(lengths, table)
    symbol_of = {
        format(int(w) >> 8, f"0{int(b)}b"): s for s, (w, b) in enumerate(zip(words, lengths, strict=True)) if b
    }
    for index in range(0, 1 << h.MAX_BITS, 7):
        bits, symbols, used, start = format(index, f"0{h.MAX_BITS}b"), [], 0, 0
        for end in range(1, h.MAX_BITS + 1):
            if bits[start:end] in symbol_of and len(symbols) < 6:
                symbols.append(symbol_of[bits[start:end]])
                used = start = end
        entry = int(table[(1 << h.MAX_BITS) + index])
        assert entry & 255 == used
        assert entry >> 56 == len(symbols)
        assert list((entry >> 8).to_bytes(8, "little")[: len(symbols)]) == symbols


@pytest.mark.parametrize("n", [2, 3, 5, 63, 64, 65, 257, 1000, 4099, 65535, 65536])
@pytest.mark.parametrize("spread", [0.3, 2.0, 30.0])
def test_streams_round_trip(n: int, spread: float) -> None:
    data = skewed(np.random.default_rng(n), n, spread)
    data[:2] = 7, 250
    for pairs in (True, False):
        payload, lengths = encode(data, pairs)
        end, back = decode(payload, lengths, n)
        assert end == payload.size
        assert (back == data).all()


def test_streams_have_equal_lengths_where_the_data_changes() -> None:
    rng = np.random.default_rng(5)
    data = np.concatenate([skewed(rng, 32768, 0.6), skewed(rng, 32768, 12.0)])
    payload, _ = encode(data)
    sizes = payload[6:14].view(np.uint16).astype(int)
    assert sizes.max() - sizes.min() < 0.03 * sizes.mean()


def test_every_flipped_byte_of_the_streams_is_bounded() -> None:
    data = skewed(np.random.default_rng(6), 600, 3.0)
    payload, lengths = encode(data)
    refused = 0
    for at in range(payload.size):
        hurt = payload.copy()
        hurt[at] ^= 0x55
        end, back = decode(hurt, lengths, data.size)
        assert end in (h.BAD, payload.size)
        assert back.size == data.size
        refused += end == h.BAD
    assert refused > 30  # header bytes and whatever throws a stream out of step until its end
    assert all(decode(payload[:cut], lengths, data.size)[0] == h.BAD for cut in range(payload.size))


@_QUICK
@given(st.binary(min_size=0, max_size=400), st.integers(0, 700))
def test_noise_never_leaves_the_buffers(noise: bytes, n: int) -> None:
    lengths = lengths_of(np.arange(1, 257, dtype=np.int64))
    payload = np.frombuffer(noise, np.uint8) if noise else np.zeros(0, np.uint8)
    end, _ = decode(payload, lengths, n)
    assert end == h.BAD or hs.STREAM_HEADER <= end <= payload.size
