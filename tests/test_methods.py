"""Blocks: every method gives its bytes back, and no payload whatsoever does harm."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from attacks_blocks import Bytes, block_bytes, changed, coded_blocks, efforts, every_block
from attacks_regions import mutate
from netweight.errors import FormatError
from netweight.ggml import BLOCK_TYPES
from netweight.spec import DTYPES, Spec
from netweight.weights.methods import DELTA, EFFORTS, NAMES, decode_block, encode_block, method_name

ALL = [*DTYPES, *BLOCK_TYPES]


def entropy_bits(data: Bytes, spec: Spec) -> float:
    """Order-0 entropy of the words, a bound no method that sees them alone can beat by far."""
    words = data.reshape(-1, DTYPES[spec.dtype].word // 8)
    counts = np.unique(words, axis=0, return_counts=True)[1]
    return float((counts * np.log2(words.shape[0] / counts)).sum())


@pytest.mark.parametrize("effort", efforts())
def test_every_block_comes_back(effort: str) -> None:
    for data, spec in every_block():
        before = data.tobytes()
        payload = encode_block(data, spec, EFFORTS[effort])
        assert data.tobytes() == before
        assert len(payload) <= data.size + 1
        assert encode_block(data, spec, EFFORTS[effort]) == payload
        assert decode_block(payload, spec).tobytes() == before, (spec, method_name(payload))
        assert method_name(payload) in NAMES


@pytest.mark.parametrize("effort", efforts())
def test_every_block_against_a_base_comes_back(effort: str) -> None:
    for data, spec in every_block():
        base = changed(data)
        payload = encode_block(data, spec, EFFORTS[effort], base)
        assert decode_block(payload, spec, base).tobytes() == data.tobytes()
        if payload[0] == DELTA:
            with pytest.raises(FormatError, match="base"):
                decode_block(payload, spec)


@pytest.mark.parametrize("effort", efforts())
@pytest.mark.parametrize("name", ALL)
def test_every_bit_pattern(name: str, effort: str) -> None:
    data, spec = block_bytes(name, (32, 256), "noise")
    if name in DTYPES and DTYPES[name].bits in (8, 16):
        words = np.arange(1 << DTYPES[name].bits, dtype=f"u{DTYPES[name].bits // 8}")
        data, spec = words.view(np.uint8), Spec(name, ((words.size,),))
    assert np.array_equal(decode_block(encode_block(data, spec, EFFORTS[effort]), spec), data)


@pytest.mark.parametrize("effort", efforts())
def test_empty_and_tiny_blocks(effort: str) -> None:
    for name in DTYPES:
        for shapes in ((), ((),), ((0,),), ((3, 0),), ((1,),), ((2, 2),), ((9,),)):
            spec = Spec(name, shapes)
            data = np.arange(spec.nbytes, dtype=np.uint8)
            assert np.array_equal(decode_block(encode_block(data, spec, EFFORTS[effort]), spec), data)


@pytest.mark.parametrize("effort", efforts())
def test_no_code_beats_independent_noise(effort: str) -> None:
    for name in ("F32", "BF16", "U8", "I32"):
        data, spec = block_bytes(name, (64, 64), "noise")
        assert len(encode_block(data, spec, EFFORTS[effort])) >= data.size
    few = np.random.default_rng(1).choice(np.array([3, 5, 9, 200], np.uint8), 50_000, p=[0.7, 0.1, 0.1, 0.1])
    payload = encode_block(few, Spec.raw(few.size), EFFORTS[effort])
    assert 8 * len(payload) >= 0.999 * entropy_bits(few, Spec.raw(few.size))


def attack(payload: bytes, spec: Spec, reference: bytes | None) -> None:
    known = None if reference is None else np.frombuffer(reference, np.uint8)
    try:
        out = decode_block(payload, spec, known)
    except FormatError:
        return
    assert out.dtype == np.uint8
    assert out.shape == (spec.nbytes,)


def test_mutated_payloads() -> None:
    random = Random(2)
    for spec, payload, reference in coded_blocks():
        for _ in range(12):
            attack(payload[:1] + mutate(payload[1:], random), spec, reference)


def test_every_method_under_every_dtype_with_anything() -> None:
    random = Random(3)
    payloads = [p for _, p, _ in coded_blocks()]
    for name in ALL:
        spec = Spec(name, ((4, 256),))
        for method in range(len(NAMES) + 2):
            for body in (b"", bytes(40), b"\xff" * 40, random.randbytes(200), random.choice(payloads)[1:]):
                for reference in (None, bytes(spec.nbytes)):
                    attack(bytes([method]) + body, spec, reference)


def test_payloads_under_other_shapes() -> None:
    random = Random(4)
    shapes = ((), ((0,),), ((),), ((5,),), ((1, 384),), ((384, 1),), ((3, 0), (7,)), ((2, 3, 4, 16),), ((16, 24), (1,)))
    for spec, payload, _ in coded_blocks():
        if spec.dtype in DTYPES:
            attack(payload, Spec(spec.dtype, random.choice(shapes)), None)


def test_truncations_of_one_payload_of_each_method() -> None:
    seen: dict[int, tuple[Spec, bytes, bytes | None]] = {}
    for spec, payload, reference in coded_blocks():
        seen.setdefault(payload[0], (spec, payload, reference))
    assert len(seen) >= 7, "every method codes something here"
    for spec, payload, reference in seen.values():
        known = None if reference is None else np.frombuffer(reference, np.uint8)
        for length in {
            *range(0, len(payload), 1 + len(payload) // 60),
            *range(max(0, len(payload) - 10), len(payload)),
        }:
            with pytest.raises(FormatError):
                decode_block(payload[:length], spec, known)
        with pytest.raises(FormatError):
            decode_block(payload + b"\0", spec, known)


def test_method_names_of_anything() -> None:
    assert method_name(b"") == "unknown"
    assert method_name(b"\xff") == "unknown"
    assert method_name(b"\0") == "stored"
