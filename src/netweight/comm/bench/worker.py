"""What each rank does: train the same network under one method after the other."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..tensors import library
from .data import Split, load
from .methods import method
from .tally import Tally

if TYPE_CHECKING:
    import torch
    from torch import nn

Progress = Callable[[str, int, int], None]
_HIDDEN: Final = (300, 100)
_WARM: Final = 0.1
"""The share of steps before times and memory are looked at."""


@dataclass(frozen=True)
class Plan:
    """What is measured. `batch` is a rank's; `rate` falls to zero along a cosine; `bucket` is DDP's, in MB."""

    methods: tuple[str, ...]
    data: str | None = None
    test: int | None = None
    steps: int = 600
    batch: int = 32
    rate: float = 0.1
    momentum: float = 0.9
    seeds: tuple[int, ...] = (0,)
    bucket: float = 25.0


@dataclass
class Row:
    """One method. Bytes are a rank's a step, the mean over ranks and seeds; times are rank 0's a step, in milliseconds."""

    name: str
    what: str
    accuracies: list[float] = field(default_factory=list)
    handed: float = 0.0
    received: float = 0.0
    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    identical: bool = True
    grown_bytes: int | None = None

    @property
    def accuracy(self) -> float:
        """Share of the test set named rightly, the mean over seeds."""
        return sum(self.accuracies) / len(self.accuracies)


def network(pixels: int, classes: int, seed: int) -> nn.Module:
    """LeNet-300-100: the same weights on every rank."""
    lib = library()
    lib.manual_seed(seed)
    widths = (pixels, *_HIDDEN, classes)
    layers = [m for a, b in pairwise(widths) for m in (lib.nn.Linear(a, b), lib.nn.ReLU())]
    model: nn.Module = lib.nn.Sequential(*layers[:-1])
    return model


def run_rank(rank: int, world: int, plan: Plan, progress: Progress) -> list[Row]:
    """All methods of `plan`, in a process group that is initialised. Every rank gives the same rows but for times."""
    library().set_num_threads(1)
    split, rows = load(plan.data, plan.test), []
    with Tally() as tally:
        for name in plan.methods:
            row = Row(name, method(name).what)
            for seed in plan.seeds:
                _train(rank, world, plan, seed, split, row, tally, progress)
            rows.append(row)
    return rows


def _train(
    rank: int, world: int, plan: Plan, seed: int, split: Split, row: Row, tally: Tally, progress: Progress
) -> None:
    torch = library()
    model = network(split.x.shape[1], split.classes, seed)
    ddp = torch.nn.parallel.DistributedDataParallel(model, bucket_cap_mb=plan.bucket)
    method(row.name).register(ddp)
    optimiser = torch.optim.SGD(ddp.parameters(), plan.rate, momentum=plan.momentum)
    x, y = torch.from_numpy(split.x), torch.from_numpy(split.y)
    draw = torch.Generator().manual_seed(1_000_003 * seed + rank)
    warm, start, memory = max(2, math.ceil(_WARM * plan.steps)), (0.0, 0.0), None
    tally.reset()
    for step in range(plan.steps):
        if step == warm:
            start, memory = (time.perf_counter(), time.process_time()), resident_bytes()
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * 0.5 * (1 + math.cos(math.pi * step / plan.steps))
        picked = torch.randint(rank, len(x), (plan.batch,), generator=draw) // world * world + rank
        picked.clamp_(max=len(x) - 1)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(ddp(x[picked]), y[picked]).backward()
        optimiser.step()
        progress(f"{row.name}, seed {seed}", step + 1, plan.steps)
    timed = max(1, plan.steps - warm)
    row.wall_ms += 1e3 * (time.perf_counter() - start[0]) / timed / len(plan.seeds)
    row.cpu_ms += 1e3 * (time.process_time() - start[1]) / timed / len(plan.seeds)
    grown = None if memory is None else (resident_bytes() or 0) - memory
    bytes_a_step = (tally.handed / plan.steps, tally.received / plan.steps)
    _share(world, row, plan, model, split, bytes_a_step, grown)


def _share(
    world: int, row: Row, plan: Plan, model: nn.Module, split: Split, moved: tuple[float, float], grown: int | None
) -> None:
    """Put what all ranks say into `row`: mean bytes, the largest growth, whether the replicas are the same."""
    torch = library()
    weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    said: list[Any] = [None] * world
    torch.distributed.all_gather_object(said, (*moved, grown, hashlib.sha256(weights).hexdigest()))
    row.handed += sum(s[0] for s in said) / world / len(plan.seeds)
    row.received += sum(s[1] for s in said) / world / len(plan.seeds)
    growths = [s[2] for s in said if s[2] is not None]
    row.grown_bytes = max(growths + ([] if row.grown_bytes is None else [row.grown_bytes])) if growths else None
    row.identical = row.identical and len({s[3] for s in said}) == 1
    row.accuracies.append(_accuracy(model, split))


def _accuracy(model: nn.Module, split: Split) -> float:
    lib = library()
    with lib.no_grad():
        named: torch.Tensor = model(lib.from_numpy(split.test_x)).argmax(1)
    return float((named.numpy() == split.test_y).mean())


def resident_bytes() -> int | None:
    """The memory that this process holds; None where the system doesn't tell."""
    try:
        import os

        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
