"""Decentralised algorithms under compression: convergence, bits, training, a thousand nodes, real ranks.

    python benchmarks/comm_gossip.py [--a9a FILE] [--mnist FILE] [--only SECTION ...]

FILE of --a9a is the data set in LIBSVM format, of --mnist an npz with x [63000, 28, 28] and y. Sections that need a file which
isn't given are left out; --only renews some and keeps the rest of results/comm-gossip.json. Bits are those of messages that
were made and decoded again, with the checksum and length of each.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from comm_gossip_problems import (
    Problem,
    Trace,
    consensus,
    diagonal,
    differences,
    logistic,
    read_libsvm,
    regression,
    trace,
)
from comm_gossip_tables import plot, render
from run import RESULTS, machine

from netweight.comm import InfinityNorm, SignMean
from netweight.comm.gossip.averaging import CHOCO, DPSGD, DeepSqueeze
from netweight.comm.gossip.node import Algorithm
from netweight.comm.gossip.power import PowerGossip
from netweight.comm.gossip.primal_dual import LEAD, NIDS
from netweight.comm.gossip.run import Gossip
from netweight.comm.gossip.topology import Topology

RING = Topology.ring(8)
TWO_BITS = InfinityNorm(bits=2, block=512)
Section = Callable[[argparse.Namespace], Any]


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _row(t: Trace) -> dict[str, Any]:
    note(f"  {t.name}: error {t.errors[-1]:.1e} after {len(t.errors)} steps, {t.seconds:.1f} s")
    keep = sorted({*np.linspace(0, len(t.errors) - 1, min(len(t.errors), 100)).astype(int).tolist()})
    return {
        "name": t.name, "steps": len(t.errors), "error": t.errors[-1], "to 1e-6": t.hit(1e-6), "to 1e-12": t.hit(1e-12),
        "bytes a message": t.traffic.nbytes / max(t.traffic.messages, 1), "seconds": t.seconds,
        "curve": [[k + 1, round(t.bits[k]), float(f"{t.errors[k]:.3g}")] for k in keep],
    }  # fmt: skip


def _converge(problem: Problem, steps: int, choco: tuple[float, ...], widths: tuple[int, ...]) -> dict[str, Any]:
    """All algorithms; CHOCO and DeepSqueeze with the best gamma of `choco` by their error at the end."""
    single = trace("NIDS, float32", problem, RING, NIDS(), steps=steps, dtype="float32")
    runs = [single, trace("NIDS, float64", problem, RING, NIDS(), steps=steps)]
    for bits in widths:
        name = f"LEAD, {bits} bits"
        runs.append(trace(name, problem, RING, LEAD(InfinityNorm(bits=bits, block=512)), steps=steps))
    runs.append(trace("D-PSGD (DGD), float64", problem, RING, DPSGD(), steps=steps))
    kinds: tuple[type[CHOCO | DeepSqueeze], ...] = (CHOCO, DeepSqueeze)
    for kind in kinds:
        tried = [
            trace(f"{kind.name}, 2 bits, gamma {g}", problem, RING, kind(TWO_BITS, gamma=g), steps=steps) for g in choco
        ]
        runs.append(min(tried, key=lambda t: t.errors[-1] if np.isfinite(t.errors[-1]) else np.inf))
    return {"problem": problem.name, "nodes": problem.nodes, "rows": [_row(t) for t in runs]}


def section_regression(_: argparse.Namespace) -> Any:
    return _converge(regression(), 400, (0.2, 0.5, 0.8), (1, 2, 3, 4))


def section_a9a(options: argparse.Namespace) -> Any:
    if options.a9a is None:
        return None
    x, y = read_libsvm(options.a9a)
    return _converge(logistic("a9a", x, y, 8, 0.01), 4800, (0.5,), (2,))


def section_consensus(_: argparse.Namespace) -> Any:
    """Rounds and Mbit a node to 1e-3, 100 x 100 float32 on the ring of 8; CHOCO with the best gamma of a grid."""
    rows = []
    for kind in ("shared", "rank one", "decaying", "random"):
        x = differences(kind)
        found: dict[str, Any] = {"full, gamma 1.308": consensus(DPSGD(gamma=RING.best_diffusion), RING, x, 1e-3, 60)}
        for rank in (1, 2, 4):
            most = 2400 if rank == 1 else 1300
            found[f"PowerGossip, rank {rank}"] = consensus(PowerGossip(rank), RING, x, 1e-3, most)
        for compressor, name, grid, most in (
            (SignMean(), "CHOCO, sign x mean", (0.2, 0.4), 300),
            (TWO_BITS, "CHOCO, 2 bits", (0.3, 0.5), 300),
            (InfinityNorm(bits=3, block=512), "CHOCO, 3 bits", (0.8,), 300),
        ):
            tried = [(consensus(CHOCO(compressor, gamma=g), RING, x, 1e-3, most), g) for g in grid]
            reached = [(r, g) for r, g in tried if r is not None]
            best = min(reached, key=lambda e: e[0][1], default=None)
            found[name] = None if best is None else [*best[0], best[1]]
        rows.append({"differences": kind, **found})
        note(f"  {rows[-1]}")
    return rows


def section_training(options: argparse.Namespace) -> Any:
    """The CNN on digits, and on MNIST if it is given, on random parts and on parts sorted by label."""
    import torch
    from comm_gossip_training import digits, mnist, train

    torch.set_num_threads(1)
    plans: list[tuple[Any, bool, int, float, dict[str, Algorithm]]] = []
    small: dict[str, Algorithm] = {
        "full (D-PSGD, float32)": DPSGD(adapt_first=True),
        "PowerGossip, rank 1": PowerGossip(),
        "PowerGossip, rank 2, 2 rounds": PowerGossip(2, 2),
        "CHOCO, sign x mean": CHOCO(SignMean(), gamma=0.3),
        "LEAD, 2 bits": LEAD(TWO_BITS),
        "NIDS, float32": NIDS(),
    }
    plans += [(digits(), False, 300, 0.3, small), (digits(), True, 400, 0.1, small)]
    if options.mnist is not None:
        few = {k: v for k, v in small.items() if k in ("full (D-PSGD, float32)", "PowerGossip, rank 1", "LEAD, 2 bits")}
        plans.append((mnist(options.mnist), False, 300, 0.1, few))
    rows = []
    for data, by_label, steps, lr, algorithms in plans:
        for name, algorithm in algorithms.items():
            t = train(data, algorithm, by_label=by_label, steps=steps, lr=lr)
            rows.append({"data": data.name, "sorted by label": by_label, "algorithm": name, "lr": lr, **vars(t)})
            note(f"  {rows[-1]}")
    return rows


def section_scale(_: argparse.Namespace) -> Any:
    """1,024 nodes, d = 1,000: LEAD with 2 bits on three graphs, and D-PSGD where all talk to all."""
    problem, rows = diagonal(1024, 1000, centre=1.0), []
    lead = LEAD(TWO_BITS)
    for topology, algorithm, steps in (
        (Topology.exponential(1024), lead, 60), (Topology.torus(32, 32), lead, 20), (Topology.ring(1024), lead, 20),
        (Topology.complete(1024), DPSGD(), 2),
    ):  # fmt: skip
        run = Gossip(topology, algorithm).simulate(np.zeros((1024, 1000)))
        begun = time.process_time()
        for _ in range(steps):
            run.step(problem.gradients(run.x), 1.0)
        seconds = (time.process_time() - begun) / steps
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append({
            "graph": topology.name, "edges": topology.edges, "gap": topology.spectral_gap, "algorithm": algorithm.name,
            "steps": steps, "seconds a step": seconds, "peak MB": peak, "MB sent": run.traffic.nbytes / 1e6,
            "messages": run.traffic.messages, "error": problem.error(run.x),
        })  # fmt: skip
        note(f"  {rows[-1]}")
    return rows


def section_ranks(_: argparse.Namespace) -> Any:
    from comm_gossip_ranks import measure

    return measure(nodes=8, d=1000, steps=1000)


SECTIONS: dict[str, Section] = {
    "regression": section_regression, "a9a": section_a9a, "consensus": section_consensus, "scale": section_scale,
    "ranks": section_ranks, "training": section_training,
}  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--a9a", type=Path)
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    options = parser.parse_args()
    path = RESULTS / "comm-gossip.json"
    results = json.loads(path.read_text()) if path.exists() and set(options.only) != set(SECTIONS) else {}
    results["machine"] = {k: v for k, v in machine().items() if k in ("processor", "cores", "python")}
    for name in options.only:
        note(name)
        found = SECTIONS[name](options)
        if found is not None:
            results[name] = found
            path.write_text(json.dumps(results) + "\n")
    (RESULTS / "comm-gossip.md").write_text(render(results))
    plot(results, RESULTS / "comm-gossip.png")
    print(render(results))


if __name__ == "__main__":
    main()
