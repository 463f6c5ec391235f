"""The fast block coder: every dtype round-trips and gains where it should, hostile payloads give FormatError."""

from __future__ import annotations

import threading
from contextlib import suppress

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from netweight.entropy.huffman import MAX_BITS
from netweight.errors import FormatError
from netweight.spec import DTYPES, Spec
from netweight.weights.coders.fast import CONSTANT, NEW_CODE, OLD_CODE, STORED, decode_block, encode_block
from netweight.weights.coders.planes import PLANE, layout, merge, split

Bytes = NDArray[np.uint8]


def gauss(n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.04, n).astype(np.float32)


def block(values: NDArray[np.generic], name: str) -> tuple[Bytes, Spec]:
    data = values.reshape(-1).view(np.uint8)
    spec = Spec(name, ((data.size * 8 // DTYPES[name].bits,),))
    assert spec.nbytes == data.size
    return data, spec


def round_trip(data: Bytes, spec: Spec) -> int:
    """Encoded size (raw size if it wasn't smaller), after checking that decoding gives `data` back."""
    before = data.copy()
    payload = encode_block(data, spec)
    assert (data == before).all()
    if payload is None:
        return data.size
    assert len(payload) < data.size
    assert (decode_block(payload, spec) == data).all()
    out = np.full(data.size + 2, 77, np.uint8)
    decode_block(memoryview(payload), spec, out=out[1:-1])
    assert (out[1:-1] == data).all()
    assert out[0] == out[-1] == 77
    return len(payload)


def entropy_bytes(symbols: NDArray[np.generic]) -> float:
    counts = np.unique(symbols, return_counts=True)[1]
    return float(-(counts * np.log2(counts / counts.sum())).sum()) / 8


CASTS = {
    "BF16": gauss(PLANE + 777).astype(ml_dtypes.bfloat16),
    "F16": gauss(PLANE + 777).astype(np.float16),
    "F32": gauss(PLANE + 777),
    "F64": gauss(PLANE + 777).astype(np.float64) * 1.1,
    "C64": gauss(2 * PLANE + 778).view(np.complex64),
    "F8_E4M3": gauss(PLANE + 777).astype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": gauss(PLANE + 777).astype(ml_dtypes.float8_e5m2),
    "I8": (gauss(PLANE + 777) * 300).astype(np.int8),
    "I16": (gauss(PLANE + 777) * 3000).astype(np.int16),
    "I32": (gauss(PLANE + 777) * 3000).astype(np.int32),
    "I64": (gauss(PLANE + 777) * 3000).astype(np.int64),
    "U16": np.arange(PLANE + 777).astype(np.uint16) >> 4,
    "U32": np.arange(PLANE + 777).astype(np.uint32),
    "U64": np.arange(PLANE + 777).astype(np.uint64),
    "BOOL": gauss(PLANE + 777) > 0.06,
}
MOST = {  # bits per element that a sound coder stays under
    "BF16": 10.65, "F16": 13.55, "F32": 26.65, "F64": 37.95, "C64": 53.3, "F8_E4M3": 5.95, "F8_E5M2": 5.55, "I8": 5.65,
    "I16": 9.4, "I32": 9.4, "I64": 9.4, "U16": 12.0, "U32": 16.0, "U64": 16.0, "BOOL": 1.01,
}  # fmt: skip


@pytest.mark.parametrize("name", CASTS)
def test_weights_of_every_kind_become_smaller(name: str) -> None:
    data, spec = block(CASTS[name], name)
    assert round_trip(data, spec) * 8 / spec.count < MOST[name]


@pytest.mark.parametrize("name", DTYPES)
def test_noise_of_every_dtype_is_left_alone(name: str) -> None:
    data = np.random.default_rng(1).integers(0, 256, 24 * 1000).astype(np.uint8)
    assert encode_block(data, Spec(name, ((data.size * 8 // DTYPES[name].bits,),))) is None


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 2, 7, 100, 3001])
def test_small_blocks_of_every_dtype(name: str, n: int) -> None:
    spec = Spec(name, ((n,), (), (3, n, 0)))
    for data in (np.full(spec.nbytes, 3, np.uint8), np.arange(spec.nbytes).astype(np.uint8) % 5):
        assert round_trip(data, spec) <= data.size


def test_bf16_is_the_entropy_of_its_exponents_and_little_more() -> None:
    data, spec = block(gauss(4 * PLANE).astype(ml_dtypes.bfloat16), "BF16")
    bound = entropy_bytes((data.view(np.uint16) >> 7) & 255) + spec.count
    assert bound < round_trip(data, spec) < 1.006 * bound


@pytest.mark.parametrize("name", ["F16", "F32", "F64"])
def test_special_values_keep_their_bits(name: str) -> None:
    kind = {"F16": np.float16, "F32": np.float32, "F64": np.float64}[name]
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 1.0], kind)
    word = special.view(f"u{special.itemsize}")
    word[4] |= word.dtype.type(5)  # a NaN with a payload
    data, spec = block(np.tile(special, 500), name)
    assert round_trip(data, spec) < data.size


@pytest.mark.parametrize("clean", [16, 13, 7])
def test_clean_low_bits_cost_nothing(clean: int) -> None:
    words = gauss(2 * PLANE).view(np.uint32) & np.uint32((1 << 32) - (1 << clean))
    data, spec = block(words, "F32")
    assert round_trip(data, spec) * 8 / spec.count < 26.8 - clean + 0.06


def test_each_sub_block_chooses_for_itself() -> None:
    parts = [gauss(PLANE, 3), np.zeros(PLANE, np.float32), gauss(PLANE, 4) * 1e-9, gauss(PLANE, 5) * 1e-9]
    data, spec = block(np.concatenate(parts), "F32")
    payload = encode_block(data, spec)
    assert payload is not None
    zero_part = bytes([CONSTANT, 0]) * 4
    assert payload[0] == NEW_CODE
    assert zero_part in payload
    assert len(payload) < 3 * PLANE * 26.8 / 8 + len(zero_part)
    assert (decode_block(payload, spec) == data).all()


def test_an_equal_code_is_sent_once() -> None:
    one, spec = block(gauss(PLANE, 6).astype(ml_dtypes.bfloat16), "BF16")
    first = encode_block(one, spec)
    both = encode_block(np.tile(one, 2), Spec("BF16", ((2 * PLANE,),)))
    assert first is not None
    assert both is not None
    second = both[len(first) :]
    assert both.startswith(first)
    assert second[0] == OLD_CODE
    assert len(second) < len(first)


def test_worked_example_of_the_docs() -> None:
    values = np.array([1.0, -1.0, 2.0, 1.5] * 16, np.float32).astype(ml_dtypes.bfloat16)
    data, spec = block(values, "BF16")
    payload = encode_block(data, spec)
    assert payload is not None
    assert payload.hex() == EXAMPLE
    assert (decode_block(payload, spec) == data).all()


EXAMPLE = (
    "02df16f16d4000000000000800000000000000222222222222222202f12df"
    "22df26d4000000000000c0000000000000069a69a69a69a69a69a69a69a"
)


@pytest.mark.parametrize("name", ["BF16", "F16", "F32", "F64", "I16", "I32", "I64", "U16", "U32", "U64", "I8"])
def test_split_and_merge_are_inverse(name: str) -> None:
    width, fold = layout(DTYPES[name])
    n = 1003
    data = np.random.default_rng(7).integers(0, 256, n * width).astype(np.uint8)
    planes, out = np.zeros(8 * PLANE, np.uint8), np.zeros(n * width, np.uint8)
    split(data, 0, n, width, fold, planes)
    low = np.frombuffer(bytes(5) + planes[:n].tobytes(), np.uint8)
    for places in (np.full(8, -1), np.array([5] + [-1] * 7)):
        merge(low, places, planes, n, width, fold, out, 0)
        assert (out == data).all()
        planes[:n], out[:] = 0, 0  # from now on the low plane is in the other buffer


def test_folds_put_the_exponent_on_top_and_small_integers_at_the_bottom() -> None:
    planes = np.zeros(8 * PLANE, np.uint8)
    for name, value, expected in [
        ("BF16", np.array([-3.0]).astype(ml_dtypes.bfloat16), [0x80 | 0x40, 128]),
        ("F32", np.array([-3.0], np.float32), [0, 0, 0x80 | 0x40, 128]),
        ("F16", np.array([-3.0], np.float16), [0x80, 0x84]),
        ("F64", np.array([-3.0]), [0, 0, 0, 0, 0, 0, 0xC8, 0x00]),
        ("I32", np.array([-3], np.int32), [5, 0, 0, 0]),
    ]:
        width, fold = layout(DTYPES[name])
        split(value.view(np.uint8), 0, 1, width, fold, planes)
        assert [int(planes[p * PLANE]) for p in range(width)] == expected, name


def test_read_only_and_offset_input() -> None:
    data, spec = block(CASTS["BF16"], "BF16")
    moved = np.frombuffer(b"x" + data.tobytes(), np.uint8)[1:]
    assert not moved.flags.writeable
    assert encode_block(moved, spec) == encode_block(data, spec)


def test_lengths_that_do_not_fit_the_spec() -> None:
    with pytest.raises(ValueError, match="bytes of data"):
        encode_block(np.zeros(3, np.uint8), Spec("BF16", ((2,),)))
    with pytest.raises(ValueError, match="bytes of room"):
        decode_block(b"\1\0", Spec("U8", ((2,),)), out=np.zeros(3, np.uint8))


def test_a_lying_spec_allocates_nothing() -> None:
    with pytest.raises(FormatError, match="too short"):
        decode_block(b"\1\0" * 8, Spec("F32", ((1 << 50,),)))


def test_every_truncation_and_extension_is_refused() -> None:
    for name, values in (
        ("BF16", gauss(400).astype(ml_dtypes.bfloat16)),
        ("F32", gauss(300)),
        ("U8", np.zeros(9, np.uint8)),
    ):
        data, spec = block(values, name)
        payload = encode_block(data, spec)
        assert payload is not None
        for cut in range(len(payload)):
            with pytest.raises(FormatError):
                decode_block(payload[:cut], spec)
        with pytest.raises(FormatError, match="too long"):
            decode_block(payload + b"\0", spec)


def test_every_flipped_byte_is_an_error_or_the_right_length() -> None:
    data, spec = block(gauss(600).astype(ml_dtypes.bfloat16), "BF16")
    payload = encode_block(data, spec)
    assert payload is not None
    errors = 0
    for at in range(len(payload)):
        for flip in (0x01, 0x80, 0xFF):
            hurt = bytearray(payload)
            hurt[at] ^= flip
            try:
                assert decode_block(bytes(hurt), spec).size == data.size
            except FormatError:
                errors += 1
    assert errors > 100


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300), st.sampled_from(["U8", "BF16", "F32", "F64"]), st.integers(0, 120))
def test_noise_is_an_error_or_the_right_length(noise: bytes, name: str, n: int) -> None:
    spec = Spec(name, ((n,),))
    for payload in (noise, bytes([NEW_CODE]) + noise, bytes([NEW_CODE, 0x11, 0xFF, 0xCF, 0xD]) + noise):
        with suppress(FormatError):
            assert decode_block(payload, spec).size == spec.nbytes


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=3000), st.sampled_from(sorted(DTYPES)))
def test_any_bytes_of_any_dtype_round_trip(content: bytes, name: str) -> None:
    count = len(content) * 8 // DTYPES[name].bits
    spec = Spec(name, ((count,),))
    data = np.frombuffer(content + b"\0", np.uint8)[: spec.nbytes]
    round_trip(data, spec)


def test_an_old_code_of_another_block_is_refused() -> None:
    data, spec = block(gauss(PLANE).astype(ml_dtypes.bfloat16), "BF16")
    payload = encode_block(data, spec)
    assert payload is not None
    assert payload[0] == NEW_CODE
    decode_block(payload, spec)
    with pytest.raises(FormatError):
        decode_block(bytes([OLD_CODE]) + payload[1:], spec)


def test_threads_agree() -> None:
    inputs = [block(gauss(2 * PLANE, seed).astype(ml_dtypes.bfloat16), "BF16") for seed in range(4)]
    expected = [encode_block(*i) for i in inputs]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(5):
            payload = encode_block(*inputs[k])
            if payload != expected[k] or payload is None or (decode_block(payload, inputs[k][1]) != inputs[k][0]).any():
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_methods_are_what_the_format_says() -> None:
    assert (STORED, CONSTANT, NEW_CODE, OLD_CODE, MAX_BITS, PLANE) == (0, 1, 2, 3, 12, 65536)
