"""The frame of an image: every damage is noticed, nothing is allocated on a lie, and what isn't pixels comes back too."""

from __future__ import annotations

import numpy as np
import pytest
from scripts.write_image_golden import GOLDEN

from image_scenes import scene
from netweight.errors import (
    BaseMismatchError,
    BombError,
    ChecksumError,
    FormatError,
    InputError,
    NetweightError,
    VersionError,
)
from netweight.frame import checksum
from netweight.image import container, decode, decode_picture, encode, encode_picture, methods, pictures
from netweight.image.grid import start, stream
from netweight.image.pictures import Picture


def golden(case: str) -> bytes:
    return (GOLDEN / f"{case}.nw").read_bytes()


def sealed(body: bytes) -> bytes:
    """A file whose last checksum is right, whatever else is wrong."""
    return body + checksum(body)


@pytest.mark.parametrize("case", ["colour", "alpha", "flat"])
def test_every_flipped_byte_is_noticed(case: str) -> None:
    data = golden(case)
    for at in range(len(data)):
        with pytest.raises(FormatError):
            decode(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])


@pytest.mark.parametrize("case", ["colour", "flat"])
def test_every_truncation_and_extension_is_noticed(case: str) -> None:
    data = golden(case)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            decode(data[:length])
    with pytest.raises(FormatError):
        decode(data + b"\0")


@pytest.mark.parametrize("case", ["colour", "adapted", "grey", "tiles", "alpha"])
def test_lies_under_a_right_checksum_never_give_other_pixels(case: str) -> None:
    """Random damage behind the outer checksum: an error of ours, or (if it changed nothing that matters) the same pixels."""
    data, rng = golden(case)[:-4], np.random.default_rng(1)
    right = decode(golden(case))
    for _ in range(60):
        body = bytearray(data)
        for at in rng.integers(4, len(body), 1 + int(rng.integers(3))):
            body[at] = int(rng.integers(256))
        # a picture of another size would be none of the attacker's making: sizes stay small here
        body[6:8] = data[6:8]
        try:
            found = decode(sealed(bytes(body)))
        except NetweightError:
            continue
        assert np.array_equal(found, right)


def test_absurd_sizes_are_refused_before_anything_is_allocated() -> None:
    header = container.Header("grid", 1 << 40, 3, 3)
    with pytest.raises(BombError):
        container.parse(container.write(header, b"\0" * 30, b"\0" * 4))
    with pytest.raises(FormatError):
        container.parse(container.write(container.Header("flat", 0, 3, 3), b"\0" * 3, b"\0" * 4))
    many = container.write(container.Header("grid", 1 << 13, 1 << 13, 3), start.load().hash + b"\1", b"\0" * 4)
    with pytest.raises(FormatError):
        decode(many)


def test_versions_methods_and_flags_of_the_future_are_refused_by_name() -> None:
    data = golden("flat")[:-4]
    with pytest.raises(VersionError, match="update"):
        decode(sealed(data[:3] + b"\2" + data[4:]))
    with pytest.raises(FormatError, match="method 77"):
        decode(sealed(data[:4] + b"\x4d" + data[5:]))
    with pytest.raises(FormatError, match="flags"):
        decode(sealed(data[:5] + b"\x80" + data[6:]))
    with pytest.raises(InputError, match="known are"):
        methods.number_of("jpeg")


def test_another_start_is_refused() -> None:
    file = container.parse(golden("colour"))
    payload = bytes([file.payload[0] ^ 1]) + bytes(file.payload[1:])
    with pytest.raises(BaseMismatchError, match="start"):
        decode(container.write(file.header, payload, file.pixels_check))


def test_pixels_that_decode_otherwise_are_refused() -> None:
    """A decoder that errs (another build, broken memory) is caught by the pixels' own checksum."""
    file = container.parse(golden("flat"))
    with pytest.raises(ChecksumError, match="pixels"):
        decode(container.write(file.header, bytes([7, 7, 7]), file.pixels_check))


def test_profiles_and_alpha_come_back() -> None:
    alpha = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    given = Picture(np.full((20, 30, 3), 9, np.uint8), alpha, b"profile", b"exif")
    found = decode_picture(encode_picture(given))
    assert (found.icc, found.exif) == (given.icc, given.exif)
    assert np.array_equal(found.alpha, alpha)
    assert np.array_equal(found.pixels, given.pixels)
    both = np.dstack([given.pixels[..., :1], alpha])
    assert np.array_equal(decode(encode(both)), both)


def test_flat_pictures_take_a_few_bytes() -> None:
    assert len(encode(np.full((4096, 4096), 200, np.uint8))) <= 20


def test_overhead_is_small() -> None:
    """All but latents, of a picture whose networks are the start's: far below 0.03 bits a pixel of 256 x 256."""
    for case in ("colour", "grey", "fine"):
        data = golden(case)
        latents = len(container.parse(data).payload) - start.HASH_BYTES - 2
        assert len(data) - latents <= 22


def test_tiles_cover_the_picture_once() -> None:
    for height, width in ((1, 1), (1024, 1025), (4096, 3001), (1100, 7)):
        seen = np.zeros((height, width), np.uint8)
        for rows, columns in stream.tiles(height, width):
            assert rows.stop - rows.start <= stream.TILE
            assert columns.stop - columns.start <= stream.TILE
            seen[rows, columns] += 1
        assert (seen == 1).all()


def test_arrays_that_are_no_pictures_are_refused() -> None:
    for bad in (
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
    ):
        with pytest.raises(InputError):
            encode(bad)
    with pytest.raises(InputError, match="known are"):
        encode(scene(8, 8), method="jpeg")
    assert pictures.SUFFIXES[0] == ".png"
