"""Blocks of every dtype coded by every method, for attacks on the decoders."""

from __future__ import annotations

from importlib.util import find_spec
from random import Random
from typing import Any

import numpy as np

from netweight.ggml import BLOCK_TYPES
from netweight.spec import DTYPES, Spec
from netweight.weights import methods
from netweight.weights.methods import EFFORTS, encode_block

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def efforts() -> list[str]:
    """Those whose every method is there."""
    names = methods._MODULES
    there = {m for m in names if find_spec(f"netweight.weights.coders.{names[m]}")}
    return [name for name, effort in EFFORTS.items() if set(effort.methods) <= there]


def bell(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    rows = np.exp2(random.normal(size=(shape[0],) + (1,) * (len(shape) - 1)))
    return np.asarray(random.normal(size=shape) * rows * 0.02, np.float32)


def block_bytes(name: str, shape: tuple[int, ...], kind: str = "bell") -> tuple[Bytes, Spec]:
    """Plausible bytes of a dtype or block type: "bell", "few" (distinct values), "same" or "noise"."""
    spec = Spec(name, (shape,))
    random = np.random.default_rng(len(name) + len(kind))
    if kind == "same":
        return np.zeros(spec.nbytes, np.uint8), spec
    if kind == "noise" or name in BLOCK_TYPES:
        data = random.integers(0, 256, spec.nbytes, dtype=np.uint8)
        for field in BLOCK_TYPES[name].fields if name in BLOCK_TYPES and kind != "noise" else ():
            if field.dtype == "F16":
                scale = np.abs(bell(1, spec.nbytes // BLOCK_TYPES[name].nbytes)).astype(np.float16).view(np.uint8)
                place = slice(field.offset, field.offset + 2)
                data.reshape(-1, BLOCK_TYPES[name].nbytes)[:, place] = scale.reshape(-1, 2)
        return data, spec
    values = bell(2, *shape)
    if kind == "few":
        values = np.sign(values) * np.float32(0.5)
    return _as(values, name, spec), spec


def _as(values: np.ndarray[Any, Any], name: str, spec: Spec) -> Bytes:
    from netweight.tensors import numpy_dtype

    if DTYPES[name].kind == "packed":
        return np.random.default_rng(3).integers(0, 99, spec.nbytes, dtype=np.uint8)
    target = numpy_dtype(name)
    if target.kind in "iu":
        values = np.rint(values * 300)
        values = np.abs(values) if target.kind == "u" else values
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(values.astype(target)).reshape(-1).view(np.uint8).copy()


def changed(data: Bytes) -> Bytes:
    """A base: some bytes are other by a little."""
    out = data.copy()
    out[:: max(1, data.size // 97)] ^= 3
    return out


def every_block() -> list[tuple[Bytes, Spec]]:
    made = [block_bytes(name, (16, 24), kind) for name in DTYPES for kind in ("bell", "few", "same", "noise")]
    made += [block_bytes(name, (6, 256)) for name in BLOCK_TYPES]
    made += [block_bytes("F32", shape) for shape in ((1000,), (1, 700), (700, 1), (40, 3, 3, 3), (64, 48))]
    many = Spec("BF16", ((20, 30), (7,), (), (33, 2), (0, 4), (50,)))
    return [*made, (block_bytes("BF16", (many.count,))[0], many)]


def coded_blocks() -> list[tuple[Spec, bytes, bytes | None]]:
    """(spec, payload, reference), each distinct payload of each effort, with and without a base."""
    found: dict[tuple[str, bytes], tuple[Spec, bytes, bytes | None]] = {}
    for data, spec in every_block():
        for effort in efforts():
            for reference in (None, changed(data)):
                payload = encode_block(data, spec, EFFORTS[effort], reference)
                known = None if reference is None else reference.tobytes()
                found.setdefault((spec.dtype, payload), (spec, payload, known))
    blocks = list(found.values())
    Random(5).shuffle(blocks)  # so that any part of them has all kinds
    return blocks
