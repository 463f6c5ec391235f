"""Compressed activations and gradients on a 4-stage network:  python benchmarks/comm_pipeline.py [--data mnist.npz] [--json OUT]

Four stages (a linear layer and a ReLU each), three boundaries with a PipelineLink each, digits. Every message is made, counted
and decoded; between ranks it is the same one (tests/test_comm_pipeline.py). Accuracy is told with the links compressing at
inference, as in training, and with exact activations there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from netweight.comm import AQSGD, EF21, ErrorFeedback, Float16, MinMax, PipelineLink, TopK
from netweight.comm.bench.data import Split, load
from netweight.comm.pipeline.link import examples
from netweight.errors import InputError

BATCH, WIDTH = 50, 128


def top(percent: float) -> TopK:
    return TopK(percent / 100)


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "fp16 / fp16": {"forward": Float16(), "backward": Float16()},
    "8 bits / 8 bits": {"forward": MinMax(8), "backward": MinMax(8)},
    "4 bits / 8 bits": {"forward": MinMax(4), "backward": MinMax(8)},
    "2 bits / 8 bits": {"forward": MinMax(2), "backward": MinMax(8)},
    "8 bits / 4 bits": {"forward": MinMax(8), "backward": MinMax(4)},
    "8 bits / 2 bits": {"forward": MinMax(8), "backward": MinMax(2)},
    "4 bits / 8 bits, one scale a batch": {"forward": MinMax(4), "backward": MinMax(8), "per_sample": False},
    "2 bits / 8 bits, one scale a batch": {"forward": MinMax(2), "backward": MinMax(8), "per_sample": False},
    "8 bits / 4 bits, one scale a batch": {"forward": MinMax(8), "backward": MinMax(4), "per_sample": False},
    "8 bits / 2 bits, one scale a batch": {"forward": MinMax(8), "backward": MinMax(2), "per_sample": False},
    "top 20 % / top 20 %": {"forward": top(20), "backward": top(20)},
    "top 10 % / top 10 %": {"forward": top(10), "backward": top(10)},
    "top 5 % / top 5 %": {"forward": top(5), "backward": top(5)},
    "top 10 % / fp16": {"forward": top(10), "backward": Float16()},
    "fp16 / top 10 %": {"forward": Float16(), "backward": top(10)},
    "top 5 % / fp16": {"forward": top(5), "backward": Float16()},
    "fp16 / top 5 %": {"forward": Float16(), "backward": top(5)},
    "top 2 % / top 2 %": {"forward": top(2), "backward": top(2)},
    "top 5 %, indices reused": {"forward": top(5), "reuse_indices": True},
    "top 2 %, indices reused": {"forward": top(2), "reuse_indices": True},
    "top 2 %, reused, fp16": {"forward": TopK(0.02, values="fp16"), "backward": Float16(), "reuse_indices": True},
    "EF top 10 % / EF top 10 %": {"forward": ErrorFeedback(top(10)), "backward": ErrorFeedback(top(10))},
    "EF top 10 % / fp16": {"forward": ErrorFeedback(top(10)), "backward": Float16()},
    "top 10 % / EF top 10 %": {"forward": top(10), "backward": ErrorFeedback(top(10))},
    "EF top 2 % / EF top 2 %": {"forward": ErrorFeedback(top(2)), "backward": ErrorFeedback(top(2))},
    "EF21 top 10 % / top 10 %": {"forward": EF21(top(10)), "backward": top(10)},
    "AQ-SGD top 10 % / top 10 %": {"forward": AQSGD(top(10)), "backward": top(10)},
    "AQ-SGD top 30 % / top 30 %": {"forward": AQSGD(top(30)), "backward": top(30)},
}


def network(pixels: int, classes: int, options: dict[str, Any], seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    widths = [pixels, WIDTH, WIDTH, WIDTH]
    parts: list[nn.Module] = []
    for k in range(3):
        parts += [
            nn.Sequential(nn.Linear(widths[k], widths[k + 1]), nn.ReLU()),
            PipelineLink(name=f"link{k}", **options),
        ]
    return nn.Sequential(*parts, nn.Linear(WIDTH, classes))


def accuracy(model: nn.Sequential, split: Split, compressed: bool) -> float:
    model.eval()
    for link in links(model):
        link.at_inference = compressed
    with torch.no_grad():
        if not all(p.isfinite().all() for p in model.parameters()):
            return 1 / split.classes
        named = model(torch.from_numpy(split.test_x)).argmax(1).numpy()
    model.train()
    return float((named == split.test_y).mean())


def links(model: nn.Module) -> list[PipelineLink]:
    return [module for module in model if isinstance(module, PipelineLink)]


def trained(split: Split, options: dict[str, Any], epochs: int, seed: int, rate: float) -> tuple[nn.Sequential, int]:
    """The network and the number of steps, fewer than asked for where the gradients became infinite."""
    model = network(split.x.shape[1], split.classes, options, seed)
    optimiser = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    x, y = torch.from_numpy(split.x), torch.from_numpy(split.y)
    per_epoch = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * per_epoch)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=draw)
        for step in range(per_epoch):
            ids = order[step * BATCH : (step + 1) * BATCH]
            optimiser.zero_grad()
            try:
                with examples(model, ids):
                    nn.functional.cross_entropy(model(x[ids]), y[ids]).backward()
            except InputError:
                return model, int(schedule.last_epoch)
            optimiser.step()
            schedule.step()
    return model, epochs * per_epoch


def measured(name: str, split: Split, epochs: int, seeds: int, rate: float) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "compressed": [], "exact": [], "seconds": 0.0, "diverged": 0}
    for seed in range(seeds):
        start = time.process_time()
        model, steps = trained(split, CONFIGURATIONS[name], epochs, seed, rate)
        row["seconds"] += time.process_time() - start
        row["diverged"] += steps < epochs * (len(split.x) // BATCH)
        wires = [link.wire for link in links(model)]
        for way in ("activation", "activation_gradient"):
            row[way] = sum(wire.parameters[way].payload for wire in wires) / steps
        row["raw"] = sum(wire.raw for wire in wires) / steps
        for kind in ("compressed", "exact"):
            row[kind].append(accuracy(model, split, kind == "compressed"))
    return row


def table(rows: list[dict[str, Any]]) -> str:
    def mean(values: list[float]) -> str:
        spread = f" +- {50 * (max(values) - min(values)):.1f}" if len(values) > 1 else ""
        return f"{100 * sum(values) / len(values):.1f}{spread}"

    lines = [
        "| forward / backward | test accuracy % | exact inference % | forward B/step | backward B/step | fewer bytes |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        forward, backward = row["activation"], row["activation_gradient"]
        name = row["name"] + (f" (diverged: {row['diverged']} of {len(row['exact'])})" if row["diverged"] else "")
        cells = [name, mean(row["compressed"]), mean(row["exact"]), f"{forward:,.0f}", f"{backward:,.0f}"]
        lines.append(f"| {' | '.join(cells)} | {row['raw'] / (forward + backward):.1f}x |")
    return "\n".join(lines)


def main(argv: list[str] | None = None, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=0.1, help="learning rate at the start")
    parser.add_argument("--only", action="append", choices=list(CONFIGURATIONS))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    split, rows = load(given.data), []
    for name in given.only or CONFIGURATIONS:
        rows.append(measured(name, split, given.epochs, given.seeds, given.rate))
        say(f"{table(rows[-1:]).splitlines()[-1]}  {rows[-1]['seconds']:.0f} s")
        if given.json:
            given.json.write_text(json.dumps(rows, indent=1))
    say("\n" + table(rows))
    return rows


if __name__ == "__main__":
    main()
