"""A model's integer weights as the kernels take them, from the arrays of a converted file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import Config
from .linear import Matrix
from .tables import rotations

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Norm:
    gain: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class Projection:
    """A matrix and its bias (zeros where the model has none)."""

    matrix: Matrix
    bias: Floats


@dataclass(frozen=True, slots=True)
class Block:
    """One layer: attention (queries, keys and values in one product) and feed-forward (gate and up in one product)."""

    before_attention: Norm
    qkv: Projection
    out: Projection
    before_hidden: Norm
    up: Projection
    down: Projection


@dataclass(frozen=True, slots=True)
class Network:
    """`positions` (float32 [T, d]) or `cosines` and `sines` (float32 [T, d / 2]) have no rows where they aren't used."""

    embedding: Matrix
    positions: NDArray[np.float32]
    cosines: NDArray[np.float32]
    sines: NDArray[np.float32]
    blocks: tuple[Block, ...]
    norm: Norm
    head: Matrix


def _norm(arrays: Arrays, name: str) -> Norm:
    gain = arrays[f"{name}.gain"].astype(np.float64)
    bias = arrays.get(f"{name}.bias")
    return Norm(gain, np.zeros_like(gain) if bias is None else bias.astype(np.float64))


def _matrix(arrays: Arrays, name: str) -> Matrix:
    return Matrix.of(arrays[name], arrays[f"{name}.scales"])


def _projection(arrays: Arrays, name: str) -> Projection:
    matrix = _matrix(arrays, name)
    bias = arrays.get(f"{name}.bias")
    return Projection(matrix, np.zeros(len(matrix.values)) if bias is None else bias.astype(np.float64))


def _block(arrays: Arrays, i: int) -> Block:
    at = f"layer.{i}."
    return Block(
        _norm(arrays, at + "norm1"),
        _projection(arrays, at + "qkv"),
        _projection(arrays, at + "out"),
        _norm(arrays, at + "norm2"),
        _projection(arrays, at + "up"),
        _projection(arrays, at + "down"),
    )


def rotation_tables(config: Config) -> dict[str, NDArray[np.float32]]:
    """The rotations of every position, to be kept with the weights."""
    if not config.rope_base:
        return {}
    factors = [Fraction(f) for f in config.rope_factors] or [Fraction(1)] * (config.head_size // 2)
    cosines, sines = rotations(config.positions, config.head_size, Fraction(config.rope_base), factors)
    return {"cosines": cosines, "sines": sines}


def network(config: Config, arrays: Arrays) -> Network:
    """The network of a converted file's arrays, every bound on its sums checked. Raises UnsupportedError, KeyError."""
    nothing = np.zeros((0, 0), np.float32)
    embedding = _matrix(arrays, "embedding")
    return Network(
        embedding,
        arrays.get("positions", nothing),
        arrays.get("cosines", nothing),
        arrays.get("sines", nothing),
        tuple(_block(arrays, i) for i in range(config.layers)),
        _norm(arrays, "norm"),
        _matrix(arrays, "head") if "head" in arrays else embedding,
    )
