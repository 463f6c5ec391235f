"""The bytes of a picture that is a network.

    coin  := width(1) | sine layers(1) | every parameter as a little-endian float16, in the order of Shape.sizes
    siren := width(1) | sine layers(1) | frequencies(1), and 32 if there is a start | [hash of the start (4)]
           | level of each tensor's step (1 each) | weights (coding.py)

A SIREN's parameter is base + k step modulo 2^32, in the units of integers.py: the base is the start's, or 0 (mid-grey in
the last bias); the step is round(4 2^(level / 8)), nearly: eight to an octave, by the integers of entropy/tables.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ...entropy.tables import weights_of
from ...errors import BaseMismatchError, BombError, FormatError
from ...wire import Reader, Writer
from .coding import Multiples, read_weights, write_weights
from .encoding import MOST_FREQUENCIES
from .integers import LEVEL_BITS, Shape, Words
from .network import HALF_RANGE, OMEGA, Parameters
from .sine import ONE_BITS, TURN_BITS

MOST_WIDTH: Final = 128
MOST_LAYERS: Final = 16
STEP_LEVELS: Final = 232
_MOST_PARAMETERS_A_BYTE: Final = 64
MOST_WORK: Final = 1 << 41
"""Pixels times parameters, at most: a few minutes of one core."""
_FREE_PARAMETERS: Final = 1 << 12
_STARTED: Final = 32
_MIDDLE: Final = int(HALF_RANGE * (1 << LEVEL_BITS))
_TWO_PI: Final = 6.283185307179586


def units(shape: Shape) -> list[float]:
    """What 1.0 is, for each tensor, in the units of integers.py."""
    turns = float(OMEGA) / _TWO_PI
    sine = [turns * (1 << (TURN_BITS - ONE_BITS)), turns * (1 << TURN_BITS)]
    return [*(sine * shape.layers), HALF_RANGE * (1 << (LEVEL_BITS - ONE_BITS)), HALF_RANGE * (1 << LEVEL_BITS)]


def origin(shape: Shape) -> list[Words]:
    """The base without a start, and what a float of 0 is: 0, and mid-grey in the last bias."""
    base = [np.zeros(size, np.int32) for size in shape.sizes]
    base[-1][:] = _MIDDLE
    return base


def step_of(level: int) -> int:
    """The step that a level stands for: 4 at 0, twice as large eight levels on."""
    return int(weights_of(np.array([level + 1], np.int64))[0]) >> 6


@dataclass(frozen=True, slots=True)
class Quantised:
    """A SIREN in bytes' terms: `levels` of the steps, multiples (int32, as `shape.sizes`), the hash of the start if any."""

    shape: Shape
    levels: tuple[int, ...]
    multiples: list[Multiples]
    start: bytes = b""

    def tensors(self, base: list[Words]) -> list[Words]:
        """The integers that integers.py renders."""
        steps = [np.int64(step_of(level)) for level in self.levels]
        return [
            (b + step * k.astype(np.int64)).astype(np.int32)
            for b, step, k in zip(base, steps, self.multiples, strict=True)
        ]

    def write(self) -> bytes:
        """The payload."""
        s = self.shape
        out = Writer().raw(bytes([s.width, s.layers, s.frequencies + _STARTED * bool(self.start)])).raw(self.start)
        out.raw(bytes(self.levels))
        write_weights(out, self.multiples)
        return out.bytes()


def write_coin(shape: Shape, params: Parameters) -> bytes:
    """COIN's payload: half-precision floats, nothing else."""
    out = Writer().raw(bytes([shape.width, shape.layers]))
    for p in params:
        out.raw(p.astype("<f2").reshape(-1).view(np.uint8))
    return out.bytes()


def _shape(source: Reader, channels: int, width: int, layers: int, frequencies: int) -> Shape:
    """Raises FormatError, BombError for far more parameters than bytes."""
    if not (0 < width <= MOST_WIDTH and 0 < layers <= MOST_LAYERS and frequencies <= MOST_FREQUENCIES):
        raise FormatError(f"network: {layers} layers of {width} with {frequencies} frequencies")
    shape = Shape(channels, width, layers, frequencies)
    if shape.count > _FREE_PARAMETERS + _MOST_PARAMETERS_A_BYTE * source.remaining:
        raise BombError(f"network: {shape.count} parameters announced by {source.remaining} bytes")
    return shape


def check_work(shape: Shape, height: int, width: int) -> None:
    """Raises BombError for a picture and a network that would keep a decoder busy for hours."""
    if shape.count * height * width > MOST_WORK:
        raise BombError(
            f"network: {shape.count} parameters for {height} x {width} pixels are more than anyone should render"
        )


def read_coin(payload: bytes | memoryview, channels: int) -> tuple[Shape, list[Words]]:
    """The network of COIN's payload, ready to be rendered. Raises FormatError and its kin."""
    source = Reader(payload, "network")
    shape, out = _shape(source, channels, source.byte(), source.byte(), 0), []
    for unit, base, (rows, columns) in zip(units(shape), origin(shape), shape.sizes, strict=True):
        values = source.array(rows * columns, "<f2").astype(np.float64).reshape(rows, columns)
        if not np.isfinite(values).all():
            raise FormatError("network: a parameter that isn't finite")
        # one product, rounded once: the same on every machine
        out.append((base + np.rint(values * unit).astype(np.int64)).astype(np.int32))
    source.end()
    return shape, out


def open_siren(payload: bytes | memoryview, channels: int) -> Quantised:
    """What a SIREN's payload says. Raises FormatError and its kin."""
    source = Reader(payload, "network")
    width, layers, told = source.byte(), source.byte(), source.byte()
    shape = _shape(source, channels, width, layers, told % _STARTED)
    if told >= 2 * _STARTED:
        raise FormatError(f"network: an unknown start {told}")
    start = bytes(source.raw(4)) if told >= _STARTED else b""
    levels = tuple(source.raw(len(shape.sizes)))
    if max(levels) > STEP_LEVELS:
        raise FormatError("network: an impossible step")
    return Quantised(shape, levels, read_weights(source, shape.sizes), start)


def read_siren(payload: bytes | memoryview, channels: int) -> tuple[Shape, list[Words]]:
    """The network of a SIREN's payload, ready to be rendered. Raises FormatError and its kin, BaseMismatchError."""
    network = open_siren(payload, channels)
    return network.shape, network.tensors(_base(network.shape, network.start))


def _base(shape: Shape, digest: bytes) -> list[Words]:
    """Raises BaseMismatchError."""
    if not digest:
        return origin(shape)
    from .starts import load_start

    start = load_start(shape)
    if start is None or start.digest != digest:
        raise BaseMismatchError(
            f"network: coded against a start of {shape.width} x {shape.layers} that this build doesn't ship "
            f"(hash {digest.hex()}); update netweight"
        )
    return start.base
