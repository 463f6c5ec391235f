"""The convex problems and matrices of benchmarks/comm_gossip.py, and the loop that runs an algorithm on them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netweight.comm.gossip.network import Traffic
from netweight.comm.gossip.node import Algorithm
from netweight.comm.gossip.run import Gossip
from netweight.comm.gossip.topology import Topology

Matrix = NDArray[np.float64]
DIVERGED = 1e6


@dataclass
class Problem:
    """n nodes with losses of their own; `gradients` maps float [n, d] to [n, d], `optimum` [d] minimises their mean."""

    name: str
    gradients: Callable[[Matrix], Matrix]
    optimum: NDArray[np.float64]
    smoothness: float
    nodes: int

    def error(self, x: Matrix) -> float:
        """|x_i - x*| / |x*|, root mean square over nodes."""
        apart = np.linalg.norm(x.astype(np.float64) - self.optimum) / np.sqrt(len(x))
        return float(apart / np.linalg.norm(self.optimum))


@dataclass
class Trace:
    """One run: error and bits a node after each step, and the first step under each tolerance."""

    name: str
    errors: list[float] = field(default_factory=list)
    bits: list[float] = field(default_factory=list)
    seconds: float = 0.0
    traffic: Traffic = field(default_factory=Traffic)

    def hit(self, tolerance: float) -> tuple[int, float] | None:
        """Steps and bits a node until the error is, for the first time, under `tolerance`."""
        for k, error in enumerate(self.errors):
            if error < tolerance:
                return k + 1, self.bits[k]
        return None


def trace(
    name: str, problem: Problem, topology: Topology, algorithm: Algorithm, *,
    steps: int, until: float = 0.0, step_size: float = 1.0, dtype: str = "float64",
) -> Trace:  # fmt: skip
    """`steps` steps from zero, with step size `step_size` / L, or until the error is under `until`."""
    run = Gossip(topology, algorithm).simulate(np.zeros((problem.nodes, len(problem.optimum)), dtype))
    out, begun = Trace(name), time.process_time()
    eta = step_size / problem.smoothness
    for _ in range(steps):
        run.step(problem.gradients(run.x).astype(dtype), eta)
        out.errors.append(problem.error(run.x))
        out.bits.append(run.traffic.bits / problem.nodes)
        if not out.errors[-1] < DIVERGED or out.errors[-1] < until:
            break
    out.seconds, out.traffic = time.process_time() - begun, run.traffic
    return out


def regression(nodes: int = 8, d: int = 200, rows: int = 200, seed: int = 0) -> Problem:
    """The linear regression of the LEAD paper (section 5): Gaussian A_i and x, b_i = A_i x + noise, |x|^2 / 20."""
    rng = np.random.Generator(np.random.PCG64(seed))
    a = rng.standard_normal((nodes, rows, d))
    b = np.einsum("nrd,d->nr", a, rng.standard_normal(d)) + 0.1 * rng.standard_normal((nodes, rows))
    hessians = np.einsum("nri,nrj->nij", a, a) / rows + 0.1 * np.eye(d)
    linear = np.einsum("nrd,nr->nd", a, b) / rows

    def gradients(x: Matrix) -> Matrix:
        return np.stack([h @ v for h, v in zip(hessians, x, strict=True)]) - linear

    optimum = np.linalg.solve(hessians.mean(0), linear.mean(0))
    largest = max(float(np.linalg.eigvalsh(h)[-1]) for h in hessians)
    return Problem(f"regression, d={d}", gradients, optimum, largest, nodes)


def read_libsvm(path: Path) -> tuple[Any, NDArray[np.float64]]:
    """Rows as a sparse matrix, and labels 0 or 1."""
    from scipy.sparse import csr_matrix

    labels, columns, values, ends = [], [], [], [0]
    for line in path.read_text().splitlines():
        label, *pairs = line.split()
        labels.append(float(float(label) > 0))
        for pair in pairs:
            column, value = pair.split(":")
            columns.append(int(column) - 1)
            values.append(float(value))
        ends.append(len(columns))
    return csr_matrix((values, columns, ends)), np.array(labels)


def logistic(name: str, x: Any, y: NDArray[np.float64], nodes: int, ridge: float) -> Problem:
    """Logistic regression, sorted by label and cut into `nodes` parts, + ridge |w|^2 / 2 on each."""
    order = np.argsort(y, kind="stable")
    cuts = np.array_split(order, nodes)
    parts = [(x[c], x[c].T.tocsr() if hasattr(x[c], "tocsr") else x[c].T, y[c]) for c in cuts]

    def gradient(part: Any, w: NDArray[np.float64]) -> NDArray[np.float64]:
        rows, transposed, labels = part
        return transposed @ (1 / (1 + np.exp(-(rows @ w))) - labels) / len(labels) + ridge * w

    def gradients(w: Matrix) -> Matrix:
        return np.stack([gradient(part, v) for part, v in zip(parts, w, strict=True)])

    d = x.shape[1]
    grams = [np.asarray((t @ r).todense() if hasattr(t @ r, "todense") else t @ r) for r, t, _ in parts]
    largest = max(float(np.linalg.eigvalsh(g)[-1]) / len(p[2]) for g, p in zip(grams, parts, strict=True)) / 4 + ridge
    return Problem(f"{name}, d={d}, sorted by label", gradients, _newton(parts, gradient, ridge, d), largest, nodes)


def _newton(
    parts: list[Any], gradient: Callable[..., NDArray[np.float64]], ridge: float, d: int
) -> NDArray[np.float64]:
    w = np.zeros(d)
    for _ in range(30):
        hessian = ridge * np.eye(d)
        for rows, transposed, labels in parts:
            p = 1 / (1 + np.exp(-(rows @ w)))
            weighted = (
                rows.multiply((p * (1 - p))[:, None]).tocsr()
                if hasattr(rows, "multiply")
                else rows * (p * (1 - p))[:, None]
            )
            product = transposed @ weighted
            hessian += (
                np.asarray(product.todense() if hasattr(product, "todense") else product) / len(labels) / len(parts)
            )
        w = w - np.linalg.solve(hessian, np.mean([gradient(part, w) for part in parts], axis=0))
    return w


def diagonal(nodes: int, d: int, seed: int = 0, centre: float = 0.0) -> Problem:
    """Quadratics with axes along the coordinates, their minima spread around `centre`: cheap gradients, for thousands of nodes."""
    rng = np.random.Generator(np.random.PCG64(seed))
    curvature, minima = rng.uniform(0.2, 1.0, (nodes, d)), centre + rng.standard_normal((nodes, d))
    optimum = (curvature * minima).sum(0) / curvature.sum(0)
    return Problem(f"quadratics, d={d}", lambda x: curvature * (x - minima), optimum, 1.0, nodes)


def differences(kind: str, nodes: int = 8, side: int = 100, seed: int = 0) -> NDArray[np.float32]:
    """Matrices [nodes, side, side] that differ in `kind`: "shared" (rank 4, one subspace), "rank one" (each its own),
    "decaying" (singular values 1/k), "random"."""
    rng = np.random.Generator(np.random.PCG64(seed))
    base = rng.standard_normal((side, side))
    if kind == "random":
        x = rng.standard_normal((nodes, side, side))
    elif kind == "shared":
        u, v = rng.standard_normal((side, 4)), rng.standard_normal((4, side))
        x = np.stack([base + u @ np.diag(rng.standard_normal(4)) @ v for _ in range(nodes)])
    elif kind == "rank one":
        x = np.stack([base + np.outer(rng.standard_normal(side), rng.standard_normal(side)) for _ in range(nodes)])
    else:
        u, v = (np.linalg.qr(rng.standard_normal((side, side)))[0] for _ in range(2))
        mixed = rng.standard_normal((nodes, side)) / np.arange(1, side + 1)
        x = base + np.einsum("ik,nk,kj->nij", u, mixed * side, v)
    return x.astype(np.float32)


def consensus(
    algorithm: Algorithm, topology: Topology, x: NDArray[np.float32], tolerance: float, most: int
) -> tuple[int, float] | None:
    """Rounds and Mbit a node until the distance to the mean is `tolerance` of that at the start; None if `most` don't do."""
    flat = x.reshape(len(x), -1)
    mean = flat.mean(0, dtype=np.float64)
    first = np.linalg.norm(flat - mean)
    run = Gossip(topology, algorithm).simulate(flat, {"w": x.shape[1:]})
    for k in range(most):
        run.average()
        now = np.linalg.norm(run.x - mean)
        if now < tolerance * first:
            return k + 1, run.traffic.bits / len(x) / 1e6
        if not now < 100 * first:
            return None
    return None
