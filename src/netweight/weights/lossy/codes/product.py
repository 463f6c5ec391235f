"""Product quantisation: consecutive weights together as the nearest of many centroids (Jégou, Douze, Schmid 2011).

body := dim(1) | centroids - 1 varint | codebook, by growing norm (books.py) | indices of vectors (indices.py, wide)
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ....errors import FormatError
from ....wire import Reader, Writer
from ...coders.scales import Shape
from ..code import LossyCode
from ..values import Floats, squares
from .books import read_book, write_book
from .indices import MOST_WIDE, WIDE_CODERS, checked, count_of, read_wide, write_wide
from .vectors import as_vectors, fewest_centroids, nearest

DIMS: Final = (1, 2, 4, 8)


def vector_shapes(shapes: list[Shape], dim: int) -> list[Shape]:
    """How vectors of `dim` consecutive weights lie: in the rows of each tensor if these divide evenly, else in one row."""
    if all(s.columns % dim == 0 for s in shapes):
        return [Shape(s.rows, s.columns // dim, 1) for s in shapes]
    return [Shape(1, -(-count_of(shapes) // dim), 1)]


def by_norm(centroids: Floats) -> Floats:
    """Centroids (float32 [k, dim]) in order of growing norm."""
    order = np.argsort(energies(centroids), kind="stable")
    return np.asarray(centroids[order])


def energies(centroids: Floats) -> NDArray[np.float64]:
    """Squared norm of each centroid."""
    return np.asarray(np.square(centroids, dtype=np.float64).sum(axis=1))


def assign(vectors: Floats, book: Floats) -> NDArray[np.int32]:
    """The number in `book` (float32 [k, dim], any order) of the centroid nearest to each vector."""
    order = np.argsort(book[:, 0], kind="stable").astype(np.int32)
    found = np.empty(len(vectors), np.int32)
    nearest(vectors, np.ascontiguousarray(book[order]), found)
    return np.asarray(order[found])


class Product(LossyCode):
    """Sub-vectors of `dim` weights (2, 4 or 8; halved where 4,096 centroids can't hold the error), the fewest centroids
    that hold it. `coder` as in indices.py, of WIDE_CODERS.
    """

    id = "netweight.lossy.product"

    def __init__(self, rel_mse: float = 0.01, dim: int = 2, coder: str = "rans") -> None:
        """Raises ValueError for a setting that isn't one."""
        super().__init__(rel_mse)
        if type(dim) is not int or dim not in DIMS[1:]:
            raise ValueError(f"dim is {dim!r}; it must be one of {DIMS[1:]}")
        self.dim, self.coder = dim, checked(coder, WIDE_CODERS)

    def config(self) -> dict[str, Any]:
        return super().config() | {"dim": self.dim, "coder": self.coder}

    def quantise(self, values: Floats, shapes: list[Shape], rel_mse: float) -> tuple[bytes, Floats] | None:
        noise, dim = rel_mse * squares(values), self.dim
        while dim > 1:
            vectors = as_vectors(values, dim)
            centroids = fewest_centroids(vectors, noise, MOST_WIDE)
            if centroids is not None:
                return self._coded(vectors, by_norm(centroids), values.size, shapes)
            dim //= 2
        return None

    def _coded(self, vectors: Floats, centroids: Floats, count: int, shapes: list[Shape]) -> tuple[bytes, Floats]:
        out = Writer().raw(bytes([vectors.shape[1]])).varint(len(centroids) - 1)
        book = write_book(out, centroids.astype(np.float64))
        indices = assign(vectors, book)
        write_wide(out, indices, len(book), vector_shapes(shapes, vectors.shape[1]), self.coder, energies(book))
        return out.bytes(), book[indices].reshape(-1)[:count]

    def restore(self, body: memoryview, shapes: list[Shape]) -> Floats:
        source = Reader(body, self.id)
        dim, size = source.byte(), source.varint(limit=MOST_WIDE - 1) + 1
        if dim not in DIMS:
            raise FormatError(f"{self.id}: vectors of {dim} weights")
        book = read_book(source, (size, dim))
        indices = read_wide(source, size, vector_shapes(shapes, dim), self.coder)
        source.end()
        return np.asarray(book[indices].reshape(-1)[: count_of(shapes)])
