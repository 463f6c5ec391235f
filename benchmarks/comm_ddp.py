"""DDP under compressed gradients, as Markdown:  python benchmarks/comm_ddp.py [--data mnist.npz --test 3000] [--world 8 --steps 1000]

Real processes over gloo. torch's own all-reduce, FP16 hook and PowerSGD hook run in the same way in the same run. `--read FILE`
makes the table of what `netweight comm bench --json` has written.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from netweight.comm.bench.launch import run
from netweight.comm.bench.methods import METHODS
from netweight.comm.bench.worker import Plan
from netweight.report.comm_bench import bench_json


def table(told: dict[str, Any]) -> str:
    settings, rows = told["settings"], told["rows"]
    modelled = "model" in rows[0]
    titles = ["method", "accuracy %", "handed B", "received B", "fewer", "CPU ms", "ms", "memory growth kB"]
    titles += [f"model ms at {rows[0]['model']['bandwidth_bits_per_second'] / 1e6:.0f} Mbit/s"] if modelled else []
    data, seeds = Path(settings["data"]).name, ", ".join(map(str, settings["seeds"]))
    told_by = f"{settings['world']} ranks, {settings['steps']} steps, batch {settings['batch']} a rank, seeds {seeds}"
    lines = [f"{data}, {told_by}", "", f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for row in rows:
        spread = ", ".join(f"{100 * a:.2f}" for a in row["accuracies"])
        grown = row["resident_growth_bytes"]
        cells = [
            row["what"], f"{100 * row['accuracy']:.2f}" + (f" ({spread})" if len(row["accuracies"]) > 1 else ""),
            f"{row['handed_bytes']:,.0f}", f"{row['received_bytes']:,.0f}",
            f"{rows[0]['received_bytes'] / row['received_bytes']:.1f}x", f"{row['cpu_ms']:.1f}", f"{row['wall_ms']:.1f}",
            "-" if grown is None else f"{grown / 1000:,.0f}",
        ]  # fmt: skip
        cells += [f"{row['model']['ms']:.1f}"] if modelled else []
        lines.append(f"| {' | '.join(cells)} |" + ("" if row["replicas_identical"] else " replicas differ"))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("--test", type=int)
    parser.add_argument("--world", type=int, default=4)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--method", action="append", choices=list(METHODS))
    parser.add_argument("--bandwidth", type=float, default=1e8, help="bits a second, for the model")
    parser.add_argument("--read", type=Path)
    given = parser.parse_args()
    if given.read:
        print(table(json.loads(given.read.read_text())))
        return
    seeds = tuple(range(given.first_seed, given.first_seed + given.seeds))
    plan = Plan(tuple(given.method or METHODS), given.data, given.test, given.steps, given.batch, seeds=seeds)

    def progress(label: str, done: int, total: int) -> None:
        print(f"{label}: {done} of {total}", file=sys.stderr)

    rows = run(plan, given.world, progress)
    if rows is not None:
        print(table(bench_json(rows, plan, given.world, given.bandwidth)))


if __name__ == "__main__":
    main()
