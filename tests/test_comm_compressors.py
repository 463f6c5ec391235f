"""What every compressor must do, whatever the vector and whatever the bytes."""

from __future__ import annotations

import json
import math
import zlib

import numpy as np
import pytest

from netweight import comm
from netweight.comm.certify.suite import CLAIMS, parse
from netweight.comm.compressor import Compressor
from netweight.errors import FormatError, InputError

OTHERS = (
    "TopK(count=3)", "TopK(fraction=1.0)", "RandK(count=2, unbiased=False, values='bit')",
    "MinMax(bits=9)", "InfinityNorm(bits=1, block=3)",
    "InfinityNorm(bits=16)", "QSGD(s=1000000)", "Eden(bits=3.25)", "Eden(bits=12, coded=True)", "Kashin(s=1, redundancy=1)",
    "DitheredTrellis(nu=1e-8)", "DitheredTrellis(nu=10000.0)", "DitheredTrellis(nu=0.5, states=4)", "TrellisCoded(nu=1e-10, states=8)",
    "TrellisCoded(nu=0.99)", "SparseDithering(nu=1e-10)", "SparseDithering(nu=1000.0, randomised=True)", "Spherical(alpha=0.6, block=3)",
    "MaxBlockNorm(block=1)", "SparseRandomised(block=5)",
)  # fmt: skip
EVERY = [*CLAIMS, *OTHERS]
LENGTHS = (1, 2, 3, 7, 1000)
LONG = 20_000
"""Long enough for the coders of long vectors."""
MUTATIONS = 40


@pytest.fixture(params=EVERY)
def compressor(request) -> Compressor:
    return parse(request.param)


def rng(*key: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def vectors(d: int, dtype: type) -> dict[str, np.ndarray]:
    """Ordinary and awkward vectors."""
    random = rng(d, dtype.__name__)
    gaussian = random.standard_normal(d)
    most = float(np.finfo(dtype).max)
    spiky = gaussian.copy()
    spiky[0] = 1e4
    out = {
        "gaussian": gaussian,
        "zeros": np.zeros(d),
        "negative zeros": -np.zeros(d),
        "one-hot": np.eye(1, d)[0],
        "spiky": spiky,
        "constant": np.full(d, -0.3),
        "denormal": np.full(d, float(np.finfo(dtype).smallest_subnormal)),
        "tiny": gaussian * (1e-42 if dtype is np.float32 else 1e-290),
        "1e38": gaussian * 1e37 if dtype is np.float32 else gaussian * 1e299,
        "largest": np.where(gaussian > 0, most, -most) / (1 if dtype is np.float32 else 1e8),
    }
    return {name: x.astype(dtype) for name, x in out.items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_vector_comes_back_finite_within_its_claim(compressor, dtype):
    for d in LENGTHS:
        for name, x in vectors(d, dtype).items():
            if name == "largest" and dtype is np.float64 and isinstance(compressor, comm.MinMax):
                continue
            before = x.copy()
            payload = compressor.compress(x, 5)
            assert payload == compressor.compress(x, 5), (name, d)
            assert np.array_equal(before, x)
            decoded = compressor.decompress(payload, d, dtype, 5)
            assert decoded.dtype == dtype
            assert decoded.shape == (d,)
            assert np.isfinite(decoded).all(), (name, d)
            decoded[:] = 1  # writable, and nothing of the payload's
            assert compressor.certificate(x, payload, 5).holds is not False, (
                name,
                d,
                compressor.certificate(x, payload, 5),
            )
            size = compressor.size(d)
            assert size is None or size == len(payload)
            if name in ("zeros", "negative zeros"):
                assert not compressor.decompress(payload, d, dtype, 5).any()


def test_the_seed_is_needed_only_where_that_is_said(compressor):
    x = vectors(1000, np.float32)["gaussian"]
    payload = compressor.compress(x, 5)
    decoded = compressor.decompress(payload, x.size, np.float32, 5)
    other = compressor.decompress(payload, x.size, np.float32, 6) if not compressor.shares_seed else decoded
    assert np.array_equal(other, decoded)
    if compressor.shares_seed:
        try:
            wrong = compressor.decompress(payload, x.size, np.float32, 6)
        except FormatError:
            return
        assert not np.array_equal(wrong, decoded)


def test_long_vectors_take_the_long_way(compressor):
    x = rng("long").standard_normal(LONG).astype(np.float32)
    x[:5000] *= 1e-3
    if isinstance(compressor, comm.GaussianCodebook):
        pytest.skip("the sender looks at 2^bits d coordinates")
    payload = compressor.compress(x, 3)
    assert compressor.certificate(x, payload, 3).holds is not False
    assert compressor.certificate(x, payload, 3).error < max(compressor.bound(LONG).value * 1.5, 1)


def attack(compressor: Compressor, d: int, payload: bytes, dtype: type, random: np.random.Generator) -> int:
    """Decode damaged bytes; how many were refused."""
    refused = 0
    for number in range(MUTATIONS):
        data = bytearray(payload)
        kind = number % 4
        if kind == 0 and data:
            data[random.integers(len(data))] ^= 1 << random.integers(8)
        elif kind == 1:
            del data[random.integers(len(data) + 1) :]
        elif kind == 2:
            data += random.integers(0, 256, random.integers(1, 9), dtype=np.uint8).tobytes()
        else:
            data = bytearray(random.integers(0, 256, random.integers(0, 40), dtype=np.uint8).tobytes())
        try:
            decoded = compressor.decompress(bytes(data), d, dtype, 1)
        except FormatError:
            refused += 1
            continue
        assert decoded.shape == (d,)
        assert decoded.dtype == dtype
        assert np.isfinite(decoded).all()
    return refused


def test_damaged_payloads_are_refused_or_decode_to_finite_numbers(compressor):
    refused = 0
    for d in (1, 7, 500):
        for dtype in (np.float32, np.float64):
            payload = compressor.compress(vectors(d, dtype)["gaussian"], 1)
            refused += attack(compressor, d, payload, dtype, rng(compressor, d))
    assert refused > MUTATIONS  # other lengths, at least


@pytest.mark.parametrize(
    "text", ["TopK()", "SparseDithering()", "QSGD(s=1)", "Eden(bits=2.5)", "InfinityNorm()", "DitheredTrellis()"]
)
def test_damaged_long_payloads_likewise(text):
    compressor, x = parse(text), rng(text).standard_normal(LONG).astype(np.float32)
    assert attack(compressor, LONG, compressor.compress(x, 1), np.float32, rng(text, 1)) > MUTATIONS // 4


def test_an_empty_vector_has_an_empty_payload(compressor):
    assert compressor.compress(np.zeros(0, np.float32)) == b""
    assert compressor.decompress(b"", 0).shape == (0,)
    assert compressor.size(0) in (0, None)
    with pytest.raises(FormatError):
        compressor.decompress(b"x", 0)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros(3, np.int32), np.zeros((2, 2), np.float32), np.zeros(8, np.float32)[::2], np.array([1, np.nan], np.float32),
        np.array([np.inf], np.float64), [1.0],
    ],
)  # fmt: skip
def test_what_is_no_finite_float_vector_is_refused(compressor, x):
    with pytest.raises(InputError):
        compressor.compress(x)


