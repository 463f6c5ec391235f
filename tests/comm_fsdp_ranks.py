"""What the ranks of test_comm_fsdp.py do."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from netweight.comm import EF21, ErrorFeedback, Float16, Identity, Memoryless, TopK
from netweight.comm.distributed.fsdp import compress_gradients, compress_weights


def warm() -> None:
    import torch._dynamo  # noqa: F401

    compressor = TopK(0.1)
    compressor.decompress(compressor.compress(np.ones(60, np.float32)), 60)


def network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(20, 33), nn.ReLU(), nn.Linear(33, 16), nn.ReLU(), nn.Linear(16, 5))


def sharded(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
    fully_shard(model[0], mesh=mesh)
    fully_shard(model[2], mesh=mesh)
    return fully_shard(model, mesh=mesh)


def train(model: nn.Module, rank: int, steps: range, optimiser: Any = None) -> Any:
    optimiser = optimiser or torch.optim.SGD(model.parameters(), 0.1)
    for step in steps:
        draw = torch.Generator().manual_seed(100 * step + rank)
        x, y = torch.randn(8, 20, generator=draw), torch.randint(0, 5, (8,), generator=draw)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return optimiser


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.full_tensor().detach().reshape(-1) for p in model.parameters()])


def digest(x: torch.Tensor) -> str:
    return hashlib.sha256(x.numpy().tobytes()).hexdigest()


def gradients(rank: int) -> Any:
    plain = sharded(network())
    train(plain, rank, range(3))
    exact, out = weights(plain), {}
    for name, state in {
        "identity": Memoryless(Identity()), "whole": ErrorFeedback(TopK(1.0)), "tenth": ErrorFeedback(TopK(0.1)),
        "EF21": EF21(TopK(0.1)),
    }.items():  # fmt: skip
        model = sharded(network())
        compress_gradients(model, state)
        train(model, rank, range(3))
        found = weights(model)
        wire = state.wire.to_dict()
        out[name] = {"error": float((found - exact).abs().max()), "digest": digest(found), "wire": wire}
        out[name]["moved"] = float(
            (found - torch.cat([p.reshape(-1) for p in network().parameters()])).detach().abs().max()
        )
    return out


def resumed(rank: int) -> Any:
    straight, state = sharded(network()), ErrorFeedback(TopK(0.1))
    compress_gradients(straight, state)
    train(straight, rank, range(5))
    model, state = sharded(network()), ErrorFeedback(TopK(0.1))
    compress_gradients(model, state)
    train(model, rank, range(2))
    file = io.BytesIO()
    torch.save(state.state_dict(), file)
    again = ErrorFeedback(TopK(0.1))
    again.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    compress_gradients(model, again)
    train(model, rank, range(2, 5))
    return [digest(weights(straight)), digest(weights(model))]


def gathered(rank: int) -> Any:
    model = sharded(network())
    state = Memoryless(Float16())
    compress_weights(model, state)
    x = torch.randn(4, 20, generator=torch.Generator().manual_seed(3))
    found = model(x)
    rounded = network()
    for p in rounded.parameters():
        p.data = p.data.half().float()
    return {"same": torch.equal(found, rounded(x)), "wire": state.wire.to_dict()}


def not_finite(rank: int) -> Any:
    model, state = sharded(network()), ErrorFeedback(TopK(0.1))
    compress_gradients(model, state)
    train(model, rank, range(1))
    x = torch.full((8, 20), float("inf") if rank else 1.0)
    try:
        model(x).sum().backward()
    except Exception as error:  # noqa: BLE001  the test judges it
        return {"error": type(error).__name__, "message": str(error)}
    return None


def unsharded(rank: int) -> Any:
    try:
        compress_gradients(network(), ErrorFeedback(TopK(0.1)))
    except Exception as error:  # noqa: BLE001  the test judges it
        return f"{type(error).__name__}: {error}"
    return None
