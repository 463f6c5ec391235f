"""Checkpoints and weighings for the tests of reports and of the command line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from netweight.weights.bench import Row
from netweight.weights.inspection import Inspected
from netweight.weights.ladder import Histogram, Weighing

HOSTILE = '<script>document.title="pwned"</script>&"\'\x1b[31m\u202e'


def save_tensors(path: Path, tensors: dict[str, tuple[str, np.ndarray]]) -> Path:
    """A safetensors file, written by hand so that any name and dtype goes in."""
    header, blobs, at = {}, [], 0
    for name, (dtype, array) in tensors.items():
        blob = array.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    return path


def small_checkpoint(path: Path) -> Path:
    """Two layers of weights as a network has them, an integer tensor and a name that is an attack."""
    rng = np.random.default_rng(7)
    return save_tensors(
        path,
        {
            "encoder.weight": ("F32", (0.05 * rng.standard_normal((64, 96))).astype(np.float32)),
            HOSTILE: ("F16", (0.3 * rng.standard_normal((32, 64))).astype(np.float16)),
            "position_ids": ("I64", np.arange(128, dtype=np.int64)),
            "scale": ("F32", np.float32(3.0).reshape(())),
        },
    )


def layer(k: int, name: str = "", elements: int = 4096) -> Inspected:
    """A layer of about 11 bits per weight."""
    rows = elements // 64
    return Inspected(
        name or f"model.layers.{k}.mlp.dense.weight", "model.safetensors", "BF16", (rows, 64), elements, "balanced",
        2 * elements, elements * (11 + k % 7 / 10) / 8, 11.2 * elements,
    )  # fmt: skip


def weighing(layers: int = 8, name: str = "model.safetensors") -> Weighing:
    """What `weigh_file` might give, without the work."""
    tensors = (layer(0, HOSTILE), *(layer(k) for k in range(1, layers)))
    elements = sum(t.elements for t in tensors)
    original = 2 * elements + 1000
    rows = (
        Row("netweight.max", "", int(0.65 * original), 2.0, 2.0),
        Row("netweight.balanced", "", int(0.66 * original), 0.5, 0.4),
        Row("xz", "6", int(0.9 * original), 3.0, 1.0),
        Row("zstd", "19", original + 50, 3.0, 0.01),
        Row("raw", "", original, 0.01, 0.01),
        Row("brotli", "9", problem="needs the package brotli: pip install brotli"),
    )
    counts = (1, 5, 60, 300, elements - 366)
    return Weighing(
        name=name,
        formats=("safetensors",),
        original_bytes=original,
        elements=elements,
        dtypes={"BF16": elements},
        problems=(),
        bound_bits=11.2 * elements,
        rows=tuple(sorted(rows, key=lambda r: (r.bytes is None, r.bytes or 0))),
        layers=tensors,
        layers_code="netweight.balanced",
        histograms=(
            Histogram("all BF16 tensors", "BF16", elements, 2.5, 120, 127, counts),
            Histogram(HOSTILE, "BF16", elements, 2.5, 120, 127, counts),
        ),
    )
