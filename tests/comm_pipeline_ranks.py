"""What the ranks of test_comm_pipeline.py do: a pipeline of stages on ranks, and the same in one process."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from netweight.comm import AQSGD, EF21, ErrorFeedback, Identity, MinMax, PipelineLink, TopK

MICRO, STEPS = 2, 3
WIDTHS = [12, 16, 14, 10, 5]


def warm() -> None:
    for compressor in (TopK(0.3), MinMax(4)):
        compressor.decompress(compressor.compress(np.ones(16, np.float32)), 16)


def links() -> dict[str, dict[str, Any]]:
    return {
        "exact": {},
        "top k": {"forward": TopK(0.3), "backward": TopK(0.5)},
        "reuse": {"forward": TopK(0.3), "backward": Identity(), "reuse_indices": True},
        "k-bit": {"forward": MinMax(4), "backward": MinMax(8), "per_sample": False},
        "feedback": {"forward": ErrorFeedback(TopK(0.3)), "backward": ErrorFeedback(TopK(0.3))},
        "EF21": {"forward": EF21(TopK(0.3)), "backward": MinMax(8)},
        "AQ-SGD": {"forward": AQSGD(TopK(0.3))},
    }


def stages(count: int) -> list[nn.Module]:
    torch.manual_seed(11)
    layers = [nn.Sequential(nn.Linear(a, b), nn.Tanh()) for a, b in pairwise(WIDTHS)]
    return layers if count == 4 else [nn.Sequential(*layers[:2]), nn.Sequential(*layers[2:])]


def micro(step: int, part: int) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    ids = [(5 * part + k) % 10 for k in range(5)]  # the same ten examples at every step
    draw = torch.Generator().manual_seed(part)
    return torch.randn(5, WIDTHS[0], generator=draw), torch.randint(0, 5, (5,), generator=draw), ids


def alone(options: dict[str, Any], count: int) -> tuple[list[list[float]], dict[str, Any]]:
    """The pipeline in one process: each stage's weights, and the first link's wire."""
    parts = stages(count)
    between = [PipelineLink(name=f"link{k}", **options) for k in range(count - 1)]
    optimiser = torch.optim.SGD([p for part in parts for p in part.parameters()], 0.5)
    for step in range(STEPS):
        optimiser.zero_grad()
        losses = []
        for part in range(MICRO):
            x, y, ids = micro(step, part)
            for k, stage in enumerate(parts):
                x = stage(x)
                if k < count - 1:
                    between[k].examples = ids
                    x = between[k](x)
                    between[k].examples = ids
            losses.append(nn.functional.cross_entropy(x, y))
        for part, loss in enumerate(losses):
            for link in between:
                link.examples = micro(step, part)[2]
            loss.backward()
        optimiser.step()
    return [flat(part) for part in parts], between[0].wire.to_dict()


def flat(module: nn.Module) -> list[float]:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()]).double().tolist()


def pipeline(rank: int) -> Any:
    count = torch.distributed.get_world_size()
    out = {}
    for name, options in links().items():
        stage = stages(count)[rank]
        left = PipelineLink(name=f"link{rank - 1}", **options) if rank else None
        right = PipelineLink(name=f"link{rank}", **options) if rank < count - 1 else None
        optimiser = torch.optim.SGD(stage.parameters(), 0.5)
        widths = WIDTHS if count == 4 else WIDTHS[::2]
        for step in range(STEPS):
            optimiser.zero_grad()
            ends = []
            for part in range(MICRO):
                x, y, ids = micro(step, part)
                if left:
                    left.examples = ids
                    x = left.receive(rank - 1, (5, widths[rank]))
                z = stage(x)
                if right:
                    right.examples = ids
                    ends.append(right.send(z, rank + 1))
                else:
                    ends.append(nn.functional.cross_entropy(z, y))
            for part, end in enumerate(ends):
                for link in filter(None, (left, right)):
                    link.examples = micro(step, part)[2]
                end.backward()
            for link in filter(None, (left, right)):
                link.flush()
            optimiser.step()
        sides = [link.wire.to_dict() for link in (left, right) if link]
        out[name] = {"weights": flat(stage), "wire": sides}
    return out


two_stages = four_stages = pipeline


def inference(rank: int) -> Any:
    """In eval() only activations travel, compressed or as they are."""
    out = {}
    for at_inference in (True, False):
        link = PipelineLink(TopK(0.25), at_inference=at_inference).eval()
        x = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            if rank == 0:
                link.send(x, 1)
                link.flush()
                found = x
            else:
                found = link.receive(0, (3, 8))
        out[str(at_inference)] = {"found": found.tolist(), "sent": link.wire.payload}
    return out


def order(rank: int) -> Any:
    """The receiver believes that the rows are those of other examples."""
    link = PipelineLink(AQSGD(TopK(0.5)), timeout=20)
    link.examples = [1, 2, 3] if rank == 0 else [1, 2, 4]
    return failure(link, rank)


def failure(link: PipelineLink, rank: int, x: torch.Tensor | None = None) -> Any:
    try:
        if rank == 0:
            link.send(torch.ones(3, 8) if x is None else x, 1)
            link.flush()
        else:
            link.receive(0, (3, 8))
    except Exception as error:  # noqa: BLE001  the test judges it
        return {"error": type(error).__name__, "message": str(error)}
    return {"error": None}


def not_finite(rank: int) -> Any:
    return failure(PipelineLink(TopK(0.5), name="middle"), rank, torch.full((3, 8), float("nan")))


def dead_stage(rank: int) -> Any:
    if rank == 0:
        os._exit(1)
    start = time.monotonic()
    return failure(PipelineLink(TopK(0.5)), rank) | {"seconds": time.monotonic() - start}
