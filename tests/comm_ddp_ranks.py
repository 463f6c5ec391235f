"""What the ranks of test_comm_ddp.py do."""

from __future__ import annotations

import hashlib
import io
import os
import time
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from netweight.comm import (
    EF21,
    Eden,
    ErrorFeedback,
    Identity,
    Memoryless,
    Policy,
    PowerSGD,
    RandK,
    Rule,
    SparseDithering,
    TopK,
    ddp_hook,
)
from netweight.comm.distributed import averaging, bundle
from netweight.comm.distributed.powersgd import orthonormalise

SMALL = 0.002  # MB: every layer a bucket of its own


def warm() -> None:
    import torch._dynamo
    import torch.distributed._functional_collectives  # noqa: F401

    x = np.ones(60, np.float32)
    for compressor in (TopK(0.1), TopK(0.1, values="bit"), RandK(0.2), RandK(0.2, unbiased=False)):
        compressor.decompress(compressor.compress(x), 60)
    orthonormalise(np.ones((4, 2), np.float32))


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(7)
    layers = [nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 5)]
    return nn.Sequential(*layers).to(dtype)


def wrapped(model: nn.Module, state: Any = None, cap: float = SMALL, **options: Any) -> DistributedDataParallel:
    ddp = DistributedDataParallel(model, bucket_cap_mb=cap, **options)
    if state is not None:
        ddp.register_comm_hook(state, ddp_hook)
    return ddp


def batch(rank: int, step: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1000 * step + rank)
    return torch.randn(8, 20, generator=draw).to(dtype), torch.randint(0, 5, (8,), generator=draw)


