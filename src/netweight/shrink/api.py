"""`shrink`: what users call."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from .alone import coded_alone
from .budget import TRIES, searched
from .network import Network
from .order import ORDERS, ordered
from .pipeline import Job, describe
from .protocol import Evaluate, Losses, Say, Step
from .result import Report, Result, pareto
from .store import Store
from .targets import Target
from .tracing import Example, doubled, trace
from .training import Optimiser, Progress, Training, adam


def shrink(
    model: nn.Module,
    example: Example,
    steps: Sequence[Step],
    *,
    target: Mapping[str, Any] | None = None,
    order: str = "given",
    train: Losses | None = None,
    evaluate: Evaluate | None = None,
    budget: int = 0,
    seed: int = 0,
    learning_rate: float = 1e-3,
    optimiser: Optimiser = adam,
    dynamic: Mapping[str, tuple[int, ...]] | None = None,
    journal: str | os.PathLike[str] | None = None,
    tries: int = TRIES,
    seeds: int = 3,
    effort: str = "max",
    compare: bool = False,
    progress: Progress | None = None,
    say: Say = lambda _: None,
) -> Result:
    """Make `model` smaller by `steps`, within `target`, in an order that is given, lawful or measured.

    `model` isn't changed. `example` is a batch (a tensor, a tuple, or a mapping by argument); `dynamic` names axes of inputs
    whose size may vary beside the batch's. `target`: the most of macs, params, bitops, bytes (shares up to 1, or absolute), and
    the most that the score may drop. `train(model, seed)` yields losses of batches, `evaluate(model)` gives a score (higher is
    better). `budget`: training steps of the whole sequence, shared out by the steps' `share`. `journal`: a folder in which an
    interrupted run finds where it was. `tries`: whole runs that a target of bytes or drop may take; `seeds`: of each pair of steps
    when the order is measured. `compare`: measure too how small coding alone gets the network at the same score.

    Raises InputError (of which TraceError, StepError) with what to do; InputError that names the nearest for a target that
    can't be met.
    """
    chosen = _checked_steps(steps)
    if order not in ORDERS:
        raise InputError(f"no order {order!r}; there are {', '.join(ORDERS)}")
    args, named = doubled(example)
    network = trace(model, example, dynamic=dynamic)
    store = None if journal is None else Store(journal, _key(network, chosen, locals()))
    training = Training(learning_rate, optimiser, progress=progress or (lambda *_: None))
    job = Job(network, args, named, train, evaluate, budget, seed, training, store, effort, say)
    job.begin()
    wanted = Target.parse(target, job.start.costs, job.start.score)
    sequence, pairs = ordered(order, chosen, job, seeds)
    found, runs, taken = searched(job, sequence, wanted, tries)
    score = runs[taken].end.score
    alone = None
    if compare and evaluate is not None and score is not None:
        alone = coded_alone(network, evaluate, score, job.start.score or score)
    report = Report(
        order=order,
        sequence="".join(s.letter for s in sequence),
        original_bytes=plain_bytes(network),
        lossless_bytes=int(job.start.costs.bytes or 0),
        runs=tuple(runs),
        taken=taken,
        front=pareto(runs),
        coded_bytes=alone,
        pairs=tuple(pairs),
        target={k: str(v) for k, v in (target or {}).items()},
    )
    return Result(found, report)


def _checked_steps(steps: Sequence[Step]) -> list[Step]:
    """Raises InputError for an empty list, or what isn't a step."""
    if isinstance(steps, Step):
        raise InputError("steps is a list of steps")
    found = list(steps)
    if not found:
        raise InputError("no steps: give at least one")
    for step in found:
        if isinstance(step, type) or not isinstance(step, Step):
            raise InputError(f"{step!r} is no step; write Prune(), with parentheses")
    return found


def _key(network: Network, steps: list[Step], given: dict[str, Any]) -> dict[str, Any]:
    """What a journal's results depend on and we can tell; users' functions are told by where they are."""
    settings = ("budget", "seed", "learning_rate", "effort")
    functions = {k: getattr(given[k], "__qualname__", repr(type(given[k]))) for k in ("train", "evaluate", "optimiser")}
    return (
        {k: given[k] for k in settings}
        | functions
        | {"steps": [describe(s) for s in steps], "weights": digest(network)}
    )


def digest(network: nn.Module) -> str:
    """Hex SHA-256 of all tensors by name."""
    import hashlib

    state = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def plain_bytes(network: nn.Module) -> int:
    """Length of the network's tensors as one safetensors file, float32 as it is."""
    from safetensors.torch import save_file

    seen: dict[int, str] = {}
    state = {k: v for k, v in network.state_dict(keep_vars=True).items() if seen.setdefault(id(v), k) == k}
    with tempfile.TemporaryDirectory(prefix="netweight-") as folder:
        path = Path(folder) / "network.safetensors"
        save_file({k: v.detach().contiguous().clone() for k, v in state.items()}, path)
        return path.stat().st_size


__all__ = ["digest", "plain_bytes", "shrink"]
