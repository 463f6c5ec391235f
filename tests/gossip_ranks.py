"""What the ranks of test_comm_gossip_ranks.py run: `python gossip_ranks.py WORLD FOLDER CASE...`.

The modules are loaded once, then this process forks into its ranks. For each case a rank leaves CASE-RANK.txt: the error that
ended it, or nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from netweight.comm import InfinityNorm, TopK
from netweight.comm.gossip.averaging import CHOCO, DPSGD, DeepSqueeze
from netweight.comm.gossip.node import Algorithm
from netweight.comm.gossip.optimizer import GossipOptimizer
from netweight.comm.gossip.power import PowerGossip
from netweight.comm.gossip.primal_dual import LEAD, NIDS
from netweight.comm.gossip.run import Gossip
from netweight.comm.gossip.topology import Topology
from netweight.errors import NetweightError

ALGORITHMS: list[Algorithm] = [
    DPSGD(), NIDS(), LEAD(InfinityNorm()), CHOCO(TopK(0.1), gamma=0.2), DeepSqueeze(TopK(0.5), gamma=0.1), PowerGossip(2, 2),
]  # fmt: skip
SHAPES = {"w": (9, 7), "b": (9,)}
DIMENSION, STEPS, ETA, TIMEOUT = 72, 12, 0.1, 20.0


def start(rank: int) -> np.ndarray:
    return np.random.default_rng(100 + rank).standard_normal(DIMENSION)


def gradient(x: np.ndarray, rank: int) -> np.ndarray:
    return 0.5 * (x - np.random.default_rng(rank).standard_normal(DIMENSION))


def same(rank: int, world: int, folder: Path) -> None:
    """Every algorithm; the end and the bytes are saved."""
    ends, sent = [], []
    for algorithm in ALGORITHMS:
        run = Gossip(Topology.ring(world), algorithm, seed=3).join(start(rank), SHAPES, timeout=TIMEOUT)
        for _ in range(STEPS):
            run.step(gradient(run.x[0], rank)[None], ETA)
        ends.append(run.x[0].copy())
        sent.append(run.traffic.nbytes)
    np.savez(folder / f"same-{rank}.npz", x=np.stack(ends), sent=np.array(sent))


def dies(rank: int, world: int, folder: Path) -> None:
    """Rank 2 is gone after three steps."""
    run = Gossip(Topology.ring(world), DPSGD(), seed=3).join(start(rank), SHAPES, timeout=TIMEOUT)
    for k in range(STEPS):
        if rank == 2 and k == 3:
            os._exit(7)
        run.step(gradient(run.x[0], rank)[None], ETA)


def hangs(rank: int, world: int, folder: Path) -> None:
    """Rank 2 stays, and doesn't answer."""
    run = Gossip(Topology.ring(world), DPSGD(), seed=3).join(start(rank), SHAPES, timeout=3.0)
    if rank == 2:
        run.step(gradient(run.x[0], rank)[None], ETA)
        while not all((folder / f"hangs-{r}.txt").exists() for r in (0, 1, 3)):
            time.sleep(0.05)
        return
    for _ in range(STEPS):
        run.step(gradient(run.x[0], rank)[None], ETA)


def differ(rank: int, world: int, folder: Path) -> None:
    """Rank 1 has another compressor."""
    algorithm = CHOCO(TopK(0.1 if rank != 1 else 0.2), gamma=0.2)
    Gossip(Topology.ring(world), algorithm).join(start(rank), SHAPES, timeout=TIMEOUT)


def other_graph(rank: int, world: int, folder: Path) -> None:
    """Rank 3 thinks that the graph is a star."""
    topology = Topology.star(world) if rank == 3 else Topology.ring(world)
    Gossip(topology).join(start(rank), SHAPES, timeout=TIMEOUT)


