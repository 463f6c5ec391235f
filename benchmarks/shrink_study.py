"""Two questions about shrinking, asked over several seeds at equal training: joint or one by one, and in which order.

    python benchmarks/shrink_study.py --mnist mnist.npz [--budget 150] [--pair-budget 150] [--seeds 3]
        [--parts joint order] [--out benchmarks/results]

MNIST digits at 14x14 (means of 2x2 pixels), a residual network of 12 and 24 channels. "joint": pruning, low rank and collaborative
compression to shares of the MACs. "order": every pair of distil, prune, quantise, exit in both orders, then the sequence that is best
by the decided pairs, its reverse, and the law's. Results are kept one by one; a run that is interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from netweight.shrink import Collaborative, Distil, EarlyExit, LowRank, Prune, Quantize, Step, shrink
from netweight.shrink.order import LAW, by_law
from netweight.shrink.order.measure import Pair, compared, holm, sorted_by

SHARES = (0.5, 0.3, 0.2)
METHODS: dict[str, Callable[[float], Step]] = {
    "prune": lambda keep: Prune(keep=keep),
    "prune at once": lambda keep: Prune(keep=keep, rounds=1),
    "low rank": lambda keep: LowRank(keep=keep),
    "collaborative": lambda keep: Collaborative(keep=keep),
}
STEPS: tuple[Step, ...] = (
    Distil(width=0.7, share=1.0), Prune(keep=0.6, share=1.0), Quantize(w=3, a=4, rate=0.1, share=1.0),
    EarlyExit(count=2, drop=0.003, share=1.0),
)  # fmt: skip


class Net(nn.Module):
    """Two residual blocks, at 14x14 and at 7x7."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.c0, self.b0 = nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.c1, self.b1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.c2, self.b2 = nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * width)
        self.c3, self.b3 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False), nn.BatchNorm2d(2 * width)
        self.f = nn.Linear(2 * width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.b0(self.c0(x)))
        x = functional.relu(x + self.b1(self.c1(x)))
        x = functional.relu(self.b2(self.c2(x)))
        x = functional.relu(x + self.b3(self.c3(x)))
        return self.f(x.mean((2, 3)))


