"""Over-wide networks of MNIST: what dead and similar units cost, and what is left of it at the same accuracy.

    python benchmarks/overwide.py NETS --mnist FILE.npz [--only NAME ...]

NETS has the networks of structured_nets.py. Every size is of a file that was decompressed again; its accuracy is that of what came
out, on the 3,000 test images. Writes benchmarks/results/overwide.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from run import RESULTS, machine
from safetensors.torch import load_file
from structured_nets import State, accuracy, digits

from netweight.weights.archive import compress_file, decompress_file
from netweight.weights.lossy.compress import compress_lossy
from netweight.weights.lossy.target import Target
from netweight.weights.structure.explain import explain
from netweight.weights.symmetry.compress import compress_symmetric

ERRORS = (3e-3, 1e-2)


def architecture(state: State, path: Path) -> Path:
    """Hidden units of ReLU layers fc1, fc2, ..."""
    names = sorted(n for n in state if n.endswith(".weight"))
    entries = [
        {
            "units": one.removesuffix(".weight"), "count": len(state[one]), "scale": True, "out": [f"{following}:1"],
            "in": [f"{n}:0" for n in (one, one.replace("weight", "bias")) if n in state],
        }
        for one, following in pairwise(names)
    ]  # fmt: skip
    path.write_text(json.dumps({"symmetries": entries}))
    return path


def made(path: Path, arch: Path, out: Path) -> Iterator[tuple[str, int]]:
    """Writes `out` by one code after the other: (which, bytes)."""
    yield "losslessly, `max`", compress_file(path, out, effort="max", force=True).archive_bytes
    yield "losslessly, `--structure`", compress_file(path, out, structure=True, force=True).archive_bytes
    yield "same function, `--symmetries`", compress_symmetric(path, out, arch, force=True).archive_bytes
    for error in ERRORS:
        target = Target("rel_mse", error)
        yield f"`--rel-mse {error:g}`", compress_lossy(path, out, target, force=True).archive_bytes
        found = compress_lossy(path, out, target, structure=True, force=True).archive_bytes
        yield f"`--rel-mse {error:g} --structure`", found
        yield (
            f"`--rel-mse {error:g} --symmetries`",
            compress_symmetric(path, out, arch, rel_mse=error, force=True).archive_bytes,
        )


def rows(path: Path, x: torch.Tensor, y: torch.Tensor) -> Iterator[str]:
    state, size = load_file(path), path.stat().st_size
    yield f"| {path.stem} | as it is | {size:,} | 1 | {accuracy(state, x, y):.2%} |"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arch = architecture(state, folder / "arch.json")
        for label, length in made(path, arch, folder / "net.nw"):
            decompress_file(folder / "net.nw", folder / "net.safetensors", force=True)
            right = accuracy(load_file(folder / "net.safetensors"), x, y)
            yield f"| {path.stem} | {label} | {length:,} | {length / size:.3f} | {right:.2%} |"


def dead_units(path: Path) -> str:
    """How many hidden units nothing makes, or nothing reads."""
    state = load_file(path)
    names = sorted(n for n in state if n.endswith(".weight"))
    found = []
    for one, following in pairwise(names):
        bias = state.get(one.replace("weight", "bias"))
        unmade = ~state[one].bool().any(1) & (torch.ones(len(state[one])).bool() if bias is None else bias == 0)
        unread = ~state[following].bool().any(0)
        found.append(f"{int((unmade | unread).sum())} of {len(state[one])}")
    return f"{path.stem}: dead hidden units, by layer: {', '.join(found)}."


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", type=Path)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=["wide", "condensed"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    x, y = digits(arguments.mnist)
    lines = [
        "# Over-wide networks of MNIST", "",
        "Networks of `structured_nets.py`. Bytes of files that were decompressed again; accuracy of what came out, 3,000 test images.",
        "", "| network | code | bytes | of the file | accuracy |", "|---|---|---:|---:|---:|",
    ]  # fmt: skip
    paths = [arguments.nets / f"{name}.safetensors" for name in arguments.only]
    for path in paths:
        for line in rows(path, x, y):
            lines.append(line)
            print(line, flush=True)
    lines += ["", *(dead_units(path) for path in paths), "", "What `explain --rel-mse 0.01` says:", ""]
    for path in paths:
        found = explain(path, 1e-2).found
        lines += [f"- {path.stem}, {t.name}: {t.text}; {8 * t.plain_bytes:,} -> {8 * t.bytes:,} bits" for t in found]
    lines += [
        "",
        f"Machine: {machine()['processor']}, one thread; numpy {np.__version__}, torch {torch.__version__}.",
        "",
    ]
    (RESULTS / "overwide.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
