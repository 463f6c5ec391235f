"""What every codec must do. Subclass CodecContract with a fixture `codec`, and it is tested:

class TestMine(CodecContract):
    @pytest.fixture
    def codec(self):
        return MyCodec()
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from netweight import frame, tensors
from netweight.codec import Codec, measure_error, receiver_of, weigh
from netweight.errors import FormatError, NetweightError, UnsupportedError
from netweight.registry import create
from netweight.spec import DTYPES, Spec

MUTATIONS = 300
SHAPES: tuple[tuple[tuple[int, ...], ...], ...] = (
    (),
    ((),),
    ((0,),),
    ((1,),),
    ((3, 0, 5),),
    ((1, 1, 1, 1),),
    ((7,),),
    ((1, 129),),
    ((129, 1),),
    ((5, 3, 7),),
    ((31, 33),),
    ((2, 3), (), (0, 4), (5,), (1, 2, 3)),
)
SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-310, 3.4e38, 65504.0, 1.8e308)


def rng(*key: object) -> np.random.Generator:
    """Random numbers that depend on `key` alone."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def random_block(spec: Spec) -> np.ndarray:
    """Random bit patterns: for a float, NaN with all payloads, infinities, denormals and signed zeros among them."""
    return rng(spec).integers(0, 256, spec.nbytes, dtype=np.uint8)


