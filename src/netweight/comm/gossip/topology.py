"""Who talks to whom, and how much each counts: a symmetric doubly stochastic matrix W, kept by rows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError

_TOLERANCE: Final = 1e-9
MAX_NODES: Final = 1 << 16


@dataclass(frozen=True)
class Topology:
    """Neighbours of each node in ascending order (the node itself is not among them), and the weight of each.

    The weight that a node gives itself is 1 minus the sum of its row: algorithms use differences to neighbours only, so
    rounding never moves the mean of all nodes. Make one with `ring`, `torus`, `exponential`, `star`, `complete`, `of_edges` or
    `of_matrix`, which check it.
    """

    name: str
    neighbours: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]

    @property
    def size(self) -> int:
        """Nodes."""
        return len(self.neighbours)

    @property
    def edges(self) -> int:
        """Pairs of nodes that talk."""
        return sum(map(len, self.neighbours)) // 2

    def matrix(self) -> NDArray[np.float64]:
        """W, float64 [n, n]."""
        w = np.zeros((self.size, self.size))
        for i, (others, values) in enumerate(zip(self.neighbours, self.weights, strict=True)):
            w[i, list(others)] = values
            w[i, i] = 1 - math.fsum(values)
        return w

    @cached_property
    def eigenvalues(self) -> NDArray[np.float64]:
        """Those of W in ascending order, float64 [n]; the last is 1."""
        return np.asarray(np.linalg.eigvalsh(self.matrix()), np.float64)

    @property
    def spectral_gap(self) -> float:
        """1 - max(|lambda_2|, |lambda_n|): by how much a round of exact averaging shrinks the distance to consensus."""
        values = self.eigenvalues
        return 1.0 if self.size == 1 else float(1 - max(abs(values[-2]), abs(values[0])))

    @property
    def best_diffusion(self) -> float:
        """The gamma that makes I - gamma (I - W) contract fastest: 2 / (largest + smallest non-zero eigenvalue of I - W).

        To six decimals, so that machines whose eigenvalues differ in the last bits use one gamma.
        """
        values = self.eigenvalues
        return 1.0 if self.size == 1 else round(float(2 / ((1 - values[0]) + (1 - values[-2]))), 6)

    def fingerprint(self) -> str:
        """Sixteen hex digits that differ between topologies: what ranks compare at start."""
        return hashlib.sha256(f"{self.neighbours}{self.weights}".encode()).hexdigest()[:16]

    @staticmethod
    def ring(n: int) -> Topology:
        """Node i with i - 1 and i + 1; weights 1/3 for n >= 3."""
        return _metropolis(f"ring of {n}", n, ((i, (i + 1) % n) for i in range(n)))

    @staticmethod
    def torus(rows: int, columns: int) -> Topology:
        """A grid whose ends meet: four neighbours, fewer where a side is shorter than 3."""
        if rows < 1 or columns < 1:
            raise InputError(f"a torus has at least one row and one column, not {rows} x {columns}")
        cells = [(r, c) for r in range(rows) for c in range(columns)]
        right = [(r * columns + c, r * columns + (c + 1) % columns) for r, c in cells]
        down = [(r * columns + c, (r + 1) % rows * columns + c) for r, c in cells]
        return _metropolis(f"torus of {rows} x {columns}", rows * columns, right + down)

    @staticmethod
    def exponential(n: int) -> Topology:
        """Node i with i +- 1, 2, 4, ... below n: logarithmic degree, a gap that hardly shrinks with n (arXiv 1811.10792)."""
        hops = [1 << k for k in range(max(n - 1, 1).bit_length()) if 1 << k < n]
        return _metropolis(f"exponential graph of {n}", n, ((i, (i + hop) % n) for i in range(n) for hop in hops))

    @staticmethod
    def star(n: int) -> Topology:
        """Node 0 with every other."""
        return _metropolis(f"star of {n}", n, ((0, i) for i in range(1, n)))

    @staticmethod
    def complete(n: int) -> Topology:
        """All with all; weights 1/n, so that one round of exact averaging is enough."""
        return _metropolis(f"complete graph of {n}", n, ((i, j) for i in range(n) for j in range(i)))

    @staticmethod
    def of_edges(n: int, edges: Iterable[tuple[int, int]], name: str = "graph") -> Topology:
        """Any connected graph, with Metropolis weights 1 / (1 + max of the two degrees). Raises InputError."""
        return _metropolis(f"{name} of {n}", n, edges)

    @staticmethod
    def of_matrix(w: Any, name: str = "matrix") -> Topology:
        """A given W, [n, n]. Raises InputError unless it is symmetric, non-negative, doubly stochastic, connected and aperiodic."""
        matrix = _checked_matrix(w)
        rows = [np.flatnonzero(row) for row in matrix]
        neighbours = tuple(tuple(int(j) for j in row if j != i) for i, row in enumerate(rows))
        weights = tuple(tuple(float(matrix[i, j]) for j in others) for i, others in enumerate(neighbours))
        topology = Topology(f"{name} of {len(matrix)}", neighbours, weights)
        _check_reachable(neighbours)
        if not np.diagonal(matrix).any() and _is_bipartite(neighbours):
            raise InputError(
                "the graph is bipartite and no node keeps a part of its own value: averaging would swap two halves for ever; "
                "use (I + W) / 2"
            )
        return topology


def _metropolis(name: str, n: int, edges: Iterable[tuple[int, int]]) -> Topology:
    """Metropolis-Hastings weights (Xiao and Boyd 2004): symmetric and doubly stochastic on any graph."""
    if not 1 <= n <= MAX_NODES:
        raise InputError(f"a topology has 1 to {MAX_NODES} nodes, not {n}")
    sets: list[set[int]] = [set() for _ in range(n)]
    for i, j in edges:
        if not (0 <= i < n and 0 <= j < n):
            raise InputError(f"edge ({i}, {j}) leaves the nodes 0 to {n - 1}")
        if i != j:
            sets[i].add(j)
            sets[j].add(i)
    neighbours = tuple(tuple(sorted(others)) for others in sets)
    _check_reachable(neighbours)
    weights = tuple(
        tuple(1 / (1 + max(len(others), len(neighbours[j]))) for j in others) for others in neighbours
    )  # fmt: skip
    return Topology(name, neighbours, weights)


def _checked_matrix(w: Any) -> NDArray[np.float64]:
    matrix = np.array(w, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not 1 <= len(matrix) <= MAX_NODES:
        raise InputError(f"a matrix of weights is square, not {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise InputError("the matrix of weights has values that aren't finite")
    if matrix.min() < 0:
        i, j = np.unravel_index(int(matrix.argmin()), matrix.shape)
        raise InputError(f"weight ({i}, {j}) is negative: {matrix[i, j]:g}")
    uneven = np.abs(matrix - matrix.T)
    if uneven.max() > _TOLERANCE:
        i, j = np.unravel_index(int(uneven.argmax()), matrix.shape)
        raise InputError(
            f"the matrix of weights isn't symmetric: ({i}, {j}) is {matrix[i, j]:g}, ({j}, {i}) {matrix[j, i]:g}"
        )
    off = np.abs(matrix.sum(axis=1) - 1)
    if off.max() > _TOLERANCE:
        row = int(off.argmax())
        raise InputError(f"row {row} of the matrix of weights sums to {matrix[row].sum():.9g}, not to 1")
    upper = np.triu(matrix)
    return np.asarray(upper + np.triu(matrix, 1).T)  # symmetric to the last bit: both ends of an edge use one weight


def _check_reachable(neighbours: Sequence[Sequence[int]]) -> None:
    seen, front = {0}, [0]
    while front:
        front = [j for i in front for j in neighbours[i] if j not in seen and not seen.add(j)]  # type: ignore[func-returns-value]
    if len(seen) < len(neighbours):
        lost = next(i for i in range(len(neighbours)) if i not in seen)
        raise InputError(f"the graph isn't connected: node {lost} can't be reached from node 0")


def _is_bipartite(neighbours: Sequence[Sequence[int]]) -> bool:
    side, front = {0: 0}, [0]
    for i in front:
        for j in neighbours[i]:
            if j not in side:
                side[j] = 1 - side[i]
                front.append(j)
            elif side[j] == side[i]:
                return False
    return True
