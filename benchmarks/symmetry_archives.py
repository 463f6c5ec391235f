"""Archives with and without the order of units: `compress --symmetries` against the best archives of the same networks.

    python benchmarks/symmetry_archives.py [--nets FILE ...] [--klaus DIR] [--resnets DIR] [--shuffled]

FILE are checkpoints of a ReLU network fc1 .. fc3, or 1w 1b .. 3w 3b; the network that ships with netweight comes first. Every archive is
decoded and compared: the file byte for byte, or the function (weights up to the order of their units). With --shuffled units are first
put in an order drawn at random, as training leaves them: files whose units were sorted by hand hide part of what they save.
Writes benchmarks/results/symmetry-archives.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from run import RESULTS, machine
from safetensors.numpy import save_file
from symmetry import declared, lenet, resnet, tensors_at

from netweight.data import demo_network
from netweight.weights.archive import compress_file, verify_file
from netweight.weights.lossy.compress import compress_lossy
from netweight.weights.lossy.target import Target
from netweight.weights.symmetry.architecture import Group
from netweight.weights.symmetry.compress import SymmetryReceipt, compress_symmetric
from netweight.weights.symmetry.weigh import order_bits, reordered

ERRORS = (1e-2,)
EFFORTS = ("balanced", "max")


def written(groups: tuple[Group, ...], path: Path) -> Path:
    """The groups as an architecture file."""
    entries = []
    for group in groups:
        entry: dict[str, Any] = {k: v for k, v in asdict(group).items() if k in ("units", "count", "sign", "scale")}
        for role in ("in", "out", "along"):
            entry[role] = [f"{a.tensor}:{a.axis}" for a in group.axes if a.role == role]
        entries.append(entry)
    path.write_text(json.dumps({"symmetries": entries}))
    return path


def cases(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any], tuple[Group, ...]]]:
    shipped = tensors_at(demo_network())
    yield "LeNet-300-100 on 8 x 8 digits (shipped)", shipped, lenet(shipped)
    for path in arguments.nets:
        state = tensors_at(path)
        yield path.stem, state, lenet(state)
    if arguments.klaus:
        from PIL import Image

        indices = {f"layer-{k}": np.array(Image.open(arguments.klaus / f"layer-{k}.png")) for k in (11, 12)}
        yield (
            "klaus, layers 11 and 12 (indices)",
            indices,
            declared({"units": "hidden", "count": 2048, "in": ["layer-11:0"], "out": ["layer-12:1"]}),
        )
    if arguments.resnets:
        state = tensors_at(arguments.resnets / "resnet20_cifar10_fp32.safetensors")
        yield "resnet20", state, resnet(state)


def compared(path: Path, arch: Path, effort: str, error: float | None) -> tuple[int, SymmetryReceipt, float]:
    """(bytes without symmetries, the receipt with them, processor seconds of the latter)."""
    out = path.with_suffix(".nw")
    if error is None:
        plain = compress_file(path, out, effort=effort, force=True).archive_bytes
        verify_file(out, against=path)
    else:
        plain = compress_lossy(path, out, Target("rel_mse", error), effort=effort, force=True).archive_bytes
    start = time.process_time()
    made = compress_symmetric(path, out, arch, rel_mse=error, effort=effort, force=True)
    seconds = time.process_time() - start
    verify_file(out, **({} if error else {"against": path, "symmetries": arch}))
    return plain, made, seconds


def rows(name: str, state: dict[str, Any], groups: tuple[Group, ...], *, shuffled: bool) -> Iterator[str]:
    bound = order_bits(state, groups) / 8
    with tempfile.TemporaryDirectory() as folder:
        path, arch = Path(folder) / "network.safetensors", written(groups, Path(folder) / "arch.json")
        save_file(reordered(state, 1, groups) if shuffled else state, path)
        floats = any(a.dtype.kind == "f" for a in state.values())
        for error in (None, *(ERRORS if floats and "pruned" not in name else ())):
            for effort in EFFORTS:
                plain, made, seconds = compared(path, arch, effort, error)
                yield (
                    f"| {name} | {'lossless' if error is None else f'relMSE {error:g}'} | {effort} | {plain:,} | {made.archive_bytes:,} "
                    f"| {made.archive_bytes - plain:+,} | {1 - made.archive_bytes / plain:.2%} | {made.groups} of {len(groups)} "
                    f"| {bound:,.0f} | {seconds:.0f} |"
                )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="*", type=Path, default=[])
    parser.add_argument("--klaus", type=Path)
    parser.add_argument("--resnets", type=Path)
    parser.add_argument("--shuffled", action="store_true")
    arguments = parser.parse_args()
    lines = [
        "# Archives without the order of units: measured", "",
        ("Bytes of archives that were decoded and compared: without symmetries the file byte for byte, with them the function (weights "
        "up to the order of units; quantised ones by their checksums, within the error). *orders* is log2 of how many orders of the "
        "units differ, in bytes, by counting: a bound. The code with symmetries is another one too, so it saves more or less than that."),
        "", "Units were first put in a random order." if arguments.shuffled else "Units are in the order of their files.", "",
        "| network | | effort | archive | with symmetries | bytes | saved | groups coded so | orders (bound) | enc, processor s |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    end = ["", f"Machine: {machine()['processor']}, shared.", ""]
    for case in cases(arguments):
        for line in rows(*case, shuffled=arguments.shuffled):
            lines.append(line)
            print(line, flush=True)
            (RESULTS / "symmetry-archives.md").write_text("\n".join([*lines, *end]))


if __name__ == "__main__":
    main()
