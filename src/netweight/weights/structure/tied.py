"""Tensors that are other tensors, nearly: tied blocks, transposed or not, times a number.

body := payload of the first tensor (blob, as of methods.py)
        | for each other one: way(1: 1 transposed, 2 times a number, 4 a residual in words, else in numbers)
                              | [number, float32] | residual (blob; empty: none)
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ...errors import FormatError
from ...spec import Spec
from ...tensors import numpy_dtype
from ...wire import Reader, Writer
from ..coders import delta
from ..lossy.values import Bytes, Floats, bytes_of, is_float
from . import one_of
from .model import Layout, Tolerance

_TRANSPOSED, _TIMES, _WORDS = 1, 2, 4
_SAMPLE: Final = 1 << 11
_CLEAR: Final = 6.0  # standard deviations of chance, which a correlation must reach
MOST: Final = 1 << 20
"""Weights of a tensor that may be tied."""
MOST_TENSORS: Final = 4
"""Tensors that may be tied together: as many as fit a block."""


def fingerprint(values: Floats, shape: tuple[int, ...], *, transposed: bool = False) -> Floats:
    """A sample of the weights at places that depend on the shape alone, with energy 1."""
    grid = values.reshape(shape)
    flat = (grid.T if transposed else grid).reshape(-1)
    picked = flat
    if flat.size > _SAMPLE:
        picked = flat[np.random.default_rng(flat.size).integers(0, flat.size, _SAMPLE)]
    centred = picked - picked.mean()
    return np.asarray(centred / max(float(np.sqrt(np.square(centred).sum())), 1e-30), np.float32)


def fingerprints(values: Floats, shape: tuple[int, ...]) -> dict[tuple[int, ...], Floats]:
    """The fingerprint by the shape of a tensor that it is compared with: as it is, and (a matrix) transposed."""
    out = {shape: fingerprint(values, shape)}
    if len(shape) == 2:
        out.setdefault(shape[::-1], fingerprint(values, shape, transposed=True))
    return out


def alike(correlation: float, weights: int) -> bool:
    """Whether fingerprints of tensors of so many weights correlate by more than chance."""
    return abs(correlation) > min(_CLEAR / math.sqrt(min(weights, _SAMPLE)), 0.9)


def images(first: Floats, shape: tuple[int, ...], other: tuple[int, ...]) -> list[tuple[int, Floats]]:
    """(way, flat) in which a tensor can stand for one of shape `other`."""
    out = [(0, first.reshape(-1))] if shape == other else []
    if len(shape) == 2 and shape[::-1] == other:
        out.append((_TRANSPOSED, np.ascontiguousarray(first.reshape(shape).T).reshape(-1)))
    return out


def encode_other(
    values: Floats, first: Floats, shape: tuple[int, ...], layout: Layout, tolerance: Tolerance
) -> bytes | None:
    """One other tensor (float32 [n]) given the decoded first one; None if it can't be had within the tolerance."""
    tried = [_encode_as(values, image, way, layout, tolerance) for way, image in images(first, shape, layout.shape)]
    return min((t for t in tried if t is not None), key=len, default=None)


def _encode_as(values: Floats, image: Floats, way: int, layout: Layout, tolerance: Tolerance) -> bytes | None:
    wide = image.astype(np.float64)
    factor = np.float32(float(values.astype(np.float64) @ wide) / max(float(wide @ wide), 1e-300))
    if abs(float(factor) - 1) < 1e-6 or np.array_equal(values, image):
        factor = np.float32(1)
    sketch = image * factor
    out = Writer()
    head = way | _TIMES * bool(factor != 1)
    if tolerance.lossless:
        data, reference = bytes_of(values, layout.dtype), bytes_of(sketch, layout.dtype)
        body: bytes | None = b""
        if not np.array_equal(data, reference):
            body = delta.encode_block(data, Spec(layout.dtype, (layout.shape,)), reference)
            head |= _WORDS
    elif one_of.within(values, sketch, layout, tolerance):
        body = b""
    else:
        made = one_of.residual(values, sketch, layout, tolerance)
        body = None if made is None else made[0]
    if body is None:
        return None
    out.raw(bytes([head]))
    if factor != 1:
        out.raw(np.array([factor]).view(np.uint8))
    return out.blob(body).bytes()


def words(payload: bytes, name: str) -> str:
    """As `like NAME, transposed, times -0.31`."""
    way = payload[0]
    factor = float(np.frombuffer(payload[1:5], "<f4")[0]) if way & _TIMES else 1.0
    times = "" if f"{factor:.3g}" == "1" else f", times {factor:.3g}"
    return f"like {name}{', transposed' if way & _TRANSPOSED else ''}{times}"


def assemble(first: bytes, others: list[bytes]) -> bytes:
    """The body after its first byte."""
    out = Writer().blob(first)
    for other in others:
        out.raw(other)
    return out.bytes()


def decode(source: Reader, spec: Spec) -> Bytes:
    """The bytes of all tensors of a block. Raises FormatError."""
    from ..methods import decode_block

    if len(spec.shapes) < 2 or not is_float(spec.dtype):
        raise FormatError(f"tied tensors: {len(spec.shapes)} of {spec.dtype}")
    shape = spec.shapes[0]
    parts = [decode_block(source.blob(), Spec(spec.dtype, (shape,)))]
    first = parts[0].view(numpy_dtype(spec.dtype)).astype(np.float32)
    parts += [decode_other(source, first, shape, Layout(other, spec.dtype)) for other in spec.shapes[1:]]
    source.end()
    return np.concatenate(parts)


def decode_other(source: Reader, first: Floats, shape: tuple[int, ...], layout: Layout) -> Bytes:
    """The bytes of one other tensor. Raises FormatError."""
    way = source.byte()
    made = dict(images(first, shape, layout.shape)).get(way & _TRANSPOSED)
    if made is None or way > (_TRANSPOSED | _TIMES | _WORDS):
        raise FormatError(f"tied tensors: {layout.shape} can't be made of {shape} in way {way}")
    with np.errstate(over="ignore", invalid="ignore"):
        sketch = made * source.array(1, "<f4").astype(np.float32) if way & _TIMES else made
    body = source.blob()
    if way & _WORDS:
        return delta.decode_block(body, Spec(layout.dtype, (layout.shape,)), bytes_of(sketch, layout.dtype))
    if len(body):
        sketch = one_of.add(sketch, body, layout)
    if not bool(np.isfinite(sketch).all()):
        raise FormatError("tied tensors: weights that are not finite")
    return bytes_of(sketch, layout.dtype)
