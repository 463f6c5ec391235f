"""A matrix of distances between texts, and the tree that it suggests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, MissingExtraError
from ..cluster import Workers
from .lengths import Lengths
from .pairs import Method, Order, Progress, distances

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Matrix:
    """`distances`: float64 [texts, texts], row x first where the order is "query-first"; `bits`: C of each text."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    code: str
    unit: str
    method: Method
    order: Order
    bits: Floats
    distances: Floats

    def to_dict(self) -> dict[str, Any]:
        return {
            "code": self.code, "unit": self.unit, "method": self.method, "order": self.order, "names": list(self.names),
            "bytes": list(self.sizes), "bits": self.bits.tolist(),
            "distances": [[x if isfinite(x) else None for x in row] for row in self.distances.tolist()],
        }  # fmt: skip


def matrix_of(
    lengths: Lengths,
    texts: Sequence[bytes],
    names: Sequence[str],
    *,
    method: Method = "ncd",
    order: Order = "both",
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> Matrix:
    """All distances between `texts`. "both" gives a symmetric matrix but for "conditional". Raises InputError."""
    if len(texts) != len(names) or len(texts) < 2:
        raise InputError(f"a matrix needs two texts or more with a name each, not {len(texts)} with {len(names)}")
    far = distances(lengths, texts, texts, method=method, order=order, workers=workers, progress=progress)
    sizes, bits = tuple(map(len, texts)), lengths.each(texts)
    return Matrix(tuple(names), sizes, lengths.name, lengths.unit, method, order, bits, far)


def tree(matrix: Matrix) -> Floats:
    """Average linkage (UPGMA) of the symmetrised distances, as scipy's `linkage`: float64 [texts - 1, 4].

    Raises MissingExtraError, InputError for a distance that isn't finite.
    """
    try:
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import squareform
    except ModuleNotFoundError:
        raise MissingExtraError("scipy", "ncd") from None
    if not np.isfinite(matrix.distances).all():
        raise InputError("no tree: a distance isn't finite (two texts that take no bits)")
    far = (matrix.distances + matrix.distances.T) / 2
    far = np.maximum(far, 0.0)
    np.fill_diagonal(far, 0.0)
    joined: Floats = linkage(squareform(far, checks=False), "average")
    return joined
