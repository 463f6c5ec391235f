"""Other people's tools for making networks smaller beside netweight.shrink: one ResNet-20, one training, one evaluation.

    python benchmarks/shrink_rivals.py --weights resnet20_cifar10_fp32.safetensors --cifar cifar10_jpeg_q75.npz
        --journal FOLDER [--recipes ...] [--budget 300] [--count 2000] [--out benchmarks/results]

Each recipe gets the same number of training steps of the same batches, runs in a process of its own, saves as its documentation
says, loads that, and is scored as loaded. What is in the journal already isn't run again (a failure is: it may be an install that
was missing). Needs torch-pruning, torchao, nncf, openvino and fasterai where their recipes are asked for; a recipe that can't run is
a row with its message.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import cifar
import shrink_resnet
import torch

RIVALS = (
    "fine-tuned",
    "torch-pruning",
    "torch-pruning, magnitude",
    "torch-pruning + torchao int8 weights",
    "torchao QAT",
    "torch-pruning + torchao QAT",
    "NNCF QAT",
    "NNCF QAT, 4 bits",
    "NNCF sparse 70 % + QAT",
    "torch-pruning + NNCF QAT",
    "fasterai prune",
    "fasterai prune + QAT",
)
OURS = ("prune, W4A4", "prune, W3A4", "W4A8")
PACKAGES = ("torch", "torch-pruning", "torchao", "nncf", "openvino", "fasterai")
ROUNDS = 7


def packed(files: list[Path]) -> dict[str, int]:
    """Bytes of the files together, of a zip and of an xz of them; both are unpacked and compared."""
    blobs = {f.name: f.read_bytes() for f in files}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, blob in blobs.items():
            archive.writestr(name, blob)
    together = b"".join(blobs.values())
    xz = lzma.compress(together, preset=9 | lzma.PRESET_EXTREME)
    with zipfile.ZipFile(target) as archive:
        if any(archive.read(name) != blob for name, blob in blobs.items()) or lzma.decompress(xz) != together:
            raise RuntimeError("zip or xz gave back something else")
    return {"file_bytes": len(together), "zip_bytes": len(target.getvalue()), "xz_bytes": len(xz)}


def alternated(calls: list[Callable[[], object]], runs: int = 20) -> list[float]:
    """Milliseconds of each call: medians of `runs` calls, by turns, then the median of the turns."""
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, times in zip(calls, found, strict=True):
            turn = []
            for _ in range(runs):
                start = time.perf_counter()
                call()
                turn.append(time.perf_counter() - start)
            times.append(1e3 * statistics.median(turn))
    return [statistics.median(times) for times in found]


def ours(name: str, options: argparse.Namespace, data: shrink_resnet.Data) -> dict[str, Any]:
    """A recipe of shrink_resnet.py at this budget."""
    report = shrink_resnet.measured(name, options, data)
    file = options.journal / name.replace(" ", "-").replace(",", "") / "network.nw"
    costs = report["runs"][report["taken"]]["stages"][-1]["costs"]
    network = shrink_resnet.room.load(file)
    return timed(
        {"score": report["file_score"], "macs": costs["macs"], "bitops": costs["bitops"]}, network, data, options
    ) | packed([file])


def timed(
    row: dict[str, Any], run: Callable[[torch.Tensor], object], data: shrink_resnet.Data, options: argparse.Namespace
) -> dict[str, Any]:
    """`row` with the milliseconds of one image, beside the start's (batch norms folded) in the same process."""
    from safetensors.numpy import load_file

    start = cifar.fused(cifar.resnet(load_file(options.weights)))
    image = data.test[0][:1].contiguous()
    with torch.inference_mode():
        run(image)
        ms, start_ms = alternated([lambda: run(image), lambda: start(image)])
    return row | {"ms": ms, "start_ms": start_ms}