class Data:
    """10,000 digits to learn from, the last 3,000 to score on."""

    def __init__(self, npz: Path) -> None:
        with np.load(npz) as file:
            x, y = file["x"], file["y"].astype(np.int64)
        pixels = torch.from_numpy(np.concatenate([x[:10_000], x[-3_000:]])).float()[:, None] / 255
        small = (functional.avg_pool2d(pixels, 2) - 0.13) / 0.3
        self.x, self.y = (
            small.split([10_000, 3_000]),
            torch.from_numpy(np.concatenate([y[:10_000], y[-3_000:]])).split([10_000, 3_000]),
        )

    def losses(self, model: nn.Module, seed: int) -> Iterator[torch.Tensor]:
        draw = torch.Generator().manual_seed(seed)
        while True:
            for index in torch.randperm(10_000, generator=draw).split(64):
                yield functional.cross_entropy(model(self.x[0][index]), self.y[0][index])

    def score(self, model: nn.Module) -> float:
        with torch.no_grad():
            found = torch.cat([model(part).argmax(1) for part in self.x[1].split(500)])
        return float((found == self.y[1]).float().mean())

    def trained(self, steps: int = 1200) -> nn.Module:
        torch.manual_seed(0)
        network = Net()
        optimiser = torch.optim.Adam(network.parameters(), 3e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _, loss in zip(range(steps), self.losses(network, 0), strict=False):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        return network.eval()


class Study:
    """Runs that are remembered in one JSON file."""

    def __init__(self, file: Path, data: Data, budget: int, pair_budget: int) -> None:
        self.file, self.data, self.budget, self.pair_budget = file, data, budget, pair_budget
        self.known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        self._network: nn.Module | None = None

    @property
    def network(self) -> nn.Module:
        if self._network is None:
            self._network = self.data.trained()
        return self._network

    def run(self, steps: Sequence[Step], seed: int, budget: int) -> dict[str, Any]:
        """The end of one sequence: score, costs, bytes."""
        key = f"{[repr(s) for s in steps]} {seed} {budget}"
        if key not in self.known:
            report = shrink(
                self.network, self.data.x[0][:8], steps, train=self.data.losses, evaluate=self.data.score, budget=budget,
                seed=1000 * (seed + 1), learning_rate=4e-3, effort="balanced",
            ).report  # fmt: skip
            end = report.end
            self.known[key] = {
                "score": end.score,
                "start": report.start.score,
                "plan": report.runs[0].stages[1].record.get("plan"),
            }
            self.known[key] |= {"macs": end.costs.macs / report.start.costs.macs, "bytes": end.costs.bytes}
            self.known[key] |= {"bitops": report.start.costs.bitops / end.costs.bitops}
            self.file.write_text(json.dumps(self.known, indent=1) + "\n")
            print(key, self.known[key], flush=True)
        return self.known[key]


def _mean(values: Sequence[float]) -> str:
    """Mean and standard deviation in percent."""
    return f"{100 * statistics.mean(values):.2f} ± {100 * statistics.stdev(values):.2f}"


def joint(study: Study, seeds: int) -> str:
    """The table of methods at shares of the MACs."""
    rows = [
        f"| MACs kept | {' | '.join(METHODS)} | plans of collaborative |",
        "|---:|" + "---:|" * len(METHODS) + "---|",
    ]
    for keep in SHARES:
        found = {m: [study.run([make(keep)], s, study.budget) for s in range(seeds)] for m, make in METHODS.items()}
        plans = ", ".join(str(r["plan"]) for r in found["collaborative"])
        rows.append(f"| {keep} | {' | '.join(_mean([r['score'] for r in found[m]]) for m in METHODS)} | {plans} |")
    return "\n".join(rows)


def order(study: Study, seeds: int) -> str:
    """The table of pairs, and sequences."""
    pairs: list[Pair] = []
    for a, b in combinations(STEPS, 2):
        scores = [[study.run(s, seed, study.pair_budget)["score"] for seed in range(seeds)] for s in ([a, b], [b, a])]
        pairs.append(compared(a.letter, b.letter, *scores))
    pairs = holm(pairs)
    rows = [
        "| pair | as named | other way | difference, points | 95 % interval | p | |",
        "|---|---:|---:|---:|---|---:|---|",
    ]
    for p in pairs:
        verdict = "a tie" if not p.decided else f"{p.first if p.gain > 0 else p.second} first"
        rows.append(
            f"| {p.first}{p.second} | {_mean(p.forth)} | {_mean(p.back)} | {100 * p.gain:+.2f} | {100 * p.low:+.2f} to "
            f"{100 * p.high:+.2f} | {p.p:.3f} | {verdict} |"
        )
    best = sorted_by(by_law(STEPS), pairs)
    sequences = {"by the decided pairs": best, "its reverse": best[::-1], f"the law ({LAW})": by_law(STEPS)}
    rows += ["", "| sequence | | top-1 % | BitOps, x fewer | bytes |", "|---|---|---:|---:|---:|"]
    for name, steps in sequences.items():
        found = [study.run(steps, seed, 2 * study.pair_budget) for seed in range(seeds)]
        letters = "".join(s.letter for s in steps)
        means = [statistics.mean(r[k] for r in found) for k in ("bitops", "bytes")]
        rows.append(f"| {name} | {letters} | {_mean([r['score'] for r in found])} | {means[0]:.0f} | {means[1]:,.0f} |")
    return "\n".join(rows)


_ABOUT = """\
MNIST at 14x14, a residual network of 12 and 24 channels, {budget} training steps of 64 digits for each method, {pair} for each
pair of steps and {twice} for sequences of four, {seeds} seeds; 3,000 test digits, top-1 % as mean ± standard deviation."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mnist", type=Path, required=True, help="mnist.npz: x uint8 [n, 28, 28], y")
    parser.add_argument(
        "--budget", type=int, default=200, help="training steps of a pair; a whole sequence has twice as many"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--pair-budget", type=int, default=150, help="training steps of a pair; a whole sequence has twice as many"
    )
    parser.add_argument("--parts", nargs="+", choices=("joint", "order"), default=["joint", "order"])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(options.out / "shrink-study.json", Data(options.mnist), options.budget, options.pair_budget)
    about = _ABOUT.format(
        budget=options.budget, pair=options.pair_budget, twice=2 * options.pair_budget, seeds=options.seeds
    )
    text = ["# Shrinking: joint or one by one, and in which order", about]
    for part in options.parts:
        body = joint(study, options.seeds) if part == "joint" else order(study, options.seeds)
        start = 100 * float(next(iter(study.known.values()))["start"])
        text += [f"## {part} (at the start {start:.2f} %)", body]
        (options.out / "shrink-study.md").write_text("\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
