from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coder_samples import below, digest, random_words
from netweight.entropy import rans, tables
from netweight.errors import FormatError, TruncatedError

LOW = 1 << 15  # the least state, part of the format


def skewed(key: object, count: int, symbols: int) -> np.ndarray:
    """uint8 [count] below `symbols`: small ones far more often."""
    words = random_words(key, count)
    share = (words >> np.uint64(40)).astype(np.int64) % 4096
    return ((below((key, 1), count, symbols) * share * share) >> 24).astype(np.uint8)


def frequencies(symbols: np.ndarray, contexts: np.ndarray, scale: int) -> np.ndarray:
    counts = np.bincount(contexts.astype(np.int64) << 8 | symbols, minlength=(int(contexts.max(initial=0)) + 1) << 8)
    return tables.frequencies_of(tables.levels_of(counts.reshape(-1, 256)), scale)


def ideal_bits(symbols: np.ndarray, contexts: np.ndarray, frequency: np.ndarray, scale: int) -> float:
    chosen = frequency[contexts.astype(np.int64) << 8 | symbols].astype(np.float64)
    return float((scale - np.log2(chosen)).sum())


def textbook(symbols: np.ndarray, contexts: np.ndarray, frequency: np.ndarray, scale: int) -> bytes:
    """Duda's coder with Python's integers and division."""
    lanes = rans.lanes_for(symbols.size)
    states, words = [LOW] * lanes, []
    starts = np.cumsum(frequency.reshape(-1, 256).astype(np.int64), axis=1) - frequency.reshape(-1, 256)
    for i in reversed(range(symbols.size)):
        c, s, lane = int(contexts[i]), int(symbols[i]), i % lanes
        f, start, x = int(frequency[c << 8 | s]), int(starts[c, s]), states[lane]
        if x >= (f << 31) >> scale:
            words.append(x & 0xFFFF)
            x >>= 16
        states[lane] = (x // f << scale) + start + x % f
    return np.array(states, "<u4").tobytes() + np.array(words[::-1], "<u2").tobytes()


@pytest.mark.parametrize("scale", [11, 12, 14])
@pytest.mark.parametrize("count", [0, 1, 2, 33, 4095, 4096, 4101, 65535, 65536, 65555])
def test_the_kernels_are_the_textbook_coder(count, scale):
    symbols, contexts = skewed(count, count, 200), below((count, "c"), count, 5).astype(np.uint8)
    frequency = frequencies(symbols, contexts, scale)
    payload = rans.encode(symbols, contexts, frequency, scale).tobytes()
    assert payload == textbook(symbols, contexts, frequency, scale)
    assert np.array_equal(rans.decode(payload, contexts, frequency, scale), symbols)


@settings(deadline=None, max_examples=60)
@given(
    symbols=st.lists(st.integers(0, 255), max_size=300),
    seed=st.integers(0, 1000),
    contexts=st.integers(1, 7),
    scale=st.sampled_from([11, 12, 14]),
)
def test_round_trip(symbols, seed, contexts, scale):
    coded = np.array(symbols, np.uint8)
    context = below(seed, coded.size, contexts).astype(np.uint8)
    frequency = frequencies(coded, context, scale)
    payload = rans.encode(coded, context, frequency, scale)
    assert np.array_equal(rans.decode(payload.tobytes(), context, frequency, scale), coded)
    # a state holds the logarithm of what it has seen, so no stream is shorter than its ideal code
    assert 8 * payload.size >= ideal_bits(coded, context, frequency, scale)


@pytest.mark.parametrize("alphabet", [2, 17, 256])
@pytest.mark.parametrize("count", [3000, 40000, 300000])
def test_length_is_the_ideal_code_length(count, alphabet):
    symbols, contexts = skewed(("length", alphabet), count, alphabet), below("c", count, 3).astype(np.uint8)
    scale = tables.scale_for(count)
    frequency = frequencies(symbols, contexts, scale)
    bits, ideal = (
        8 * rans.encode(symbols, contexts, frequency, scale).size,
        ideal_bits(symbols, contexts, frequency, scale),
    )
    lanes = rans.lanes_for(count)
    assert ideal + 15 * lanes <= bits <= 1.001 * ideal + 33 * lanes


def test_a_lane_costs_about_two_bytes():
    symbols = skewed("lanes", 1 << 16, 256)
    contexts = np.zeros(symbols.size, np.uint8)
    frequency = frequencies(symbols, contexts, 12)
    extra = rans.encode(symbols, contexts, frequency, 12).size - ideal_bits(symbols, contexts, frequency, 12) / 8
    assert 1.5 * 32 < extra < 3.5 * 32


def test_a_certain_symbol_costs_nothing():
    symbols = np.full(100_000, 7, np.uint8)
    frequency = np.zeros(256, np.uint16)
    frequency[7] = 1 << 14
    payload = rans.encode(symbols, np.zeros_like(symbols), frequency, 14)
    assert payload.size == 4 * 32
    assert np.array_equal(rans.decode(payload.tobytes(), np.zeros_like(symbols), frequency, 14), symbols)


def test_division_by_multiplication_is_exact():
    """Every frequency, and the states on both sides of its multiples: small ones, spread ones and the last of all."""
    f = np.arange(1, (1 << 14) + 1, dtype=np.uint64)
    packed = rans._inverses(f.astype(np.uint16))
    last = (np.uint64(1 << 31) - np.uint64(1)) // f
    quotients = [np.minimum(last, np.uint64(1 << k)) for k in range(31)] + [
        last - np.minimum(last, np.uint64(k)) for k in range(9)
    ]
    quotients += [random_words(("q", k), f.size) % (last + np.uint64(1)) for k in range(40)]
    for q in quotients:
        for step in (-1, 0, 1):
            x = (q * f).astype(np.int64) + step
            x = np.clip(x, 0, (1 << 31) - 1).astype(np.uint64)
            assert np.array_equal((x * (packed >> np.uint64(6))) >> (packed & np.uint64(63)), x // f)


@pytest.mark.parametrize(("steps", "blocks"), [(1, 1), (32, 7), (5, 0), (32, 2500), (3, 70000)])
def test_steps_decode_one_by_one(steps, blocks):
    symbols = skewed("steps", steps * blocks, 16).reshape(steps, blocks)
    contexts = np.zeros((steps, blocks), np.uint8)
    contexts[1:] = symbols[:-1] & 3  # each step's contexts follow from the one before
    frequency = frequencies(symbols.reshape(-1), contexts.reshape(-1), 12)
    payload = rans.encode(symbols, contexts, frequency, 12)
    decoder, context = rans.Decoder(payload.tobytes(), symbols.size, frequency, 12), np.zeros(blocks, np.uint8)
    for k in range(steps):
        row = decoder.step(context)
        assert np.array_equal(row, symbols[k])
        context = row & np.uint8(3)
    decoder.end()


@pytest.mark.parametrize("count", [50, 5000, 70000])
def test_other_bytes_are_refused(count):
    symbols, contexts = skewed(count, count, 90), below(("h", count), count, 3).astype(np.uint8)
    frequency = frequencies(symbols, contexts, 12)
    payload = rans.encode(symbols, contexts, frequency, 12).tobytes()
    for cut in {1, 2, 3, len(payload) // 2 & ~1, len(payload) - 2, len(payload)}:
        with pytest.raises(FormatError):
            rans.decode(payload[: len(payload) - cut], contexts, frequency, 12)
    with pytest.raises(TruncatedError):
        rans.decode(payload[:-2], contexts, frequency, 12)
    for more in (b"\0", b"\0\0", b"\xff" * 64):
        with pytest.raises(FormatError):
            rans.decode(payload + more, contexts, frequency, 12)
    refused = 0
    for k, at in enumerate(below(("flip", count), 200, len(payload)).tolist()):
        flipped = bytearray(payload)
        flipped[at] ^= 1 << (k & 7)
        try:
            # a lane's last symbols can turn into others of the same frequency: those streams are as good as ours
            assert not np.array_equal(rans.decode(bytes(flipped), contexts, frequency, 12), symbols)
        except FormatError:
            refused += 1
    assert refused >= 180


def test_garbage_has_the_right_length_or_is_refused():
    contexts = below("garbage", 70000, 3).astype(np.uint8)
    frequency = frequencies(skewed("garbage", 70000, 256), contexts, 12)
    for k in range(30):
        garbage = random_words(("garbage", k), 128 << (k % 10)).tobytes()
        for n in (1, 100, 70000):
            with pytest.raises(FormatError):
                rans.decode(garbage, contexts[:n], frequency, 12)
    with pytest.raises(FormatError):
        rans.decode(b"\xff" * 4096, contexts, frequency, 12)


def test_pinned_bytes():
    symbols, contexts = (below("pin", 40, 6) // 2).astype(np.uint8), (np.arange(40) % 2).astype(np.uint8)
    frequency = np.zeros(512, np.uint16)
    frequency[:3], frequency[256:259] = (1024, 512, 512), (100, 1000, 948)
    assert rans.encode(symbols, contexts, frequency, 11).tobytes().hex() == "3bb00809900d6e6a4006"
    symbols = skewed("pin", 1 << 16, 256)
    contexts = (np.arange(symbols.size) % 3).astype(np.uint8)
    assert digest(rans.encode(symbols, contexts, frequencies(symbols, contexts, 12), 12)) == "83ac44a9c4a21a11"
