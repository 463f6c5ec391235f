"""Indices of k-means codebooks stored as PNG: two fully connected layers, by every lossless code that we have.

    python benchmarks/klaus.py --data DIR [--zopfli DIR]

DIR has layer-11.png (2048 x 2048) and layer-12.png (2048 wide, 1000 high) of liuliu/klaus: 8-bit grayscale, a pixel an
index, an image row the weights of one output unit. The claim to test: PNG, crushed, is a good container of quantised
weights, better than gzip or xz. What is weighed is the indices alone, each code's bytes decoded and compared; the file
as it was shipped is a row too. ZopfliPNG joins if the package `zopfli` can be imported (`--zopfli` names a folder to
import it from). Speeds are of one run on a shared machine: only a rough guide.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from run import RESULTS, machine

from netweight.codec import weigh
from netweight.registry import create
from netweight.weights.archive import compress_file, decompress_file
from netweight.weights.survey import entropy_bits

LAYERS = ("layer-11", "layer-12")
TARGETS = {"layer-11": 3_968_000, "layer-12": 1_901_500}
GENERAL = (
    ("gzip", 9), ("bzip2", 9), ("xz", 9), ("zstd", 19), ("zstd", 22), ("brotli", 9), ("brotli", 11),
)  # fmt: skip
EFFORTS = ("fast", "balanced", "max")


@dataclass
class Row:
    """One code of one layer. `bytes` were decoded and compared; a bound has none that could be."""

    layer: str
    code: str
    bytes: int
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    bound: bool = False


def read_indices(path: Path) -> np.ndarray:
    """uint8 [outputs, inputs]: image rows are rows of the weight matrix (1000 x 2048 for the 1000 classes)."""
    from PIL import Image

    with Image.open(path) as image:
        if image.mode != "L":
            raise SystemExit(f"{path}: mode {image.mode}; an 8-bit gray image was expected")
        return np.ascontiguousarray(np.asarray(image))


def timed(
    layer: str, code: str, encode: Callable[[], bytes], decode: Callable[[bytes], np.ndarray], x: np.ndarray
) -> Row:
    """Encode, decode, compare."""
    start = time.perf_counter()
    blob = encode()
    middle = time.perf_counter()
    back = decode(blob)
    end = time.perf_counter()
    if not np.array_equal(back, x):
        raise SystemExit(f"{code}: other indices came back for {layer}")
    return Row(layer, code, len(blob), middle - start, end - middle)


def png_pixels(blob: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(blob)) as image:
        return np.asarray(image.convert("L"))


def png_rows(layer: str, path: Path, x: np.ndarray) -> Iterator[Row]:
    """The file as shipped, and its optimisers."""
    import oxipng

    shipped = path.read_bytes()
    yield timed(layer, "PNG as shipped", lambda: shipped, png_pixels, x)
    for level in (2, 4, 6):
        yield timed(
            layer,
            f"oxipng {level}",
            lambda level=level: oxipng.optimize_from_memory(shipped, level=level),
            png_pixels,
            x,
        )  # type: ignore[misc]
    try:
        from zopfli.png import optimize
    except ImportError:
        return
    yield timed(layer, "zopflipng", lambda: optimize(shipped), png_pixels, x)


def general_rows(layer: str, x: np.ndarray) -> Iterator[Row]:
    """General compressors, on one index a byte."""
    for name, level in GENERAL:
        receipt = weigh(create(name, {"level": level}), x.tobytes())
        yield Row(layer, f"{name} {level}", receipt.bytes, receipt.encode_seconds, receipt.decode_seconds)
    extreme = lambda: lzma.compress(x.tobytes(), preset=9 | lzma.PRESET_EXTREME)  # noqa: E731
    yield timed(layer, "xz 9e", extreme, lambda blob: _bytes(lzma.decompress(blob), x), x)
    if gzip := shutil.which("gzip"):  # its deflate isn't that of Python's zlib
        pipe = lambda flags, data: subprocess.run([gzip, *flags], input=data, capture_output=True, check=True).stdout  # noqa: E731
        yield timed(
            layer, "gzip -9, the program", lambda: pipe(["-9nc"], x.tobytes()), lambda b: _bytes(pipe(["-dc"], b), x), x
        )


def _bytes(flat: bytes, like: np.ndarray) -> np.ndarray:
    return np.frombuffer(flat, np.uint8).reshape(like.shape)


def own_rows(layer: str, x: np.ndarray) -> Iterator[Row]:
    """netweight's efforts: a frame around the matrix, and archives of files that hold it."""
    for effort in EFFORTS:
        receipt = weigh(create(f"netweight.{effort}"), x)
        yield Row(layer, f"netweight {effort}, frame", receipt.bytes, receipt.encode_seconds, receipt.decode_seconds)
    with tempfile.TemporaryDirectory() as folder:
        for suffix, save in (("npy", _save_npy), ("safetensors", _save_safetensors)):
            source = Path(folder) / f"{layer}.{suffix}"
            save(source, x)
            for effort in EFFORTS:
                yield _archived(layer, source, effort)


