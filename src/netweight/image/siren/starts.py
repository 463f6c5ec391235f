"""Where networks start from: meta-learned parameters and a learned rate for each, shipped with the package.

scripts/train_siren_start.py makes them, one for each width in WIDTHS, from photographs that are none of the usual test
pictures. A payload that is coded against one holds its hash.

    file := step levels (1 each) | weights blob (coding.py) | rates blob: for each tensor the median of 2 log2(rate)
          (zigzag varint), then the differences from it as weights (coding.py)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...frame import checksum
from ...wire import Reader, Writer, from_zigzag, zigzag
from .coding import read_weights, write_weights
from .integers import Shape, Words
from .network import Parameters
from .payload import STEP_LEVELS, Quantised, origin, step_of, units

LAYERS: Final = 5
FREQUENCIES: Final = 12
WIDTHS: Final = (16, 24, 32)
_CHANNELS: Final = 3
_PRECISION: Final = 16  # steps in a standard deviation
_PER_OCTAVE: Final = 2


@dataclass(frozen=True)
class Start:
    """`base` is what integers.py would render; `parameters` is the same in floats; `rates` belong to each parameter."""

    base: list[Words]
    parameters: Parameters
    rates: Parameters
    digest: bytes


def nearest_level(step: float) -> int:
    """The level whose step is nearest, in octaves."""
    return int(np.clip(np.rint(8 * np.log2(max(step, 1e-9) / 4)), 0, STEP_LEVELS))


def to_floats(shape: Shape, tensors: list[Words]) -> Parameters:
    """The floats that integers stand for."""
    pairs = zip(tensors, origin(shape), units(shape), strict=True)
    return [((t.astype(np.float64) - o) / unit).astype(np.float32) for t, o, unit in pairs]


def pack_start(shape: Shape, parameters: Parameters, rates: Parameters) -> bytes:
    """The file of a start, its parameters rounded to a sixteenth of each tensor's deviation."""
    scaled = [p.astype(np.float64) * unit for p, unit in zip(parameters, units(shape), strict=True)]
    levels = tuple(nearest_level(float(np.sqrt(np.mean(v * v))) / _PRECISION) for v in scaled)
    multiples = [np.rint(v / step_of(level)).astype(np.int32) for v, level in zip(scaled, levels, strict=True)]
    weights, differences, out = Writer(), Writer(), Writer().raw(bytes(levels))
    write_weights(weights, multiples)
    logs = [np.rint(_PER_OCTAVE * np.log2(r.astype(np.float64))).astype(np.int32) for r in rates]
    medians = [int(np.median(g)) for g in logs]
    write_weights(differences, [g - np.int32(m) for g, m in zip(logs, medians, strict=True)])
    out.blob(weights.bytes()).varints(zigzag(m) for m in medians).blob(differences.bytes())
    return out.bytes()


def unpack_start(shape: Shape, data: bytes) -> Start:
    """The inverse. Raises FormatError."""
    source, sizes = Reader(data, "start"), shape.sizes
    levels, weights = tuple(source.raw(len(sizes))), source.blob()
    medians = [from_zigzag(v) for v in source.varints(len(sizes))]
    differences = read_weights(Reader(source.blob(), "start"), sizes)
    source.end()
    multiples = read_weights(Reader(weights, "start"), sizes)
    base = Quantised(shape, levels, multiples).tensors(origin(shape))
    rates = [np.exp2((d + m) / _PER_OCTAVE).astype(np.float32) for d, m in zip(differences, medians, strict=True)]
    return Start(base, to_floats(shape, base), rates, checksum(bytes(levels), weights))


@lru_cache(maxsize=8)
def load_start(shape: Shape) -> Start | None:
    """The shipped start of a shape, for grey pictures its mean over the channels; None if none is shipped."""
    if shape.width not in WIDTHS or (shape.layers, shape.frequencies) != (LAYERS, FREQUENCIES):
        return None
    colour = Shape(_CHANNELS, shape.width, shape.layers, shape.frequencies)
    path = files("netweight.image").joinpath("data", f"siren-{shape.width}.start")
    start = unpack_start(colour, path.read_bytes()) if path.is_file() else None
    if start is None or shape.channels == _CHANNELS:
        return start
    base = [*start.base[:-2], *(_grey(t, shape.channels) for t in start.base[-2:])]
    rates = [*start.rates[:-2], *(r.mean(axis=0, keepdims=True).repeat(shape.channels, 0) for r in start.rates[-2:])]
    return Start(base, to_floats(shape, base), rates, start.digest)


def _grey(tensor: NDArray[np.int32], channels: int) -> NDArray[np.int32]:
    """The mean row, rounded down, once for each channel."""
    mean = tensor.astype(np.int64).sum(axis=0, keepdims=True) // _CHANNELS
    return np.asarray(mean.astype(np.int32).repeat(channels, axis=0))