def patterns(name: str) -> tuple[np.ndarray, Spec]:
    """Every bit pattern of a dtype of up to 16 bits; random ones and the special values of a wider one."""
    bits = DTYPES[name].bits
    if bits <= 16:
        words = np.arange(1 << (16 if bits == 16 else 8), dtype=np.uint16 if bits == 16 else np.uint8)
        data = words.view(np.uint8)
    else:
        data = rng(name).integers(0, 256, 2000 * bits // 8, dtype=np.uint8)
        if name in ("F32", "F64"):
            with np.errstate(over="ignore"):
                special = np.array(SPECIAL).astype(tensors.numpy_dtype(name))
            data = np.concatenate([special.view(np.uint8), data])
    return data, Spec(name, ((data.size * 8 // bits,),))


def gaussian(kind: Any, rows: int = 300, columns: int = 256) -> np.ndarray:
    """Weights as they are: Gaussian with scales that vary by row and by column."""
    r = rng(rows, columns)
    scale = np.exp(r.normal(size=(rows, 1)) * 0.5 + r.normal(size=columns) * 0.5) * 0.02
    return (r.normal(size=(rows, columns)) * scale).astype(kind)


def blocks() -> Iterator[tuple[np.ndarray, Spec]]:
    """Small blocks of many kinds, for attacks."""
    yield tensors.to_bytes(gaussian(ml_dtypes.bfloat16, 16, 24))
    yield tensors.to_bytes(gaussian(np.float32, 11, 13))
    yield tensors.to_bytes(np.zeros((8, 40), np.float16))
    yield tensors.to_bytes(np.arange(300, dtype=np.int32) % 7)
    yield tensors.to_bytes(bytes(range(256)))


def encode(codec: Codec, data: np.ndarray, spec: Spec) -> bytes | None:
    """The payload; None where a lossy codec says that it can't. The data stay what they were in any case."""
    before = data.tobytes()
    try:
        payload = codec.encode(data, spec)
    except UnsupportedError as error:
        if codec.guarantee.kind == "lossless" or len(str(error)) < 20:
            pytest.fail(f"a lossless codec takes everything, and a lossy one says why not: {error}")
        return None
    finally:
        assert data.tobytes() == before, "the input was altered"
    assert type(payload) is bytes
    return payload


def check_round_trip(codec: Codec, data: np.ndarray, spec: Spec) -> bytes | None:
    """Encode, decode, compare; returns the payload."""
    payload = encode(codec, data, spec)
    if payload is None:
        return None
    decoded = codec.decode(payload, spec)
    assert decoded.dtype == np.uint8
    assert decoded.shape == (spec.nbytes,)
    if codec.guarantee.kind == "lossless":
        assert np.array_equal(decoded, data)
    assert codec.guarantee.holds(measure_error(data, decoded, spec))
    assert np.array_equal(codec.decode(memoryview(payload), spec), decoded), "decoding must be deterministic"
    return payload


def check_hostile(codec: Codec, payload: bytes, spec: Spec) -> None:
    """Anything may be decoded: the right number of bytes or a FormatError comes out."""
    try:
        decoded = codec.decode(payload, spec)
    except FormatError:
        pass
    except UnsupportedError:
        if codec.guarantee.kind == "lossless":
            raise  # it takes every dtype
    else:
        assert decoded.dtype == np.uint8
        assert decoded.shape == (spec.nbytes,)


def mutations(payload: bytes, count: int) -> Iterator[bytes]:
    """Damaged copies: flipped bits, changed bytes, cuts, insertions, swapped and repeated parts, noise."""
    r = rng(payload)
    for k in range(count):
        out = bytearray(payload or b"\0")
        at, other = (int(v) for v in r.integers(0, len(out), 2))
        match k % 8:
            case 0 | 1:
                out[at] ^= 1 << int(r.integers(8))
            case 2:
                out[at] = int(r.choice([0, 1, 0x7F, 0x80, 0xFF]))
            case 3:
                del out[at:]
            case 4:
                out[at:at] = r.bytes(int(r.integers(1, 9)))
            case 5:
                out[at : at + 8] = out[other : other + 8]
            case 6:
                for place in r.integers(0, len(out), 5):
                    out[place] = int(r.integers(256))
            case _:
                out = bytearray(r.bytes(int(r.integers(0, 200))))
        yield bytes(out)


class CodecContract:
    """See the top of the file."""

    def test_has_an_id_a_guarantee_and_a_config(self, codec: Codec) -> None:
        assert isinstance(codec, Codec)
        assert codec.guarantee.kind in ("lossless", "max_error", "mse", "rel_mse", "none")
        assert json.loads(json.dumps(codec.config())) == codec.config()

    def test_a_receiver_needs_nothing_else(self, codec: Codec) -> None:
        """To be overridden for a codec that needs a model, a base: then `receiver` must name it."""
        assert receiver_of(codec) == {}

    def test_config_rebuilds_an_equal_codec(self, codec: Codec) -> None:
        twin = create(codec.id, frame.parse_config(frame.config_text(codec)))
        assert twin is not codec
        assert twin == codec
        assert hash(twin) == hash(codec)
        assert twin.config() == codec.config()
        data, spec = tensors.to_bytes(gaussian(np.float32, 8, 9))
        assert twin.encode(data, spec) == codec.encode(data, spec)

    def test_repr_tells_class_and_config(self, codec: Codec) -> None:
        assert repr(codec).startswith(type(codec).__name__ + "(")
        for key, value in codec.config().items():
            assert f"{key}={value!r}" in repr(codec)

    def test_refuses_a_config_that_it_does_not_know(self, codec: Codec) -> None:
        with pytest.raises(FormatError):
            create(codec.id, {"no_such_option": 1})

    @pytest.mark.parametrize("name", DTYPES)
    def test_every_bit_pattern_of_every_dtype(self, codec: Codec, name: str) -> None:
        check_round_trip(codec, *patterns(name))

    @pytest.mark.parametrize("name", DTYPES)
    def test_odd_shapes(self, codec: Codec, name: str) -> None:
        for shapes in SHAPES:
            spec = Spec(name, shapes)
            check_round_trip(codec, random_block(spec), spec)
            check_round_trip(codec, np.zeros(spec.nbytes, np.uint8), spec)

    @pytest.mark.parametrize("kind", [np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
    def test_weights(self, codec: Codec, kind: Any) -> None:
        data, spec = tensors.to_bytes(gaussian(kind))
        payload = check_round_trip(codec, data, spec)
        assert payload is not None, "finite weights are what every codec is for"
        assert len(payload) <= data.size + data.size // 50 + 64

    def test_noise_hardly_grows(self, codec: Codec) -> None:
        data = random_block(Spec.raw(300_000))
        payload = check_round_trip(codec, data, Spec.raw(data.size))
        if codec.guarantee.kind == "lossless":
            assert payload is not None
            assert data.size <= len(payload) <= data.size + data.size // 50 + 64, "no code beats the entropy of noise"

    def test_other_memory_layouts(self, codec: Codec) -> None:
        base = gaussian(np.float32, 40, 60)
        for view in (base.T, base[::2, ::-3], base[5:6, 7:8], base.astype(">f4"), np.asfortranarray(base)):
            assert weigh(codec, view).original_bytes == view.nbytes

    def test_read_only_input(self, codec: Codec) -> None:
        data, spec = tensors.to_bytes(gaussian(np.float32, 20, 30))
        frozen = np.frombuffer(data.tobytes(), np.uint8)
        assert not frozen.flags.writeable
        assert check_round_trip(codec, frozen, spec) == check_round_trip(codec, data.copy(), spec)

    def test_unaligned_input(self, codec: Codec) -> None:
        data, spec = tensors.to_bytes(gaussian(np.float32, 20, 30))
        shifted = np.frombuffer(b"\0" + data.tobytes(), np.uint8)[1:]
        assert check_round_trip(codec, shifted, spec) == check_round_trip(codec, data.copy(), spec)

    def test_output_is_deterministic(self, codec: Codec) -> None:
        data, spec = tensors.to_bytes(gaussian(ml_dtypes.bfloat16))
        first = codec.encode(data, spec)
        codec.encode(data[: data.size // 2].copy(), Spec("BF16", ((data.size // 4,),)))
        assert codec.encode(data, spec) == first, "what was coded before must not matter"
        assert create(codec.id, codec.config()).encode(data, spec) == first

    def test_a_frame_is_decodable_by_anyone(self, codec: Codec) -> None:
        for data, spec in blocks():
            payload = encode(codec, data, spec)
            if payload is not None:
                decoded, found = frame.unpack(frame.pack(codec, data, spec))
                assert found == spec
                assert np.array_equal(decoded, codec.decode(payload, spec))

    def test_every_flip_and_every_cut_of_a_frame_is_noticed(self, codec: Codec) -> None:
        blob = frame.pack(codec, *tensors.to_bytes(gaussian(np.float32, 5, 6)))
        for at in range(len(blob)):
            with pytest.raises(NetweightError):
                frame.unpack(blob[:at])
            for bit in range(8):
                damaged = bytearray(blob)
                damaged[at] ^= 1 << bit
                with pytest.raises(NetweightError):
                    frame.unpack(bytes(damaged))
        with pytest.raises(FormatError):
            frame.unpack(blob + b"\0")

    def test_damaged_payloads(self, codec: Codec) -> None:
        for data, spec in blocks():
            payload = encode(codec, data, spec)
            if payload is not None:
                for bad in mutations(payload, MUTATIONS):
                    check_hostile(codec, bad, spec)

    def test_every_cut_of_a_payload_is_noticed(self, codec: Codec) -> None:
        for data, spec in blocks():
            payload = encode(codec, data, spec)
            for length in range(len(payload or b"")):
                with pytest.raises(FormatError):
                    codec.decode(payload[:length], spec)

    def test_bytes_after_the_payload_are_noticed(self, codec: Codec) -> None:
        for data, spec in blocks():
            payload = encode(codec, data, spec)
            for more in (b"\0", b"\xff", payload):
                if payload is not None:
                    with pytest.raises(FormatError):
                        codec.decode(payload + more, spec)

    def test_payload_under_another_spec(self, codec: Codec) -> None:
        shapes = (((3, 7),), ((16, 24),), ((),), ((0,),), ((2, 2), (3,)), ((768,),), ())
        for data, spec in blocks():
            payload = encode(codec, data, spec)
            for name in DTYPES:
                for other in shapes if payload is not None else ():
                    check_hostile(codec, payload, Spec(name, other))

    def test_lying_length_allocates_nothing(self, codec: Codec) -> None:
        data, spec = tensors.to_bytes(gaussian(np.float32, 5, 6))
        payload = codec.encode(data, spec)
        for liar in (Spec("F32", ((1 << 45,),)), Spec("F32", ((1 << 20, 1 << 28),)), Spec("F32", ((1 << 57,),))):
            for claim in (payload, b"", payload[:-1]):
                with pytest.raises(FormatError):
                    codec.decode(claim, liar)

    def test_weigh(self, codec: Codec) -> None:
        thing = gaussian(np.float32, 20, 20)
        receipt = weigh(codec, thing)
        assert receipt.bytes == len(frame.pack(codec, *tensors.to_bytes(thing)))
        assert receipt.error.identical or codec.guarantee.kind != "lossless"
