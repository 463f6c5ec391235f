"""Butterfly matrices: products of log2 n sparse factors, as of fast transforms.

W [n, n] = [D1 P, D2 Q; D3 P, D4 Q] with diagonal D and smaller butterflies P and Q (Dao et al. 2019, arXiv 1903.05895). So rows i
and i + n/2 of each half of the columns lie on one line, whose direction is an angle; what is left is a butterfly of
half the size, down to single numbers. Found level by level (Zheng, Riccietti and Gribonval 2023).

parameters := angles [log2 n, n] (numbers, in radians) | leaves [1, n] (numbers)
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ...errors import FormatError
from ...wire import Reader, Writer
from .cores import read_core, write_core
from .elementary import cos_sin_of_turns
from .model import Floats, Found, Layout, Matrix, Tolerance, Wide, found_if_it_pays

NAME = "butterfly"
_SMALLEST, _LARGEST = 8, 4096
_MOST_LEFT: Final = 0.3  # of the energy after the first level; of random matrices about half is left


def _is_size(layout: Layout) -> bool:
    n = layout.rows
    return n == layout.columns and _SMALLEST <= n <= _LARGEST and not n & (n - 1)


def _level(blocks: Wide) -> tuple[Wide, Wide]:
    """(angles [2 blocks, half], smaller blocks [2 blocks, half, half]) of blocks [count, n, n]."""
    count, n, _ = blocks.shape
    half = n // 2
    pairs = blocks.reshape(count, 2, half, 2, half).transpose(0, 3, 1, 2, 4).reshape(2 * count, 2, half, half)
    top, bottom = pairs[:, 0], pairs[:, 1]
    a, b, c = (top * top).sum(axis=2), (bottom * bottom).sum(axis=2), (top * bottom).sum(axis=2)
    angles = 0.5 * np.arctan2(2 * c, a - b)  # the direction of the most energy
    return angles, np.cos(angles)[..., None] * top + np.sin(angles)[..., None] * bottom


def _fit(w: Wide) -> tuple[Wide, Wide, float] | None:
    """(angles [levels, n], leaves [n], mean square left over); None if the first level leaves too much."""
    n, blocks, angles = len(w), w[None], []
    energy = float(np.square(w).sum())
    while blocks.shape[1] > 1:
        level, blocks = _level(blocks)
        angles.append(level.reshape(-1))
        if len(angles) == 1 and float(np.square(blocks).sum()) < (1 - _MOST_LEFT) * energy:
            return None
    leaves = blocks.reshape(-1)
    return np.stack(angles), leaves, max(energy - float(np.square(leaves).sum()), 0.0) / n**2


def detect(matrix: Matrix, tolerance: Tolerance) -> Found | None:
    """The butterfly that level by level keeps most of the energy."""
    layout = matrix.layout
    made = _fit(matrix.wide) if _is_size(layout) else None
    if made is None:
        return None
    angles, leaves, noise = made
    n = layout.rows
    found = Found(
        f"butterfly: {len(angles)} sparse factors of size {n}, {angles.size + n} numbers", noise, angles.size + n, 32.0,
        lambda step: _code(angles, leaves, layout, step),
    )  # fmt: skip
    return found_if_it_pays(matrix, tolerance, found)


def _code(angles: Wide, leaves: Wide, layout: Layout, step: float) -> bytes:
    """An angle of a level is felt by all energy below it: each of log2 n levels and the leaves get an equal share."""
    out, share = Writer(), 1 / math.sqrt(len(angles) + 1)
    rms = math.sqrt(float(np.square(leaves).sum())) / leaves.size
    write_core(out, angles, angles.shape, step * share / (rms or 1.0), layout)
    write_core(out, leaves, (1, leaves.size), step * share * math.sqrt(leaves.size), layout)
    return out.bytes()


def restore(source: Reader, layout: Layout) -> Floats:
    """float32 [n, n]. Raises FormatError."""
    if not _is_size(layout):
        raise FormatError(f"butterfly structure of {layout.shape}")
    n = layout.rows
    angles = read_core(source, (n.bit_length() - 1, n), layout).astype(np.float64)
    if not bool((np.abs(angles) < 2.0**30).all()):
        raise FormatError("butterfly structure: impossible angles")
    blocks = read_core(source, (1, n), layout).astype(np.float64).reshape(n, 1, 1)
    cosines, sines = cos_sin_of_turns(angles / (2 * math.pi))
    with np.errstate(over="ignore", invalid="ignore"):
        for level in range(len(angles) - 1, -1, -1):
            blocks = _joined(blocks, cosines[level], sines[level])
        return np.ascontiguousarray(blocks[0].astype(np.float32))


def _joined(blocks: Wide, cosines: Wide, sines: Wide) -> Wide:
    """Blocks [2 count, half, half] as [count, n, n]: the inverse of `_level`."""
    double, half, _ = blocks.shape
    c, s = (x.reshape(double, half, 1) for x in (cosines, sines))
    pairs = np.stack([c * blocks, s * blocks], axis=1).reshape(double // 2, 2, 2, half, half)
    return pairs.transpose(0, 2, 3, 1, 4).reshape(double // 2, 2 * half, 2 * half)
