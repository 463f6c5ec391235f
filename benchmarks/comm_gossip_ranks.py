"""Real ranks for benchmarks/comm_gossip.py: LEAD over gloo in processes of their own, against the simulation.

python benchmarks/comm_gossip_ranks.py RANK NODES D STEPS FOLDER     (what each process runs)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from comm_gossip_problems import diagonal

from netweight.comm import InfinityNorm
from netweight.comm.gossip.primal_dual import LEAD
from netweight.comm.gossip.run import Gossip
from netweight.comm.gossip.topology import Topology

ETA = 0.7


def _gossip(nodes: int) -> Gossip:
    return Gossip(Topology.ring(nodes), LEAD(InfinityNorm(bits=2, block=512)), seed=1)


def resident() -> float:
    """MB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def rank_main(rank: int, nodes: int, d: int, steps: int, folder: Path) -> None:
    """One rank; its end is saved."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), nodes)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=nodes)
    problem = diagonal(nodes, d)
    run = _gossip(nodes).join(np.zeros(d), timeout=300.0)
    rows, early = np.zeros((nodes, d)), 0.0
    clock, cpu = time.perf_counter(), time.process_time()
    for k in range(steps):
        rows[rank] = run.x[0]
        run.step(problem.gradients(rows)[rank : rank + 1], ETA)
        if k == steps // 10:
            early = resident()
    times = (time.perf_counter() - clock, time.process_time() - cpu)
    np.savez(folder / f"{rank}.npz", x=run.x[0], sent=run.traffic.nbytes, memory=(early, resident()), times=times)
    dist.barrier()
    dist.destroy_process_group()


def measure(nodes: int, d: int, steps: int) -> dict[str, Any]:
    """Start all ranks, wait, and compare."""
    alone = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, __file__]
        ranks = [
            subprocess.Popen([*command, *map(str, (rank, nodes, d, steps, folder))], env=os.environ | alone)
            for rank in range(nodes)
        ]
        codes = [process.wait() for process in ranks]
        if any(codes):
            raise SystemExit(f"ranks ended with {codes}")
        ends = [dict(np.load(folder / f"{rank}.npz")) for rank in range(nodes)]
    problem, run = diagonal(nodes, d), _gossip(nodes).simulate(np.zeros((nodes, d)))
    for _ in range(steps):
        run.step(problem.gradients(run.x), ETA)
    return {
        "nodes": nodes, "d": d, "steps": steps, "cores": len(os.sched_getaffinity(0)),
        "equal": bool(np.array_equal(np.stack([e["x"] for e in ends]), run.x)), "error": problem.error(run.x),
        "bytes": int(sum(e["sent"] for e in ends)), "simulated bytes": run.traffic.nbytes,
        "ms a step": 1000 * max(float(e["times"][0]) for e in ends) / steps,
        "cpu ms a step": 1000 * float(np.mean([e["times"][1] for e in ends])) / steps,
        "MB early": max(float(e["memory"][0]) for e in ends), "MB late": max(float(e["memory"][1]) for e in ends),
    }  # fmt: skip


if __name__ == "__main__":
    rank_main(*map(int, sys.argv[1:5]), Path(sys.argv[5]))
