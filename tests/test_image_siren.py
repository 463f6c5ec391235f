"""The integer decoder of images that are networks, and their bytes."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from netweight.errors import BaseMismatchError, BombError, FormatError
from netweight.image import siren
from netweight.image.siren import coding, encoding, integers, payload, sine, starts
from netweight.image.siren.integers import Shape
from netweight.wire import Reader, Writer

SHAPE = Shape(3, 6, 3, 4)


def tensors(shape: Shape, seed: int = 0) -> list[NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    out = [rng.integers(-40_000, 40_000, size).astype(np.int32) for size in shape.sizes]
    out[-2] //= 8
    out[-1] = rng.integers(60 << 20, 190 << 20, out[-1].shape).astype(np.int32)
    return out


def quantised(shape: Shape, seed: int = 0, spread: float = 6.0, start: bytes = b"") -> payload.Quantised:
    rng = np.random.default_rng(seed)
    ks = [np.rint(rng.laplace(0, spread, size)).astype(np.int32) for size in shape.sizes]
    levels = [88, 206] * shape.layers + [40, 144]
    return payload.Quantised(shape, tuple(levels), ks, start)


def test_the_sine_is_that_of_the_maths_library() -> None:
    phases = np.arange(0, 1 << 32, 65_521, dtype=np.uint32)
    wanted = np.sin(phases * (2 * math.pi / 2**32))
    assert np.abs(sine.sines(phases) / 2**14 - wanted).max() < 1.1 / 2**14
    assert hashlib.sha256(sine.SINE.astype("<i4").tobytes()).hexdigest()[:16] == "23cfc61214a6a6f5"


def test_the_encoding_is_the_papers() -> None:
    got = encoding.encode_axis(60, 90, 16) / 2**14
    x = (2 * np.arange(60) + 1 - 60) / 90
    angles = math.pi * x * 1.4 ** np.arange(16)[:, None]
    wanted = np.concatenate([x[None], np.sin(angles), np.cos(angles)])
    assert got.shape == (33, 60)
    assert np.abs(got - wanted).max() < 2e-4


def plain(shape: Shape, given: list[NDArray[np.int32]], height: int, width: int) -> NDArray[np.uint8]:
    """The decoder again, pixel by pixel, in Python's own integers."""
    weights = [t.tolist() for t in given]
    longest = max(height, width)
    columns, rows = (encoding.encode_axis(n, longest, shape.frequencies).T.tolist() for n in (width, height))
    out = np.empty((height, width, shape.channels), np.uint8)
    for r in range(height):
        for c in range(width):
            x = columns[c] + rows[r]
            for layer in range(shape.layers):
                w, b = weights[2 * layer], weights[2 * layer + 1]
                phases = [
                    (sum(p * q for p, q in zip(row, x, strict=True)) + b[j][0]) % 2**32 for j, row in enumerate(w)
                ]
                x = [interpolated(p) for p in phases]
            for k, (row, b) in enumerate(zip(weights[-2], weights[-1], strict=True)):
                level = (sum(p * q for p, q in zip(row, x, strict=True)) + b[0] + 2**31) % 2**32 - 2**31
                out[r, c, k] = min(max((level + (1 << 19)) >> 20, 0), 255)
    return out


def interpolated(phase: int) -> int:
    at, part = phase >> 22, (phase >> 6) & 0xFFFF
    here, there = int(sine.SINE[at]), int(sine.SINE[at + 1])
    return here + (((there - here) * part + (1 << 15)) >> 16)


@pytest.mark.parametrize("shape", [SHAPE, Shape(1, 5, 1, 0), Shape(3, 4, 2, 16)])
def test_the_kernel_is_the_definition(shape: Shape) -> None:
    given = tensors(shape)
    assert np.array_equal(integers.render(shape, given, 7, 9), plain(shape, given, 7, 9))


def test_weights_may_wrap() -> None:
    given = [t * np.int32(40_503) for t in tensors(SHAPE)]
    assert np.array_equal(integers.render(SHAPE, given, 4, 5), plain(SHAPE, given, 4, 5))


def test_pixels_are_pinned() -> None:
    pixels = siren.decode(quantised(SHAPE).write(), 40, 300, 3)  # wider than a tile
    assert len(np.unique(pixels)) > 100
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == "b04b15540c371999"


def test_floats_and_integers_are_one_network() -> None:
    from netweight.image.siren.network import Network, Picture
    from netweight.image.siren.starts import to_floats

    network = quantised(Shape(3, 12, 3, 8))
    given = network.tensors(payload.origin(network.shape))
    pixels = integers.render(network.shape, given, 24, 32)
    error = Network(network.shape).error(to_floats(network.shape, given), Picture(pixels, 8))
    inside = ((pixels > 0) & (pixels < 255)).mean()
    assert inside > 0.5
    # rounding to whole grey levels leaves 1/12 of a level squared, where nothing is cut off
    clipped = 1 - inside
    assert error * 127.5**2 < 0.1 + 600 * clipped


@pytest.mark.parametrize("spread", [0.0, 0.3, 6.0, 400.0])
def test_weights_come_back(spread: float) -> None:
    out, ks = Writer(), quantised(SHAPE, spread=spread).multiples
    coding.write_weights(out, ks)
    back = coding.read_weights(Reader(out.bytes()), SHAPE.sizes)
    assert all(np.array_equal(a, b) for a, b in zip(ks, back, strict=True))


def test_huge_multiples_come_back() -> None:
    out, ks = Writer(), quantised(SHAPE).multiples
    ks[0][0, 0], ks[2][1, 1] = (1 << 30) - 1, -(1 << 29)
    coding.write_weights(out, ks)
    assert all(
        np.array_equal(a, b) for a, b in zip(ks, coding.read_weights(Reader(out.bytes()), SHAPE.sizes), strict=True)
    )


