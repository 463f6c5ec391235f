"""The block coder `max`: every dtype comes back bit for bit, structure is found, and no payload can do harm."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from netweight.errors import BombError, FormatError
from netweight.spec import DTYPES, Spec
from netweight.weights.coders.mixed import decode_block, encode_block

PINNED = (4168, "ad2486c8ab753404")

Bytes = NDArray[np.uint8]


def flat(array: NDArray[np.generic]) -> Bytes:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def check(data: Bytes, spec: Spec) -> int:
    """Round trip; the coded length, or the raw one where it isn't smaller."""
    before = data.copy()
    payload = encode_block(data, spec)
    assert np.array_equal(data, before)
    if payload is None:
        return data.size
    assert len(payload) < data.size
    decoded = decode_block(payload, spec)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, data)
    return len(payload)


def gauss(rows: int, cols: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, cols)).astype(np.float32) * np.float32(0.05)


@pytest.mark.parametrize("name", sorted(DTYPES))
@pytest.mark.parametrize("kind", ["random", "small", "zeros", "ones", "ramp"])
def test_every_dtype_round_trips(name: str, kind: str) -> None:
    spec = Spec(name, ((24, 31), (), (7,), (0, 3), (3, 4, 5)))
    rng = np.random.default_rng(3)
    data = {
        "random": rng.integers(0, 256, spec.nbytes),
        "small": rng.integers(0, 3, spec.nbytes),
        "zeros": np.zeros(spec.nbytes),
        "ones": np.full(spec.nbytes, 255),
        "ramp": np.arange(spec.nbytes) >> 2,
    }[kind].astype(np.uint8)
    size = check(data, spec)
    if kind == "zeros":
        assert size < data.size / 20


@given(
    st.sampled_from(sorted(DTYPES)),
    st.integers(0, 40),
    st.integers(0, 9),
    st.integers(0, 2**32 - 1),
    st.integers(1, 255),
)
@settings(deadline=None, max_examples=80)
def test_round_trip_of_any_shape(name: str, rows: int, cols: int, seed: int, mask: int) -> None:
    spec = Spec(name, ((rows, cols),))
    data = np.random.default_rng(seed).integers(0, 256, spec.nbytes).astype(np.uint8) & mask
    check(data.astype(np.uint8), spec)


def test_normal_weights_cost_no_more_than_their_entropy_and_little_more() -> None:
    w = gauss(500, 400).astype(ml_dtypes.bfloat16)
    words, counts = np.unique(w.view(np.uint16), return_counts=True)
    x = np.abs(words.view(ml_dtypes.bfloat16).astype(np.float64))
    step = 2.0 ** (np.floor(np.log2(np.maximum(x, 1e-30))) - 7)
    density = np.exp(-0.5 * (x / 0.05) ** 2) / (0.05 * np.sqrt(2 * np.pi))
    entropy = -(counts * np.log2(np.maximum(density * step, 1e-30))).sum() / 8
    assert 0.998 * entropy < check(flat(w), Spec("BF16", (w.shape,))) < 1.012 * entropy


def test_scales_of_rows_and_columns_are_found() -> None:
    rng = np.random.default_rng(4)
    plain = gauss(300, 300)
    scaled = plain * np.exp2(rng.integers(-3, 4, (300, 1))) * np.exp2(rng.integers(-3, 4, (1, 300)))
    spec = Spec("BF16", ((300, 300),))
    sizes = [check(flat(a.astype(ml_dtypes.bfloat16)), spec) for a in (plain, scaled)]
    assert sizes[1] < 1.02 * sizes[0]  # plain scale mixtures of seven octaves cost 7 % more


def test_smooth_kernels_and_column_means_are_predicted() -> None:
    rough = gauss(120, 512, 5)
    smooth = rough.copy()
    for j in range(1, 512):
        smooth[:, j] += 0.9 * smooth[:, j - 1]
    shifted = rough + 4 * gauss(1, 512, 6)
    spec = Spec("BF16", ((120, 512),))
    base, *others = (check(flat(a.astype(ml_dtypes.bfloat16)), spec) for a in (rough, smooth, shifted))
    assert all(size < 0.96 * base for size in others)