def test_config_and_fingerprint_tell_compressors_apart():
    made = [parse(text) for text in EVERY]
    assert len({c.fingerprint() for c in made}) == len(made)
    for c in made:
        assert type(c)(**json.loads(json.dumps(c.config()))) == c


def test_linear_payloads_add_up():
    x, y = rng(1).standard_normal((2, 1000)).astype(np.float32)
    for c in (comm.Identity(), comm.RandK(fraction=0.2)):
        assert c.linear
        parts = [np.frombuffer(c.compress(v, 9), "<f4") for v in (x, y)]
        total = c.decompress((parts[0] + parts[1]).tobytes(), 1000, np.float32, 9)
        assert np.allclose(total, c.decompress(c.compress(x + y, 9), 1000, np.float32, 9), atol=1e-5)
    assert not comm.RandK(values="fp16").linear
    assert not comm.TopK().linear


@pytest.mark.parametrize(
    "make",
    [
        lambda: comm.TopK(fraction=0), lambda: comm.TopK(count=0), lambda: comm.TopK(values="fp8"), lambda: comm.RandK(values="bit"),
        lambda: comm.SparseDithering(nu=1.0), lambda: comm.SparseDithering(nu=0.0, randomised=True), lambda: comm.QSGD(s=0),
        lambda: comm.MinMax(bits=0), lambda: comm.InfinityNorm(bits=17), lambda: comm.Eden(bits=5), lambda: comm.Kashin(redundancy=0.5),
        lambda: comm.Spherical(alpha=0.01, block=16), lambda: comm.DitheredTrellis(states=6), lambda: comm.TrellisCoded(nu=1.0),
        lambda: comm.GaussianCodebook(bits=0), lambda: comm.MaxBlockNorm(block=0), lambda: comm.SubtractiveDithering(nu=0),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_values_whose_norm_might_be_no_number_are_refused(compressor):
    with pytest.raises(InputError, match="2\\^1000"):
        compressor.compress(np.full(100, 1e303))


def test_the_best_keep_their_error():
    x = rng(2).standard_normal(3000)
    contractive, unbiased = comm.best(0.1), comm.best(0.1, unbiased=True)
    assert contractive.certificate(x, contractive.compress(x)).holds
    assert unbiased.bound(3000).kind == "unbiased"
    assert math.isclose(unbiased.bound(3000).value, 0.1)
