"""Keys and values of the positions that a model has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from .config import Config


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: int8 [B, K, T, d] keys and values, their float32 [B, K, T] scales, and the running maximum of the values'."""

    k: NDArray[np.int8]
    v: NDArray[np.int8]
    k_scales: NDArray[np.float32]
    v_scales: NDArray[np.float32]
    v_most: NDArray[np.float32]

    @classmethod
    def empty(cls, config: Config, batch: int, length: int) -> Layer:
        shape = (batch, config.kv_heads, length)
        k, v = np.empty((2, *shape, config.head_size), np.int8)
        return cls(k, v, *np.empty((3, *shape), np.float32))

    def copy(self, rows: NDArray[np.int64], count: int, into: Layer) -> None:
        for mine, its in zip(self._arrays(), into._arrays(), strict=True):
            its[:, :, :count] = mine[rows, :, :count]

    def _arrays(self) -> tuple[NDArray[np.int8] | NDArray[np.float32], ...]:
        return self.k, self.v, self.k_scales, self.v_scales, self.v_most


@dataclass(slots=True)
class State:
    """`batch` sequences that have seen the same number of positions, `count` of at most `length`."""

    config: Config
    batch: int
    length: int
    count: int = 0
    layers: list[Layer] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.batch < 1 or not 1 <= self.length <= self.config.positions:
            raise InputError(
                f"{self.batch} sequences of {self.length} positions: the model has 1 to {self.config.positions} positions"
            )
        self.layers = [Layer.empty(self.config, self.batch, self.length) for _ in range(self.config.layers)]

    def drop(self, count: int) -> None:
        """Forget all positions after the first `count`. Raises InputError if there are fewer."""
        if not 0 <= count <= self.count:
            raise InputError(f"can't go back to position {count} from {self.count}")
        self.count = count

    def fork(self, rows: Sequence[int], length: int | None = None) -> State:
        """A state of its own whose sequences are copies of `rows`, with room for `length` positions (as here if None)."""
        made = State(self.config, len(rows), max(self.count, self.length if length is None else length))
        chosen = np.array(rows, np.int64)
        if chosen.min() < 0 or chosen.max() >= self.batch:
            raise InputError(f"no such rows among {self.batch}: {list(rows)}")
        for mine, its in zip(self.layers, made.layers, strict=True):
            mine.copy(chosen, self.count, its)
        made.count = self.count
        return made
