"""Weights as PNG images."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from netweight import tensors
from netweight.codec import LOSSLESS, weigh
from netweight.entropy import png
from netweight.entropy.png import Png
from netweight.errors import FormatError, UnsupportedError
from netweight.spec import Spec
from netweight.wire import Reader, Writer


def images(payload: bytes, skip: int = 0) -> list[Any]:
    reader, out = Reader(payload), []
    while reader.remaining:
        reader.raw(skip)
        out.append(Image.open(io.BytesIO(reader.blob()), formats=["PNG"]))
    return out


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def handmade(*chunks: tuple[bytes, bytes]) -> bytes:
    return Writer().blob(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)).bytes()


def header(width: int = 10, height: int = 10, depth: int = 8, colour: int = 0, rest: bytes = bytes(3)) -> bytes:
    return struct.pack(">2I2B", width, height, depth, colour) + rest


ROWS = b"\0\1\2\3\4\5\6\7\10\11\12" * 10
IDAT = zlib.compress(ROWS)
GOOD = ((b"IHDR", header()), (b"IDAT", IDAT), (b"IEND", b""))


@pytest.mark.parametrize(
    "config",
    [{"depth": 9}, {"depth": 8.0}, {"depth": True}, {"mode": "lossy"}, {"mode": 1}, {"level": 7}, {"level": -1}],
)
def test_refuses_bad_configs(config: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=next(iter(config))):
        Png(**config)


def test_a_matrix_is_its_picture() -> None:
    matrix = np.random.default_rng(1).integers(0, 256, (300, 400), dtype=np.uint8)
    (image,) = images(Png().encode(*tensors.to_bytes(matrix)))
    assert image.format == "PNG"
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), matrix)


def test_sixteen_bits_a_pixel_are_the_words() -> None:
    matrix = np.random.default_rng(1).integers(0, 65536, (300, 400), dtype=np.uint16)
    (image,) = images(Png(depth=16).encode(*tensors.to_bytes(matrix)))
    assert np.array_equal(np.asarray(image), matrix)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1000,), (64, 63)),  # 4000 bytes, about a square
        ((40, 100), (400, 40)),  # rows of the matrix
        ((100, 3), (264, 5)),  # 12 bytes a row: 22 rows side by side
        ((2, 40_000), (566, 566)),  # rows too long to be looked at
        ((5, 10, 10), (400, 5)),
        ((), (2, 2)),
        ((1, 1), (4, 1)),
    ],
)
def test_width(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    data, spec = tensors.to_bytes(np.random.default_rng(2).normal(size=shape).astype(np.float32))
    (image,) = images(Png(level=0).encode(data, spec))
    assert image.size == size


def test_packed_dtypes_have_rows_too() -> None:
    spec = Spec("F4", ((600, 600),))
    (image,) = images(Png(level=0).encode(np.arange(180_000).astype(np.uint8), spec))
    assert image.size == (300, 600)


@pytest.mark.parametrize("codec", [Png(level=0), Png(depth=16, level=0), Png(mode="quantised", level=0)], ids=repr)
def test_large_things_are_cut_into_tiles(codec: Png, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "TILE_BYTES", 1 << 17)
    weights = np.random.default_rng(3).normal(size=(700, 300)).astype(np.float32)
    data, spec = tensors.to_bytes(weights)
    payload = codec.encode(data, spec)
    parts = images(payload, 8 if codec.mode == "quantised" else 0)
    assert len(parts) > 1
    assert all(w * h * codec.depth // 8 <= 1 << 17 for w, h in (p.size for p in parts))
    assert np.allclose(tensors.to_array(codec.decode(payload, spec), spec), weights, atol=0.02)


@pytest.mark.parametrize("level", [0, 2, 6])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("distinct", [1, 2, 3, 16, 200])
@pytest.mark.parametrize("step", [1, 17, 85])
def test_few_distinct_values_survive_what_the_optimiser_does_with_them(
    level: int, depth: int, distinct: int, step: int
) -> None:
    values = (np.random.default_rng(4).integers(0, distinct, 3001) * step).astype(np.uint8)
    for data in (values, np.repeat(values, 2)):
        codec = Png(depth=depth, level=level)
        spec = Spec.raw(data.size)
        assert np.array_equal(codec.decode(codec.encode(data, spec), spec), data)


def test_the_optimiser_makes_it_smaller() -> None:
    data, spec = tensors.to_bytes((np.random.default_rng(5).normal(size=(200, 300)) * 0.02).astype(np.float32))
    assert len(Png(level=2).encode(data, spec)) < len(Png(level=0).encode(data, spec))


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
@pytest.mark.parametrize("depth", [8, 16])
def test_quantised_error_is_half_a_step_and_the_rounding_of_the_dtype(kind: Any, depth: int) -> None:
    weights = np.random.default_rng(6).normal(size=(50, 60)).astype(kind)
    receipt = weigh(Png(depth=depth, mode="quantised", level=0), weights)
    exact = weights.astype(np.float64)
    step = (exact.max() - exact.min()) / (2**depth - 1)
    ulp = np.abs(exact).max() * float(ml_dtypes.finfo(kind).eps)
    assert 0 <= receipt.error.max_abs <= 0.5 * step * (1 + 1e-9) + 0.5 * ulp
    assert receipt.guarantee == "none"


def test_quantised_keeps_grids_and_constants_exactly() -> None:
    codec = Png(mode="quantised")
    grid = np.arange(256, dtype=np.float32).reshape(16, 16) / 4 - 7
    for weights in (grid, np.full(100, 0.1, np.float64), np.float16(-3.5), np.array([5e-324, 0.0])):
        assert weigh(codec, weights).error.identical


def test_quantised_scales_each_tensor_by_itself() -> None:
    small, large = np.array([0, 1e-3], np.float32), np.array([-1e3, 1e3], np.float32)
    data, spec = np.concatenate([small, large]).view(np.uint8), Spec("F32", ((2,), (2,)))
    codec = Png(mode="quantised", level=0)
    assert np.array_equal(codec.decode(codec.encode(data, spec), spec), data)


def test_quantised_spans_the_whole_range_of_float64() -> None:
    weights = np.array([-1.7e308, 0.0, 1.7e308])
    assert weigh(Png(mode="quantised", depth=16), weights).error.max_abs < 1.7e308 / 60_000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_quantised_refuses_what_has_no_place_between_others(bad: float) -> None:
    with pytest.raises(UnsupportedError, match="NaN and infinity"):
        weigh(Png(mode="quantised"), np.array([0, bad, 1], np.float32))


@pytest.mark.parametrize("name", ["I32", "BOOL", "C64", "F4"])
def test_quantised_takes_floats_alone(name: str) -> None:
    codec, spec = Png(mode="quantised"), Spec(name, ((8,),))
    with pytest.raises(UnsupportedError, match="only floats"):
        codec.encode(np.zeros(spec.nbytes, np.uint8), spec)
    with pytest.raises(UnsupportedError, match="only floats"):
        codec.decode(b"", spec)


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (np.nan, 1.0), (0.0, np.inf), (np.nan, np.nan)])
def test_quantised_refuses_impossible_ranges(bounds: tuple[float, float]) -> None:
    codec, spec = Png(mode="quantised", level=0), Spec("F32", ((4,),))
    payload = codec.encode(np.arange(4, dtype=np.float32).view(np.uint8), spec)
    with pytest.raises(FormatError, match="range"):
        codec.decode(struct.pack("<2f", *bounds) + payload[8:], spec)


def test_lossless_mode_promises_so() -> None:
    assert Png().guarantee == LOSSLESS
    assert Png(mode="quantised").guarantee.kind == "none"


def test_handmade_image_is_read() -> None:
    assert Png().decode(handmade(*GOOD), Spec.raw(100)).tobytes() == bytes(range(1, 11)) * 10


@pytest.mark.parametrize(
    "chunks",
    [
        (GOOD[0], (b"tEXt", b"a\0b"), *GOOD[1:]),
        (GOOD[0], (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7))), *GOOD[1:]),
        (GOOD[0], (b"acTL", bytes(8)), *GOOD[1:]),
        (GOOD[0], *GOOD),
        (*GOOD, GOOD[2]),
        (GOOD[0], GOOD[2]),
        (GOOD[1], GOOD[2]),
        GOOD[:2],
        (),
        (GOOD[0], GOOD[1], (b"PLTE", bytes(6)), GOOD[2]),
        (GOOD[0], GOOD[1], (b"PLTE", bytes(6)), GOOD[1], GOOD[2]),
    ],
    ids=lambda chunks: "+".join(kind.decode() for kind, _ in chunks),
)
def test_refuses_chunks_that_no_encoder_of_ours_writes(chunks: tuple[tuple[bytes, bytes], ...]) -> None:
    with pytest.raises(FormatError):
        Png().decode(handmade(*chunks), Spec.raw(100))


@pytest.mark.parametrize(
    "ihdr",
    [
        header(width=11),
        header(height=1),
        header(width=2**31 - 1, height=2**31 - 1),
        header(width=0, height=0),
        header(depth=16),
        header(depth=3),
        header(colour=2),
        header(colour=4),
        header(rest=b"\0\0\1"),
        header()[:12],
        header() + b"\0",
    ],
    ids=bytes.hex,
)
def test_refuses_headers_that_are_not_the_spec_s(ihdr: bytes) -> None:
    with pytest.raises(FormatError, match="10 x 10"):
        Png().decode(handmade((b"IHDR", ihdr), *GOOD[1:]), Spec.raw(100))


@pytest.mark.parametrize(
    ("chunks", "colour"),
    [
        (((b"IDAT", IDAT[:-30]),), 0),
        (((b"IDAT", b""),), 0),
        (((b"IDAT", zlib.compress(ROWS[:50])),), 0),
        (((b"IDAT", zlib.compress(b"\7" * 110)),), 0),
        (((b"IDAT", b"garbage"),), 0),
        (((b"PLTE", bytes(3 * 300)), (b"IDAT", IDAT)), 3),
    ],
)
def test_damage_under_right_checksums(chunks: tuple[tuple[bytes, bytes], ...], colour: int) -> None:
    payload = handmade((b"IHDR", header(colour=colour)), *chunks, GOOD[2])
    with pytest.raises(FormatError):
        Png().decode(payload, Spec.raw(100))


def test_random_damage_under_right_checksums() -> None:
    r = np.random.default_rng(7)
    refused = 0
    for trial in range(1500):
        rows = r.integers(0, 6 if trial % 2 else 256, int(r.integers(0, 300)), dtype=np.uint8).tobytes()
        idat = bytearray(zlib.compress(rows))
        if trial % 3:
            idat[int(r.integers(len(idat)))] ^= 1 << int(r.integers(8))
        ihdr = header(depth=int(r.choice([1, 2, 4, 8])), colour=int(r.choice([0, 3])))
        palette = ((b"PLTE", r.bytes(int(r.integers(0, 800)))),) if trial % 5 else ()
        payload = handmade((b"IHDR", ihdr), *palette, (b"IDAT", bytes(idat)), (b"IEND", b""))
        try:
            assert Png().decode(payload, Spec.raw(100)).shape == (100,)
        except FormatError:
            refused += 1
    assert 0 < refused < 1500
