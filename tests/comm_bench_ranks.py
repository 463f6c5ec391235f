"""What the ranks of test_comm_bench.py do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from netweight.comm import TopK
from netweight.comm.bench.worker import Plan, run_rank


def warm() -> None:
    import torch._dynamo  # noqa: F401

    TopK(0.01).compress(np.ones(60, np.float32))


def measured(rank: int) -> Any:
    steps: list[tuple[str, int, int]] = []
    plan = Plan(("none", "topk", "powersgd-torch"), steps=6, batch=8, seeds=(0, 1))
    rows = run_rank(rank, 2, plan, lambda *step: steps.append(step))
    return {"rows": [asdict(row) for row in rows], "steps": len(steps), "last": steps[-1]}
