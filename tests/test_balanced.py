from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coder_samples import (
    as_bytes,
    attack,
    below,
    bfloat16,
    digest,
    entropy_bits,
    random_bytes,
    random_words,
    weights,
)
from netweight.errors import FormatError
from netweight.spec import DTYPES, Spec, dtype
from netweight.weights.coders import balanced, constant, general
from netweight.weights.methods import EFFORTS, decode_block, encode_block

FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64", "C128")


def size(data: np.ndarray, spec: Spec) -> int:
    """Bytes by this code or, where it declines, as they are."""
    body = balanced.encode_block(data, spec)
    if body is None:
        return data.size
    decoded = balanced.decode_block(body, spec)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, data)
    assert len(body) < data.size
    return len(body)


def block(name: str, shape: tuple[int, ...], octaves: int = 0, key: object = "block") -> tuple[np.ndarray, Spec]:
    """Bell curves in a dtype, the scales varying over so many octaves both ways."""
    spec = Spec(name, (shape,))
    parts = dtype(name).bits // dtype(name).word if dtype(name).bits > 8 else 1
    numbers = weights(key, (shape[0], int(np.prod(shape[1:])) * parts), octaves, octaves)
    kind = dtype(name)
    if kind.kind in ("float", "complex") and kind.word >= 16 and name != "BF16":
        words = numbers.astype({16: np.float16, 32: np.float32, 64: np.float64}[kind.word])
        if kind.word == 64:  # all of their mantissas
            words = words.view(np.uint64) | (
                random_words((key, "low"), numbers.size).reshape(numbers.shape) >> np.uint64(35)
            )
    elif name == "BF16":
        words = bfloat16(numbers)
    elif kind.kind == "float":
        words = (as_bytes(numbers.astype(np.float16)).view(np.uint16) >> 8).astype(np.uint8)
    else:
        words = (
            (numbers.astype(np.float64) * (2.0**11 if kind.word == 8 else 2.0**18))
            .astype(np.int64)
            .astype(f"<i{kind.word // 8}")
        )
    return as_bytes(words)[: spec.nbytes], spec


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(64, 48), (3000,), (1, 3000), (3000, 1), (16, 8, 3, 5), (333, 9), (2, 2, 2, 400)])
def test_round_trip(name, shape):
    rows = shape if len(shape) > 1 else (1, *shape)
    data, spec = block(name, rows, 2)
    spec = Spec(name, (shape,))
    assert size(data, spec) < data.size
    size(random_bytes(name, spec.nbytes), spec)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 127, 1023, 1024])
def test_few_elements(name, count):
    spec = Spec(name, ((count,),))
    size(random_bytes(count, spec.nbytes), spec)
    size(np.zeros(spec.nbytes, np.uint8), spec)


@pytest.mark.parametrize("name", ["F32", "BF16", "F4", "F6_E2M3", "C64", "I8", "I16"])
@pytest.mark.parametrize(
    "shapes",
    [((3, 0, 5), (40, 30, 3), (0,), (), (7,)), ((5, 3),) * 300, ((1,),) * 2100, ((2, 3, 4),) * 2049,
     ((64, 64), (64,)) * 4,
     ((11, 13), ())],
)  # fmt: skip
def test_many_tensors(name, shapes):
    spec = Spec(name, shapes)
    skewed = np.minimum(random_bytes(name, spec.nbytes), random_bytes("min", spec.nbytes)) >> 3
    assert size(skewed, spec) < (0.95 * spec.nbytes if spec.nbytes > 500 else spec.nbytes + 1)


@settings(deadline=None, max_examples=80)
@given(
    name=st.sampled_from(list(DTYPES)),
    pattern=st.binary(min_size=1, max_size=64),
    rows=st.integers(1, 40),
    columns=st.integers(1, 60),
    noise=st.sampled_from([0, 1, 15, 255]),
)
def test_any_pattern(name, pattern, rows, columns, noise):
    spec = Spec(name, ((rows, columns),))
    data = np.resize(np.frombuffer(pattern, np.uint8), spec.nbytes) ^ (
        random_bytes(pattern, spec.nbytes) & np.uint8(noise)
    )
    size(data, spec)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("word", ["zero", "negative zero", "nan", "one exponent", "all ones"])
def test_special_blocks(name, word):
    """All zeros, all NaN with any payload, one exponent, all bits set."""
    kind, count = dtype(name), 4096
    spec = Spec(name, ((64, 64),))
    width = kind.word
    exponent, mantissa = {64: (11, 52), 32: (8, 23)}.get(width, (kind.exponent, kind.mantissa))
    count = spec.nbytes * 8 // width
    payload = random_words("payload", count) & np.uint64((1 << mantissa) - 1)
    words = {
        "zero": np.zeros(count, np.uint64),
        "negative zero": np.full(count, 1 << (width - 1), np.uint64),
        "nan": payload | np.uint64(((1 << exponent) - 1) << mantissa),
        "one exponent": payload | np.uint64((1 << (exponent - 1)) << mantissa),
        "all ones": np.full(count, (1 << width) - 1, np.uint64),
    }[word]
    coded = size(as_bytes(words.astype(f"<u{width // 8}")), spec)
    if word in ("nan", "one exponent"):
        assert coded <= count * mantissa / 8 * 1.002 + 160  # sign and exponent are nearly free
    elif word == "negative zero":
        assert coded < 60
    else:
        assert coded <= count * (max(mantissa - 3, 0) % 8) / 8 + 160  # whole bytes that are constant are free