def _save_npy(path: Path, x: np.ndarray) -> None:
    np.save(path, x)


def _save_safetensors(path: Path, x: np.ndarray) -> None:
    from safetensors.numpy import save_file

    save_file({"indices": x}, path)


def _archived(layer: str, source: Path, effort: str) -> Row:
    archive, back = source.with_suffix(".nw"), source.with_suffix(".back")
    start = time.perf_counter()
    compress_file(source, archive, effort=effort, threads=1, force=True)
    middle = time.perf_counter()
    decompress_file(archive, back, threads=1, force=True)
    end = time.perf_counter()
    if back.read_bytes() != source.read_bytes():
        raise SystemExit(f"{effort}: another {source.name} came back")
    code = f"netweight {effort}, archive of .{source.suffix[1:]}"
    return Row(layer, code, archive.stat().st_size, middle - start, end - middle)


def order0(layer: str, x: np.ndarray) -> Row:
    """What an ideal coder without contexts needs beside its table: no bytes."""
    counts = np.bincount(x.reshape(-1), minlength=256)
    return Row(layer, "order-0 entropy", round(entropy_bits(counts) / 8), bound=True)


def layer_rows(layer: str, path: Path) -> Iterator[Row]:
    x = read_indices(path)
    yield from png_rows(layer, path, x)
    yield from general_rows(layer, x)
    yield from own_rows(layer, x)
    yield order0(layer, x)


def markdown(report: dict[str, Any]) -> str:
    """One table: a row a code, a column a layer, lightest first."""
    rows = [Row(**r) for r in report["rows"]]
    by = {(r.code, r.layer): r for r in rows}
    codes = list(dict.fromkeys(r.code for r in rows))
    codes.sort(key=lambda c: sum(by[c, layer].bytes for layer in LAYERS))
    lines = [
        "# Indices of k-means codebooks (klaus): lossless, every byte decoded and compared", "",
        "| code | " + " | ".join(f"{layer}, bytes | bits/index | enc s | dec s" for layer in LAYERS) + " |",
        "|---|" + "---:|" * (4 * len(LAYERS)),
    ]  # fmt: skip
    for code in codes:
        cells = []
        for layer in LAYERS:
            r = by[code, layer]
            times = ("-", "-") if r.bound else (f"{r.encode_seconds:.2f}", f"{r.decode_seconds:.2f}")
            cells += [f"{r.bytes:,}", f"{8 * r.bytes / report['indices'][layer]:.4f}", *times]
        name = f"*{code} (bound, no bytes)*" if by[code, LAYERS[0]].bound else code
        lines.append(f"| {name} | {' | '.join(cells)} |")
    goals = ", ".join(f"{layer} under {goal:,}" for layer, goal in TARGETS.items())
    lines += ["", f"Targets: {goals}. Seconds are of one run on a shared machine.", ""]
    lines += [f"{k}: {v}  " for k, v in report["machine"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with layer-11.png and layer-12.png")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--zopfli", type=Path, help="a folder to import the package zopfli from")
    options = parser.parse_args()
    if options.zopfli:
        sys.path.append(str(options.zopfli))
    about = machine() | {"command": " ".join(["python", "benchmarks/klaus.py", *sys.argv[1:]])}
    report: dict[str, Any] = {"machine": about, "indices": {}, "rows": []}
    for layer in LAYERS:
        path = options.data / f"{layer}.png"
        report["indices"][layer] = read_indices(path).size
        for row in layer_rows(layer, path):
            kind = "bound" if row.bound else f"{row.encode_seconds:8.2f} {row.decode_seconds:8.2f} s"
            print(f"{layer} {row.code:42} {row.bytes:>10,} {kind}", flush=True)
            report["rows"].append(asdict(row))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "klaus.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "klaus.md").write_text(markdown(report))


if __name__ == "__main__":
    main()
