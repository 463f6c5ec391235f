"""What lossy coders of the benchmark share: the face that they have, and one string of bytes for many matrices."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Matrices = dict[str, Floats]
"""Tensors of two axes or more, float32, by name."""

RMS_STEPS = [4.0 * 2 ** (-k / 4) for k in range(34)]
"""Steps from 4 to 1/76 of the weights' root mean square, four to the octave."""


@dataclass(frozen=True)
class Setting:
    """One point of a coder's knob: what it is called and its value."""

    label: str
    value: Any


class LossyPeer(Protocol):
    """One coder. `settings` go from coarse to fine; what `encode` returns is all that `decode` gets."""

    name: str
    package: str

    def settings(self, matrices: Matrices) -> list[Setting]: ...

    def encode(self, matrices: Matrices, setting: Setting) -> bytes: ...

    def decode(self, blob: bytes) -> Matrices: ...


def rms(matrices: Matrices) -> float:
    """Root mean square of all weights."""
    energy = sum(float(np.square(m, dtype=np.float64).sum()) for m in matrices.values())
    return float(np.sqrt(energy / sum(m.size for m in matrices.values())))


class Part(NamedTuple):
    """The code of one matrix."""

    name: str
    shape: tuple[int, ...]
    blob: bytes


HEAD = struct.Struct("<I")


def pack(parts: Iterable[Part]) -> bytes:
    """length (u32) | zlib of the JSON list of [name, shape, length of blob] | blobs."""
    parts = list(parts)
    head = zlib.compress(json.dumps([[p.name, p.shape, len(p.blob)] for p in parts]).encode(), 9)
    return b"".join([HEAD.pack(len(head)), head, *(p.blob for p in parts)])


def unpack(data: bytes) -> list[Part]:
    """The inverse of `pack`."""
    (length,) = HEAD.unpack_from(data)
    at, parts = HEAD.size + length, []
    for name, shape, size in json.loads(zlib.decompress(data[HEAD.size : at])):
        parts.append(Part(name, tuple(shape), data[at : at + size]))
        at += size
    return parts
