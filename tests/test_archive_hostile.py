"""Archives with right checksums whose index lies: always a FormatError, never a wrong place or a huge array."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from attacks_archive import (
    altered,
    archive_of,
    decode_all,
    file_entry,
    first_region,
    mutate_index,
    opened,
    plain_index,
    region,
    repack,
    samples,
    segment,
    tensors_of,
    with_payload,
    with_raw_index,
)  # fmt: skip
from netweight.errors import BaseMismatchError, BombError, FormatError, NetweightError, OutputError
from netweight.frame import checksum
from netweight.ggml import BLOCK_TYPES
from netweight.source import BytesSource
from netweight.weights.archive import decompress_file, load_file, verify_file
from netweight.weights.archive.container import HEADER, pack_tail, read_index
from netweight.weights.archive.index import (
    BASE_DELTA,
    BASE_EQUAL,
    COPY,
    GAP,
    INLINE,
    OWN,
    REGION,
    Block,
    Index,
    Piece,
    Segment,
)  # fmt: skip
from netweight.weights.archive.index_wire import encode_index
from netweight.weights.regions.model import View

SAMPLES = samples()
Change = Callable[[Index], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, Path | None]]:
    return {kind: archive_of(sample, tmp_path_factory.mktemp(kind)) for kind, sample in SAMPLES.items()}


def refused(blob: bytes, base: Path | None = None, error: type[NetweightError] = FormatError) -> None:
    with pytest.raises(error):
        decode_all(blob, base)


def test_taken_apart_and_packed_again_it_is_the_same(made: dict[str, tuple[bytes, Path | None]]) -> None:
    for blob, _ in made.values():
        assert altered(blob, lambda _: None) == blob


LIES: dict[str, Change] = {
    "longer file": file_entry(0, size=1 << 50),
    "shorter file": file_entry(0, size=3),
    "other digest": file_entry(0, digest=bytes(16)),
    "longer shape": region("matrix", shape=(12, 21), nbytes=12 * 21 * 4),
    "huge shape": region("matrix", shape=(1 << 40,), nbytes=1 << 42),
    "shape that overflows 64 bits": region("matrix", shape=(1 << 40, 1 << 40)),
    "product that wraps to the right length": region("matrix", shape=(1 << 32, 1 << 32, 240)),
    "a zero among huge sizes": region("matrix", shape=(1 << 62, 1 << 62, 0)),
    "empty region": region("matrix", shape=(0,)),
    "rank 65": region("matrix", shape=(1,) * 65),
    "copy of itself": region("head", copy_of=3),
    "copy of a later one": region("head", copy_of=5),
    "copy of nothing": region("head", copy_of=10_000),
    "copy of the header": region("head", copy_of=0),
    "copy of another length": region("few", how=COPY, copy_of=1),
    "base without a base": region("matrix", how=BASE_EQUAL),
    "difference without a base": region("matrix", how=BASE_DELTA),
    "inline of another length": segment(0, nbytes=9),
    "same name twice": region("head", name="embed"),
    "same name as an empty one": file_entry(0, empty=(("e", "F32", (0,)), ("e", "F32", (0,)))),
    "no files": lambda index: index.files.clear(),
    "no segments": lambda index: (index.segments.clear(), index.blocks.clear()),
    "no blocks": lambda index: index.blocks.clear(),
    "blocks in another order": lambda index: index.blocks.reverse(),
    "block length": lambda index: index.blocks.__setitem__(0, replace(index.blocks[0], length=1 << 40)),
    "block without pieces": lambda index: index.blocks.append(replace(index.blocks[0], pieces=(), length=0)),
    "block twice": lambda index: index.blocks.append(index.blocks[0]),
    "two files": lambda index: index.files.append(replace(index.files[0], segments=(9, 9), size=0)),
    "empty tensor that isn't": file_entry(0, empty=(("e", "F32", (1 << 30, 4)),)),
    "empty tensor of absurd sizes": file_entry(0, empty=(("e", "F32", (1 << 61, 1 << 61, 0)),)),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies(lie: str, made: dict[str, tuple[bytes, Path | None]]) -> None:
    blob, _ = made["safetensors"]
    refused(altered(blob, LIES[lie]))


def test_a_dtype_of_the_same_width_is_not_noticed_by_the_bytes_but_by_nothing_worse(
    made: dict[str, tuple[bytes, Path | None]],
) -> None:
    blob, _ = made["safetensors"]
    changed = altered(blob, region("few", dtype="U8"))
    with suppress(FormatError):
        assert decode_all(changed, None) == {"input": SAMPLES["safetensors"].files[""]}


def test_every_copy_chain_is_refused() -> None:
    own = Segment(REGION, 64, "a", "U8", (64,))
    first = Segment(REGION, 64, "b", "U8", (64,), how=COPY, copy_of=0)
    second = Segment(REGION, 64, "c", "U8", (64,), how=COPY, copy_of=1)
    index = plain_index("x", [own, first, second])
    index.blocks.append(Block(len(HEADER), 65, b"\0" * 4, (Piece(0, 0, 64),)))
    refused(repack(bytes(65), index))
    index.segments[:] = [replace(own, how=COPY, copy_of=1), replace(first, copy_of=0), own]
    refused(repack(bytes(65), index))


def test_blocks_that_announce_2_to_the_40(made: dict[str, tuple[bytes, Path | None]]) -> None:
    n = 1 << 40
    for dtype, shape in (("F32", (n,)), ("F32", (1 << 20, 1 << 20)), ("U8", (n,)), ("Q4_0", (1 << 20, 1 << 20))):
        nbytes = n * 18 // 32 if dtype == "Q4_0" else n * (4 if dtype == "F32" else 1)
        index = plain_index("x", [Segment(REGION, nbytes, "w", dtype, shape)])
        index.blocks.append(Block(len(HEADER), 5, b"\0" * 4, (Piece(0, 0, nbytes),)))
        refused(repack(b"\x01\0\0\0\0", index), error=BombError)


def test_a_bomb_of_many_honest_blocks(tmp_path: Path) -> None:
    size, count = 1 << 22, 1 << 10
    segments = [Segment(GAP, size)] + [Segment(GAP, size, how=COPY, copy_of=0)] * (count * 64)
    index = plain_index("x", segments)
    index.blocks.append(Block(len(HEADER), 2, checksum(b"\x01\0"), (Piece(0, 0, size),)))
    bomb = tmp_path / "x.nw"
    bomb.write_bytes(repack(b"\x01\0", index))
    for attack in (verify_file, decompress_file):
        with pytest.raises((BombError, OutputError)):
            attack(bomb)
    assert sorted(tmp_path.iterdir()) == [bomb]


def test_a_huge_tensor_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    size, count = 128 << 20, 512
    index = plain_index("x", [Segment(REGION, size * count, "w", "C128", (count, size // 16))])
    pieces = [Piece(0, k * size, size) for k in range(count)]
    index.blocks.extend(Block(len(HEADER), 0, b"\0" * 4, (p,)) for p in pieces)
    bomb = tmp_path / "x.nw"
    bomb.write_bytes(repack(b"", index))
    with pytest.raises(BombError):
        load_file(bomb)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/x", "a/../../x", "a//b", "./a", "a/", "a\\b", "..\\x", "a\0b"]
)
@pytest.mark.parametrize("directory", [True])
def test_paths_that_leave_the_folder(name: str, directory: bool, tmp_path: Path) -> None:
    index = plain_index(name, [Segment(INLINE, 3, inline=b"abc")], directory)
    (tmp_path / "evil.nw").write_bytes(repack(b"", index))
    (tmp_path / "inner").mkdir()
    with pytest.raises(FormatError):
        decompress_file(tmp_path / "evil.nw", tmp_path / "inner" / "out", force=True)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["evil.nw", "inner"]


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b/c", "a/b"), ("a/b", "a")])
def test_two_files_at_one_place(names: tuple[str, str], tmp_path: Path) -> None:
    index = plain_index(names[0], [Segment(INLINE, 3, inline=b"abc")] * 2, True)
    index.files[0] = replace(index.files[0], segments=(0, 1), size=3)
    index.files.append(replace(index.files[0], path=names[1], segments=(1, 2)))
    refused(repack(b"", index))


def test_names_that_differ_by_case_are_two_files_or_an_error(tmp_path: Path) -> None:
    for name, content in (("A", b"one"), ("a", b"two")):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    from netweight.weights.archive import compress_file

    compress_file(tmp_path / "in", tmp_path / "x.nw")
    decompress_file(tmp_path / "x.nw", tmp_path / "out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "in").iterdir()
    }


VIEWS = {
    "past the end": View("v", 0, (12,), 1, (1,)),
    "far away": View("v", 0, (1,), 1 << 60, (1,)),
    "long steps": View("v", 0, (2, 2), 0, (1, 11)),
    "a step that overflows": View("v", 0, (3,), 0, (1 << 61,)),
    "backwards": View("v", 0, (3,), 5, (-1,)),
    "backwards and forwards": View("v", 0, (3, 3), 5, (-2, 1)),
    "another rank": View("v", 0, (3, 4), 0, (1,)),
    "nothing": View("v", 0, (0, 4), 0, (4, 1)),
    "no such region": View("v", 99, (3,), 0, (1,)),
    "absurd size": View("v", 0, (1 << 40, 1 << 40), 0, (0, 0)),
}


@pytest.mark.parametrize("kind", VIEWS)
def test_views_outside_their_storage(kind: str, made: dict[str, tuple[bytes, Path | None]]) -> None:
    blob, _ = made["torch"]
    refused(altered(blob, file_entry(0, views=(VIEWS[kind],))))


def test_an_expanded_view_is_no_way_to_a_huge_array(made: dict[str, tuple[bytes, Path | None]]) -> None:
    blob = altered(made["torch"][0], file_entry(0, views=(View("v", 0, (1 << 40, 4), 0, (0, 1)),)))
    with opened(blob, None) as archive, pytest.raises(BombError):
        archive.tensor("v")


def test_a_meaningless_step_may_be_any_number(made: dict[str, tuple[bytes, Path | None]]) -> None:
    blob = altered(made["torch"][0], file_entry(0, views=(View("v", 0, (1, 3), 2, (1 << 61, 1)),)))
    with opened(blob, None) as archive:
        assert archive.tensor("v").shape == (1, 3)


def test_base_places(made: dict[str, tuple[bytes, Path | None]]) -> None:
    blob, base = made["delta"]
    for name in ("moved", "kept"):
        for lie in ({"base_offset": 1 << 40}, {"base_file": 1}, {"base_file": 1 << 40}, {"base_offset": 100_000}):
            refused(altered(blob, region(name, **lie)), base)
        for how in (OWN, BASE_EQUAL, BASE_DELTA):
            changed = altered_how(blob, name, how)
            if changed is not None:
                refused(changed, base)
    refused(altered(blob, lambda index: index.bases.clear()), base)
    refused(altered(blob, lambda index: index.bases.append(index.bases[0])), base, BaseMismatchError)
    shifted = altered(
        blob, lambda i: region("kept", base_offset=i.segments[first_region(i, "kept")].base_offset - 1)(i)
    )
    refused(shifted, base)
    found = tensors_of(altered(blob, region("moved", base_offset=0)), base)
    assert found["moved"] is None or len(found["moved"]) == 800


def altered_how(blob: bytes, name: str, how: int) -> bytes | None:
    index = read_index(BytesSource(blob))
    old = index.segments[first_region(index, name)].how
    return None if old == how else altered(blob, region(name, how=how))


def test_blocks_of_two_kinds(made: dict[str, tuple[bytes, Path | None]]) -> None:
    def join(index: Index) -> None:
        one, two = index.blocks[:2]
        index.blocks[:2] = [replace(one, length=one.length + two.length, pieces=one.pieces + two.pieces)]

    refused(altered(made["safetensors"][0], join))
    refused(altered(made["gguf"][0], join))


def test_every_shape_of_quantised_blocks_is_whole(made: dict[str, tuple[bytes, Path | None]]) -> None:
    assert "Q4_1" in BLOCK_TYPES
    for shape in ((32, 16), (512, 1), (1, 512, 1), ()):
        assert math.prod(shape) in (512, 1)
        refused(altered(made["gguf"][0], region("blk", shape=shape)))


@pytest.mark.parametrize("kind", SAMPLES)
def test_payloads_with_right_checksums(kind: str, made: dict[str, tuple[bytes, Path | None]]) -> None:
    """The digest of the file notices what the coder can't; single tensors have the right length at least."""
    blob, base = made[kind]
    random, right = Random(kind), tensors_of(blob, base)
    for number, block in enumerate(read_index(BytesSource(blob)).blocks):
        old = blob[block.offset : block.offset + block.length]
        bad = [old[:k] for k in range(0, len(old), 1 + len(old) // 20)] + [
            old + b"\0",
            bytes([random.randrange(16)]) + old[1:],
        ]
        for _ in range(60):
            changed = bytearray(old)
            changed[random.randrange(len(old))] ^= 1 << random.randrange(8)
            bad.append(bytes(changed))
        for payload in bad:
            if payload == old:
                continue
            changed_blob = with_payload(blob, number, payload)
            for name, value in tensors_of(changed_blob, base).items():
                assert value is None or len(value) == len(right[name] or b"")
            with suppress(FormatError):
                assert decode_all(changed_blob, base) == decode_all(blob, base), "an equal meaning is no harm"


@pytest.mark.parametrize("kind", SAMPLES)
def test_random_indexes(kind: str, made: dict[str, tuple[bytes, Path | None]]) -> None:
    blob, base = made[kind]
    random = Random(kind)
    raw, hashes = encode_index(read_index(BytesSource(blob)))
    whole = decode_all(blob, base)
    for k in range(400):
        damaged = with_raw_index(
            blob, mutate_index(raw, random), hashes[: random.randrange(len(hashes) + 1)] if k % 9 == 0 else None
        )
        try:
            found = decode_all(damaged, base)
            tensors_of(damaged, base)
        except (FormatError, BaseMismatchError):
            continue
        assert sorted(found.values()) == sorted(whole.values()), "names may change, bytes may not"


def test_an_index_of_too_many_things(tmp_path: Path) -> None:
    from netweight.weights.archive import container

    index = plain_index("x", [Segment(INLINE, 1, inline=b"a")] * 300_000)
    raw, random = encode_index(index)
    tail = pack_tail(index)
    assert len(tail) >= len(raw), "stored, because it would look like a bomb"
    assert len(read_index(BytesSource(HEADER + tail)).segments) == 300_000
    packed = container.Brotli(level=5).encode(container.np.frombuffer(raw, "u1"), container.Spec.raw(len(raw)))
    lengths = container._TRAILER.pack(len(raw), len(packed), len(random), 0, b"NWA\n")[:12]
    seal = container._checksum(packed, random, lengths).to_bytes(8, "little")
    refused(HEADER + packed + random + lengths + seal + b"NWA\n", error=BombError)


def test_an_index_bomb() -> None:
    from netweight.weights.archive import container

    for claimed in (1 << 30, (1 << 32) - 1):
        packed = container.Brotli(level=5).encode(container.np.zeros(1 << 20, "u1"), container.Spec.raw(1 << 20))
        lengths = container._TRAILER.pack(claimed, len(packed), 0, 0, b"NWA\n")[:12]
        seal = container._checksum(packed, b"", lengths).to_bytes(8, "little")
        refused(HEADER + packed + lengths + seal + b"NWA\n", error=BombError)
