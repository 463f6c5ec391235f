"""A CIFAR ResNet shrunk step by step: score, MACs, BitOps and bytes of a file that runs after each recipe.

    python benchmarks/shrink_resnet.py --weights resnet20_cifar10_fp32.safetensors --cifar cifar10_jpeg_q75.npz
        --journal FOLDER [--recipes ...] [--budget 700] [--count 10000] [--out benchmarks/results]

Trains on the 50,000 training images (crops and flips), scores on the test images. The network was trained on the original
images and is scored on JPEG, so training on JPEG alone helps it: the recipe "fine-tuned" trains the FP32 network for as long as the
others, and drops are told against the start and against that. A run that is interrupted goes on from its journal.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cifar
import numpy as np
import torch
from torch.nn import functional

from netweight import shrink as room
from netweight.shrink import Collaborative, Distil, EarlyExit, Prune, Quantize

BATCH = 128


@dataclass(frozen=True)
class FineTune:
    """No compression: training alone, as a step."""

    share: float = 1.0
    letter: str = "F"

    def at(self, strength: float) -> FineTune:  # noqa: ARG002
        return self

    def apply(self, network: room.Network, context: room.Context) -> room.Network:
        context.train(network, context.steps, label="fine-tuning")
        return network


RECIPES: dict[str, list[Any]] = {
    "fine-tuned": [FineTune()],
    "prune, W3A4": [Prune(keep=0.5, share=3.0), Quantize(w=3, a=4, rate=2.5, share=4.0)],
    "prune, W4A4": [Prune(keep=0.5, share=3.0), Quantize(w=4, a=4, rate=1.5, share=4.0)],
    "prune, W3": [Prune(keep=0.5, share=3.0), Quantize(w=3, a=None, rate=2.5, share=4.0)],
    "W4A8": [Quantize(w=4, a=8, rate=0.3)],
    "collaborative, W3A4": [Collaborative(keep=0.5, share=3.0), Quantize(w=3, a=4, rate=2.5, share=4.0)],
    "distil, prune, W3A4, exits": [
        Distil(share=1.0), Prune(keep=0.5, share=2.0), Quantize(w=3, a=4, rate=2.5, share=4.0), EarlyExit(count=2, drop=0.003),
    ],
}  # fmt: skip


class Data:
    """CIFAR-10 in memory: uint8 pixels, normalised when a batch is made."""

    def __init__(self, npz: Path, count: int) -> None:
        pixels, labels = cifar.images(npz, "train", 50_000)
        self.pixels, self.labels = torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64))
        test, self.truth = cifar.images(npz, "test", count)
        self.test = cifar.batches(test)

    def losses(self, model: torch.nn.Module, seed: int) -> Iterator[torch.Tensor]:
        draw = torch.Generator().manual_seed(seed)
        while True:
            for index in torch.randperm(len(self.labels), generator=draw).split(BATCH):
                yield functional.cross_entropy(model(self.batch(index, draw)), self.labels[index])

    def batch(self, index: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
        """Crops of padded images, half of them mirrored."""
        x = self.pixels[index].permute(0, 3, 1, 2).float() / 255
        x = (x - torch.tensor(cifar.MEAN).view(3, 1, 1)) / torch.tensor(cifar.STD).view(3, 1, 1)
        x = functional.pad(x, (4, 4, 4, 4))
        dy, dx = (int(torch.randint(0, 9, (1,), generator=draw)) for _ in range(2))
        x = x[:, :, dy : dy + 32, dx : dx + 32]
        flip = torch.rand(len(index), generator=draw) < 0.5
        return torch.where(flip.view(-1, 1, 1, 1), x.flip(3), x).contiguous(memory_format=torch.channels_last)

    def score(self, model: torch.nn.Module) -> float:
        with torch.no_grad():
            named = torch.cat([model(x).argmax(1) for x in self.test]).numpy()
        return float(np.mean(named == self.truth))


def measured(name: str, options: argparse.Namespace, data: Data) -> dict[str, Any]:
    """One recipe's report; the file is written, read by `load`, and scored again."""
    from safetensors.numpy import load_file

    network = cifar.resnet(load_file(options.weights))
    started, shown = time.process_time(), [0.0]

    def progress(label: str, done: int, total: int) -> None:
        if time.monotonic() - shown[0] > 60:
            shown[0] = time.monotonic()
            print(f"{name}: {label} {done}/{total}", flush=True)

    folder = options.journal / name.replace(" ", "-").replace(",", "")
    result = room.shrink(
        network, data.test[0][:8], RECIPES[name], train=data.losses, evaluate=data.score, budget=options.budget,
        journal=folder, progress=progress, say=lambda text: print(f"{name}: {text}", flush=True),
    )  # fmt: skip
    file = folder / "network.nw"
    size = result.save(file).archive_bytes
    again = data.score(room.load(file))
    if again != result.report.end.score:
        raise RuntimeError(f"{name}: the file scores {again}, the network {result.report.end.score}")
    return result.report.to_dict() | {
        "file_bytes": size,
        "file_score": again,
        "processor_seconds": time.process_time() - started,
    }