@pytest.mark.parametrize("name", ["F64", "F32", "F16", "BF16", "C64"])
def test_huge_dynamic_range(name):
    """Every exponent as often, rows of one end and rows of the other."""
    kind = dtype(name)
    spec = Spec(name, ((256, 64),))
    words = random_words("range", spec.nbytes * 8 // kind.word).astype(f"<u{kind.word // 8}")
    size(words.view(np.uint8), spec)
    ends = np.where(
        np.arange(words.size) % 512 < 256,
        words >> words.dtype.type(kind.word // 3),
        words | words.dtype.type(3 << (kind.word - 3)),
    )
    assert size(ends.astype(words.dtype).view(np.uint8), spec) < spec.nbytes


@pytest.mark.parametrize("name", ["U8", "I8", "BOOL", "F8_E8M0", "F4"])
def test_256_symbols(name):
    """All byte values, one of them at nearly all places."""
    spec = Spec(name, ((64, 512 if name != "F4" else 1024),))
    data = np.zeros(spec.nbytes, np.uint8)
    data[::64] = np.arange(512) % 256
    assert size(data, spec) < 1400
    assert size(np.arange(spec.nbytes).astype(np.uint8), spec) <= spec.nbytes


@pytest.mark.parametrize("name", ["F64", "F32", "F16", "BF16", "F8_E4M3", "C64"])
def test_constant_signs_are_shed(name):
    data, spec = block(name, (64, 96))
    words = data.view(f"<u{dtype(name).word // 8}").copy()
    top = words.dtype.type(1 << (dtype(name).word - 1))
    mixed = size(data, spec)
    for one_sign in (words & ~top, words | top):
        assert size(one_sign.view(np.uint8), spec) < mixed - 0.99 * words.size / 8


@pytest.mark.parametrize(
    ("name", "clean"),
    [("F64", 29), ("F64", 52), ("F32", 16), ("F32", 13), ("F32", 7), ("F32", 23), ("F16", 3), ("C64", 16)],
)
def test_clean_bits_are_shed(name, clean):
    data, spec = block(name, (64, 96))
    words = data.view(f"<u{dtype(name).word // 8}")
    full = size(data, spec)
    words = words & ~words.dtype.type((1 << clean) - 1)
    assert (
        size(words.view(np.uint8), spec)
        < full - 0.97 * (min(clean, {64: 49, 32: 20, 16: 7}[dtype(name).word])) * words.size / 8
    )


def test_bfloat16_in_float32_costs_as_much_as_bfloat16():
    numbers = weights("cast", (128, 128), 2, 2)
    narrow = bfloat16(numbers)
    wide = (narrow.astype(np.uint32) << np.uint32(16)).view(np.float32)
    assert (
        abs(size(as_bytes(wide), Spec("F32", ((128, 128),))) - size(as_bytes(narrow), Spec("BF16", ((128, 128),)))) < 8
    )


def no_scales(spec: Spec) -> Spec:
    """The same words as one vector: no rows, no columns."""
    return Spec(spec.dtype, ((spec.count,),))


@pytest.mark.parametrize("name", ["F32", "F16", "BF16", "F8_E4M3", "I8", "C64"])
@pytest.mark.parametrize("octaves", [0, 2, 4])
def test_planted_scales_pay(name, octaves):
    data, spec = block(name, (256, 256), octaves, "planted")
    rows, flat = size(data, spec), size(data, no_scales(spec))
    if octaves:
        assert rows < flat - 0.35 * data.size / (dtype(name).word // 8) / 8
    else:
        assert rows <= flat + 8


def test_planted_kernel_positions_pay():
    """Convolutions whose middle is larger: one scale a channel and one a position, not one a column."""
    numbers = weights("kernel", (64, 32, 9), 0, 0)
    kernel, channel = (
        np.ldexp(np.float32(1), -np.array([3, 2, 3, 2, 0, 2, 3, 2, 3])),
        np.ldexp(np.float32(1), below("channel", 32, 4)),
    )
    numbers = (numbers * kernel * channel[:, None]).astype(np.float32)
    data = as_bytes(bfloat16(numbers))
    found, flat = size(data, Spec("BF16", ((64, 32, 3, 3),))), size(data, Spec("BF16", ((numbers.size,),)))
    assert found < flat - 0.25 * numbers.size / 8
    assert found <= size(data, Spec("BF16", ((64, 288),)))


def test_exponents_cost_their_entropy():
    """One context, no scales: exponent and three mantissa bits cost their joint entropy, the others themselves."""
    data, spec = block("BF16", (1, 60_000))
    words = data.view("<u2")
    bits = entropy_bits((words & 0x7FFF) >> 4) + 5 * words.size
    coded = 8 * size(data, spec)
    assert bits < coded + 8 * 40  # rare exponents kept apart are not counted symbol by symbol
    assert coded < 1.003 * bits + 8 * 400


def test_random_bytes_are_declined_or_cost_a_few_bytes():
    for name in DTYPES:
        spec = Spec(name, ((100, 80),))
        payload = encode_block(random_bytes(("random", name), spec.nbytes), spec, EFFORTS["balanced"])
        assert len(payload) <= spec.nbytes + 1


def test_input_is_left_alone_and_may_be_read_only_or_unaligned():
    data, spec = block("F32", (64, 48), 2)
    shifted = np.empty(data.size + 1, np.uint8)
    shifted[1:] = data
    view = shifted[1:]
    view.flags.writeable = False
    assert balanced.encode_block(view, spec) == balanced.encode_block(data.copy(), spec)
    assert np.array_equal(view, data)


@pytest.mark.parametrize("name", ["F64", "F32", "BF16", "F8_E5M2", "C64", "I16", "I8", "F6_E2M3", "BOOL"])
def test_hostile(name):
    data, spec = block(name, (48, 48), 3)
    body = balanced.encode_block(data, spec)
    assert body is not None
    assert attack(lambda b: balanced.decode_block(b, spec), body, spec, name, 300) > 100
    # the right bytes for another shape or dtype
    for other in ("F64", "F32", "BF16", "I8", "F4", "C128", "I32"):
        for shape in ((0,), (1,), (48, 48), (7, 5, 3), (48 * 48,)):
            wrong = Spec(other, (shape,))
            try:
                assert balanced.decode_block(body, wrong).size == wrong.nbytes
            except FormatError:
                continue


def test_impossible_headers_are_refused():
    data, spec = block("BF16", (48, 48))
    body = balanced.encode_block(data, spec)
    assert body is not None
    for clean, flags in ((8, 1), (200, 1), (0, 3), (0, 4 << 2), (0, 255), (7, 1 << 2)):
        with pytest.raises(FormatError, match="bit fields"):
            balanced.decode_block(bytes([clean, flags]) + body[2:], spec)


@pytest.mark.parametrize("name", DTYPES)
def test_constant_blocks(name):
    width = dtype(name).word // 8
    spec = Spec(name, ((16, 24),))
    for key in range(3):
        data = np.tile(random_bytes(key, width), spec.nbytes // width)
        body = constant.encode_block(data, spec)
        assert body == data[:width].tobytes()
        assert np.array_equal(constant.decode_block(body, spec), data)
        for at in (0, data.size // 2, data.size - 1):
            other = data.copy()
            other[at] ^= 1
            assert constant.encode_block(other, spec) is None
        for wrong in (b"", body + b"\0", body[:-1]):
            with pytest.raises(FormatError):
                constant.decode_block(wrong, spec)
    assert constant.encode_block(np.empty(0, np.uint8), Spec(name, ((0,),))) is None


@pytest.mark.parametrize("level", [3, 12, 19])
@pytest.mark.parametrize("count", [0, 1, 1000, 70_000])
def test_general_blocks(level, count):
    data = (below(count, count, 8) * 7).astype(np.uint8)
    spec = Spec.raw(count)
    body = general.encode_block(data, level)
    assert np.array_equal(general.decode_block(body, spec), data)
    assert len(body) < 0.5 * count + 20
    if count <= 1000:
        attack(lambda b: general.decode_block(b, spec), body, spec, count, 100)
    with pytest.raises(FormatError):
        general.decode_block(body, Spec.raw(count + 1))
    with pytest.raises(FormatError):
        general.decode_block(b"\x03" + body[1:], spec)


def test_the_best_of_all_methods_decodes():
    for name in DTYPES:
        data, spec = block(name, (40, 40), 1)
        payload = encode_block(data, spec, EFFORTS["balanced"])
        assert np.array_equal(decode_block(payload, spec), data)


@pytest.mark.parametrize(
    ("name", "pinned"),
    [
        ("F64", "d57d3a6faada83fc"),
        ("F32", "fe8971185e978fb7"),
        ("F16", "43947af303b65807"),
        ("BF16", "b305e6b98b16e0aa"),
        ("F8_E4M3", "5998de74ca7e676b"),
        ("I8", "91b840a333102654"),
        ("I32", "be8822cc783194cf"),
        ("F4", "09e3c8566d228ee9"),
        ("C64", "738d3bd9cf9d7a46"),
    ],
)
def test_pinned_bytes(name, pinned):
    body = balanced.encode_block(*block(name, (48, 40), 3, "pin"))
    assert body is not None
    assert digest(body) == pinned
