"""The integer tables against the functions that they stand for; the binary coder and the mixer against their ideal
lengths.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from netweight.entropy import fixedpoint as fp
from netweight.entropy import mixing as mx

SUMS = [25192362843, 4898824, 3297486156, 5735014, 24434074794069629, 28964458, 88588983663, 32770795]


@njit
def code_all(work, buffer, bits, probabilities):  # type: ignore[no-untyped-def]
    for i in range(bits.size):
        bits[i] = mx.code_bit(work, buffer, probabilities[i], bits[i])


@njit
def mix_all(work, counters, buffer, bits, contexts):  # type: ignore[no-untyped-def]
    for i in range(bits.size):
        work[mx.INPUT_AT] = work[mx.INPUT_AT + 1] = 0
        for j in range(mx.SLOTS):
            work[mx.SLOT_AT + j] = 16 * j + (contexts[i] if j < 2 else i % 16)
        bits[i] = mx.code_mixed(work, counters, buffer, 0, 1, bits[i])


def encode(bits, probabilities):  # type: ignore[no-untyped-def]
    work, buffer = mx.make_work(1), np.zeros(3 * bits.size + 8, np.uint8)
    code_all(work, buffer, bits.copy(), probabilities)
    return mx.finish(work, buffer)


def decode(payload, probabilities):  # type: ignore[no-untyped-def]
    work, bits = mx.make_work(1), np.zeros(probabilities.size, np.int64)
    data = np.frombuffer(payload, np.uint8).copy()
    mx.start_decoding(work, data)
    code_all(work, data, bits, probabilities)
    return bits, mx.consumed(work)


def test_tables_match_the_functions() -> None:
    x = np.arange(-fp.STRETCH_LIMIT, fp.STRETCH_LIMIT + 1) / 256
    assert np.abs(fp.SQUASH - 65536 / (1 + np.exp(-x))).max() < 1
    p = (np.arange(4096) + 0.5) / 4096
    inside = np.abs(np.log(p / (1 - p))) < 7.9
    assert np.abs(fp.STRETCH / 256 - np.log(p / (1 - p)))[inside].max() < 0.025
    assert np.abs(fp.EXP2 - 65536 * 2 ** (np.arange(256) / 256)).max() <= 0.51
    assert np.abs(fp.LOG2 - 256 * np.log2(1 + (np.arange(256) + 0.5) / 256)).max() < 1
    z = np.arange(5 * 256) / 256
    normal = [0.5 * math.erfc(v / math.sqrt(2)) for v in z]
    assert np.allclose(fp.SURVIVAL[0, : z.size] / 2**40, normal, rtol=1e-5)
    assert np.allclose(fp.SURVIVAL[1, : z.size] / 2**40, 0.5 * np.exp(-z * math.sqrt(2)), rtol=1e-5)


def test_tables_are_pinned() -> None:
    """A changed entry would change coded bytes."""
    tables = (fp.SQUASH, fp.STRETCH, fp.EXP2, fp.LOG2, fp.SURVIVAL, fp.SHIFT, fp.SCORE, fp.RECIPROCAL)
    sums = [int((t.reshape(-1) * (np.arange(t.size) % 251 + 1)).sum()) for t in tables]
    assert sums == SUMS


@given(st.integers(1, 400), st.integers(0, 2**32 - 1), st.sampled_from(["any", "sure", "wrong"]))
@settings(deadline=None, max_examples=60)
def test_coder_round_trip(count: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, count)
    p = rng.integers(1, 65536, count)
    if kind != "any":
        p = np.where((bits == 1) == (kind == "sure"), 65535, 1)
    payload = encode(bits, p)
    assert payload is not None
    again, used = decode(payload, p)
    assert np.array_equal(again, bits)
    assert used == len(payload)


def test_coder_is_within_a_hundredth_of_a_percent_of_the_ideal_and_not_below() -> None:
    rng = np.random.default_rng(1)
    p = rng.integers(600, 65536 - 600, 400_000)
    bits = (rng.integers(0, 65536, p.size) < p).astype(np.int64)
    ideal = -np.log2(np.where(bits, p, 65536 - p) / 65536).sum()
    payload = encode(bits, p)
    assert payload is not None
    assert ideal - 1 < 8 * len(payload) < 1.0001 * ideal + 16


def test_full_buffer_is_reported() -> None:
    work, buffer = mx.make_work(1), np.zeros(8, np.uint8)
    code_all(work, buffer, np.ones(200, np.int64), np.full(200, 100))
    assert mx.finish(work, buffer) is None


@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_mixer_learns_a_context(noise: float) -> None:
    """Bits that follow a context: close to the entropy of the noise, and never under it."""
    rng = np.random.default_rng(2)
    contexts = rng.integers(0, 16, 30_000)
    bits = ((contexts & 1) ^ (rng.random(contexts.size) < noise)).astype(np.int64)
    work, counters, buffer = mx.make_work(2), np.zeros(16 * mx.SLOTS, np.uint32), np.zeros(30_000, np.uint8)
    mix_all(work, counters, buffer, bits.copy(), contexts)
    payload = mx.finish(work, buffer)
    assert payload is not None
    flips = float((bits ^ contexts & 1).mean())
    entropy = bits.size * -(flips * math.log2(flips) + (1 - flips) * math.log2(1 - flips))
    assert 0.99 * entropy < 8 * len(payload) < 1.05 * entropy + 400
    work, counters, out = mx.make_work(2), np.zeros(16 * mx.SLOTS, np.uint32), np.zeros_like(bits)
    data = np.frombuffer(payload, np.uint8).copy()
    mx.start_decoding(work, data)
    mix_all(work, counters, data, out, contexts)
    assert np.array_equal(out, bits)
