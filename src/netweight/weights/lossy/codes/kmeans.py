"""Scalar codebooks: each weight as the index of the nearest of at most 256 levels (Lloyd 1957; Han et al. 2016).

body := levels - 1 (1) | codebook (books.py) | indices (indices.py)
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ....wire import Reader, Writer
from ...coders.scales import Shape
from ..code import LossyCode
from ..values import Floats, squares
from .books import read_book, write_book
from .cells import cells_of
from .indices import checked, read_indices, write_indices
from .levels import entropy_constrained, fewest_levels

DESIGNS: Final = ("lloyd", "ecsq")
_CELLS: Final = {"lloyd": 2048, "ecsq": 1024}


@njit(nogil=True, cache=True)
def levels_below(values, borders, out):  # type: ignore[no-untyped-def]
    """out[i] = how many `borders` (ascending) aren't above values[i]."""
    top = 1
    while top < borders.size + 1:
        top *= 2
    for i in range(values.size):
        at, step = 0, top // 2
        while step:
            if at + step <= borders.size and borders[at + step - 1] <= values[i]:
                at += step
            step //= 2
        out[i] = at


class KMeans(LossyCode):
    """A codebook for all: of the fewest levels that hold the error ("lloyd"; the best k-means there is), or of those
    with the least entropy at that error ("ecsq"). `coder` says what makes bytes of the indices (indices.CODERS).
    """

    id = "netweight.lossy.kmeans"

    def __init__(self, rel_mse: float = 0.01, design: str = "lloyd", coder: str = "rans") -> None:
        """Raises ValueError for an error, a design or a coder that isn't one."""
        super().__init__(rel_mse)
        if design not in DESIGNS:
            raise ValueError(f"design is {design!r}; it must be one of {', '.join(DESIGNS)}")
        self.design, self.coder = design, checked(coder)

    def config(self) -> dict[str, Any]:
        return super().config() | {"design": self.design, "coder": self.coder}

    def quantise(self, values: Floats, shapes: list[Shape], rel_mse: float) -> tuple[bytes, Floats] | None:
        cells, noise = cells_of(values, _CELLS[self.design]), rel_mse * squares(values)
        lloyd = self.design == "lloyd"
        borders = fewest_levels(cells, noise) if lloyd else entropy_constrained(cells, noise)
        if borders is None:
            return None
        out = Writer().raw(bytes([borders.size - 2]))
        book, indices = write_book(out, cells.centroids(borders)), np.empty(values.size, np.uint8)
        # the nearest level costs least error, but at a price for entropy the borders lie elsewhere
        levels_below(values, _middles(book) if lloyd else cells.lowest[borders[1:-1]], indices)
        write_indices(out, indices, book.size, shapes, self.coder, book.astype(np.float64) ** 2)
        return out.bytes(), book[indices]

    def restore(self, body: memoryview, shapes: list[Shape]) -> Floats:
        source = Reader(body, self.id)
        book = read_book(source, (source.byte() + 1,))
        indices = read_indices(source, book.size, shapes, self.coder)
        source.end()
        return np.asarray(book[indices])


def _middles(book: Floats) -> Floats:
    """Borders between neighbouring levels."""
    wide = book.astype(np.float64)
    return np.asarray(((wide[1:] + wide[:-1]) / 2).astype(np.float32))
