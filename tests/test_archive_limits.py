"""Lying lengths allocate nothing, and many small things take no longer than they must."""

from __future__ import annotations

import multiprocessing
import resource
import time
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from attacks_archive import (
    archive_of,
    decode_all,
    mutate_index,
    plain_index,
    raw_safetensors,
    repack,
    samples,
    take_apart,
    tensors_of,
    with_raw_index,
)  # fmt: skip
from attacks_regions import safetensors_file
from netweight.errors import BaseMismatchError, FormatError, NetweightError
from netweight.source import BytesSource
from netweight.weights.archive import compress_file, decompress_file, load_file
from netweight.weights.archive import open as open_archive
from netweight.weights.archive.container import HEADER, read_index
from netweight.weights.archive.index import GAP, INLINE, REGION, Block, Piece, Segment
from netweight.weights.archive.index_wire import encode_index

TINY = 100_000
HUGE = b"\xff\xff\xff\xff\xff\xff\xff\x7f"


def varint_lies(raw: bytes) -> list[bytes]:
    """Every varint of an index made huge, one at a time (at places that may also be the middle of a text)."""
    return [raw[:k] + HUGE + raw[k + 1 :] for k in range(len(raw))]


def _lie_in_little_memory(blobs: list[tuple[bytes, Path | None]], extra: int) -> None:
    for blob, base in blobs:
        decode_all(blob, base)
    usage = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (usage + extra, usage + extra))
    random = Random(6)
    for blob, base in blobs:
        raw, _ = encode_index(read_index(BytesSource(blob)))
        for lie in [*varint_lies(raw), *(mutate_index(raw, random) for _ in range(300))]:
            damaged = with_raw_index(blob, lie)
            for attack in (decode_all, tensors_of):
                with suppress(FormatError, BaseMismatchError):
                    attack(damaged, base)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_lies_in_little_memory(tmp_path: Path) -> None:
    """A MemoryError in the child is a failure: nothing here needs 256 MiB."""
    blobs = []
    for kind, sample in samples().items():
        (tmp_path / kind).mkdir()
        blobs.append(archive_of(sample, tmp_path / kind))
    child = multiprocessing.get_context("fork").Process(target=_lie_in_little_memory, args=(blobs, 256 << 20))
    child.start()
    child.join(120)
    assert child.exitcode == 0


def test_tensors_in_little_memory() -> None:
    """A tensor of 900 MiB (under the limit for bombs) whose blocks are not there."""
    size, count = 4 << 20, 225
    index = plain_index("x", [Segment(REGION, size * count, "w", "U8", (count, size))])
    index.blocks.extend(Block(len(HEADER), 0, b"\0" * 4, (Piece(0, k * size, size),)) for k in range(count))
    tracemalloc.start()
    try:
        assert tensors_of(repack(b"", index), None) == {"w": None}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 30


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    data = np.random.default_rng(1).bytes(TINY * 16)
    header, dtypes = {}, (("F32", 4), ("BF16", 2), ("I64", 8), ("U8", 1))
    for k in range(TINY):
        name, width = dtypes[k % 4]
        place = {"dtype": name, "shape": [16 // width], "data_offsets": [16 * k, 16 * k + 16]}
        header[f"model.layers.{k // 100}.part.{k % 100}.weight"] = place
    (folder / "tiny").write_bytes(safetensors_file(header, data))
    return folder / "tiny"


def test_100_000_tiny_tensors(tiny: Path, tmp_path: Path) -> None:
    laps = [time.perf_counter()]
    compress_file(tiny, tmp_path / "x.nw")
    laps.append(time.perf_counter())
    decompress_file(tmp_path / "x.nw", tmp_path / "y")
    laps.append(time.perf_counter())
    state = load_file(tmp_path / "x.nw")
    laps.append(time.perf_counter())
    with open_archive(tmp_path / "x.nw") as archive:
        assert archive.tensor(f"model.layers.{TINY // 100 - 1}.part.99.weight").nbytes == 16
    laps.append(time.perf_counter())
    assert (tmp_path / "y").read_bytes() == tiny.read_bytes()
    assert len(state) == TINY
    seconds = np.diff(laps)
    assert seconds.max() < 60, f"something is quadratic: {seconds}"


def test_equal_ends_do_not_make_the_search_for_twins_quadratic(tmp_path: Path) -> None:
    count, size = 4000, 512
    random = np.random.default_rng(1)
    data = np.zeros((count, size), np.uint8)
    data[:, :16] = random.integers(0, 256, (count, 16), dtype=np.uint8)
    (tmp_path / "x").write_bytes(raw_safetensors({f"t{k}": ("U8", (size,), data[k].tobytes()) for k in range(count)}))
    start = time.perf_counter()
    compress_file(tmp_path / "x", effort="fast")
    assert time.perf_counter() - start < 20


def test_headers_of_zeros_are_believed_when_read(tmp_path: Path) -> None:
    """Gaps that compress far beyond what an index may."""
    (tmp_path / "in").mkdir()
    for k in range(300):
        (tmp_path / "in" / f"{k:03}").write_bytes(bytes(60_000))
    receipt = compress_file(tmp_path / "in", effort="fast")
    decompress_file(receipt.archive, tmp_path / "out")
    assert all((tmp_path / "out" / f"{k:03}").read_bytes() == bytes(60_000) for k in range(300))
    assert receipt.archive_bytes < 20_000


def test_a_large_file_of_zeros_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netweight.weights.archive import reader

    monkeypatch.setattr(reader, "_ALWAYS_ALLOWED", 0)
    with (tmp_path / "x").open("wb") as file:
        file.truncate(64 << 20)
    receipt = compress_file(tmp_path / "x")
    assert receipt.archive_bytes < 1000
    decompress_file(receipt.archive, tmp_path / "y")
    assert (tmp_path / "y").stat().st_size == 64 << 20


def test_a_file_of_more_bytes_than_any_disk_has(tmp_path: Path) -> None:
    index = plain_index("x", [Segment(INLINE, 1, inline=b"a"), Segment(GAP, 1 << 61)])
    payloads, _ = take_apart(repack(b"", plain_index("x", [Segment(INLINE, 1, inline=b"a")])))
    index.blocks.append(Block(len(HEADER), 1, b"\0" * 4, (Piece(1, 0, 1 << 61),)))
    (tmp_path / "x.nw").write_bytes(repack(payloads + b"\0", index))
    with pytest.raises(NetweightError):
        decompress_file(tmp_path / "x.nw")
    index.files[0] = replace(index.files[0], size=(1 << 62) + 1)
    (tmp_path / "x.nw").write_bytes(repack(payloads + b"\0", index))
    with pytest.raises(FormatError):
        decompress_file(tmp_path / "x.nw")
