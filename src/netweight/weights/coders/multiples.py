"""Weights that are small whole multiples of a step, most of them perhaps 0: networks that were trained on a grid.

Every decision (zero or not, sign, magnitude in unary) has adaptive probabilities. Whether a weight is zero is told in the
context of the density expected of it: how full its row and its column have been so far, multiplied, and of its
neighbours; so empty rows and columns soon cost next to nothing, and no table is sent.

body := steps (float32, one a tensor) | binary arithmetic code (as of entropy/adaptive.py)
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy.adaptive import decode_bit, encode_bit, end_encoder, start_decoder
from ...errors import FormatError, TruncatedError
from ...spec import Spec
from ...wire import Reader, Writer
from ..lossy.values import bytes_of, floats_of, is_float
from .scales import Shape, shapes_of

_MOST: Final = 1 << 12  # larger multiples are no grid
_LEAST_ZERO: Final = 0.5  # denser weights are better off with tables and scales
_DIVISORS: Final = 12
_SAMPLED: Final = 1 << 14
_MOST_TENSORS: Final = 256
_DENSITIES: Final = 40
_UNARY: Final = 20
_NODES: Final = _DENSITIES * 9 + 4 + 3 * (_UNARY + 1) + 32
_SLOWEST: Final = 250


@njit(nogil=True, cache=True)
def _density(row, seen, column, above, filled, total):  # type: ignore[no-untyped-def]
    """-log2 of (share of the row) x (share of the column) / (share of all), in half octaves, 0.._DENSITIES - 1. Integers."""
    up = np.uint64(5 * row + 1) * np.uint64(5 * column + 1) * np.uint64(total + 8)
    down = np.uint64(5 * seen + 8) * np.uint64(5 * above + 8) * np.uint64(filled + 1)
    if up >= down:
        return 0
    octaves = 0
    while up < down:
        if up >= np.uint64(1) << np.uint64(62):
            down >>= np.uint64(1)
        else:
            up <<= np.uint64(1)
        octaves += 1
    half = np.int64(up - (up >> np.uint64(2)) - (up >> np.uint64(5)) < down)  # up < 1.39 down
    return min(2 * octaves - 1 + half, _DENSITIES - 1)


@njit(nogil=True, cache=True)
def _adapt(chances, counts, k, bit):  # type: ignore[no-untyped-def]
    """Move chance k (of a one, of 65536) towards the bit by 1 / (count + 1.5)."""
    n = counts[k]
    target = 65535 if bit else 0
    chances[k] += (target - chances[k]) * 2 // (2 * n + 3)
    chances[k] = min(max(chances[k], 24), 65536 - 24)
    if n < _SLOWEST:
        counts[k] = n + 1


@njit(nogil=True, cache=True)
def _decide(data, encode, bit, state, chances, counts, k):  # type: ignore[no-untyped-def]
    """Code `bit` (or decode one) with chance k, which learns from it; the bit."""
    if encode:
        encode_bit(data, state, np.uint64(chances[k]), bit)
    else:
        bit = decode_bit(data, state, np.uint64(chances[k]))
    _adapt(chances, counts, k, bit)
    return bit


@njit(nogil=True, cache=True)
def _code(data, encode, values, rows, columns, state, chances, counts):  # type: ignore[no-untyped-def]
    """Code (or decode into) `values` (int64 [rows * columns]) of one tensor; False for a value beyond _MOST."""
    column_counts = np.zeros(columns, np.int64)
    signs, units = _DENSITIES * 9, _DENSITIES * 9 + 4
    filled, total = 0, 0
    for r in range(rows):
        row = 0
        for c in range(columns):
            i = r * columns + c
            left = 0 if c == 0 or values[i - 1] == 0 else (1 if values[i - 1] > 0 else 2)
            above = 0 if r == 0 or values[i - columns] == 0 else (1 if values[i - columns] > 0 else 2)
            density = _density(row, c, column_counts[c], r, filled, total)
            k = density * 9 + 3 * left + above
            v = values[i]
            bit = _decide(data, encode, np.int64(v != 0), state, chances, counts, k)
            total += 1
            if not bit:
                values[i] = 0
                continue
            filled += 1
            row += 1
            column_counts[c] += 1
            k = signs + (above or 3 * (left == 2))
            negative = _decide(data, encode, np.int64(v < 0), state, chances, counts, k)
            size, crowd = 1, min(density * 3 // _DENSITIES, 2)
            while True:
                k = units + crowd * (_UNARY + 1) + min(size - 1, _UNARY)
                if not _decide(data, encode, np.int64(abs(v) > size), state, chances, counts, k):
                    break
                size += 1
                if size > _MOST:
                    return False
            values[i] = -size if negative else size
    return True


def _models() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    chances = np.full(_NODES, 32768, np.int64)
    zeros = np.arange(_DENSITIES * 9) // 9
    chances[: _DENSITIES * 9] = np.maximum(24, 65536 >> np.minimum((zeros + 2) // 2, 11))
    return chances, np.zeros(_NODES, np.int64)


def step_of(values: NDArray[np.float32]) -> np.float32 | None:
    """The largest step of which all values are whole multiples, exactly as float32 multiplies; None if there is none."""
    if np.unique(np.abs(values[:_SAMPLED])).size > _MOST + 1:
        return None
    sizes = np.unique(np.abs(values[values != 0]))
    if not sizes.size:
        return np.float32(1)
    if sizes.size > _MOST or sizes[-1] > sizes[0] * _MOST:
        return None
    gaps = np.diff(sizes)
    least = min(float(sizes[0]), float(gaps.min())) if gaps.size else float(sizes[0])
    for base in dict.fromkeys((float(sizes[0]), least)):
        for divisor in range(1, _DIVISORS + 1):
            guess = np.float32(base / divisor)
            count = np.rint(sizes / guess) if guess else np.zeros(0)
            if not count.size or count[-1] > _MOST:
                break
            exact = np.float32(float(sizes[-1]) / float(count[-1]))
            for step in dict.fromkeys(
                (guess, exact, np.nextafter(guess, np.float32(0)), np.nextafter(guess, np.float32(9)))
            ):
                if np.array_equal(count.astype(np.float32) * step, sizes):
                    return np.float32(step)
    return None


def on_grid(data: NDArray[np.uint8], spec: Spec) -> tuple[NDArray[np.float32], list[NDArray[np.int64]]] | None:
    """(steps, multiples of each tensor, flat) of `data` (1-D uint8, `spec.nbytes` long); None if it isn't on a grid."""
    values, shapes = floats_of(data, spec) if is_float(spec.dtype) else None, shapes_of(spec)
    if values is None or len(shapes) > _MOST_TENSORS:
        return None
    steps, multiples, at = [], [], 0
    for s in shapes:
        part = values[at : at + s.rows * s.columns]
        at += part.size
        step = step_of(part)
        if step is None:
            return None
        steps.append(step)
        multiples.append(np.rint(part / step).astype(np.int64))
    return np.array(steps, np.float32), multiples