def loss_of(ddp: nn.Module, rank: int, step: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    x, y = batch(rank, step, dtype)
    return nn.functional.cross_entropy(ddp(x).float(), y)


def train(ddp: nn.Module, rank: int, steps: range, optimiser: Any = None, dtype: torch.dtype = torch.float32) -> Any:
    optimiser = optimiser or torch.optim.SGD(ddp.parameters(), 0.1, momentum=0.9)
    for step in steps:
        optimiser.zero_grad()
        loss_of(ddp, rank, step, dtype).backward()
        optimiser.step()
    return optimiser


def digest(module: nn.Module) -> str:
    data = b"".join(p.detach().double().numpy().tobytes() for p in module.parameters())
    return hashlib.sha256(data).hexdigest()


def feedback(**options: Any) -> ErrorFeedback:
    return ErrorFeedback(Policy(TopK(0.1), min_numel=50), **options)


class Counter:
    """Counts what is handed to the collectives of torch.distributed, whoever calls them."""

    INPUT = {"broadcast": 0, "all_gather": 1, "all_to_all_single": 1, "all_reduce": 0}  # noqa: RUF012

    def __init__(self, rank: int) -> None:
        self.rank, self.bytes = rank, 0
        for name, place in self.INPUT.items():
            setattr(dist, name, self._counting(name, getattr(dist, name), place))

    def _counting(self, name: str, function: Any, place: int) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            if name != "broadcast" or arguments[1] == self.rank:
                self.bytes += arguments[place].numel() * arguments[place].element_size()
            return function(*arguments, **options)

        return counted


def same_bits(rank: int) -> Any:
    out = {}
    states = {
        "top k": feedback(), "EF21": EF21(TopK(0.1)), "rand k": Memoryless(RandK(0.2)), "PowerSGD": PowerSGD(2),
        "fixed length": feedback(capacity=4000),
        "overlapped": feedback(overlap=True),
        "in parts": feedback(in_parts=True),
        "dithering": ErrorFeedback(Policy(default=SparseDithering(nu=0.25), min_numel=50)),
        "rotated": Memoryless(Eden(bits=2)), "identity": Memoryless(Identity()), "mixed": mixed(),
    }  # fmt: skip
    counter = Counter(rank)
    for name, state in states.items():
        model = network()
        if name == "mixed":
            state.bind(model)
        ddp = wrapped(model, state)
        before = counter.bytes
        train(ddp, rank, range(4))
        wire = state.wire.to_dict()
        out[name] = {"digest": digest(model), "counted": counter.bytes - before, "wire": wire, "step": state.step}
    plain = network()
    train(wrapped(plain), rank, range(4))
    out["identity"]["error"] = max(
        float((a - b).detach().abs().max()) for a, b in zip(plain.parameters(), model_of(rank), strict=True)
    )
    return out


def model_of(rank: int) -> list[torch.Tensor]:
    model = network()
    train(wrapped(model, Memoryless(Identity())), rank, range(4))
    return list(model.parameters())


def mixed() -> ErrorFeedback:
    rules = [Rule(TopK(0.05, values="bit"), "^0\\."), Rule(RandK(0.5, unbiased=False), "^4\\.weight")]
    return ErrorFeedback(Policy(TopK(0.2), rules, min_numel=100))


def resumed(rank: int) -> Any:
    out = {}
    kinds = {
        "feedback": feedback,
        "EF21": lambda: EF21(RandK(0.3, unbiased=False)),
        "PowerSGD": PowerSGD,
        "parts": lambda: feedback(in_parts=True),
    }
    for name, make in kinds.items():
        straight = network()
        train(wrapped(straight, make()), rank, range(6))
        model, state = network(), make()
        optimiser = train(wrapped(model, state), rank, range(3))
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "comm": state.state_dict()}, file)
        saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
        fresh, again = network(), make()
        ddp = wrapped(fresh, again, cap=25)  # another order and number of buckets
        fresh.load_state_dict(saved["model"])
        again.load_state_dict(saved["comm"])
        optimiser = torch.optim.SGD(ddp.parameters(), 0.1, momentum=0.9)
        optimiser.load_state_dict(saved["optimiser"])
        train(ddp, rank, range(3, 6), optimiser)
        without = network()
        without.load_state_dict(saved["model"])
        train(wrapped(without, make()), rank, range(3, 6))
        out[name] = {"straight": digest(straight), "resumed": digest(fresh), "without": digest(without)}
    try:
        again.load_state_dict({**saved["comm"], "rank": 1 - rank})
    except Exception as error:  # noqa: BLE001  the test judges it
        out["wrong rank"] = f"{type(error).__name__}: {error}"
    return out


def dead_rank(rank: int) -> Any:
    model = network()
    ddp = wrapped(model, feedback())
    train(ddp, rank, range(2))
    if rank == 2:
        os._exit(3)
    start = time.monotonic()
    out = _failure(ddp, rank)
    return out | {"seconds": time.monotonic() - start}


def hung_rank(rank: int) -> Any:
    ddp = wrapped(network(), feedback(timeout=1))
    train(ddp, rank, range(2))  # DDP's own collective, when it rebuilds buckets, is behind us
    if rank == 1:
        time.sleep(4)
        os._exit(0)
    start = time.monotonic()
    return _failure(ddp, rank) | {"seconds": time.monotonic() - start}


def _failure(ddp: DistributedDataParallel, rank: int, step: int = 9) -> dict[str, Any]:
    try:
        loss_of(ddp, rank, step).backward()
    except Exception as error:  # noqa: BLE001  the test judges it
        return {"error": type(error).__name__, "message": str(error)}
    return {"error": None}


def damaged(rank: int) -> Any:
    """Rank 1 sends flipped bits, then a wrong length."""
    out = {}
    honest = bundle.build

    def flipped(*arguments: Any) -> bytes:
        message = bytearray(honest(*arguments))
        message[-1] ^= 4
        return bytes(message)

    for name, spoil in {
        "flipped": flipped,
        "cut": lambda *a: honest(*a)[:-3],
        "long": lambda *a: honest(*a) + b"x",
    }.items():
        model, state = network(), feedback()
        state.bind(model)
        ddp = wrapped(model, state)
        train(ddp, rank, range(2))
        before = state.state_dict()
        weights = digest(model)
        if rank == 1:
            averaging.bundle.build = spoil
        out[name] = _failure(ddp, rank)
        averaging.bundle.build = honest
        after = state.state_dict()
        same = all(torch.equal(v, after["memory"]["error"][k]) for k, v in before["memory"]["error"].items())
        out[name] |= {"kept": same and after["step"] == before["step"] and digest(model) == weights}
    return out


