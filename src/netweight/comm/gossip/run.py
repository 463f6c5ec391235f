"""Gossip: a topology and an algorithm, run in one process for research or between ranks for good."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..compressor import DTYPES
from .averaging import DPSGD
from .channel import Channel, slots_of
from .network import Network, SimulatedNetwork, Traffic
from .node import Algorithm, Rounds, Setting
from .topology import Topology

if TYPE_CHECKING:
    import torch.distributed as dist

Shapes = Mapping[str, tuple[int, ...]]
Matrix = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Gossip:
    """Nodes on `topology` that run `algorithm`; `seed` draws all their randomness."""

    topology: Topology
    algorithm: Algorithm = DPSGD()  # noqa: RUF009  frozen
    seed: int = 0

    def simulate(self, x: Matrix, shapes: Shapes | None = None, *, decode_each: bool = False) -> GossipRun:
        """All nodes here, node i starting from row i of float `x` [n, d], which is copied.

        `shapes` are the parameters that a row holds end to end, by name (one vector "x" without). Every message is made, counted
        and decoded; a broadcast once, by its sender, since all its receivers see the same. `decode_each` has each receiver
        decode it for itself, as on real ranks. Raises InputError.
        """
        rows: Matrix = x.copy(order="C")
        if rows.ndim != 2 or len(rows) != self.topology.size:
            raise InputError(f"the start is a row for each of {self.topology.size} nodes, not {rows.shape}")
        setting = self._setting(rows, shapes, remember=not decode_each)
        return GossipRun(self.algorithm, SimulatedNetwork(self.topology), setting, rows)

    def join(
        self,
        x: Matrix,
        shapes: Shapes | None = None,
        *,
        group: dist.ProcessGroup | None = None,
        timeout: float | None = None,
    ) -> GossipRun:
        """This rank's node, starting from float `x` [d], which is copied; its run's `x` is [1, d].

        Every rank of `group` calls it at once: they first check that they agree on topology, algorithm, compressors, seed and
        parameters. `timeout` in seconds is for each message; without it, the group's. Raises InputError, PeerError,
        MissingExtraError.
        """
        from .ranks import RankNetwork

        rows: Matrix = x.copy(order="C")[None]
        setting = self._setting(rows, shapes, remember=False)
        network = RankNetwork(self.algorithm, setting, group, timeout)
        return GossipRun(self.algorithm, network, setting, rows)

    def _setting(self, rows: Matrix, shapes: Shapes | None, *, remember: bool) -> Setting:
        if rows.ndim != 2 or rows.dtype.name not in DTYPES:
            raise InputError(f"gossip is over float32 or float64 vectors, not {rows.dtype} {rows.shape}")
        slots = slots_of(shapes if shapes is not None else {"x": rows.shape[1:]})
        if slots[-1].part.stop != rows.shape[1]:
            raise InputError(f"the parameters hold {slots[-1].part.stop} values, the vectors {rows.shape[1]}")
        channel = Channel(slots, self.algorithm.choice, rows.dtype, self.seed, remember=remember)
        setting = Setting(self.topology, slots, rows.dtype, self.seed, channel, remember)
        self.algorithm.check(setting)
        return setting


class GossipRun:
    """The nodes of this process. `x` float [nodes here, d] is theirs: write to it only between steps."""

    def __init__(self, algorithm: Algorithm, network: Network, setting: Setting, rows: Matrix) -> None:
        self.x = rows
        self.setting = setting
        self._network = network
        self._mark = algorithm.fingerprint(setting)
        self._nodes = [algorithm.node(rank, setting, rows[k]) for k, rank in enumerate(network.here)]

    @property
    def traffic(self) -> Traffic:
        """What the nodes here have sent."""
        return self._network.traffic

    @property
    def time(self) -> int:
        """Steps done."""
        return self._nodes[0].time

    def step(self, gradients: Matrix, eta: float) -> None:
        """One step of every node here with its row of `gradients` [nodes here, d] and step size `eta`. Raises NetweightError."""
        self._step(gradients, eta, lambda k: self.x.dtype.type(eta) * gradients[k])

    def apply(self, updates: Matrix, eta: float) -> None:
        """As `step`, with what a local optimizer takes away: `updates` [nodes here, d] are eta times gradients."""
        self._step(updates, eta, lambda k: updates[k])

    def average(self) -> None:
        """One round of averaging alone: a step without gradients."""
        self.apply(np.zeros_like(self.x), 1.0)

    def _step(self, given: Matrix, eta: float, update: Callable[[int], Any]) -> None:
        if given.shape != self.x.shape or given.dtype != self.x.dtype:
            raise InputError(f"gradients are {self.x.dtype} {self.x.shape}, not {given.dtype} {given.shape}")
        if not 0 <= eta < math.inf:
            raise InputError(f"the step size is finite and not negative, not {eta}")

        def start(k: int) -> Rounds:
            return self._nodes[k].step(update(k), eta)

        self._network.run(start)

    def state_dict(self) -> dict[str, Any]:
        """All that a restart needs: numbers, and copies of numpy arrays by name for each node here."""
        nodes = {n.rank: {name: array.copy() for name, array in n.arrays().items()} for n in self._nodes}
        return {"format": 1, "setting": self._mark, "time": self.time, "nodes": nodes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken. Raises InputError if it is of another algorithm, compressor, node or parameter."""
        if state.get("format") != 1 or state.get("setting") != self._mark:
            raise InputError("this state is of another algorithm or compressor than this run's")
        missing = [n.rank for n in self._nodes if n.rank not in state["nodes"]]
        if missing:
            raise InputError(f"this state has no node {missing[0]}; it holds {sorted(state['nodes'])}")
        for node in self._nodes:
            node.load(state["nodes"][node.rank], int(state["time"]))
