"""The shape of a causal transformer, and what this engine can run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Final

from ...errors import FormatError, UnsupportedError

MAX_POSITIONS: Final = 1 << 15
"""Positions of one sequence, at most: sums over the attention weights stay exact."""
_MOST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Config:
    """A decoder-only transformer. Widths in numbers; `rope_base` 0 means learned positions.

    `gated`: SwiGLU (Llama family), else GELU in its tanh form. `centred`: LayerNorm, else RMSNorm.
    `rope_factors` divide the rotation frequencies, one a pair of a head's coordinates; empty for none.
    """

    architecture: str
    vocabulary: int
    context: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_size: int
    hidden: int
    epsilon: float
    gated: bool
    centred: bool
    rope_base: float
    rope_factors: tuple[float, ...] = ()

    def check(self, name: str) -> Config:
        """Itself. Raises FormatError for widths that no model has, UnsupportedError for those that the kernels can't do."""
        sizes = (self.vocabulary, self.context, self.layers, self.width, self.heads, self.kv_heads, self.head_size)
        if not all(0 < size <= _MOST for size in (*sizes, self.hidden)):
            raise FormatError(f"{name}: a model of impossible size: {self}")
        if self.heads % self.kv_heads or self.head_size % 2 or not 0 < self.epsilon < 1:
            raise FormatError(f"{name}: heads that don't fit together: {self}")
        if self.head_size > 256 or max(self.width, self.hidden) > 1 << 16:
            raise UnsupportedError(f"{name}: heads over 256 or layers over 65536 wide can't be summed exactly here")
        turned, factors = self.architecture != "gpt2", self.rope_factors
        fit = not factors or (len(factors) == self.head_size // 2 and all(0.5 <= f <= _MOST for f in factors))
        if (self.rope_base >= 1) != turned or not fit:
            raise FormatError(f"{name}: rotations that don't fit the heads")
        return self

    @property
    def positions(self) -> int:
        """Positions that a sequence may have here."""
        return min(self.context, MAX_POSITIONS)

    @property
    def qkv(self) -> int:
        """Rows of the joint projection to queries, keys and values."""
        return (self.heads + 2 * self.kv_heads) * self.head_size

    def json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Config:
        """The inverse of `json`, for text of our own."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "rope_factors": tuple(fields["rope_factors"])})


def number(fields: dict[str, Any], key: str, name: str, default: float | None = None) -> float:
    """The number `fields[key]`. Raises FormatError if it is missing (without a default) or isn't one."""
    value = fields.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise FormatError(f"{name}: {key!r} should be a number, not {value!r}")
    return value


def whole(fields: dict[str, Any], key: str, name: str, default: int | None = None) -> int:
    """The whole number `fields[key]`. Raises FormatError."""
    value = number(fields, key, name, default)
    if value != int(value):
        raise FormatError(f"{name}: {key!r} should be a whole number, not {value!r}")
    return int(value)