def mismatched(rank: int) -> Any:
    return {
        "compressor": _failure(wrapped(network(), ErrorFeedback(TopK(0.1 + 0.1 * rank))), rank),
        "unbound": _failure(wrapped(network(), ErrorFeedback(Policy(TopK(0.1), [Rule(Identity(), "bias")]))), rank),
        "kind": _failure(wrapped(network(), feedback() if rank else EF21(TopK(0.1))), rank),
    }


def not_finite(rank: int) -> Any:
    out = {}
    for name, make in {
        "messages": feedback,
        "sums": PowerSGD,
        "capacity": lambda **o: feedback(capacity=4000, **o),
    }.items():
        for choice in ("raise", "pass"):
            if (name, choice) == ("capacity", "pass"):
                continue
            model, state = network(), make(on_nonfinite=choice)
            state.bind(model)
            ddp = wrapped(model, state)
            train(ddp, rank, range(2))
            if rank == 1:
                handle = model[2].weight.register_hook(lambda g: g * float("nan"))
            result = _failure(ddp, rank)
            result["nan"] = [
                n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()
            ]
            if choice == "pass":
                if rank == 1:
                    handle.remove()
                train(ddp, rank, range(2, 4))
                result["digest"], result["finite"] = digest(model), all(p.isfinite().all() for p in model.parameters())
            out[f"{name} {choice}"] = result
    return out