def damages(rank: int, world: int, folder: Path) -> None:
    """Rank 1 sends a byte too many, then a flipped one."""
    run = Gossip(Topology.ring(world), CHOCO(TopK(0.2), gamma=0.2)).join(start(rank), SHAPES, timeout=TIMEOUT)
    before = run.x.copy()
    if rank == 1:
        encode = run.setting.channel.encode

        def spoiled(x: np.ndarray, sender: int, step: int) -> tuple[bytes, np.ndarray]:
            message, seen = encode(x, sender, step)
            return message[:-1] + bytes([message[-1] ^ 1]), seen

        run.setting.channel.encode = spoiled  # type: ignore[method-assign]
    try:
        run.step(np.zeros((1, DIMENSION)), ETA)
    finally:
        np.savez(folder / f"damages-{rank}.npz", same=np.array_equal(before, run.x))


def announces(rank: int, world: int, folder: Path) -> None:
    """Rank 1 announces more than any message holds."""
    run = Gossip(Topology.ring(world), DPSGD()).join(start(rank), SHAPES, timeout=TIMEOUT)
    if rank == 1:
        run.setting.channel.encode = lambda x, *_: (bytes(1 << 20), x)  # type: ignore[method-assign]
    run.step(np.zeros((1, DIMENSION)), ETA)


def module(rank: int, dtype: torch.dtype) -> torch.nn.Module:
    torch.manual_seed(5)
    return torch.nn.Sequential(torch.nn.Linear(10, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).to(dtype)


def trains(rank: int, world: int, folder: Path) -> None:
    """A module under each kind of algorithm: without a break, and killed and resumed in the middle."""
    for kind, algorithm in enumerate((PowerGossip(), LEAD(InfinityNorm()), CHOCO(TopK(0.1), gamma=0.1))):
        ends = []
        for broken in (False, True):
            net, optimizer = wrapped(rank, world, algorithm)
            for k in range(8):
                if broken and k == 4:
                    saved = folder / f"{rank}-{kind}.pt"
                    torch.save(optimizer.state_dict(), saved)
                    net, optimizer = wrapped(rank, world, algorithm)
                    optimizer.load_state_dict(torch.load(saved, weights_only=True))
                rng = np.random.default_rng([rank, k])
                x, y = (
                    torch.tensor(rng.standard_normal((16, 10)), dtype=torch.float32),
                    torch.tensor(rng.integers(0, 3, 16)),
                )
                torch.nn.functional.cross_entropy(net(x), y).backward()
                optimizer.step()
                optimizer.zero_grad()
            ends.append(optimizer.vector.read())
        np.savez(
            folder / f"trains-{rank}-{kind}.npz", whole=ends[0], resumed=ends[1], sent=optimizer.run.traffic.nbytes
        )


def wrapped(rank: int, world: int, algorithm: Algorithm) -> tuple[torch.nn.Module, GossipOptimizer]:
    net = module(rank, torch.float32)
    inner = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    gossip = Gossip(Topology.ring(world), algorithm)
    return net, GossipOptimizer(inner, net.named_parameters(), gossip, timeout=TIMEOUT)


def rank_of(rank: int, world: int, folder: Path, cases: list[str]) -> None:
    """All cases in order, in one process group."""
    store = dist.FileStore(str(folder / "store"), world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    for case in cases:
        said = ""
        try:
            globals()[case](rank, world, folder)
        except NetweightError as error:
            said = f"{type(error).__name__}: {error}"
        except Exception:  # noqa: BLE001  the test shows it
            said = traceback.format_exc()
        (folder / f"{case}-{rank}.txt").write_text(said)
    sys.stdout.flush()
    os._exit(0)  # without taking leave of the others: some are gone


def main() -> None:
    world, folder, cases = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    torch.set_num_threads(1)
    Gossip(Topology.ring(2), PowerGossip()).simulate(
        np.ones((2, 12)), {"w": (3, 4)}
    ).average()  # kernels are loaded once
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=rank_of, args=(rank, world, folder, cases)) for rank in range(world)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()


if __name__ == "__main__":
    main()
