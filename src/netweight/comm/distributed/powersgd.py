"""PowerSGD: a gradient matrix as the product of two thin ones, found by one step of power iteration (arXiv 1905.13727).

    P = sum M_i Q / w, orthonormalised; Q = sum M_i^T P / w; the estimate is P Q^T

Both products are linear in M, so they are all-reduced as they are: two rounds, and bytes that don't grow with the number of
ranks. Q is kept for the next step (warm start); what a rank's own M_i lost, M_i - P Q_i^T, is fed back (algorithm 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...errors import InputError
from ..compressor import Vector
from ..compressors.cast import Identity
from ..state.feedback import ErrorFeedback
from .summing import EVERY_RANK, all_reduced

Matrix = NDArray[Any]


@dataclass
class _Sketch:
    """One matrix of a bucket: its place there, M (n, m), and the thin matrices P (n, r) and Q (m, r)."""

    place: int
    name: str
    m: Matrix
    absent: bool
    q: Matrix
    p: Matrix


class PowerSGD(ErrorFeedback):
    """State of `ddp_hook`: matrices by rank-`rank` sketches, the rest as it is.

    A parameter is the matrix (its first axis, all others). It is sketched where that takes `least_ratio` times fewer values
    or better. Options are those of `ErrorFeedback`; a sum has no capacity.
    """

    kind: ClassVar[str] = "PowerSGD"
    slots: ClassVar[tuple[str, ...]] = ("error", "sketch")
    may_average_in_parts: ClassVar[bool] = False

    def __init__(self, rank: int = 1, *, least_ratio: float = 2.0, **options: Any) -> None:
        if rank < 1:
            raise InputError(f"a sketch's rank is at least 1, not {rank}")
        if options.get("capacity") is not None:
            raise InputError("PowerSGD sums sketches of fixed size: it takes no capacity")
        super().__init__(Identity(), **options)
        self.rank, self.least_ratio = rank, least_ratio

    def settings(self) -> dict[str, Any]:
        """The rank as well."""
        return super().settings() | {"rank": self.rank, "least_ratio": self.least_ratio}

    def average(
        self, names: Sequence[str], vectors: Sequence[Vector], shapes: Sequence[tuple[int, ...]]
    ) -> list[Vector]:
        """Two all-reduces for each dtype of the bucket: P and all that isn't sketched, then Q."""
        out = [np.zeros_like(x) for x in vectors]
        for kind in sorted({x.dtype.name for x in vectors}):
            chosen = [k for k, x in enumerate(vectors) if x.dtype.name == kind and x.size]
            if chosen:
                self._average(chosen, names, vectors, shapes, out)
        return out

    def _average(
        self,
        chosen: Sequence[int],
        names: Sequence[str],
        vectors: Sequence[Vector],
        shapes: Sequence[tuple[int, ...]],
        out: list[Vector],
    ) -> None:
        sketches = [self._sketch(k, names[k], vectors[k], shapes[k]) for k in chosen if self.sketched(shapes[k])]
        plain = sorted({*chosen} - {s.place for s in sketches})
        order = [*plain, *(s.place for s in sketches)]
        first = [vectors[k] for k in plain] + [s.p for s in sketches]
        means = all_reduced(self, [names[k] for k in order], first)
        for k, mean in zip(plain, means, strict=False):
            out[k] = mean
            self.wire.charge(names[k], mean.nbytes, mean.nbytes)
        if sketches:
            self._second_round(sketches, means[len(plain) :], out)

    def _sketch(self, place: int, name: str, x: Vector, shape: tuple[int, ...]) -> _Sketch:
        vector = self.outgoing(name, x)
        absent = vector is None or not np.isfinite(vector).all()
        m = (x if vector is None else vector).reshape(shape[0], -1)
        r = min(self.rank, *m.shape)
        q = self._start(name, m.shape[1], r, x.dtype)
        return _Sketch(place, name, m, absent, q, np.ascontiguousarray(m @ q))

    def _start(self, name: str, m: int, r: int, kind: np.dtype[Any]) -> Matrix:
        """Q of the last step, orthonormal; columns that vanished, and all of them at first, are random signs."""
        kept = self.remembered("sketch", name, np.empty(m * r, kind))
        q = np.zeros((m, r), kind) if kept is None else kept.reshape(m, r).copy()
        gone = ~q.any(axis=0)
        if gone.any():
            draw = np.random.default_rng(self.seed_of(EVERY_RANK, name))
            q[:, gone] = draw.integers(0, 2, (m, int(gone.sum()))) * 2 - 1
        orthonormalise(q)
        return q

    def _second_round(self, sketches: Sequence[_Sketch], means: Sequence[Vector], out: list[Vector]) -> None:
        for s, mean in zip(sketches, means, strict=True):
            s.p = mean.reshape(s.p.shape).copy()
            orthonormalise(s.p)
        own = [np.ascontiguousarray(s.m.T @ s.p) for s in sketches]
        for s, mine, mean in zip(sketches, own, all_reduced(self, [s.name for s in sketches], own), strict=True):
            q = mean.reshape(mine.shape)
            out[s.place] = product(s.p, q).reshape(-1)
            self.wire.charge(s.name, s.m.nbytes, s.p.nbytes + q.nbytes)
            if not np.isfinite(q).all():
                continue
            self.remember("sketch", s.name, mean.copy())
            if not s.absent:
                self.sent(s.name, s.m.reshape(-1), product(s.p, mine).reshape(-1))

    def sketched(self, shape: tuple[int, ...]) -> bool:
        """Whether a parameter of `shape` is worth a sketch."""
        if len(shape) < 2 or 0 in shape:
            return False
        n, m = shape[0], math.prod(shape[1:])
        return (n + m) * min(self.rank, n, m) * self.least_ratio <= n * m


def product(p: Matrix, q: Matrix) -> Matrix:
    """P Q^T, rank by rank in order, without BLAS: the same bits on every machine."""
    out = np.multiply.outer(p[:, 0], q[:, 0])
    for k in range(1, p.shape[1]):
        out += np.multiply.outer(p[:, k], q[:, k])
    return out


@njit(nogil=True, cache=True)
def orthonormalise(a):  # type: ignore[no-untyped-def]
    """Gram-Schmidt on the columns of `a` (n, r), in place; a column that depends on those before it becomes zeros.

    Sums in float64 and in order: every rank gets the same bits from the same sums.
    """
    n, r = a.shape
    for k in range(r):
        before = 0.0
        for i in range(n):
            before += float(a[i, k]) * float(a[i, k])
        for _ in range(2):  # twice is enough (Kahan and Parlett)
            for j in range(k):
                dot = 0.0
                for i in range(n):
                    dot += float(a[i, j]) * float(a[i, k])
                for i in range(n):
                    a[i, k] -= dot * a[i, j]
        norm = 0.0
        for i in range(n):
            norm += float(a[i, k]) * float(a[i, k])
        inverse = 1.0 / math.sqrt(norm) if norm > 1e-12 * before else 0.0
        if norm != norm:  # noqa: PLR0124  NaN passes through
            inverse = norm
        for i in range(n):
            a[i, k] *= inverse
