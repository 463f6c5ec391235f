"""Difference coding between nodes: all that hear a node keep the same picture of it, and it sends by how much that is wrong."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compressor import Vector
from .node import Incoming, Node, Outgoing, Setting


class TrackingNode(Node):
    """A node j is known by H_j, zero at first; it sends Q_j = C(v_j - H_j), is taken for V_j = H_j + Q_j, and H_j moves by
    `rate` Q_j.

    Every receiver keeps H_j of its own, which costs a vector for each neighbour. Papers keep their weighted sum instead:
    its rounding errors add up over thousands of steps, and end as a distance to the optimum that never goes (measured on
    logistic regression of condition 182: 5e-12 of the optimum, against 2e-14). Nodes of one process share them.
    """

    def __init__(self, rank: int, setting: Setting, x: Vector, rate: float) -> None:
        super().__init__(rank, setting, x)
        self._rate = x.dtype.type(rate)
        self._kept = (rank,) if setting.remember else (rank, *self.neighbours)
        self._known = setting.known if setting.remember else {}
        self._taken = setting.taken if setting.remember else {}
        self._news: dict[int, Vector] = {}
        for j in self._kept:
            self._known[j] = np.zeros_like(x)

    def track(self, v: Vector) -> Generator[Outgoing, Incoming, Vector]:
        """Send by how much H is wrong about `v`; sum_j w_ij (V_i - V_j), which is (I - W) V at this node.

        Call `learn` once nothing can fail any more.
        """
        message, own = self.setting.channel.encode(v - self._known[self.rank], self.rank, self.time)
        self._news = {self.rank: own}
        mine = self._known[self.rank] + own
        self._taken[self.rank] = (message, mine)
        incoming = yield message
        apart = np.zeros_like(v)
        for j, weight in zip(self.neighbours, self.weights, strict=True):
            apart += weight * (mine - self._taken_for(j, incoming[j]))
        return apart

    def learn(self) -> None:
        """Move every H that is kept here."""
        for j, news in self._news.items():
            self._known[j] += self._rate * news
        self._news = {}

    def _taken_for(self, j: int, message: bytes | memoryview) -> Vector:
        shared = self._taken.get(j) if self.setting.remember else None
        if shared is not None and shared[0] is message:
            return shared[1]
        self._news[j] = self.setting.channel.decode(message, j, self.time)
        return self._known[j] + self._news[j]

    def arrays(self) -> dict[str, NDArray[Any]]:
        known = {"known" if j == self.rank else f"known of {j}": self._known[j] for j in self._kept}
        return {**super().arrays(), **known}

    def load(self, arrays: Mapping[str, NDArray[Any]], time: int) -> None:
        super().load(arrays, time)
        self._news = {}