_ABOUT = """\
CIFAR-10 as JPEG, {count:,} test images; {budget:,} training steps of {batch} images a recipe. Bytes are lengths of files that were
read again and scored. BitOps = MACs x bits of weights x bits of activations, 32 x 32 at the start. ms: one image on one thread of
a busy machine. Training on JPEG images alone helps this network, which was trained on the originals: "fine-tuned" is what the
same training does to it without compression."""
_HEAD = "| recipe | top-1 % | against the start | against fine-tuned | bytes | x smaller | BitOps, x fewer | MACs, x fewer | ms |"
_RULE = "|---|---:|---:|---:|---:|---:|---:|---:|---:|"


def table(found: dict[str, Any], count: int, budget: int) -> str:
    """Markdown: the recipes, then each step by step."""
    tuned = found.get("fine-tuned")
    first = next(iter(found.values()))["runs"][0]["stages"][0]
    start_bytes = next(iter(found.values()))["original_bytes"]
    plain = f"| start | {100 * first['score']:.2f} | | | {start_bytes:,} | 1 | 1 | 1 | {1e3 * first['costs']['seconds']:.2f} |"
    out = ["# A ResNet-20 shrunk", _ABOUT.format(count=count, budget=budget, batch=BATCH), _HEAD, _RULE, plain]
    for name, report in found.items():
        end, start = report["runs"][report["taken"]]["stages"][-1], report["runs"][report["taken"]]["stages"][0]
        against = "" if tuned is None else f"{100 * (end['score'] - tuned['file_score']):+.2f}"
        costs, before = end["costs"], start["costs"]
        out.append(
            f"| {name} | {100 * end['score']:.2f} | {100 * (end['score'] - start['score']):+.2f} | {against} | "
            f"{report['file_bytes']:,} | {report['original_bytes'] / report['file_bytes']:.1f} | "
            f"{before['bitops'] / costs['bitops']:.1f} | {before['macs'] / costs['macs']:.2f} | {1e3 * costs['seconds']:.2f} |"
        )
    for name, report in found.items():
        stages = report["runs"][report["taken"]]["stages"]
        rows = ["| step | top-1 % | params | MACs | BitOps | bytes |", "|---|---:|---:|---:|---:|---:|"]
        for s in stages:
            c = s["costs"]
            size = "" if c["bytes"] is None else f"{c['bytes']:,}"
            rows.append(
                f"| {s['name']} | {100 * s['score']:.2f} | {c['params']:,} | {c['macs']:.4g} | {c['bitops']:.4g} | {size} |"
            )
        out += [f"## {name}", "\n".join(rows)]
    return (
        "\n\n".join(out[:2])
        + "\n\n"
        + "\n".join(out[2 : 5 + len(found)])
        + "\n\n"
        + "\n\n".join(out[5 + len(found) :])
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True, help="folder for interrupted runs and the networks")
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--budget", type=int, default=700)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = options.out / "shrink-resnet.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    data = Data(options.cifar, options.count)
    for name in options.recipes:
        found[name] = measured(name, options, data)
        found = {n: found[n] for n in RECIPES if n in found}
        file.write_text(json.dumps(found, indent=1) + "\n")
        file.with_suffix(".md").write_text(table(found, options.count, options.budget))


if __name__ == "__main__":
    main()
