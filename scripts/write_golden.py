"""Write the golden archives of tests/golden:  make golden

They pin the format: what an older netweight wrote must decode for ever, and what this one writes must not change by
accident. Tests only read them. Run this when the format has a new version on purpose, and say so in the changelog.

The inputs are made from integers alone, so that they are the same everywhere; SHA256SUMS beside the archives tells.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

import netweight as nw
from netweight.weights.symmetry.compress import compress_symmetric

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
EFFORTS = ("fast", "balanced", "max")
BASES = {"finetune.safetensors": "mixed.safetensors"}
"""Cases that are coded against another."""

LIBRARIES = ("brotli", "zstandard")
"""Whose output is in archives and may change with their version; they decode all the same."""

Array = NDArray[Any]
BLOCK = 20
"""Bytes of a GGUF block of 32 weights in Q4_1: scale and minimum in F16, 32 nibbles."""


def integers(seed: int, count: int) -> NDArray[np.uint64]:
    """`count` numbers of 64 bits (SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def weights(seed: int, rows: int, columns: int) -> NDArray[np.float32]:
    """Bell-shaped weights with a power of two as scale of each row and column; exact in float32."""
    bits = integers(seed, rows * columns).view(np.uint16).reshape(rows, columns, 4)
    bell = bits.astype(np.int64).sum(2) - 2 * 65535
    scale = integers(seed + 1, rows)[:, None] % np.uint64(5) + integers(seed + 2, columns) % np.uint64(3)
    return np.ldexp(bell.astype(np.float32), -20 - scale.astype(np.int32)).astype(np.float32)


_SAFETENSORS = {
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "int64": "I64", "int8": "I8",
    "bool": "BOOL",
}  # fmt: skip


def safetensors(state: dict[str, Array]) -> bytes:
    """A safetensors file with the tensors in the order given."""
    header: dict[str, Any] = {}
    at = 0
    for name, array in state.items():
        header[name] = {
            "dtype": _SAFETENSORS[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for a in state.values())


def mixed() -> bytes:
    """Most dtypes, tied tensors, empty and 0-d ones, NaN payloads and signed zeros."""
    f32 = weights(1, 48, 64)
    few = np.array([-0.5, 0.0, 0.25, 1.5], np.float32)
    special = np.array([0x00000000, 0x80000000, 0x7F800001, 0xFFC0DEAD, 0x7F800000, 0x00000001], np.uint32)
    return safetensors(
        {
            "embed.weight": weights(2, 96, 64).astype(ml_dtypes.bfloat16),
            "head.weight": weights(2, 96, 64).astype(ml_dtypes.bfloat16),
            "attention.weight": weights(3, 64, 64).astype(np.float16),
            "mlp.weight": f32,
            "mlp.was_bf16": f32.astype(ml_dtypes.bfloat16).astype(np.float32),
            "mlp.fp8": (f32 * 64).astype(ml_dtypes.float8_e4m3fn),
            "moment": f32 * f32,
            "palette": few[(integers(4, 4096) % np.uint64(4)).astype(np.int64)],
            "quantised": (integers(5, 2048) % np.uint64(15)).astype(np.int8) - np.int8(7),
            "steps": np.arange(40, dtype=np.int64),
            "mask": (integers(6, 500) % np.uint64(9) == 0),
            "zeros": np.zeros((30, 40), np.float32),
            "special": special.view(np.float32),
            "scalar": np.array(3.5, np.float32),
            "empty": np.zeros((0, 7), np.float32),
        }
    )


def finetune() -> bytes:
    """`mixed` after a small step: a few weights of each matrix move by a few units in the last place."""
    data = bytearray(mixed())
    start = 8 + int.from_bytes(data[:8], "little")
    for at, move in zip(integers(7, 300), integers(8, 300), strict=True):
        place = start + 2 * int(at % np.uint64((len(data) - start) // 2))
        data[place] ^= int(move % np.uint64(4))
    return bytes(data)


def gguf() -> bytes:
    """A GGUF file of version 3 with one Q4_1 and one F32 tensor."""
    rows, columns = 32, 64
    scales = np.abs(weights(9, rows * columns // 32, 2)).astype(np.float16).view(np.uint8)
    nibbles = integers(10, rows * columns // 64 * 4).view(np.uint8)[: rows * columns // 2]
    blocks = np.concatenate([scales.reshape(-1, 4), nibbles.reshape(-1, BLOCK - 4)], axis=1).tobytes()
    plain = weights(11, 1, columns).tobytes()

    def text(value: str) -> bytes:
        return len(value).to_bytes(8, "little") + value.encode()

    def number(value: int, width: int) -> bytes:
        return value.to_bytes(width, "little")

    head = b"GGUF" + number(3, 4) + number(2, 8) + number(1, 8)
    head += text("general.architecture") + number(8, 4) + text("golden")
    head += text("blk.0.weight") + number(2, 4) + number(columns, 8) + number(rows, 8) + number(3, 4) + number(0, 8)
    head += text("norm.weight") + number(1, 4) + number(columns, 8) + number(0, 4) + number(len(blocks), 8)
    head += bytes(-len(head) % 32)
    return head + blocks + plain


CASES: dict[str, Callable[[], bytes]] = {
    "mixed.safetensors": mixed,
    "finetune.safetensors": finetune,
    "blocks.gguf": gguf,
    "plain.txt": lambda: b"".join(b"line %d of a file that no finder knows\n" % k for k in range(200)),
    "empty.bin": lambda: b"",
}


def archive_name(case: str, effort: str) -> str:
    """The golden file of a case."""
    return f"{case}.{effort}.nw"


def compress(case: str, effort: str, folder: Path, threads: int) -> bytes:
    """The archive of a case as this build writes it; `folder` is for scratch."""
    source, target = folder / case, folder / archive_name(case, effort)
    source.write_bytes(CASES[case]())
    base = BASES.get(case)
    if base:
        (folder / base).write_bytes(CASES[base]())
    nw.compress_file(source, target, effort=effort, base=folder / base if base else None, threads=threads, force=True)
    return target.read_bytes()


QUANTISED = "mixed.safetensors.quantised.nw"


def quantise(folder: Path) -> tuple[bytes, bytes]:
    """(an archive of quantised weights, what it decodes to). Encoders choose in floating point, so other machines may
    write other bytes; every machine decodes these alike.
    """
    source, target, back = folder / "mixed.safetensors", folder / QUANTISED, folder / decoded_name(QUANTISED)
    source.write_bytes(mixed())
    nw.compress_lossy(source, target, step=0.01, notes={"step": 0.01}, threads=1, force=True)
    nw.decompress_file(target, back, force=True)
    return target.read_bytes(), back.read_bytes()


UNORDERED = {"mlp.safetensors.unordered.nw": None, "mlp.safetensors.unordered-quantised.nw": 0.01}
"""Archives without the order of units, by the relative squared error that they may have."""


def mlp() -> dict[str, Array]:
    """Two layers whose hidden units are interchangeable, their weights multiples of 2^-5."""
    grid = [np.rint(weights(12 + 3 * k, *shape) * 32) / 32 for k, shape in enumerate([(64, 48), (1, 64), (10, 64)])]
    return dict(zip(("fc1.weight", "fc1.bias", "fc2.weight"), (grid[0], grid[1][0], grid[2]), strict=True))


def decoded_name(archive: str) -> str:
    """What the decoded file of an archive is called in SHA256SUMS."""
    return archive.removesuffix(".nw")


def without_order(name: str, folder: Path) -> tuple[bytes, bytes]:
    """(an archive of `mlp` without the order of its units, what it decodes to)."""
    source, target, back, declared = (folder / n for n in ("mlp.safetensors", name, "back", "mlp.json"))
    source.write_bytes(safetensors(mlp()))
    units = {"units": "fc1", "count": 64, "in": ["fc1.weight:0", "fc1.bias:0"], "out": ["fc2.weight:1"]}
    declared.write_text(json.dumps({"symmetries": [units]}))
    compress_symmetric(source, target, declared, rel_mse=UNORDERED[name], threads=1, force=True)
    nw.decompress_file(target, back, force=True)
    return target.read_bytes(), back.read_bytes()


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def golden_files() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of everything that belongs in tests/golden."""
    sums = [f"{digest(make())}  {case}" for case, make in CASES.items()]
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            for effort in EFFORTS:
                data = compress(case, effort, Path(folder), threads=1)
                sums.append(f"{digest(data)}  {archive_name(case, effort)}")
                yield archive_name(case, effort), data
        archive, decoded = quantise(Path(folder))
        sums += [f"{digest(archive)}  {QUANTISED}", f"{digest(decoded)}  {decoded_name(QUANTISED)}"]
        yield QUANTISED, archive
        for name in UNORDERED:
            archive, decoded = without_order(name, Path(folder))
            sums += [f"{digest(archive)}  {name}", f"{digest(decoded)}  {decoded_name(name)}"]
            yield name, archive
    yield "SHA256SUMS", ("\n".join(sums) + "\n").encode()
    yield "written-with.json", (json.dumps({name: version(name) for name in LIBRARIES}, indent=1) + "\n").encode()


def main() -> None:
    files = list(golden_files())  # all of them or none
    GOLDEN.mkdir(exist_ok=True)
    for name, data in files:
        path = GOLDEN / name
        same = path.exists() and path.read_bytes() == data
        path.write_bytes(data)
        print(f"{len(data):>8,}  {'same   ' if same else 'WRITTEN'}  {name}")


if __name__ == "__main__":
    main()
