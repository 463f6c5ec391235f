"""Residual quantisation: each stage quantises what the stages before left over, with a small codebook of its own
(Juang and Gray 1982; Chen, Guan, Wang 2010).

body  := dim(1) | stages(1) | for each: centroids - 1 (1) | codebook, by growing norm (books.py) | indices (indices.py)
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ....errors import FormatError
from ....wire import Reader, Writer
from ...coders.scales import Shape
from ..code import LossyCode
from ..values import Floats, squares
from .books import read_book, write_book
from .indices import MOST, WIDE_CODERS, checked, count_of, read_indices, write_indices
from .product import DIMS, assign, by_norm, energies, vector_shapes
from .vectors import as_vectors, fewest_centroids, train

_MOST_STAGES: Final = 16


class Residual(LossyCode):
    """Vectors of `dim` weights (1: scalar) as a sum of centroids, one of at most `centroids` from each stage; as many
    stages as the error needs, the last one as small as it may be. `coder` as in indices.py, of WIDE_CODERS.
    """

    id = "netweight.lossy.residual"

    def __init__(self, rel_mse: float = 0.01, dim: int = 4, centroids: int = 256, coder: str = "rans") -> None:
        """Raises ValueError for a setting that isn't one."""
        super().__init__(rel_mse)
        if type(dim) is not int or dim not in DIMS:
            raise ValueError(f"dim is {dim!r}; it must be one of {DIMS}")
        if type(centroids) is not int or not 2 <= centroids <= MOST:
            raise ValueError(f"centroids is {centroids!r}; it must be from 2 to {MOST}")
        self.dim, self.centroids, self.coder = dim, centroids, checked(coder, WIDE_CODERS)

    def config(self) -> dict[str, Any]:
        return super().config() | {"dim": self.dim, "centroids": self.centroids, "coder": self.coder}

    def quantise(self, values: Floats, shapes: list[Shape], rel_mse: float) -> tuple[bytes, Floats] | None:
        noise, stages = rel_mse * squares(values), Writer()
        left, restored = as_vectors(values, self.dim), as_vectors(np.zeros_like(values), self.dim)
        for stage in range(1, _MOST_STAGES + 1):
            last = fewest_centroids(left, noise, self.centroids)
            centroids = train(left, self.centroids) if last is None else last
            book = self._write_stage(stages, centroids, left, restored, shapes)
            if last is not None:
                body = bytes([self.dim, stage]) + stages.bytes()
                return body, restored.reshape(-1)[: values.size]
            left -= book
        return None

    def _write_stage(
        self, out: Writer, centroids: Floats, left: Floats, restored: Floats, shapes: list[Shape]
    ) -> Floats:
        """Codes `left` by `centroids`; adds what the reader gets of it to `restored` and returns it."""
        out.raw(bytes([len(centroids) - 1]))
        book = write_book(out, by_norm(centroids).astype(np.float64))
        indices = assign(left, book).astype(np.uint8)
        write_indices(out, indices, len(book), vector_shapes(shapes, self.dim), self.coder, energies(book))
        part = book[indices]
        restored += part
        return part

    def restore(self, body: memoryview, shapes: list[Shape]) -> Floats:
        source = Reader(body, self.id)
        dim, stages = source.byte(), source.byte()
        if dim != self.dim or not 1 <= stages <= _MOST_STAGES:
            raise FormatError(f"{self.id}: {stages} stages of vectors of {dim} weights")
        placed = vector_shapes(shapes, dim)
        restored = np.zeros((count_of(placed), dim), np.float32)
        for _ in range(stages):
            book = read_book(source, (source.byte() + 1, dim))
            with np.errstate(over="ignore", invalid="ignore"):
                restored += book[read_indices(source, len(book), placed, self.coder)]
        source.end()
        if not bool(np.isfinite(restored).all()):
            raise FormatError(f"{self.id}: a weight that isn't finite")
        return restored.reshape(-1)[: count_of(shapes)]
