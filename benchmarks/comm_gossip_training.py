"""A small CNN on a ring of 8 nodes, for benchmarks/comm_gossip.py: every node has a part of the data and a model of its own."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netweight.comm.gossip.node import Algorithm
from netweight.comm.gossip.optimizer import ParameterVector
from netweight.comm.gossip.run import Gossip
from netweight.comm.gossip.topology import Topology


@dataclass(frozen=True)
class Images:
    """Pixels float32 [n, 1, side, side] in [0, 1] and labels int64 [n]."""

    name: str
    x: torch.Tensor
    y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor


@dataclass(frozen=True)
class Trained:
    """After training: accuracy of the nodes (mean and worst) and of their mean model, in [0, 1], and what it took."""

    accuracy: float
    worst: float
    mean_model: float
    apart: float
    bits: float
    steps: int
    seconds: float


def digits() -> Images:
    """scikit-learn's 1,797 digits of 8 x 8; every fifth is for the test."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x, y = torch.tensor(data.images[:, None] / 16, dtype=torch.float32), torch.tensor(data.target)
    test = torch.arange(len(y)) % 5 == 0
    return Images("digits", x[~test], y[~test], x[test], y[test])


def mnist(path: Path) -> Images:
    """An npz with `x` uint8 [63000, 28, 28] and `y`: 60,000 for training, then 3,000 for the test."""
    data = np.load(path)
    x, y = torch.tensor(data["x"][:, None] / 255, dtype=torch.float32), torch.tensor(data["y"].astype(np.int64))
    return Images("MNIST", x[:60000], y[:60000], x[60000:], y[60000:])


def network(side: int, seed: int = 0) -> nn.Module:
    """Two convolutions and two linear layers."""
    torch.manual_seed(seed)
    left = side // 4
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * left * left, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def parts_of(data: Images, nodes: int, *, by_label: bool) -> list[NDArray[np.int64]]:
    """Each node's examples: at random, or sorted by label so that a node sees one or two classes."""
    order = np.random.Generator(np.random.PCG64(1)).permutation(len(data.y))
    if by_label:
        order = order[np.argsort(data.y.numpy()[order], kind="stable")]
    return np.array_split(order, nodes)


class Ring:
    """Eight models in one process, their parameters the rows of one simulated run."""

    def __init__(self, data: Images, algorithm: Algorithm, *, by_label: bool, lr: float, momentum: float) -> None:
        self.data, self.topology = data, Topology.ring(8)
        self.parts = parts_of(data, 8, by_label=by_label)
        self.nets = [network(data.x.shape[-1]) for _ in self.parts]
        self.vectors = [ParameterVector(net.named_parameters()) for net in self.nets]
        self.optimizers = [torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum) for net in self.nets]
        rows = np.stack([v.read() for v in self.vectors])
        self.run = Gossip(self.topology, algorithm).simulate(rows, self.vectors[0].shapes)
        self.rng = np.random.Generator(np.random.PCG64(2))

    def step(self, batch: int) -> None:
        """A local step at each node, then gossip."""
        updates = np.empty_like(self.run.x)
        for k, (net, vector, optimizer) in enumerate(zip(self.nets, self.vectors, self.optimizers, strict=True)):
            chosen = self.rng.choice(self.parts[k], batch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(self.data.x[chosen]), self.data.y[chosen]).backward()
            optimizer.step()
            updates[k] = self.run.x[k] - vector.read()
        self.run.apply(updates, self.optimizers[0].param_groups[0]["lr"])
        self.spread(self.run.x)

    def spread(self, rows: NDArray[np.float32]) -> None:
        for vector, row in zip(self.vectors, rows, strict=True):
            vector.write(row)

    def accuracies(self) -> list[float]:
        with torch.no_grad():
            right = [(net(self.data.test_x).argmax(1) == self.data.test_y).float().mean() for net in self.nets]
        return [float(r) for r in right]


def train(
    data: Images,
    algorithm: Algorithm,
    *,
    by_label: bool,
    steps: int,
    batch: int = 32,
    lr: float = 0.05,
    momentum: float = 0.0,
) -> Trained:
    """`steps` steps, the last fifth with a tenth of the step size."""
    begun = time.process_time()
    ring = Ring(data, algorithm, by_label=by_label, lr=lr, momentum=momentum)
    for k in range(steps):
        if k == steps * 4 // 5:
            for optimizer in ring.optimizers:
                optimizer.param_groups[0]["lr"] *= 0.1
        ring.step(batch)
        if k % 200 == 199:
            print(f"  {data.name}, {algorithm.name}: step {k + 1} of {steps}", file=sys.stderr, flush=True)
    nodes, mean = ring.accuracies(), ring.run.x.mean(0)
    apart = float(np.linalg.norm(ring.run.x - mean) / np.linalg.norm(np.broadcast_to(mean, ring.run.x.shape)))
    ring.spread(np.tile(mean, (8, 1)))
    bits = ring.run.traffic.bits / 8
    return Trained(
        float(np.mean(nodes)), min(nodes), ring.accuracies()[0], apart, bits, steps, time.process_time() - begun
    )
