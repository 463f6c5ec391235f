"""PowerGossip: across each edge the ends find the low-rank part of their difference by power iteration (arXiv 2008.01425)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, InputError
from ..compressor import Vector
from ..compressors.cast import Identity
from ..message import Address, pack, unpack
from .averaging import check_gamma
from .channel import Choice, Slot, message_seed
from .low_rank import add_outer, orthonormal, sketch
from .node import Algorithm, Node, Rounds, Setting

_LOSSLESS = Identity()


@dataclass(frozen=True)
class PowerGossip(Algorithm):
    """Each edge keeps a direction p, [rank, m]. In a round both ends send X^T p; with q = X_i^T p - X_j^T p they move by
    gamma w_ij p q^T towards each other; the next round starts from q, orthonormalised, on the other side (warm start).

    `rounds` rounds a step, after the local update. Parameters of two and more dimensions are matrices, the first dimension
    by the rest; those that a sketch wouldn't make smaller, and 1-D ones, are averaged whole, with gamma 1. It wins where
    differences are of low rank and loses on random ones: a round then removes about rank / min(m, n) of them. Nothing to
    tune: gamma is `Topology.best_diffusion` if not given. Compression is linear and lossless on what is sent, so no
    compressor is chosen.
    """

    name: ClassVar[str] = "PowerGossip"
    rank: int = 1
    rounds: int = 1
    gamma: float | None = None

    def __post_init__(self) -> None:
        if self.rank < 1 or self.rounds < 1:
            raise InputError("the rank and the number of rounds are at least 1")
        if self.gamma is not None:
            check_gamma(self.gamma)

    @property
    def choice(self) -> Choice:
        return _LOSSLESS

    def node(self, rank: int, setting: Setting, x: Vector) -> Node:
        return _PowerNode(rank, setting, x, self)

    def constants(self) -> Sequence[float | int]:
        return self.rank, self.rounds, -1.0 if self.gamma is None else self.gamma


@dataclass(frozen=True, slots=True)
class _Part:
    """A parameter as sent: a matrix [rows, columns] by a sketch of `rank` vectors, or whole where rank is 0."""

    slot: Slot
    rows: int
    columns: int
    rank: int

    def sent(self, flipped: bool) -> int:
        """Values in a message."""
        return self.rank * (self.rows if flipped else self.columns) if self.rank else self.slot.size

    def kept(self, flipped: bool) -> tuple[int, int]:
        """The shape of the direction that a round starts from."""
        return self.rank, self.columns if flipped else self.rows


def _parts(slots: Sequence[Slot], rank: int) -> list[_Part]:
    parts = []
    for slot in slots:
        rows = slot.shape[0] if slot.shape else 1
        columns = slot.size // rows if rows else 0
        r = min(rank, rows, columns)
        smaller = r * (rows + columns) < 2 * slot.size
        parts.append(_Part(slot, rows, columns, r if smaller and len(slot.shape) > 1 else 0))
    return parts


class _PowerNode(Node):
    """`directions` of edge and parameter start at random, the same at both ends, and are kept at those of the last q."""

    def __init__(self, rank: int, setting: Setting, x: Vector, algorithm: PowerGossip) -> None:
        super().__init__(rank, setting, x)
        self.per_step = algorithm.rounds
        self.gamma = setting.topology.best_diffusion if algorithm.gamma is None else algorithm.gamma
        self.parts = _parts(setting.slots, algorithm.rank)
        self.mark = algorithm.fingerprint(setting)
        self.directions = {
            (j, k): self._random(j, k, -1, part.kept(False)).astype(x.dtype)
            for j in self.neighbours for k, part in enumerate(self.parts) if part.rank
        }  # fmt: skip

    def _random(self, neighbour: int, k: int, when: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Uniform on [-1, 1): the same at both ends of the edge, on every machine."""
        low, high = sorted((self.rank, neighbour))
        seed = message_seed(self.setting.seed, low * self.setting.topology.size + high, when, k)
        return np.random.Generator(np.random.PCG64(seed)).random(shape) * 2 - 1

    def rounds(self, update: Vector, eta: float) -> Rounds:  # noqa: ARG002
        x = self.x - update
        directions = dict(self.directions)
        for r in range(self.time * self.per_step, (self.time + 1) * self.per_step):
            yield from self._round(x, directions, r)
        self.x[:] = x
        self.directions = directions

    def _round(self, x: Vector, directions: dict[tuple[int, int], Vector], r: int) -> Rounds:
        """One round: `x` moves towards the neighbours, `directions` to what was found; every edge starts from the same x."""
        flipped = r % 2 == 1
        edges = {e: orthonormal(d, partial(self._random, *e, r, d.shape)) for e, d in directions.items()}
        mine = {j: list(self._values(x, j, edges, flipped)) for j in self.neighbours}
        incoming = yield from self._exchange(mine, r, flipped)
        whole = x.copy()
        for j, weight in zip(self.neighbours, self.weights, strict=True):
            side = 1.0 if self.rank < j else -1.0
            for k, part in enumerate(self.parts):
                own, other = mine[j][k], incoming[j][k]
                if not part.rank:
                    x[part.slot.part] -= weight * (whole[part.slot.part] - other)
                    continue
                found = (own - other if self.rank < j else other - own).reshape(part.rank, -1)
                left, right = (found, edges[j, k]) if flipped else (edges[j, k], found)
                add_outer(_matrix(x, part), left, right, -side * weight * self.gamma)
                directions[j, k] = found

    def _values(self, x: Vector, j: int, edges: Mapping[tuple[int, int], Vector], flipped: bool) -> Iterator[Vector]:
        for k, part in enumerate(self.parts):
            if part.rank:
                yield sketch(_matrix(x, part), edges[j, k], transposed=flipped).reshape(-1)
            else:
                yield x[part.slot.part]

    def _exchange(self, mine: Mapping[int, Sequence[Vector]], r: int, flipped: bool) -> Any:
        """Send each neighbour its values; what each sent, as vectors, all of them checked."""
        out: dict[int, bytes] = {}
        for j, values in mine.items():
            out[j] = pack([self._bytes(v, k) for k, v in enumerate(values)], self._addresses(self.rank, r))
        incoming = yield out
        return {j: self._read(incoming[j], j, r, flipped) for j in self.neighbours}

    def _addresses(self, sender: int, r: int) -> list[Address]:
        return [Address(sender, part.slot.name, r, self.mark) for part in self.parts]

    def _bytes(self, values: Vector, k: int) -> bytes:
        try:
            return _LOSSLESS.compress(values)
        except InputError as error:
            name = self.parts[k].slot.name
            raise InputError(f"parameter {name!r} of node {self.rank} at step {self.time}: {error}") from None

    def _read(self, message: bytes | memoryview, sender: int, r: int, flipped: bool) -> list[Vector]:
        addresses = self._addresses(sender, r)
        values = []
        for part, address, payload in zip(self.parts, addresses, unpack(message, addresses), strict=True):
            try:
                values.append(_LOSSLESS.decompress(payload, part.sent(flipped), self.x.dtype))
            except FormatError as error:
                raise type(error)(f"{address}: {error}") from None
            if not np.isfinite(values[-1]).all():
                raise FormatError(f"{address}: it holds values that aren't finite")
        return values

    def arrays(self) -> dict[str, NDArray[Any]]:
        edges = {f"edge {j}, {self.parts[k].slot.name}": d for (j, k), d in self.directions.items()}
        return {"x": self.x, **edges}

    def load(self, arrays: Mapping[str, NDArray[Any]], time: int) -> None:
        flipped = time * self.per_step % 2 == 1
        before = self.directions
        self.directions = {
            (j, k): np.empty(self.parts[k].kept(flipped), self.x.dtype) for j, k in self.directions
        }  # fmt: skip
        try:
            super().load(arrays, time)
        except InputError:
            self.directions = before
            raise


def _matrix(x: Vector, part: _Part) -> Vector:
    return x[part.slot.part].reshape(part.rows, part.columns)
