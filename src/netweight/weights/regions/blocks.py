"""GGUF's quantised blocks as fields: which bytes of a block are scales, mins and quants."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """`nbytes` bytes at `offset` in each block, read as `dtype` ("F16", "F32", "U8", or "U4": two a byte)."""

    name: str
    offset: int
    nbytes: int
    dtype: str


@dataclass(frozen=True, slots=True)
class BlockType:
    """One of ggml's types: `weights` weights in `nbytes` bytes. `number` is ggml's. The fields tile the block."""

    name: str
    number: int
    weights: int
    nbytes: int
    fields: tuple[Field, ...]
