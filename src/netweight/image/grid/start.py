"""The networks that every image starts from, trained once on photographs (scripts/train_grid_start.py) and shipped.

    file := for each tensor of the decoder, then of the analysis: fraction(int8), scale(int16, little endian)
            | length varint, the decoder's integers | the analysis' integers          both as Laplace variables (laplace.py)

A frame names the decoder's part by hash, so that another start is refused, not misread. Its bytes are not counted in
frames: they are part of the program, as a JPEG decoder's tables are, and `receiver()` says how many they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from ...wire import Reader, Writer
from . import laplace, networks

NAME: Final = "grid-start.bin"
HASH_BYTES: Final = 2

Integers = tuple[networks.Values, dict[str, int]]
"""Tensors, and their fractional bits."""


@dataclass(frozen=True)
class Start:
    """Integer tensors and fractional bits of the decoder, the analysis in floats, both by name; the file's bytes and the
    hash of what decoders need of it.
    """

    values: networks.Values
    fractions: dict[str, int]
    analysis: dict[str, NDArray[np.float32]]
    hash: bytes
    size: int


def _sizes(shapes: dict[str, tuple[int, ...]]) -> list[int]:
    return [int(np.prod(shape)) for shape in shapes.values()]


def _write_part(values: networks.Values, fractions: dict[str, int]) -> tuple[bytes, bytes]:
    scales = np.array([laplace.scale_of(v) for v in values.values()], np.int16)
    flat = np.concatenate([v.reshape(-1) for v in values.values()])
    spread = np.repeat(scales, [v.size for v in values.values()])
    head = np.array(list(fractions.values()), np.int8).tobytes() + scales.astype("<i2").tobytes()
    return head, laplace.encode(flat, spread)


def write(decoder: Integers, analysis: Integers) -> bytes:
    """The file of both networks. Raises ValueError for integers over laplace's LARGEST."""
    (head, body), (head2, body2) = _write_part(*decoder), _write_part(*analysis)
    return Writer().raw(head).raw(head2).blob(body).raw(body2).bytes()


def _read_head(source: Reader, shapes: dict[str, tuple[int, ...]]) -> tuple[dict[str, int], NDArray[np.int16]]:
    fractions = dict(zip(shapes, source.array(len(shapes), "i1").tolist(), strict=True))
    scales = source.array(len(shapes), "<i2").astype(np.int16)
    return fractions, np.repeat(scales, _sizes(shapes))


def _shaped(flat: NDArray[np.int32], shapes: dict[str, tuple[int, ...]]) -> networks.Values:
    ends = np.cumsum(_sizes(shapes))
    parts = np.split(flat, ends[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def parse(data: bytes) -> Start:
    """The inverse of `write`. Raises FormatError."""
    shapes, others = networks.shapes(), networks.analysis_shapes()
    source = Reader(data, "start")
    fractions, scales = _read_head(source, shapes)
    bits, more = _read_head(source, others)
    flat = laplace.decode(source.blob(), scales)
    encoder = _shaped(laplace.decode(source.raw(source.remaining), more), others)
    wide = {name: np.ldexp(v.astype(np.float32), -bits[name]) for name, v in encoder.items()}
    digest = xxhash.xxh3_64()
    digest.update(np.array(list(fractions.values()), np.int8).tobytes())
    digest.update(flat.astype("<i4").tobytes())
    return Start(_shaped(flat, shapes), fractions, wide, digest.digest()[:HASH_BYTES], len(data))


@cache
def load() -> Start:
    """The shipped start."""
    return parse((files("netweight.image") / "data" / NAME).read_bytes())


def receiver() -> dict[str, str]:
    """What a decoder needs beside a frame: the start's hash and size."""
    known = load()
    return {"start": f"grid start {known.hash.hex()}, {known.size} bytes, shipped with netweight"}