def test_rows_of_different_width_cost_less_than_a_histogram() -> None:
    """The code must learn each row's width: a histogram of all, its table for free, doesn't."""
    rng = np.random.default_rng(1)
    ks = np.rint(rng.laplace(0, 1, (64, 64)) * np.exp2(rng.uniform(0, 5, (64, 1)))).astype(np.int32)
    share = np.unique(ks, return_counts=True)[1] / ks.size
    histogram_bound = -float((share * np.log2(share)).sum()) * ks.size
    out = Writer()
    coding.write_weights(out, [ks])
    assert 8 * len(out.bytes()) < 0.96 * histogram_bound


def test_coin_is_halves() -> None:
    shape = Shape(3, 5, 2, 0)
    params = [np.random.default_rng(0).normal(0, 0.3, size).astype(np.float32) for size in shape.sizes]
    data = payload.write_coin(shape, params)
    assert len(data) == 2 + 2 * shape.count
    read, given = payload.read_coin(data, 3)
    assert read == shape
    unit = payload.units(shape)
    assert np.allclose(given[0] / unit[0], params[0].astype(np.float16), atol=1 / unit[0])
    assert np.allclose(given[-1] / unit[-1] - 1, params[-1].astype(np.float16), atol=1e-6)


STARTS = {
    16: ("33fa0881", "e136905b7443ffea"),
    24: ("76a34f06", "4fd3add535dd9992"),
    32: ("be900a81", "b1ab345b05bd8ffd"),
}
"""Hashes of the shipped starts and of the pictures that they are: files are coded against them for ever."""


@pytest.mark.parametrize("width", starts.WIDTHS)
def test_shipped_starts_are_pinned(width: int) -> None:
    shape = Shape(3, width, starts.LAYERS, starts.FREQUENCIES)
    start = starts.load_start(shape)
    assert start is not None
    picture = integers.render(shape, start.base, 32, 48)
    assert (start.digest.hex(), hashlib.sha256(picture.tobytes()).hexdigest()[:16]) == STARTS[width]
    coded = payload.Quantised(shape, tuple([0] * 12), [np.zeros(size, np.int32) for size in shape.sizes], start.digest)
    assert np.array_equal(siren.decode(coded.write(), 32, 48, 3), picture)


def test_shipped_starts_are_what_they_say() -> None:
    for width in starts.WIDTHS:
        shape = Shape(3, width, starts.LAYERS, starts.FREQUENCIES)
        start = starts.load_start(shape)
        assert start is not None
        again = starts.pack_start(shape, start.parameters, start.rates)
        assert np.allclose(starts.unpack_start(shape, again).parameters[0], start.parameters[0], atol=1e-3)
        grey = starts.load_start(Shape(1, width, starts.LAYERS, starts.FREQUENCIES))
        assert grey is not None
        colour, single = (
            integers.render(shape, start.base, 16, 16),
            integers.render(Shape(1, width, 5, 12), grey.base, 16, 16),
        )
        assert np.abs(colour.astype(int).mean(2) - single[..., 0]).max() < 40
    assert starts.load_start(Shape(3, 7, 5, 12)) is None


# --- hostile bytes ---


def survives(data: bytes) -> bool:
    """Whether bytes decode; if they don't, one of our errors says so."""
    try:
        pixels = siren.decode(data, 4, 4, 3)
    except (FormatError, BaseMismatchError):
        return False
    assert pixels.shape == (4, 4, 3)
    return True


def test_cuts_and_flips_never_crash() -> None:
    """The container's checksums notice them all; most are impossible payloads too."""
    data = quantised(SHAPE).write()
    assert survives(data)
    assert sum(survives(data[:end]) for end in range(len(data))) <= 2
    flipped = [
        bytes([*data[:at], data[at] ^ 1 << bit, *data[at + 1 :]]) for at in range(len(data)) for bit in (0, 5, 7)
    ]
    assert sum(map(survives, flipped)) < 0.9 * len(flipped)


def test_lies_are_refused() -> None:
    data = quantised(SHAPE).write()
    with pytest.raises(FormatError):
        siren.decode(data + b"\0", 8, 8, 3)
    with pytest.raises(BombError):
        siren.decode(bytes([128, 16, 12]) + bytes(100), 8, 8, 3)
    wide = quantised(Shape(3, 128, 8, 4)).write()
    with pytest.raises(BombError, match="render"):
        siren.decode(wide, 1 << 13, 1 << 13, 3)
    for head in ([0, 3, 4], [6, 0, 4], [129, 3, 4], [6, 17, 4], [6, 3, 17], [6, 3, 64]):
        with pytest.raises(FormatError):
            siren.decode(bytes(head) + data[3:], 8, 8, 3)
    with pytest.raises(BaseMismatchError):
        siren.decode(quantised(SHAPE, start=b"abcd").write(), 8, 8, 3)
    with pytest.raises(FormatError):
        siren.decode(data[:3] + bytes([255]) + data[4:], 8, 8, 3)


def test_lying_halves_are_refused() -> None:
    from netweight.image.siren import coin

    shape = Shape(3, 5, 2, 0)
    data = bytearray(payload.write_coin(shape, [np.zeros(size, np.float32) for size in shape.sizes]))
    assert (coin.decode(bytes(data), 3, 4, 3) == 128).all()
    data[2:4] = b"\xff\x7f"  # not a number
    with pytest.raises(FormatError):
        coin.decode(bytes(data), 3, 4, 3)
    for end in range(len(data)):
        with pytest.raises(FormatError):
            coin.decode(bytes(data[:end]), 3, 4, 3)
