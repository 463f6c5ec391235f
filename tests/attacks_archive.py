"""Small archives of many kinds, ways to break them, and archives with right checksums whose index lies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from attacks_regions import gguf_file, safetensors_file, tensor, text, torch_zip
from netweight import frame
from netweight.errors import FormatError
from netweight.source import BytesSource
from netweight.weights.archive.api import compress_file
from netweight.weights.archive.base import Base
from netweight.weights.archive.container import HEADER, pack_tail, read_index
from netweight.weights.archive.index import FileEntry, Index, Segment
from netweight.weights.archive.inputs import open_inputs
from netweight.weights.archive.reader import Archive
from netweight.weights.archive.whole import decode_files

Array = np.ndarray[Any, Any]
SPECIAL_F32 = (0x00000000, 0x80000000, 0x7F800001, 0xFFC0DEAD, 0x7F800000, 0xFF800000, 0x00000001, 0x7FFFFFFF)
WIDTHS = {"BF16": 2, "F32": 4, "F8_E4M3": 1, "I64": 8, "BOOL": 1, "C64": 8, "U8": 1}


def raw_safetensors(entries: dict[str, tuple[str, tuple[int, ...], bytes]]) -> bytes:
    """name -> (dtype, shape, bytes), in the order given."""
    header, data = {}, b""
    for name, (dtype, shape, content) in entries.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return safetensors_file(header, data)


def bell(seed: int, count: int) -> Array:
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


def mixed() -> bytes:
    weights = bell(1, 240)
    tied = (weights[:80].view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return raw_safetensors(
        {
            "embed": ("BF16", (8, 10), tied),
            "special": ("F32", (8,), np.array(SPECIAL_F32, np.uint32).tobytes()),
            "head": ("BF16", (8, 10), tied),
            "matrix": ("F32", (12, 20), weights.tobytes()),
            "few": ("F8_E4M3", (3, 5), bytes(range(15))),
            "steps": ("I64", (), (7).to_bytes(8, "little")),
            "mask": ("BOOL", (9,), bytes([1, 0, 0] * 3)),
            "empty": ("F32", (0, 4), b""),
            "wave": ("C64", (2, 2), bell(2, 8).tobytes()),
        }
    )


def base_and_tuned() -> tuple[bytes, bytes]:
    old = bell(3, 200)
    new = old.copy()
    new[:100] += np.float32(1e-4) * bell(4, 100)
    same = bell(5, 64).tobytes()
    files = [
        raw_safetensors({"moved": ("F32", (10, 20), w.tobytes()), "kept": ("F32", (8, 8), same)}) for w in (old, new)
    ]
    return files[0], files[1]


def torch_file() -> bytes:
    """Two views of one storage and a tensor of its own."""
    pickle = (
        b"\x80\x02}(" + text("a") + tensor("0", 12, (3, 4)) + text("b") + tensor("0", 12, (2, 3), start=6) + text("c")
    )
    pickle += tensor("1", 90, (90,), "HalfStorage") + b"u."
    return torch_zip(pickle, {"0": bell(6, 12).tobytes(), "1": bell(7, 90).astype(np.float16).tobytes()})


def gguf() -> bytes:
    blocks = np.random.default_rng(8).integers(0, 256, (16, 20), dtype=np.uint8)
    blocks[:, :4] = np.abs(bell(9, 32)).astype(np.float16).view(np.uint8).reshape(16, 4)
    pairs: list[bytes] = []
    return gguf_file(
        [("blk", (64, 8), 3, 0), ("norm", (64,), 0, 320)], blocks.tobytes() + bell(10, 64).tobytes(), pairs
    )


@dataclass(frozen=True)
class Sample:
    """Files to compress (one called "" is the input itself) and the base, if any."""

    files: dict[str, bytes]
    base: bytes | None = None


def samples() -> dict[str, Sample]:
    base, tuned = base_and_tuned()
    folder = {
        "a.safetensors": base_and_tuned()[0],
        "b.safetensors": base_and_tuned()[0],
        "sub/deep/plain.txt": b"words and words and words",
        "sub/nothing": b"",
    }
    return {
        "safetensors": Sample({"": mixed()}),
        "delta": Sample({"": tuned}, base),
        "torch": Sample({"": torch_file()}),
        "gguf": Sample({"": gguf()}),
        "unknown": Sample({"": b"a file that nobody knows " * 9}),
        "zeros": Sample({"": bytes(70_000)}),
        "folder": Sample(folder),
        "empty": Sample({"": b""}),
        "byte": Sample({"": b"\x89"}),
    }


def write_sample(sample: Sample, folder: Path) -> tuple[Path, Path | None]:
    """(input, base) as files below `folder`."""
    source = folder / "input"
    for name, content in sample.files.items():
        path = source / name if name else source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if sample.base is None:
        return source, None
    (folder / "base").write_bytes(sample.base)
    return source, folder / "base"


def archive_of(sample: Sample, folder: Path, effort: str = "balanced") -> tuple[bytes, Path | None]:
    """(archive, base)."""
    source, base = write_sample(sample, folder)
    compress_file(source, folder / "made.nw", effort=effort, base=base, threads=1, force=True)
    return (folder / "made.nw").read_bytes(), base


def decode_all(blob: bytes, base: Path | None) -> dict[str, bytes]:
    """Every file of an archive in memory, all checksums checked."""
    with opened(blob, base) as archive:
        files = {f.path: bytearray(archive.refuse_bomb(f.size)) for f in archive.files}
        names = [f.path for f in archive.files]

        def put(file: int, offset: int, data: Array) -> None:
            files[names[file]][offset : offset + data.size] = data.tobytes()

        decode_files(archive, put, 1)
    return {name: bytes(content) for name, content in files.items()}


def opened(blob: bytes, base: Path | None) -> Archive:
    if base is None:
        return Archive(BytesSource(blob))
    with_base = open_inputs(base)
    archive = Archive(BytesSource(blob), Base(with_base.__enter__()))
    archive.close_with(lambda: with_base.__exit__(None, None, None))
    return archive


def tensors_of(blob: bytes, base: Path | None) -> dict[str, bytes | None]:
    """Bits of each tensor; None for one that can't be decoded."""
    with opened(blob, base) as archive:
        found: dict[str, bytes | None] = {}
        for name in archive.keys():  # noqa: SIM118
            try:
                found[name] = archive.tensor(name).tobytes()
            except FormatError:
                found[name] = None
        return found


