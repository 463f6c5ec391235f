"""GGUF's quantised blocks as fields: which bytes of a block are scales, mins and quants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


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


def _block(name: str, number: int, weights: int, *fields: tuple[str, int, str]) -> BlockType:
    """A block of `fields` (name, bytes, dtype) that lie end to end."""
    placed, at = [], 0
    for field, nbytes, dtype in fields:
        placed.append(Field(field, at, nbytes, dtype))
        at += nbytes
    return BlockType(name, number, weights, at, tuple(placed))


# Layouts as in ggml-common.h. d is the block's scale, dmin or m its minimum's scale; qs, ql are the low bits of the
# quants, qh and hmask their high bits; scales are those of the sub-blocks.
_ALL: Final = (
    _block("Q4_0", 2, 32, ("d", 2, "F16"), ("qs", 16, "U4")),
    _block("Q4_1", 3, 32, ("d", 2, "F16"), ("m", 2, "F16"), ("qs", 16, "U4")),
    _block("Q5_0", 6, 32, ("d", 2, "F16"), ("qh", 4, "U8"), ("qs", 16, "U4")),
    _block("Q5_1", 7, 32, ("d", 2, "F16"), ("m", 2, "F16"), ("qh", 4, "U8"), ("qs", 16, "U4")),
    _block("Q8_0", 8, 32, ("d", 2, "F16"), ("qs", 32, "U8")),
    # ggml has narrowed d and s of Q8_1 to F16 since; it is used in memory alone, and files go by this older size.
    _block("Q8_1", 9, 32, ("d", 4, "F32"), ("s", 4, "F32"), ("qs", 32, "U8")),
    _block("Q2_K", 10, 256, ("scales", 16, "U4"), ("qs", 64, "U8"), ("d", 2, "F16"), ("dmin", 2, "F16")),
    _block("Q3_K", 11, 256, ("hmask", 32, "U8"), ("qs", 64, "U8"), ("scales", 12, "U8"), ("d", 2, "F16")),
    _block("Q4_K", 12, 256, ("d", 2, "F16"), ("dmin", 2, "F16"), ("scales", 12, "U8"), ("qs", 128, "U4")),
    _block(
        "Q5_K", 13, 256,
        ("d", 2, "F16"), ("dmin", 2, "F16"), ("scales", 12, "U8"), ("qh", 32, "U8"), ("qs", 128, "U4"),
    ),
    _block("Q6_K", 14, 256, ("ql", 128, "U4"), ("qh", 64, "U8"), ("scales", 16, "U8"), ("d", 2, "F16")),
    _block("Q8_K", 15, 256, ("d", 4, "F32"), ("qs", 256, "U8"), ("bsums", 32, "U8")),
    _block("IQ2_XXS", 16, 256, ("d", 2, "F16"), ("qs", 64, "U8")),
    _block("IQ2_XS", 17, 256, ("d", 2, "F16"), ("qs", 64, "U8"), ("scales", 8, "U4")),
    _block("IQ3_XXS", 18, 256, ("d", 2, "F16"), ("qs", 64, "U8"), ("signs", 32, "U8")),
    _block("IQ1_S", 19, 256, ("d", 2, "F16"), ("qs", 32, "U8"), ("qh", 16, "U8")),
    _block("IQ4_NL", 20, 32, ("d", 2, "F16"), ("qs", 16, "U4")),
    _block(
        "IQ3_S", 21, 256,
        ("d", 2, "F16"), ("qs", 64, "U8"), ("qh", 8, "U8"), ("signs", 32, "U8"), ("scales", 4, "U4"),
    ),
    _block(
        "IQ2_S", 22, 256,
        ("d", 2, "F16"), ("qs", 32, "U8"), ("signs", 32, "U8"), ("qh", 8, "U8"), ("scales", 8, "U4"),
    ),
    _block("IQ4_XS", 23, 256, ("d", 2, "F16"), ("scales_h", 2, "U8"), ("scales_l", 4, "U4"), ("qs", 128, "U4")),
    _block("IQ1_M", 29, 256, ("qs", 32, "U8"), ("qh", 16, "U8"), ("scales", 8, "U8")),
    _block("TQ1_0", 34, 256, ("qs", 48, "U8"), ("qh", 4, "U8"), ("d", 2, "F16")),
    _block("TQ2_0", 35, 256, ("qs", 64, "U8"), ("d", 2, "F16")),
    _block("MXFP4", 39, 32, ("e", 1, "U8"), ("qs", 16, "U4")),
    _block("NVFP4", 40, 64, ("d", 4, "U8"), ("qs", 32, "U4")),
    _block("Q1_0", 41, 128, ("d", 2, "F16"), ("qs", 16, "U8")),
)  # fmt: skip
BLOCK_TYPES: Final = {b.name: b for b in _ALL}
