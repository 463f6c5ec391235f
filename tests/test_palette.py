from __future__ import annotations

import numpy as np
import pytest

from coder_samples import as_bytes, attack, bell, below, digest, random_bytes, random_words
from netweight.errors import FormatError
from netweight.spec import Spec, dtype
from netweight.weights.coders import palette

WIDE = ("U16", "I16", "U32", "I32", "U64", "I64", "F64", "F32", "F16", "BF16", "C64", "C128")


def block(name: str, shape: tuple[int, ...], values: int, key: object = "palette") -> tuple[np.ndarray, Spec]:
    """Words drawn from so many random ones (NaN among those of floats), each of them used."""
    spec, width = Spec(name, (shape,)), dtype(name).word // 8
    words = random_bytes((key, name), values * width).reshape(values, width)
    words[:, -2:] = (
        (np.arange(values, dtype=np.uint16) * np.uint16(251)).view(np.uint8).reshape(values, 2)
    )  # all differ
    index = below((key, "index"), spec.nbytes // width, values)
    index[:values] = np.arange(values)[: index.size]
    return words[index].reshape(-1), spec


def round_trip(data: np.ndarray, spec: Spec) -> bytes:
    body = palette.encode_block(data, spec)
    assert body is not None
    decoded = palette.decode_block(body, spec)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, data)
    return body


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("values", [1, 2, 16, 255, 256])
def test_round_trip(name, values):
    data, spec = block(name, (40, 60), values)
    count, width = data.size // (dtype(name).word // 8), dtype(name).word // 8
    body = round_trip(data, spec)
    assert body[0] == values - 1
    # uniform indices: their bits, the palette, a table and the rounding of its frequencies
    assert len(body) <= 1.02 * count * np.log2(values) / 8 + values * (width + 1.5) + 60


@pytest.mark.parametrize("shape", [(512,), (1, 600), (600, 1), (8, 4, 5, 5), (2, 300)])
def test_shapes(shape):
    round_trip(*block("F32", shape, 9))


def test_what_has_no_palette():
    for data, spec in (block("F32", (40, 60), 257), block("F32", (511,), 4), block("F64", (0,), 4)):
        assert palette.encode_block(data, spec) is None
    assert palette.encode_block(np.zeros(1000, np.uint8), Spec("U8", ((1000,),))) is None
    assert palette.encode_block(random_bytes("wide", 4000), Spec("U16", ((2000,),))) is None


def test_values_that_hash_alike():
    """More probes than free places near one slot of the table of 1024."""
    multiplier = 0x9E3779B97F4A7C15
    inverse = pow(multiplier, -1, 1 << 64)
    same_slot = np.array([((1023 << 54) + k) * inverse % (1 << 64) for k in range(256)], np.uint64)
    assert (same_slot * np.uint64(multiplier) >> np.uint64(54) == np.uint64(1023)).all()
    data = as_bytes(same_slot[below("slot", 5000, 256)])
    round_trip(data, Spec("U64", ((5000,),)))


def test_dequantised_weights_cost_their_quants():
    """Four-bit weights of rows of different width, kept in F32."""
    rows, columns = 128, 256
    wide = below("wide", rows, 3)[:, None]
    quants = np.clip(bell("quants", rows * columns).reshape(rows, columns) >> (18 + wide), -8, 7)
    data, spec = as_bytes((quants * 0.03125).astype(np.float32)), Spec("F32", ((rows, columns),))
    counts = np.unique(quants, return_counts=True)[1]
    order0 = float((counts * np.log2(quants.size / counts)).sum()) / 8
    body = round_trip(data, spec)
    assert len(body) < 0.95 * order0  # the rows' scales pay
    conditional = 0.0
    for w in range(3):
        used = np.unique(quants[wide[:, 0] == w], return_counts=True)[1]
        conditional += float((used * np.log2(used.sum() / used)).sum()) / 8
    assert conditional < len(body) < 1.01 * conditional + 250


def test_numbers_that_overflow_are_no_trouble():
    values = np.array([np.nan, np.inf, -np.inf, 1.7e308, -1.7e308, 5e-324, -0.0, 0.0])
    round_trip(as_bytes(values[below("huge", 3000, 8)]), Spec("F64", ((50, 60),)))


def test_hostile():
    for name in ("F32", "U16", "C64"):
        data, spec = block(name, (40, 40), 17)
        body = round_trip(data, spec)
        assert attack(lambda b, s=spec: palette.decode_block(b, s), body, spec, name) > 100
    with pytest.raises(FormatError, match="no palette"):
        palette.decode_block(body, Spec("U8", ((10,),)))
    for n in (0, 1, 7, 10_000):
        try:
            assert palette.decode_block(body, Spec("C64", ((n,),))).size == 8 * n
        except FormatError:
            continue


def test_pinned_bytes():
    words = (random_words("pin", 3) >> np.uint64(40)).astype(np.uint16)
    data = words[below("pin", 600, 3)].view(np.uint8)
    assert digest(round_trip(data, Spec("U16", ((600,),)))) == "42b1117192dc3913"