class Odd(nn.Module):
    """An empty parameter, one that nobody uses, one that only rank 0 uses."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network()
        self.empty = nn.Parameter(torch.zeros(0))
        self.unused = nn.Parameter(torch.ones(300))
        self.sometimes = nn.Parameter(torch.ones(300))

    def forward(self, x: torch.Tensor, use: bool) -> torch.Tensor:
        y = self.body(x) + self.empty.sum()
        return y * (1 + self.sometimes.sum() * 1e-3) if use else y


def odd_parameters(rank: int) -> Any:
    model, state = Odd(), feedback()
    state.bind(model)
    ddp = wrapped(model, state, find_unused_parameters=True)
    optimiser = torch.optim.SGD(ddp.parameters(), 0.1)
    errors = []
    for step in range(3):
        optimiser.zero_grad()
        x, y = batch(rank, step)
        nn.functional.cross_entropy(ddp(x, rank == 0 and step < 2), y).backward()
        optimiser.step()
        kept = state.state_dict()["memory"]["error"].get("sometimes")
        errors.append(None if kept is None else float(kept.abs().sum()))
    grad = None if model.unused.grad is None else float(model.unused.grad.abs().sum())
    return {"digest": digest(model), "unused": grad, "errors": errors}


def narrow(rank: int) -> Any:
    out = {}
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        model, state = network(dtype), feedback()
        train(wrapped(model, state), rank, range(3), dtype=dtype)
        kinds = {str(v.dtype) for v in state.state_dict()["memory"]["error"].values()}
        out[str(dtype)] = {"digest": digest(model), "memory": sorted(kinds)}
    return out


def overlapped(rank: int) -> Any:
    """With unused parameters DDP has a collective of its own under way; and errors come out as what they are."""
    state = feedback(overlap=True)
    model = Odd()
    state.bind(model)
    ddp = wrapped(model, state, find_unused_parameters=True)
    for step in range(4):
        x, y = batch(rank, step)
        nn.functional.cross_entropy(ddp(x, rank == 0), y).backward()
    spoilt, state = network(), feedback(overlap=True)
    state.bind(spoilt)
    other = wrapped(spoilt, state)
    train(other, rank, range(3))
    before = state.state_dict()["memory"]["error"]
    if rank == 1:
        spoilt[2].weight.register_hook(lambda g: g * float("nan"))
    result = _failure(other, rank)
    after = state.state_dict()["memory"]["error"]
    result["kept"] = all(torch.equal(v, after[k]) for k, v in before.items()) and state.step == 3
    return result | {"digest": digest(model)}


def accumulated(rank: int) -> Any:
    """Two halves under no_sync are one whole: gradients of a message that loses nothing."""
    out = {}
    for name in ("halves", "whole"):
        model, state = network(), Memoryless(TopK(1.0))
        ddp = wrapped(model, state)
        if name == "whole":
            (loss_of(ddp, rank, 0) + loss_of(ddp, rank, 1)).backward()
        else:
            with ddp.no_sync():
                loss_of(ddp, rank, 0).backward()
            loss_of(ddp, rank, 1).backward()
        out[name] = [p.grad.double().norm().item() for p in model.parameters()]
        out[f"{name} steps"] = state.step
    return out


def subgroup(rank: int) -> Any:
    """Ranks 0 and 2 average without rank 1."""
    group = dist.new_group([0, 2])
    if rank == 1:
        return None
    out = {}
    for name, options in {
        "lengths": {},
        "capacity": {"capacity": 4000},
        "parts": {"in_parts": True},
        "beside": {"overlap": True},
    }.items():
        model = network()
        train(wrapped(model, feedback(group=group, **options), process_group=group), rank, range(3))
        out[name] = digest(model)
    return out


def overflow(rank: int) -> Any:
    return _failure(wrapped(network(), feedback(capacity=40)), rank)


def parts(rank: int) -> Any:
    """What loses nothing averages exactly, in parts too; error feedback owes nothing over time, on both hops."""
    gradients = []
    for options in ({}, {"in_parts": True}):
        model, state = network(), ErrorFeedback(TopK(1.0), **options)
        loss_of(wrapped(model, state), rank, 0).backward()
        gradients.append([p.grad for p in model.parameters()])
    error = max(float((a - b).abs().max()) for a, b in zip(*gradients, strict=True))
    xs = [np.random.default_rng(r).standard_normal(50).astype(np.float32) for r in range(3)]
    state, total = ErrorFeedback(TopK(0.1), in_parts=True), np.zeros(50)
    for _ in range(100):
        (estimate,) = state.average(["w"], [xs[rank]], [(50,)])
        state.complete()
        total += estimate
    drift = float(np.abs(total / 100 - np.mean(xs, axis=0)).max())
    received = [state.wire.received]
    whole = ErrorFeedback(TopK(0.1))
    for _ in range(100):
        whole.average(["w"], [xs[rank]], [(50,)])
        whole.complete()
    received.append(whole.wire.received)
    names = sorted(state.state_dict()["memory"]["error"])
    return {"error": error, "drift": drift, "total": total.tolist(), "names": names, "received": received}


def low_rank(rank: int) -> Any:
    """One example a rank: the mean gradient of a layer has rank 2, so two columns catch all of it."""
    gradients = []
    for state in (None, PowerSGD(2, least_ratio=1)):
        model = nn.Linear(30, 40, bias=False)
        nn.init.constant_(model.weight, 0.01)
        ddp = wrapped(model, state)
        x = torch.randn(1, 30, generator=torch.Generator().manual_seed(rank))
        (ddp(x) * torch.randn(40, generator=torch.Generator().manual_seed(9 + rank))).sum().backward()
        gradients.append(model.weight.grad.clone())
    exact, found = gradients
    sketch = state.state_dict()["memory"]["sketch"]
    return {
        "error": float((exact - found).norm() / exact.norm()), "summed": state.wire.summed, "sketches": len(sketch),
        "norm": float(np.linalg.norm(exact)),
    }  # fmt: skip
