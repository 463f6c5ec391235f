from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coder_samples import as_bytes, attack, bell, below, bfloat16, digest, random_bytes, weights
from netweight.errors import BaseMismatchError, FormatError
from netweight.ggml import BLOCK_TYPES
from netweight.spec import DTYPES, Spec, dtype
from netweight.weights.coders import balanced, delta
from netweight.weights.methods import DELTA, EFFORTS, decode_block, encode_block


def round_trip(data: np.ndarray, spec: Spec, base: np.ndarray) -> bytes | None:
    body = delta.encode_block(data, spec, base)
    if body is not None:
        decoded = delta.decode_block(body, spec, base)
        assert decoded.dtype == np.uint8
        assert np.array_equal(decoded, data)
        assert len(body) < data.size
    return body


def size(data: np.ndarray, spec: Spec, base: np.ndarray) -> int:
    body = round_trip(data, spec, base)
    assert body is not None
    return len(body)


@pytest.mark.parametrize("name", [*DTYPES, *BLOCK_TYPES])
def test_identical_tensors_cost_nearly_nothing(name):
    spec = Spec(name, ((8, 1024),))
    data = random_bytes(name, spec.nbytes)
    assert size(data, spec, data.copy()) < 60


@pytest.mark.parametrize("name", DTYPES)
def test_small_steps_between_any_numbers(name):
    """Random patterns, NaN and both zeros among them, a few steps up or down."""
    spec, word = Spec(name, ((30, 64),)), dtype(name).word // 8
    base = random_bytes(name, spec.nbytes)
    words = base.view(f"<u{word}").copy()
    words += (below(name, words.size, 5) - 2).astype(words.dtype)
    # five symbols as likely: 2.33 bits a word
    assert size(words.view(np.uint8), spec, base) < words.size * 2.5 / 8 + 150


