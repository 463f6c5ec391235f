"""Other people's coders: real files of their tools, streams, bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import subprocess
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brotli
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from netweight.entropy import onezip
from netweight.entropy.general import Brotli, Bzip2, Gzip, LevelCodec, Raw, StreamCodec, Xz, Zip, Zstd
from netweight.errors import FormatError, TruncatedError
from netweight.spec import Spec

LEVELLED: tuple[type[LevelCodec], ...] = (Zip, Gzip, Bzip2, Xz, Zstd, Brotli)
CODECS: tuple[type[StreamCodec], ...] = (Raw, *LEVELLED)
MIB = 1 << 20


def unzip(payload: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        assert archive.testzip() is None
        (member,) = archive.infolist()
        assert member.date_time == (1980, 1, 1, 0, 0, 0)
        return archive.read(member)


def unzstd(payload: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(payload)


TOOLS: dict[str, Any] = {
    "raw": bytes,
    "zip": unzip,
    "gzip": gzip.decompress,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
    "zstd": unzstd,
    "brotli": brotli.decompress,
}


def mixed(size: int) -> np.ndarray:
    """Text, zeros and noise in turn."""
    r = np.random.default_rng(5)
    parts = [r.integers(0, 256, 3000), np.zeros(5000), r.integers(97, 101, 4000)]
    return np.resize(np.concatenate(parts).astype(np.uint8), size)


def encode(codec: StreamCodec, data: bytes) -> bytes:
    return codec.encode(np.frombuffer(data, np.uint8), Spec.raw(len(data)))


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("size", [0, 1, 100_003])
def test_payload_is_a_file_of_the_well_known_tool(kind: type[StreamCodec], size: int) -> None:
    data = mixed(size).tobytes()
    assert TOOLS[kind.id](encode(kind(), data)) == data


@pytest.mark.parametrize(("kind", "tool"), [(Zip, "unzip"), (Gzip, "gzip"), (Bzip2, "bzip2"), (Xz, "xz")])
def test_command_line_tools_read_it(kind: type[StreamCodec], tool: str, tmp_path: Path) -> None:
    if not shutil.which(tool):
        pytest.skip(f"{tool} isn't installed")
    data = mixed(30_000).tobytes()
    (tmp_path / "file").write_bytes(encode(kind(), data))
    assert (
        subprocess.run(
            [tool, "-p" if tool == "unzip" else "-dc", "file"], cwd=tmp_path, check=True, capture_output=True
        ).stdout
        == data
    )


@pytest.mark.parametrize(
    ("kind", "level"), [(Zip, 9), (Gzip, 9), (Bzip2, 9), (Xz, 6), (Zstd, 19), (Brotli, 9)], ids=str
)
def test_default_levels(kind: type[LevelCodec], level: int) -> None:
    assert kind().config() == {"level": level}
    assert kind(level) == kind()
    assert kind(kind.coder.levels[0]) != kind()


@pytest.mark.parametrize("kind", LEVELLED)
@pytest.mark.parametrize("level", [-1, 23, 10**30, 9.0, "9", True, [9]], ids=repr)
def test_refuses_levels_that_do_not_exist(kind: type[LevelCodec], level: Any) -> None:
    with pytest.raises(FormatError, match="level"):
        kind(level)


@pytest.mark.parametrize("kind", LEVELLED)
def test_each_level_round_trips_and_the_highest_is_no_worse_than_the_lowest(kind: type[LevelCodec]) -> None:
    data = mixed(40_000).tobytes()
    sizes = []
    for level in kind.coder.levels:
        payload = encode(kind(level), data)
        assert kind(level).decode(payload, Spec.raw(len(data))).tobytes() == data
        sizes.append(len(payload))
    assert sizes[-1] <= sizes[0]


def test_gzip_carries_no_time() -> None:
    assert encode(Gzip(), b"x")[4:8] == bytes(4)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.binary(max_size=4000), max_size=6), st.integers(1, 500), st.sampled_from(CODECS))
def test_streams_do_not_depend_on_the_cuts(chunks: list[bytes], cut: int, kind: type[StreamCodec]) -> None:
    codec, data = kind(), b"".join(chunks)
    payload = encode(codec, data)
    assert b"".join(codec.encode_stream(chunks, len(data))) == payload
    assert b"".join(codec.decode_stream(payload[k : k + cut] for k in range(0, len(payload), cut))) == data
    if kind is not Zstd:
        assert b"".join(codec.encode_stream(chunks)) == payload


def test_large_streams_do_not_depend_on_the_cuts() -> None:
    data = mixed(3 * MIB)
    for codec in (Raw(), Zip(), Gzip(), Bzip2(), Xz(0), Zstd(1), Brotli(3)):
        payload = codec.encode(data, Spec.raw(data.size))
        chunks = np.split(data, [1, 7777, MIB, MIB, 2 * MIB + 1])
        assert b"".join(codec.encode_stream(chunks, data.size)) == payload


def test_zstd_told_the_size_writes_what_its_own_one_shot_call_holds() -> None:
    data = mixed(50_000).tobytes()
    payload = encode(Zstd(), data)
    assert zstandard.get_frame_parameters(payload).content_size == len(data)
    assert len(payload) <= len(zstandard.ZstdCompressor(level=19).compress(data)) + 8


def test_stream_of_numbers_is_read_as_bytes() -> None:
    numbers = np.arange(100, dtype=np.float32)
    assert b"".join(Gzip().decode_stream(Gzip().encode_stream([numbers.reshape(4, 25)]))) == numbers.tobytes()


def bomb(total: int) -> Iterator[bytes]:
    for _ in range(total // MIB):
        yield bytes(MIB)


@pytest.mark.parametrize("kind", LEVELLED)
def test_bombs_are_stopped_in_bounded_memory(kind: type[LevelCodec]) -> None:
    payload = b"".join(kind(kind.coder.levels[0]).encode_stream(bomb(64 * MIB)))
    tracemalloc.start()
    with pytest.raises(FormatError, match="more than"):
        kind().decode(payload, Spec.raw(1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB


@pytest.mark.parametrize("kind", LEVELLED)
def test_pieces_of_a_stream_are_bounded(kind: type[LevelCodec]) -> None:
    codec = kind(kind.coder.levels[0])
    payload = b"".join(codec.encode_stream(bomb(24 * MIB)))
    sizes = [len(piece) for piece in codec.decode_stream([payload])]
    assert sum(sizes) == 24 * MIB
    assert max(sizes) <= 2 * MIB


@pytest.mark.parametrize("kind", LEVELLED)
def test_two_payloads_in_a_row_are_not_one(kind: type[LevelCodec]) -> None:
    payload = encode(kind(), b"ab")
    with pytest.raises(FormatError):
        kind().decode(payload + payload, Spec.raw(4))
    with pytest.raises(FormatError):
        list(kind().decode_stream([payload, payload]))
    with pytest.raises(FormatError):
        list(kind().decode_stream([payload, b"", b"\0"]))


@pytest.mark.parametrize("kind", CODECS)
def test_length_must_be_that_of_the_spec(kind: type[StreamCodec]) -> None:
    payload = encode(kind(), b"abc")
    with pytest.raises(FormatError, match="more than the 2 bytes"):
        kind().decode(payload, Spec.raw(2))
    with pytest.raises(TruncatedError, match="3 bytes, 4 were expected"):
        kind().decode(payload, Spec.raw(4))


def test_errors_of_the_input_stream_are_not_taken_for_bad_payloads() -> None:
    def broken() -> Iterator[bytes]:
        yield encode(Bzip2(), b"abc")[:10]
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        list(Bzip2().decode_stream(broken()))


def test_xz_header_cannot_ask_for_gigabytes() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    payload = lzma.compress(b"abc", filters=filters)
    with pytest.raises(FormatError, match="Memory"):
        Xz().decode(payload, Spec.raw(3))


@pytest.mark.parametrize("kind", [Zip, Gzip, Bzip2, Xz])
def test_coders_with_a_checksum_never_give_wrong_bytes(kind: type[LevelCodec]) -> None:
    data = b"weights and measures" * 3
    payload = encode(kind(), data)
    refused = 0
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert kind().decode(bytes(damaged), Spec.raw(len(data))).tobytes() == data
        except FormatError:
            refused += 1
    assert refused > 6 * len(payload), "what is taken are other ways to say the same: padding, a time, another match"


def test_zip_container_has_one_form() -> None:
    payload = encode(Zip(), bytes(1000))
    tail = len(payload) - 16 - 50 - 22
    for at in (*range(len(onezip.HEADER)), *range(tail, len(payload))):
        with pytest.raises(FormatError):
            Zip().decode(payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :], Spec.raw(1000))


@pytest.mark.parametrize("options", [{}, {"write_checksum": True}, {"write_content_size": False}], ids=str)
@pytest.mark.parametrize("size", [0, 1, 255, 256, 70_000, 400_000])
def test_zstd_frames_of_other_writers(options: dict[str, bool], size: int) -> None:
    data = mixed(size).tobytes()
    payload = zstandard.ZstdCompressor(**options).compress(data)
    for cut in (1, 7, 1 << 20):
        chunks = [payload[k : k + cut] for k in range(0, len(payload), cut)]
        assert b"".join(Zstd().decode_stream(chunks)) == data
    with pytest.raises(FormatError):
        Zstd().decode(payload + b"\0", Spec.raw(size))
    with pytest.raises(FormatError):
        Zstd().decode(b"\x50\x2a\x4d\x18\1\0\0\0\0" + payload, Spec.raw(size))  # a skippable frame first


@pytest.mark.parametrize(("packed", "size"), [(5 << 30, 6 << 30), (1000, (1 << 32) - 1), ((1 << 32) - 6, 9)])
def test_zip_of_more_than_4_gib_has_the_large_records(packed: int, size: int, tmp_path: Path) -> None:
    with (tmp_path / "sparse.zip").open("w+b") as file:
        file.write(onezip.HEADER)
        file.seek(len(onezip.HEADER) + packed)
        file.write(onezip.tail(0x12345678, packed, size))
        with zipfile.ZipFile(file) as archive:
            (member,) = archive.infolist()
            assert (member.compress_size, member.file_size, member.CRC) == (packed, size, 0x12345678)
            archive.open(member).close()  # reads the local header where the directory says it is