def one(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """A recipe's row. Whatever a rival raises is its row."""
    torch.set_num_threads(1)
    data = shrink_resnet.Data(options.cifar, options.count)
    begun = time.process_time()
    try:
        if name in OURS:
            row = ours(name, options, data)
        else:
            import shrink_rival_recipes

            row = shrink_rival_recipes.run(name, options, data)
    except Exception as error:  # noqa: BLE001  a rival may raise anything
        import traceback

        traceback.print_exc()
        text = " ".join(str(error).split())
        return {"failed": f"{type(error).__name__}: {text[:300]}"}
    return row | {"processor_seconds": time.process_time() - begun}


_ABOUT = """\
CIFAR-10 as JPEG, {count:,} test images at equal distances; every recipe trains for {budget} steps of {batch} images (one seed)
from the same ResNet-20, and is scored from the file that it saved. A row of two tools shares the steps out as ours does (3
to pruning in three
rounds, 4 to the grids). Ours are the recipes of shrink_resnet.py at this budget.

Bytes: what the tool itself saves (netweight: one archive with structure; torch-pruning: torch.save of the state dict, which needs
code and widths to be loaded; torchao: torch.export.save; NNCF: OpenVINO's xml and bin; fasterai: torch.jit.save), then the
same through zip and xz.
BitOps = MACs x bits of weights x bits of activations over convolutions and the linear layer, both counted by netweight on the network
that each tool left; a layer counts as quantised where the saved graph has integers for its weights and a grid for its input. ms: one
image, one thread, medians taken in turns with the folded FP32 start in the same process (its own ms beside it), on a busy machine.
The standard error of a top-1 near 80 % on {count:,} images is {error:.1f} points, so rows closer than two of them are ties. The start was
trained on the original images, so that training on JPEG alone helps it ("fine-tuned")."""
_HEAD = "| | top-1 % | bytes | zip | xz | MACs, x fewer | BitOps, x fewer | ms | start's ms | |"
_RULE = "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"


def table(found: dict[str, Any], options: argparse.Namespace) -> str:
    """Markdown."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{package} isn't installed")
    lines = [_HEAD, _RULE]
    start = found["start"]
    for name, row in found.items():
        label = f"**netweight: {name}**" if name in OURS else name
        if "failed" in row:
            lines.append(f"| {label} | | | | | | | | | failed: {row['failed'].replace('|', '/')} |")
            continue
        smaller = [f"{row[k]:,}" for k in ("file_bytes", "zip_bytes", "xz_bytes")]
        fewer = [f"{start['macs'] / row['macs']:.2f}", f"{start['bitops'] / row['bitops']:.1f}"]
        speed = [f"{row['ms']:.2f}", f"{row['start_ms']:.2f}"]
        lines.append(
            f"| {label} | "
            + " | ".join([f"{100 * row['score']:.2f}", *smaller, *fewer, *speed, row.get("note", "")])
            + " |"
        )
    about = _ABOUT.format(
        count=options.count, budget=options.budget, batch=shrink_resnet.BATCH, error=40 / options.count**0.5
    )
    text = ["# netweight.shrink and others", about, "\n".join(lines)]
    missing = [name for name in (*OURS, *RIVALS) if name not in found]
    if missing:
        text.append("Not measured: " + "; ".join(missing) + ".")
    return "\n\n".join([*text, "Versions: " + ", ".join(versions) + "."]) + "\n"


def start_row(options: argparse.Namespace) -> dict[str, Any]:
    """The network before anything."""
    from safetensors.numpy import load_file
    from shrink_rival_recipes import counted

    torch.set_num_threads(1)
    data = shrink_resnet.Data(options.cifar, options.count)
    network = cifar.resnet(load_file(options.weights))
    row = counted(network, []) | {"score": data.score(network), "note": "FP32, safetensors; ms without folding"}
    return timed(row, network, data, options) | packed([options.weights])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True, help="folder for rows, networks and what the tools save")
    parser.add_argument("--recipes", nargs="*", default=[*OURS, *RIVALS], choices=[*OURS, *RIVALS])
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.journal.mkdir(parents=True, exist_ok=True)

    def row_file(name: str) -> Path:
        return options.journal / f"{name.replace(' ', '-').replace(',', '').replace('%', 'percent')}.row.json"

    if options.one:
        row = start_row(options) if options.one == "start" else one(options.one, options)
        row_file(options.one).write_text(json.dumps(row, indent=1) + "\n")
        return
    same_settings(parser, options)
    for name in ["start", *options.recipes]:
        file = row_file(name)
        if file.exists() and "failed" not in json.loads(file.read_text()):
            continue
        print(f"{name} ...", flush=True)
        file.unlink(missing_ok=True)
        done = subprocess.run([sys.executable, *sys.argv, "--one", name], check=False)
        if not file.exists():
            file.write_text(json.dumps({"failed": f"the process ended with status {done.returncode}"}) + "\n")
        written(row_file, options)
    written(row_file, options)


def same_settings(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with a message if the journal's rows were measured with another budget or other images."""
    wanted = {"budget": options.budget, "count": options.count}
    file = options.journal / "settings.json"
    if file.exists() and json.loads(file.read_text()) != wanted:
        parser.error(
            f"{options.journal} holds rows of {file.read_text().strip()}; give another folder, or the same settings"
        )
    file.write_text(json.dumps(wanted) + "\n")


def written(row_file: Callable[[str], Path], options: argparse.Namespace) -> None:
    """The table of all rows that are in the journal."""
    found = {n: json.loads(row_file(n).read_text()) for n in ("start", *OURS, *RIVALS) if row_file(n).exists()}
    (options.out / "shrink-rivals.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "shrink-rivals.md").write_text(table(found, options))


if __name__ == "__main__":
    main()