@pytest.mark.parametrize("name", ["F64", "F32", "F16", "BF16", "F8_E4M3", "I64", "I8", "U8", "C64"])
def test_extreme_differences(name):
    word = dtype(name).word
    ends = np.array([0, 1, (1 << (word - 1)) - 1, 1 << (word - 1), (1 << (word - 1)) + 1, (1 << word) - 1], np.uint64)
    pairs = np.array([(a, b) for a in ends for b in ends], np.uint64)
    pairs = np.concatenate([pairs, np.zeros((4000, 2), np.uint64)]).astype(f"<u{word // 8}")
    data, base = as_bytes(pairs[:, 0].copy()), as_bytes(pairs[:, 1].copy())
    assert round_trip(data, Spec(name, ((data.size * 8 // dtype(name).bits,),)), base) is not None


@settings(deadline=None, max_examples=60)
@given(
    data=st.binary(min_size=512, max_size=512), base=st.binary(min_size=512, max_size=512), changed=st.integers(0, 64)
)
def test_any_bytes(data, base, changed):
    """The first words differ in any way, the others not at all."""
    mixed = np.frombuffer(data[: 8 * changed] + base[8 * changed :], np.uint8)
    for name in ("F64", "F32", "BF16", "I16", "U8"):
        round_trip(mixed, Spec(name, ((512 // dtype(name).bits * 8,),)), np.frombuffer(base, np.uint8))


def test_signs_and_zeros_are_neighbours():
    """From the least negative number over both zeros to the least positive one it is three steps."""
    base = np.full(2000, 0x80000001, np.uint32)
    data = np.full(2000, 0x00000001, np.uint32)
    data[::2] = 0x80000000
    assert size(as_bytes(data), Spec("F32", ((2000,),)), as_bytes(base)) < 2000 / 8 + 60


def adam_step(count: int) -> tuple[np.ndarray, np.ndarray, Spec]:
    """Weights before and after a step of about the same size everywhere."""
    shape = (256, count // 256)
    before = weights("adam", shape, 2, 2)
    step = np.ldexp(bell("step", count).astype(np.float32), -38).reshape(shape)
    return as_bytes((before + step).astype(np.float32)), as_bytes(before), Spec("F32", (shape,))


def test_a_training_step_costs_far_less_than_the_tensor():
    data, base, spec = adam_step(1 << 16)
    alone = balanced.encode_block(data, spec)
    against = size(data, spec, base)
    assert alone is not None
    assert against < 0.75 * len(alone)
    # and the base's exponents are worth having: one distribution for all would take more
    integers = Spec("U32", spec.shapes)
    assert against < 0.97 * size(data, integers, base)


def test_a_training_step_of_bfloat16_changes_few_weights():
    before = weights("bf16", (256, 256), 2, 2)
    step = np.ldexp(bell("bf16 step", before.size).astype(np.float32), -40).reshape(before.shape)
    data, base = as_bytes(bfloat16(before + step)), as_bytes(bfloat16(before))
    assert 0.002 < (data.view("<u2") != base.view("<u2")).mean() < 0.2
    assert size(data, Spec("BF16", (before.shape,)), base) < 0.15 * data.size


def test_unrelated_tensors_fall_back():
    spec = Spec("F32", ((64, 128),))
    data, base = as_bytes(weights("one", (64, 128), 2, 2)), as_bytes(weights("other", (64, 128), 2, 2))
    alone = encode_block(data, spec, EFFORTS["balanced"])
    against = encode_block(data, spec, EFFORTS["balanced"], base)
    assert against == alone
    assert against[0] != DELTA
    assert delta.encode_block(random_bytes("a", 4000), Spec("F32", ((1000,),)), random_bytes("b", 4000)) is None


def test_fewer_than_64_words_are_not_tried():
    assert delta.encode_block(np.zeros(63 * 4, np.uint8), Spec("F32", ((63,),)), np.zeros(63 * 4, np.uint8)) is None
    assert size(np.zeros(64 * 4, np.uint8), Spec("F32", ((64,),)), np.zeros(64 * 4, np.uint8)) < 40


@pytest.mark.parametrize("other", [0, 1, 255, 252, 260, 4096])
def test_a_base_of_another_length_is_refused(other):
    spec, data = Spec("F32", ((64,),)), np.zeros(256, np.uint8)
    body = delta.encode_block(data, spec, data)
    assert body is not None
    with pytest.raises(BaseMismatchError, match="256"):
        delta.encode_block(data, spec, np.zeros(other, np.uint8))
    with pytest.raises(BaseMismatchError, match="256"):
        delta.decode_block(body, spec, np.zeros(other, np.uint8))


def test_a_base_is_needed():
    spec, data = Spec("F32", ((640,),)), random_bytes("needed", 2560)
    payload = encode_block(data, spec, EFFORTS["balanced"], data)
    assert payload[0] == DELTA
    assert np.array_equal(decode_block(payload, spec, data), data)
    with pytest.raises(FormatError, match="base"):
        decode_block(payload, spec)


def test_both_kinds_of_contexts_occur():
    data, base, spec = adam_step(1 << 14)
    body = delta.encode_block(data, spec, base)
    assert body is not None
    assert body[0] == 0
    # integers have no exponents, and rows that change more than others speak for scales
    step = bell("rows", 1 << 14).reshape(64, 256) >> (6 + below("row", 64, 12))[:, None]
    base = random_bytes("integers", 4 << 14)
    data = (base.view("<u4") + step.reshape(-1).astype(np.uint32)).view(np.uint8)
    spec = Spec("U32", ((64, 256),))
    body = round_trip(data, spec, base)
    assert body is not None
    assert body[0] == 1


def test_hostile():
    data, base, spec = adam_step(1 << 12)
    body = round_trip(data, spec, base)
    assert body is not None
    assert attack(lambda b: delta.decode_block(b, spec, base), body, spec, "delta") > 200
    for name in ("U8", "BF16", "I64", "F4", "C64", "Q4_0"):
        spec = Spec(name, ((16, 128),))
        base = random_bytes(name, spec.nbytes)
        data = base ^ (below(name, base.size, 20) == 0).astype(np.uint8)
        body = round_trip(data, spec, base)
        assert body is not None
        assert attack(lambda b, s=spec, r=base: delta.decode_block(b, s, r), body, spec, name, 200) > 60


def test_a_difference_wider_than_the_number_is_refused():
    """Symbols of 64-bit differences in the code of bytes."""
    base = np.zeros(8 * 256, np.uint8)
    data = np.zeros(256, np.uint64)
    data[::16] = 1 << 62
    body = round_trip(as_bytes(data), Spec("U64", ((256,),)), base)
    assert body is not None
    with pytest.raises(FormatError, match="wider"):
        delta.decode_block(body, Spec("U8", ((256,),)), base[:256])


def test_pinned_bytes():
    data, base, spec = adam_step(1 << 9)
    body = round_trip(data, spec, base)
    assert body is not None
    assert digest(body) == "93fb3c756afaa16d"
    same = np.arange(256, dtype=np.uint8)
    assert delta.encode_block(same, Spec("BF16", ((128,),)), same).hex() == "00000d000000030e37de059a98fffff30400800000"