def take_apart(blob: bytes) -> tuple[bytes, Index]:
    """(payloads end to end, index)."""
    index = read_index(BytesSource(blob))
    return blob[len(HEADER) : len(HEADER) + sum(b.length for b in index.blocks)], index


def repack(payloads: bytes, index: Index) -> bytes:
    """An archive whose checksums are all right."""
    return HEADER + payloads + pack_tail(index)


def with_payload(blob: bytes, number: int, payload: bytes) -> bytes:
    """Another payload for block `number`, its checksum right."""
    payloads, index = take_apart(blob)
    block = index.blocks[number]
    at = block.offset - len(HEADER)
    index.blocks[number] = replace(block, length=len(payload), checksum=frame.checksum(payload))
    return repack(payloads[:at] + payload + payloads[at + block.length :], index)


def altered(blob: bytes, change: Callable[[Index], None]) -> bytes:
    """The archive with a changed index."""
    payloads, index = take_apart(blob)
    change(index)
    return repack(payloads, index)


def segment(number: int, /, **changes: Any) -> Callable[[Index], None]:
    def change(index: Index) -> None:
        index.segments[number] = replace(index.segments[number], **changes)

    return change


def first_region(index: Index, name: str) -> int:
    return next(k for k, s in enumerate(index.segments) if s.name == name)


def region(name: str, /, **changes: Any) -> Callable[[Index], None]:
    return lambda index: segment(first_region(index, name), **changes)(index)


def file_entry(number: int, **changes: Any) -> Callable[[Index], None]:
    def change(index: Index) -> None:
        index.files[number] = replace(index.files[number], **changes)

    return change


def flips(blob: bytes, values: tuple[int, ...]) -> Iterator[tuple[int, bytes]]:
    for at in range(len(blob)):
        for value in values:
            damaged = bytearray(blob)
            damaged[at] ^= value
            yield at, bytes(damaged)


def mutate_index(raw: bytes, random: Random) -> bytes:
    """The compressible part of an index with a few varints or bytes changed."""
    out = bytearray(raw)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(out))
        match random.randrange(5):
            case 0:
                out[at] ^= 1 << random.randrange(8)
            case 1:
                out[at] = random.choice((0, 1, 2, 0x7F, 0x80, 0xFF))
            case 2:
                out[at : at + 1] = b"\xff" * random.randint(1, 8) + b"\x7f"
            case 3:
                del out[at : at + random.randint(1, 3)]
            case _:
                out[at:at] = out[at : at + random.randint(1, 8)]
    return bytes(out) or b"\0"


def with_raw_index(blob: bytes, raw: bytes, random_part: bytes | None = None) -> bytes:
    """The archive with these bytes as its index, stored, and right checksums."""
    from netweight.weights.archive import container
    from netweight.weights.archive.index_wire import encode_index

    payloads, index = take_apart(blob)
    random = encode_index(index)[1] if random_part is None else random_part
    lengths = container._TRAILER.pack(len(raw), len(raw), len(random), 0, b"NWA\n")[:12]
    checksum = container._checksum(raw, random, lengths)
    return HEADER + payloads + raw + random + lengths + checksum.to_bytes(8, "little") + b"NWA\n"


def plain_index(path: str, segments: list[Segment], directory: bool = False) -> Index:
    """An index of one file without blocks."""
    size = sum(s.nbytes for s in segments)
    return Index(directory, [FileEntry(path, size, bytes(16), "unknown", "", (0, len(segments)))], segments)


def sharded(folder: Path, weight_map: dict[str, str]) -> Path:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index
