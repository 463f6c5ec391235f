from __future__ import annotations

import numpy as np
import pytest

from coder_samples import attack, bell, below, bfloat16, digest, random_bytes, weights
from netweight.errors import FormatError
from netweight.ggml import BLOCK_TYPES
from netweight.spec import Spec
from netweight.weights.coders import ggml
from netweight.weights.methods import EFFORTS, decode_block, encode_block

BALANCED = EFFORTS["balanced"]


def quantised_like(name: str, blocks: int) -> np.ndarray:
    """Blocks whose scales vary by less than an octave and whose quants are bell curves."""
    block = BLOCK_TYPES[name]
    out = np.zeros((blocks, block.nbytes), np.uint8)
    for field in block.fields:
        key, count = (name, field.name), blocks * field.nbytes
        if field.dtype == "F16":
            part = (0x2C00 + below(key, count // 2, 600)).astype("<u2").view(np.uint8)
        elif field.dtype == "F32":
            part = (0x3C000000 + below(key, count // 4, 6 << 20)).astype("<u4").view(np.uint8)
        elif field.dtype == "U4":
            low, high = (np.clip(8 + (bell((key, k), count) >> 19), 0, 15) for k in range(2))
            part = (low | high << 4).astype(np.uint8)
        else:
            part = (bell(key, count) >> 16).astype(np.int8).view(np.uint8)
        out[:, field.offset : field.offset + field.nbytes] = part.reshape(blocks, -1)
    return out.reshape(-1)


def spec_of(name: str, rows: int, blocks: int) -> Spec:
    return Spec(name, ((rows, blocks * BLOCK_TYPES[name].weights),))


def round_trip(data: np.ndarray, spec: Spec) -> int:
    """Coded bytes, all that the reader needs."""
    payload = encode_block(data, spec, BALANCED)
    decoded = decode_block(payload, spec)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, data)
    assert len(payload) <= data.size + 1
    return len(payload)


@pytest.mark.parametrize("name", BLOCK_TYPES)
class TestEveryBlockType:
    def test_random_bytes(self, name):
        for rows, blocks in ((1, 1), (1, 3), (5, 7), (16, 40)):
            spec = spec_of(name, rows, blocks)
            round_trip(random_bytes(name, spec.nbytes), spec)

    def test_quantised_numbers_get_shorter(self, name):
        spec = spec_of(name, 16, 20)
        assert round_trip(quantised_like(name, 320), spec) < 0.93 * spec.nbytes

    def test_constant_fields(self, name):
        spec = spec_of(name, 8, 16)
        for value in (0, 0xFF, 0x7E):  # zero scales, NaN scales
            data = np.full(spec.nbytes, value, np.uint8)
            assert round_trip(data, spec) < 1200

    def test_other_shapes(self, name):
        weights_, data = BLOCK_TYPES[name].weights, quantised_like(name, 24)
        for shapes in (((24 * weights_,),), ((4, 6, weights_),), ((3, 2 * weights_), (1, 8 * weights_), (10, weights_)),
                       ((24 * weights_ // 16, 16),)):  # fmt: skip
            round_trip(data, Spec(name, shapes))

    def test_hostile(self, name):
        spec = spec_of(name, 4, 30)
        body = ggml.encode_block(quantised_like(name, 120), spec, BALANCED)
        assert body is not None
        assert attack(lambda b: ggml.decode_block(b, spec), body, spec, name, 120) > 60

    def test_no_blocks_at_all(self, name):
        empty = Spec(name, ((0, BLOCK_TYPES[name].weights),))
        stored, scale = b"\x01\x00", b"\x00\x01\x00"  # a field stored in no bytes, and the same as a plain scale
        bodies = [random_bytes((name, k), k).tobytes() for k in range(40)] + [bytes(k) for k in range(40)]
        bodies += [
            stored * k + scale + stored * n + bytes([1]) * z for k in range(4) for n in range(4) for z in range(3)
        ]
        bodies += [stored * k for k in range(9)]
        for body in bodies:
            try:
                assert ggml.decode_block(body, empty).size == 0
            except FormatError:
                continue


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_1", "Q8_0", "Q4_K"])
@pytest.mark.parametrize("scales", ["zero", "nan", "infinite", "negative", "denormal", "mixed"])
def test_strange_scales(name, scales):
    """d and m of every kind, in a few blocks and in all of them."""
    block, blocks = BLOCK_TYPES[name], 200
    patterns = {
        "zero": (0, 0x8000),
        "nan": (0x7E00, 0x7C01, 0xFFFF),
        "infinite": (0x7C00, 0xFC00),
        "negative": (0xAC00, 0xB123),
        "denormal": (1, 0x8001, 0x3FF),
        "mixed": (0, 0x8000, 0x7E00, 0xFC00, 1, 0x2C00, 0x7BFF),
    }[scales]
    for share in (1, 7, 50):
        data = quantised_like(name, blocks).reshape(blocks, -1)
        for field in block.fields:
            if field.dtype == "F16":
                strange = np.array(patterns, "<u2")[below((scales, field.name), blocks, len(patterns))]
                rows = below((share, field.name), blocks, share) == 0
                data[rows, field.offset : field.offset + 2] = strange.view(np.uint8).reshape(blocks, 2)[rows]
        round_trip(data.reshape(-1), spec_of(name, 8, 25))


@pytest.mark.parametrize("method", range(9))
@pytest.mark.parametrize("name", ["F32", "U8", "Q4_0", "Q8_0"])
def test_methods_and_types_that_do_not_fit(method, name):
    """A block type has codes of its own, and no others have those."""
    spec = Spec(name, ((8, 32),))
    for body in (bytes(40), random_bytes(method, 300).tobytes()):
        try:
            assert decode_block(bytes([method]) + body, spec, np.zeros(spec.nbytes, np.uint8)).size == spec.nbytes
        except FormatError:
            continue


def real_weights(rows: int, columns: int) -> np.ndarray:
    """What a model file holds before it is quantised: numbers that fit BF16."""
    return (bfloat16(weights("real", (rows, columns), 2, 2)).astype(np.uint32) << np.uint32(16)).view(np.float32)


def quantised(name: str, rows: int = 256, columns: int = 512) -> tuple[np.ndarray, Spec]:
    """Weights through ggml's own quantiser."""
    gguf = pytest.importorskip("gguf")
    kind = getattr(gguf.GGMLQuantizationType, name)
    data = gguf.quants.quantize(real_weights(rows, columns), kind)
    return np.ascontiguousarray(data).reshape(-1).view(np.uint8), Spec(name, ((rows, columns),))


@pytest.mark.parametrize(
    ("name", "most"),
    [("Q4_0", 0.93), ("Q4_1", 0.90), ("Q5_0", 1.0), ("Q5_1", 0.97), ("Q8_0", 0.93),
     ("TQ1_0", 1.0), ("TQ2_0", 1.0), ("MXFP4", 1.0)],
)  # fmt: skip
def test_really_quantised_weights(name, most):
    data, spec = quantised(name)
    assert round_trip(data, spec) < most * spec.nbytes


@pytest.mark.parametrize(("name", "least"), [("Q4_0", 0.004), ("Q4_1", 0.03)])
def test_what_a_block_has_shown_shortens_the_rest(name, least):
    """The same scales and the same quants, but dealt out to other blocks, so that no block's own tell of each other."""
    data, spec = quantised(name)
    shuffled, offset = data.reshape(-1, BLOCK_TYPES[name].nbytes).copy(), BLOCK_TYPES[name].fields[-1].offset
    quants = shuffled[:, offset:].reshape(-1)
    order = np.argsort(below("shuffle", quants.size, 1 << 31), kind="stable")
    shuffled[:, offset:] = quants[order].reshape(len(shuffled), -1)
    assert round_trip(data, spec) < round_trip(shuffled.reshape(-1), spec) - least * data.size


def test_pinned_bytes():
    for name, pinned in (
        ("Q4_0", "69343dc33f149bf3"),
        ("Q4_1", "69c7bd140b2cca63"),
        ("Q8_0", "bfaad6b86b0a397d"),
        ("Q6_K", "734e342a8f399fed"),
    ):
        body = ggml.encode_block(quantised_like(name, 64), spec_of(name, 8, 8), BALANCED)
        assert body is not None
        assert digest(body) == pinned, name