def test_clean_bits_signs_and_zeros_cost_nothing() -> None:
    w = gauss(200, 200)
    as_bf16 = w.astype(ml_dtypes.bfloat16)
    small = check(flat(as_bf16), Spec("BF16", (w.shape,)))
    assert check(flat(as_bf16.astype(np.float32)), Spec("F32", (w.shape,))) <= small + 4
    mixed_low = as_bf16.astype(np.float32)
    mixed_low[::8] = w[::8]
    assert check(flat(mixed_low), Spec("F32", (w.shape,))) < small + 2 * w.size // 8 + w.size // 40
    assert check(flat(np.abs(as_bf16)), Spec("BF16", (w.shape,))) < small - w.size // 9
    sparse = np.where(np.random.default_rng(7).random(w.shape) < 0.9, np.float32(0), w).astype(ml_dtypes.bfloat16)
    assert check(flat(sparse), Spec("BF16", (w.shape,))) < 1.08 * (small // 10 + w.size * 0.47 // 8)


@pytest.mark.parametrize("shift", [0, 128])
def test_quantised_integers_come_near_their_entropy(shift: int) -> None:
    q = np.clip(np.round(gauss(300, 300) * 200), -128, 127).astype(np.int64) + shift
    counts = np.unique(q, return_counts=True)[1]
    entropy = (counts * np.log2(q.size / counts)).sum() / 8
    data = (q & 255).astype(np.uint8).reshape(-1)
    assert check(data, Spec("U8" if shift else "I8", (q.shape,))) < 1.02 * entropy


def test_every_cut_and_addition_is_refused() -> None:
    w = gauss(40, 30)
    spec = Spec("F32", (w.shape,))
    payload = encode_block(flat(w), spec)
    assert payload is not None
    for length in range(0, len(payload), 7):
        with pytest.raises(FormatError):
            decode_block(payload[:length], spec)
    with pytest.raises(FormatError):
        decode_block(payload + b"\0", spec)


@given(st.sampled_from(sorted(DTYPES)), st.binary(max_size=300), st.integers(0, 15), st.integers(1, 60))
@settings(deadline=None, max_examples=200)
def test_hostile_payloads(name: str, tail: bytes, flags: int, rows: int) -> None:
    spec = Spec(name, ((rows, 17), (2, 3, 2, 2)))
    for payload in (tail, bytes([flags, 0, 5]) + tail):
        with suppress(FormatError):
            assert decode_block(payload, spec).size == spec.nbytes


@given(st.integers(0, 10**6), st.integers(1, 255))
@settings(deadline=None, max_examples=150)
def test_flipped_bytes(at: int, change: int) -> None:
    w = gauss(30, 40).astype(np.float16)
    spec = Spec("F16", (w.shape,))
    payload = bytearray(encode_block(flat(w), spec) or b"")
    payload[at % len(payload)] ^= change
    with suppress(FormatError):
        assert decode_block(bytes(payload), spec).size == spec.nbytes


def test_bytes_are_pinned() -> None:
    """Numbers of an integer generator, so that only the coder can change these bytes."""
    state, words = 1, []
    for _ in range(3000):
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        words.append((state >> 63) << 15 | 0x3C00 + ((state >> 40) % 900))
    data = np.array(words, "<u2").view(np.uint8)
    payload = encode_block(data, Spec("BF16", ((50, 60),)))
    assert payload is not None
    assert (len(payload), hashlib.sha256(payload).hexdigest()[:16]) == PINNED


def test_few_bytes_can_not_announce_many_numbers() -> None:
    with pytest.raises(BombError):
        decode_block(bytes(40), Spec("F32", ((1 << 40, 4),)))
