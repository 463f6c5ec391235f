"""Whatever happens to the bytes of an archive, no wrong weight comes out of it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from attacks_archive import archive_of, decode_all, flips, samples, tensors_of, write_sample
from netweight.errors import FormatError
from netweight.weights.archive import decompress_file, load_file, verify_file
from netweight.weights.archive import open as open_archive

SAMPLES = samples()


def assert_never_wrong(blob: bytes, base: Path | None, right: dict[str, bytes | None]) -> None:
    with pytest.raises(FormatError):
        decode_all(blob, base)
    try:
        found = tensors_of(blob, base)
    except FormatError:
        return
    assert found.keys() == right.keys()
    for name, value in found.items():
        assert value is None or value == right[name], name


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_flip_of_every_byte(kind: str, tmp_path: Path) -> None:
    blob, base = archive_of(SAMPLES[kind], tmp_path)
    right = tensors_of(blob, base)
    values = tuple(1 << k for k in range(8)) if len(blob) < 600 else (0x01, 0x80)
    for _, damaged in flips(blob, values):
        assert_never_wrong(damaged, base, right)


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_truncation_and_every_extension(kind: str, tmp_path: Path) -> None:
    blob, base = archive_of(SAMPLES[kind], tmp_path)
    right = tensors_of(blob, base)
    for length in range(len(blob)):
        assert_never_wrong(blob[:length], base, right)
    for more in (b"\0", b"NWA\n", blob, blob[-24:]):
        assert_never_wrong(blob + more, base, right)
        assert_never_wrong(more + blob, base, right)


@pytest.mark.parametrize("kind", SAMPLES)
def test_cut_out_doubled_and_swapped_parts(kind: str, tmp_path: Path) -> None:
    blob, base = archive_of(SAMPLES[kind], tmp_path)
    right, random = tensors_of(blob, base), Random(1)
    for _ in range(200):
        a, b = sorted((random.randrange(len(blob)), random.randrange(len(blob))))
        for damaged in (blob[:a] + blob[b:], blob[:b] + blob[a:], blob[:a] + blob[a:b][::-1] + blob[b:]):
            if damaged != blob:
                assert_never_wrong(damaged, base, right)


@pytest.mark.parametrize("kind", SAMPLES)
def test_damaged_files_and_no_output_is_left(kind: str, tmp_path: Path) -> None:
    blob, base = archive_of(SAMPLES[kind], tmp_path)
    place, out = tmp_path / "damaged.nw", tmp_path / "out"
    before = sorted(tmp_path.rglob("*"))
    for at in range(0, len(blob), max(1, len(blob) // 25)):
        for damaged in (blob[:at], blob[:at] + bytes([blob[at] ^ 0x10]) + blob[at + 1 :]):
            place.write_bytes(damaged)
            with pytest.raises(FormatError, match=r"damaged\.nw"):
                verify_file(place, base=base)
            with pytest.raises(FormatError, match=r"damaged\.nw"):
                decompress_file(place, out, base=base)
            assert sorted(tmp_path.rglob("*")) == sorted([*before, place])
            try:
                state = load_file(place, base=base)
            except FormatError:
                continue
            assert {k: v.tobytes() for k, v in state.items()} == tensors_of(blob, base)


def test_an_archive_of_another_version_says_so(tmp_path: Path) -> None:
    blob, _ = archive_of(SAMPLES["byte"], tmp_path)
    (tmp_path / "newer.nw").write_bytes(blob[:4] + b"\x03" + blob[5:])
    with pytest.raises(FormatError, match=r"newer\.nw: archive version 3"), open_archive(tmp_path / "newer.nw"):
        pass


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_that_is_no_archive(kind: str, tmp_path: Path) -> None:
    source, _ = write_sample(SAMPLES[kind], tmp_path)
    path = next(p for p in [source, *sorted(source.rglob("*"))] if p.is_file())
    with pytest.raises(FormatError, match="not a netweight archive"):
        verify_file(path)
