"""What a block of bytes holds: a dtype and one or more shapes.

Every codec maps bytes to bytes and is told what the bytes are by a `Spec`. The spec is what the receiver must know
beside the payload, so a frame and an archive both write it, and its bytes are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Final

from .errors import FormatError, UnsupportedError
from .ggml import BLOCK_TYPES

MAX_RANK: Final = 64
MAX_BYTES: Final = 1 << 62
MAX_ELEMENTS: Final = MAX_BYTES >> 4  # of 16 bytes


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.

    `bits` is its width; `sign`, `exponent` and `mantissa` are the widths of its fields, high to low (all 0 for a type
    that isn't a float). `word` is the width of the unsigned little-endian words that its bytes are read as.
    `number` is its place in the wire format and never changes.
    """

    name: str
    number: int
    bits: int
    kind: str  # "float" | "int" | "uint" | "bool" | "complex" | "packed"
    sign: int = 0
    exponent: int = 0
    mantissa: int = 0

    @property
    def word(self) -> int:
        if self.kind == "packed":
            return 8
        return self.bits // 2 if self.kind == "complex" else self.bits


_ALL: Final = (
    DType("U8", 0, 8, "uint"),
    DType("I8", 1, 8, "int"),
    DType("U16", 2, 16, "uint"),
    DType("I16", 3, 16, "int"),
    DType("U32", 4, 32, "uint"),
    DType("I32", 5, 32, "int"),
    DType("U64", 6, 64, "uint"),
    DType("I64", 7, 64, "int"),
    DType("BOOL", 8, 8, "bool"),
    DType("F64", 9, 64, "float", 1, 11, 52),
    DType("F32", 10, 32, "float", 1, 8, 23),
    DType("F16", 11, 16, "float", 1, 5, 10),
    DType("BF16", 12, 16, "float", 1, 8, 7),
    DType("F8_E4M3", 13, 8, "float", 1, 4, 3),
    DType("F8_E5M2", 14, 8, "float", 1, 5, 2),
    DType("F8_E8M0", 15, 8, "float", 0, 8, 0),
    DType("F8_E4M3FNUZ", 16, 8, "float", 1, 4, 3),
    DType("F8_E5M2FNUZ", 17, 8, "float", 1, 5, 2),
    DType("C64", 18, 64, "complex"),
    DType("C128", 19, 128, "complex"),
    DType("F4", 20, 4, "packed"),
    DType("F6_E2M3", 21, 6, "packed"),
    DType("F6_E3M2", 22, 6, "packed"),
)
DTYPES: Final = {d.name: d for d in _ALL}
DTYPE_BY_NUMBER: Final = {d.number: d for d in _ALL}
_BLOCK_TYPES_FROM: Final = 256  # GGML's numbers follow after ours


def dtype(name: str) -> DType:
    """The dtype called `name` (safetensors' names). Raises UnsupportedError."""
    try:
        return DTYPES[name]
    except KeyError:
        raise UnsupportedError(f"unknown dtype {name!r}; known are {', '.join(DTYPES)}") from None


def number_of(name: str) -> int:
    """The wire number of a dtype or a GGML block type."""
    return BLOCK_TYPES[name].number + _BLOCK_TYPES_FROM if name in BLOCK_TYPES else dtype(name).number


def name_of(number: int) -> str:
    """The inverse of `number_of`. Raises FormatError."""
    if number in DTYPE_BY_NUMBER:
        return DTYPE_BY_NUMBER[number].name
    for block in BLOCK_TYPES.values():
        if block.number + _BLOCK_TYPES_FROM == number:
            return block.name
    raise FormatError(f"unknown dtype number {number}; update netweight")


def element_count(shape: tuple[int, ...]) -> int:
    """The number of elements of `shape`. Raises FormatError for negative sizes and absurd products.

    Sizes beside a zero count too: numpy can't make such an array either.
    """
    if len(shape) > MAX_RANK or any(n < 0 for n in shape):
        raise FormatError(f"impossible shape {shape}")
    if prod(n for n in shape if n) > MAX_ELEMENTS:
        raise FormatError(f"impossible shape {shape}: too many elements")
    return prod(shape)


def byte_count(name: str, shape: tuple[int, ...]) -> int:
    """The exact bytes of a tensor. Raises FormatError for impossible shapes, UnsupportedError for unknown dtypes."""
    count = element_count(shape)
    if name not in BLOCK_TYPES:
        return (count * dtype(name).bits + 7) // 8
    block = BLOCK_TYPES[name]
    if count % block.weights:
        raise FormatError(f"{count} weights are no whole number of {name} blocks of {block.weights}")
    return count // block.weights * block.nbytes


@dataclass(frozen=True)
class Spec:
    """`dtype` (a name of DTYPES or of a GGML block type) and the shapes of the tensors that lie end to end in a block
    (mostly one; small ones share a block).

    Invariant: `nbytes` is the exact length of the bytes described; a packed dtype is padded to a whole byte per tensor.
    """

    dtype: str
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def raw(cls, length: int) -> Spec:
        """Plain bytes."""
        return cls("U8", ((length,),))

    @cached_property
    def count(self) -> int:
        """Elements in all."""
        return sum(element_count(s) for s in self.shapes)

    @cached_property
    def nbytes(self) -> int:
        total = sum(byte_count(self.dtype, s) for s in self.shapes)
        if total > MAX_BYTES:
            raise FormatError(f"impossible shapes: {total} bytes in all")
        return total

    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Each shape as (rows, columns): the first axis against all others; a vector is one row."""
        out = []
        for shape in self.shapes:
            count = element_count(shape)
            rows = shape[0] if len(shape) > 1 and count else 1
            out.append((rows, count // rows))
        return tuple(out)