def encode_block(data: NDArray[np.uint8], spec: Spec) -> bytes | None:
    """`data` (1-D uint8, `spec.nbytes` long) coded; None if it isn't on a grid, is dense, or wouldn't be smaller."""
    made = on_grid(data, spec)
    if made is None:
        return None
    steps, multiples = made
    if sum(int(np.count_nonzero(m)) for m in multiples) > (1 - _LEAST_ZERO) * spec.count + 64:
        return None
    body = write_steps(Writer(), steps).raw(_encoded(multiples, shapes_of(spec))).bytes()
    same = len(body) < data.size and np.array_equal(decode_block(body, spec), data)  # signed zeros aren't on the grid
    return body if same else None


def write_steps(out: Writer, steps: NDArray[np.float32]) -> Writer:
    """The grid steps of all tensors."""
    return out.raw(steps.astype("<f4").view(np.uint8))


def read_steps(source: Reader, count: int) -> NDArray[np.float32]:
    """The inverse. Raises FormatError."""
    steps = source.array(count, "<f4").astype(np.float32)
    if not bool((np.isfinite(steps) & (steps > 0)).all()):
        raise FormatError("multiples: impossible step")
    return steps


def _encoded(multiples: list[NDArray[np.int64]], shapes: list[Shape]) -> NDArray[np.uint8]:
    total = sum(int(m.size + 2 * np.abs(m).sum()) for m in multiples)
    data = np.zeros(total * 2 + 16, np.uint8)
    state = np.array([0, 0xFFFFFFFF, 0], np.uint64)
    chances, counts = _models()
    for values, s in zip(multiples, shapes, strict=True):
        _code(data, True, values, s.rows, s.columns, state, chances, counts)
    return data[: end_encoder(data, state)]


def decode_block(body: bytes | memoryview, spec: Spec) -> NDArray[np.uint8]:
    """The inverse: `spec.nbytes` bytes. Raises FormatError."""
    if not is_float(spec.dtype):
        raise FormatError(f"multiples: {spec.dtype} is no float")
    shapes, source = shapes_of(spec), Reader(body, "multiples")
    steps = read_steps(source, len(shapes))
    data = source.array(source.remaining, "u1").astype(np.uint8)  # writable, as the kernel's type says
    state: NDArray[Any] = start_decoder(data)
    chances, counts = _models()
    parts = []
    for step, s in zip(steps, shapes, strict=True):
        values = np.zeros(s.rows * s.columns, np.int64)
        if not _code(data, False, values, s.rows, s.columns, state, chances, counts):
            raise FormatError("multiples: a weight of too many steps")
        parts.append(values.astype(np.float32) * step)
        if state[2] > np.uint64(data.size + 4):
            raise TruncatedError("multiples: ends early")
    if state[2] + np.uint64(3) < np.uint64(data.size):
        raise FormatError("multiples: bytes are left")
    return bytes_of(np.concatenate(parts) if parts else np.zeros(0, np.float32), spec.dtype)
