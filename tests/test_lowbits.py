from __future__ import annotations

import numpy as np
import pytest

from coder_samples import bell, below, digest, mutants, random_bytes, random_words
from netweight.errors import FormatError
from netweight.spec import DTYPES
from netweight.weights.coders import lowbits
from netweight.weights.coders.symbols import float_fields
from netweight.wire import Reader, Writer

FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "C64", "C128")
COUNTS = (1, 2, 7, 8, 9, 63, 1000)


def plane(data: np.ndarray) -> bytes:
    out = Writer()
    lowbits.write_plane(out, data)
    return out.bytes()


@pytest.mark.parametrize("width", range(8))
@pytest.mark.parametrize("count", [0, *COUNTS])
def test_packing(width, count):
    values = below((width, count), count, 1 << width).astype(np.uint8)
    packed = lowbits.pack_bits(values, width)
    # each part of 4, 2 and 1 bits is padded to a whole byte
    assert packed.size == sum(-(-count * part // 8) for part in (4, 2, 1) if width & part)
    source = Reader(packed.tobytes())
    assert np.array_equal(lowbits.unpack_bits(source, width, count), values)
    source.end()
    if packed.size:
        with pytest.raises(FormatError):
            lowbits.unpack_bits(Reader(packed[:-1].tobytes()), width, count)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("sign", [0, 1])
def test_low_bits_come_back(name, sign):
    kind = DTYPES[name]
    for clean in (0, 1, 2, 3, 7, 16, 29, 52):
        for top in range(4):
            fields = float_fields(kind, clean, top, sign)
            assert fields.clean + fields.low + fields.top + fields.exponent + 1 == fields.word
            mask = (((1 << fields.low) - 1) << fields.clean) | fields.sign << (fields.word - 1)
            for count in COUNTS:
                words = random_words((name, clean, top, count), count).astype(f"<u{fields.word // 8}")
                out, found = Writer(), np.zeros_like(words)
                lowbits.write_low(out, words, fields)
                source = Reader(out.bytes())
                lowbits.read_low(source, fields, found)
                source.end()
                assert np.array_equal(found, words & words.dtype.type(mask))
                # what is raw costs its width, each byte plane a header, each smaller part less than a byte more
                assert 8 * len(out) <= fields.rest * count + 8 * 3 * (fields.low // 8) + 7 * 4


def test_other_bits_are_left_alone():
    fields = float_fields(DTYPES["F32"], 4, 3, 1)
    words = random_words("low", 500).astype(np.uint32)
    out, found = Writer(), words & np.uint32(~0x8000FFF0 & 0xFFFFFFFF)
    lowbits.write_low(out, words, fields)
    lowbits.read_low(Reader(out.bytes()), fields, found)
    assert np.array_equal(found & np.uint32(0x8000FFFF), words & np.uint32(0x8000FFF0) | found & np.uint32(0xF))
    assert np.array_equal(found >> np.uint32(20), words >> np.uint32(20))


@pytest.mark.parametrize("count", [1, 50, 5000, 70000])
def test_planes(count):
    for data, most in (
        (np.full(count, 200, np.uint8), 3),
        (random_bytes(count, count), count + 5),
        ((bell(count, count) >> 17).astype(np.uint8), count + 5),
        (np.where(below(count, count, 100) == 0, 7, 0).astype(np.uint8), count // 8 + 40),
    ):
        coded = plane(data)
        assert len(coded) <= most
        source = Reader(coded)
        assert np.array_equal(lowbits.read_plane(source, count), data)
        source.end()


def test_a_plane_costs_its_entropy():
    data = (bell("plane", 100_000) >> 18).astype(np.uint8)
    counts = np.unique(data, return_counts=True)[1]
    entropy = float((counts * np.log2(data.size / counts)).sum()) / 8
    assert entropy < len(plane(data)) < 1.002 * entropy + 200


def test_all_symbols_with_one_at_almost_all_places():
    data = np.zeros(9000, np.uint8)
    data[::30] = np.arange(300) % 256
    assert np.array_equal(lowbits.read_plane(Reader(plane(data)), 9000), data)
    assert len(plane(data)) < 1000


def test_hostile_planes():
    for data in ((bell("hostile", 3000) >> 18).astype(np.uint8), random_bytes("hostile", 300), np.zeros(300, np.uint8)):
        for mutant in mutants(plane(data), data.size, 200):
            try:
                assert lowbits.read_plane(Reader(mutant), data.size).shape == (data.size,)
            except FormatError:
                continue
    for bad in (b"\x03\x01\x00", b"\x02\x02\x00\x00", b"\x00\x03abc", b"\x02\x00"):
        with pytest.raises(FormatError):
            lowbits.read_plane(Reader(bad), 4)


def test_pinned_bytes():
    assert lowbits.pack_bits((np.arange(9) * 13 % 32).astype(np.uint8), 5).tobytes().hex() == "10edba87040608"
    assert plane(np.full(9, 3, np.uint8)).hex() == "020103"
    assert plane(np.arange(4, dtype=np.uint8)).hex() == "000400010203"
    assert digest(plane((bell("pin", 3000) >> 18).astype(np.uint8))) == "50f5292790fe1d28"
