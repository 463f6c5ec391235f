"""Coding of one block: the methods, their numbers on the wire, and which of them an effort tries.

    payload := method number (1 byte) | body

A block is at most a few million elements of one dtype. The cheapest of the codes that were tried is kept, and storing
bounds the loss at one byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import BombError, FormatError
from ..ggml import BLOCK_TYPES
from ..spec import Spec, dtype

Bytes = NDArray[np.uint8]

STORED, CONSTANT, GENERAL, FAST, BALANCED, MIXED, PALETTE, GGML, DELTA, TRELLIS, LOWRANK, MULTIPLES, GRID = range(13)
STRUCTURE, SYMMETRY = 13, 14
_MODULES: Final = {
    CONSTANT: "constant",
    GENERAL: "general",
    FAST: "fast",
    BALANCED: "balanced",
    MIXED: "mixed",
    PALETTE: "palette",
    TRELLIS: "trellis_block",
    LOWRANK: "lowrank",
    MULTIPLES: "multiples",
    GRID: "grid",
    STRUCTURE: "structure_block",
    SYMMETRY: "symmetry_block",
}
NAMES: Final = (
    "stored",
    "constant",
    "general",
    "fast",
    "balanced",
    "max",
    "palette",
    "blocks",
    "delta",
    "trellis",
    "low rank",
    "multiples",
    "grid",
    "structure",
    "symmetry",
)


MAX_BLOCK_BYTES: Final = 128 << 20
MAX_BLOCK_ELEMENTS: Final = 1 << 23
"""What a block may decode to. Encoders cut at 2^22 elements, plus one small tensor."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try: which methods, how many elements share a block, and whether quantised weights are mixed."""

    name: str
    methods: tuple[int, ...]
    block_elements: int
    general_level: int
    mixed: bool = False


EFFORTS: Final = {
    "fast": Effort("fast", (CONSTANT, FAST), 1 << 20, 3),
    "balanced": Effort("balanced", (CONSTANT, PALETTE, BALANCED), 1 << 20, 12),
    "max": Effort("max", (CONSTANT, PALETTE, BALANCED, MIXED, LOWRANK, MULTIPLES, GRID), 1 << 21, 19, mixed=True),
}


@lru_cache
def _coder(method: int) -> Any:
    """The module of a method; imported when used, so that reading a plain file doesn't load every kernel."""
    return import_module(f"{__package__}.coders.{_MODULES[method]}")


def _tries(data: Bytes, spec: Spec, effort: Effort) -> Iterable[tuple[int, Callable[[], bytes | None]]]:
    from .coders import general

    if spec.dtype in BLOCK_TYPES:
        from .coders import ggml

        yield GGML, lambda: ggml.encode_block(data, spec, effort)
        return
    for method in effort.methods:
        yield method, lambda m=method: _coder(m).encode_block(data, spec)  # type: ignore[misc]
    if dtype(spec.dtype).kind in ("uint", "int", "bool") and general.promises(data):
        yield GENERAL, lambda: general.encode_block(data, effort.general_level)


def encode_parts(
    data: Bytes, spec: Spec, effort: Effort, reference: Bytes | None = None
) -> tuple[bytes, bytes | Bytes]:
    """`data` (1-D uint8, `spec.nbytes` long) as the shortest payload that `effort` finds, in two parts: method, body.

    `reference` has the same spec; a payload coded against it decodes with it alone.
    """
    best: tuple[int, bytes | Bytes] = (STORED, data)
    if spec.nbytes > 8:
        for method, attempt in _tries(data, spec, effort):
            body = attempt()
            if body is not None and len(body) < len(best[1]):
                best = (method, body)
            if method == CONSTANT and body is not None:
                break
        if reference is not None:
            from .coders import delta

            body = delta.encode_block(data, _delta_spec(spec), reference)
            if body is not None and len(body) < len(best[1]):
                best = (DELTA, body)
    return bytes([best[0]]), best[1]


def encode_block(data: Bytes, spec: Spec, effort: Effort, reference: Bytes | None = None) -> bytes:
    """`encode_parts` in one piece, which costs a copy."""
    return b"".join(encode_parts(data, spec, effort, reference))


def _delta_spec(spec: Spec) -> Spec:
    """Differences are those of numbers: quantised blocks count as bytes."""
    return Spec.raw(spec.nbytes) if spec.dtype in BLOCK_TYPES else spec


def decode_block(payload: bytes | memoryview, spec: Spec, reference: Bytes | None = None) -> Bytes:
    """The inverse of `encode_block`: `spec.nbytes` bytes. Raises FormatError for any other payload."""
    view = memoryview(payload)
    if not view:
        raise FormatError("empty block")
    if spec.nbytes > MAX_BLOCK_BYTES:
        raise BombError(f"a block of {spec.nbytes} bytes; at most {MAX_BLOCK_BYTES} are decoded at once")
    method, body = view[0], view[1:]
    if method == STORED:
        if len(body) != spec.nbytes:
            raise FormatError(f"stored block of {len(body)} bytes, expected {spec.nbytes}")
        return np.frombuffer(body, np.uint8)
    if method == GGML:
        if spec.dtype not in BLOCK_TYPES:
            raise FormatError(f"{spec.dtype} is no type of quantised blocks")
        from .coders import ggml

        return ggml.decode_block(body, spec)
    if method == DELTA:
        from .coders import delta

        if reference is None:
            raise FormatError("block is coded against a base that isn't given")
        return delta.decode_block(body, _delta_spec(spec), reference)
    if method not in _MODULES or (spec.dtype in BLOCK_TYPES and method != GENERAL):
        raise FormatError(f"unknown method {method}; update netweight")
    decoded: Bytes = _coder(method).decode_block(body, spec)
    return decoded


def method_name(payload: bytes | memoryview) -> str:
    """Which method a payload uses, for people."""
    number = memoryview(payload)[0] if len(payload) else len(NAMES)
    return NAMES[number] if number < len(NAMES) else "unknown"
