"""Frames: pinned bytes and attacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netweight import frame, tensors
from netweight.entropy.general import Raw, Zstd
from netweight.errors import ChecksumError, FormatError, InputError, NetweightError, TruncatedError, VersionError
from netweight.spec import DTYPES, Spec
from netweight.wire import Reader, Writer


def seal(body: bytes) -> bytes:
    """A frame of any body, with the right checksum."""
    head = b"NWF\x01" + body
    return head + frame.checksum(head)


def fields(
    codec: str = "raw", config: str = "", number: int = 0, shapes: tuple[Any, ...] = ((3,),), payload: bytes = b"abc"
) -> bytes:
    out = Writer().text(codec).text(config).varint(number).varint(len(shapes))
    for shape in shapes:
        out.varint(len(shape)).varints(shape)
    return out.blob(payload).bytes()


def test_bytes_are_pinned() -> None:
    blob = frame.pack(Raw(), *tensors.to_bytes(np.array([[1, 2]], np.float16)))
    assert blob[:-4].hex() == "4e57460103726177000b0102010204003c0040"
    assert blob[-4:].hex() == "505e2a27"
    assert seal(fields(shapes=((3,),))) == frame.pack(Raw(), *tensors.to_bytes(b"abc"))


def test_config_is_canonical_json() -> None:
    assert frame.config_text(Raw()) == ""
    assert frame.config_text(Zstd()) == '{"level":19}'
    assert frame.parse_config('{"level":19}') == {"level": 19}
    assert frame.parse_config("") == {}


@settings(deadline=None)
@given(st.sampled_from(list(DTYPES)), st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=4))
def test_specs_come_back(name: str, shapes: list[list[int]]) -> None:
    spec = Spec(name, tuple(tuple(s) for s in shapes))
    out = Writer()
    frame.write_spec(out, spec)
    reader = Reader(out.bytes())
    assert frame.read_spec(reader) == spec
    reader.end()
    data = np.zeros(spec.nbytes, np.uint8)
    decoded, found = frame.unpack(frame.pack(Zstd(), data, spec))
    assert found == spec
    assert np.array_equal(decoded, data)


def test_every_flip_is_a_checksum_error_behind_the_version() -> None:
    blob = seal(fields())
    for bit in range(32, 8 * len(blob)):
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ChecksumError):
            frame.unpack(bytes(damaged))


def test_other_files_and_versions() -> None:
    with pytest.raises(TruncatedError):
        frame.unpack(b"NWF")
    with pytest.raises(FormatError, match="magic"):
        frame.unpack(b"PK\3\4" + bytes(20))
    with pytest.raises(VersionError, match="update"):
        frame.unpack(b"NWF\x02" + bytes(20))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        fields(codec="nobody's"),
        fields(codec="\udcff"),
        fields(config="{"),
        fields(config="[]"),
        fields(config="3"),
        fields(config="[" * 100_000),
        fields(config='{"a":' + "9" * 5000 + "}"),
        fields(config='{"level":3}'),
        fields(codec="zstd", config='{"level":NaN}'),
        fields(codec="zstd", config='{"level":"19"}'),
        fields(codec="zstd", config='{"self":1}'),
        fields(number=23),
        fields(shapes=((1,) * 65,)),
        fields(shapes=((1 << 62,),)),
        fields(number=19, shapes=((1 << 58,), (1 << 58,))),
        fields(shapes=((4,),)),
        fields(shapes=((2,),)),
        fields(shapes=((1 << 50,),)),
        fields() + b"\0",
        fields()[:-1],
        b"\x03raw\0\0" + b"\xff" * 8 + b"\x7f",
        b"\x03raw\0\0\x01" + b"\xff" * 8 + b"\x7f",
    ],
    ids=range(23),
)
def test_lies_under_a_right_checksum(body: bytes) -> None:
    with pytest.raises(NetweightError):
        frame.unpack(seal(body))


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_any_body(body: bytes) -> None:
    for prefix in (b"", b"\x03raw\0", b"\x04zstd\0", b"\x03png\0\x0a\x01"):
        try:
            decoded, spec = frame.unpack(seal(prefix + body))
        except NetweightError:
            continue
        assert decoded.size == spec.nbytes


def test_data_must_fit_the_spec() -> None:
    with pytest.raises(InputError, match="3 bytes"):
        frame.pack(Raw(), np.zeros(3, np.uint8), Spec.raw(4))


def test_another_codec_is_refused_by_name() -> None:
    blob = frame.pack(Zstd(3), *tensors.to_bytes(b"abc"))
    assert frame.unpack_with(Zstd(3), blob)[0].tobytes() == b"abc"
    for other in (Zstd(), Raw()):
        with pytest.raises(FormatError, match="written by zstd"):
            frame.unpack_with(other, blob)
