"""One tile: latents and pixels from networks, the same code for encoder and decoder.

stream := range coder bytes of: for each level, coarsest first, for each of its grids: empty? (one bit), then, if it
          isn't, its latents in raster order: zero? (zeros.py), then, if it isn't, which (laplace.py)
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy import range_coder
from ...errors import FormatError, TruncatedError
from . import design, kernels, zeros
from .contexts import code_grid, prepare
from .kernels import FULL, Planes
from .networks import STEP, Level, Networks

Latents = list[NDArray[np.int32]]
"""A level each, the finest first: int32 [LATENTS[l], h_l, w_l]."""

_EMPTY: Final = 1 << 14
"""Probability (16 bits) that a grid is all zeros."""
_ROOM: Final = 4
"""Bytes that an encoder allows for a latent: TOTAL bits and some."""


def _activity(earlier: NDArray[np.int32], coarser: NDArray[np.int32], rows: int, columns: int) -> NDArray[np.uint8]:
    """How much there is at each place (uint8 [rows, columns], up to BUSIEST), from magnitudes on the coarser level [K', h', w']
    (of none, on the coarsest) and in the grids before [g, rows, columns].
    """
    above = np.abs(coarser).sum(0, dtype=np.int64).repeat(2, 0).repeat(2, 1)[:rows, :columns]
    total = (above >> 1) + np.abs(earlier).sum(0, dtype=np.int64) if len(earlier) else above
    out: NDArray[np.uint8] = np.minimum(total, zeros.BUSIEST).astype(np.uint8)
    return out


def _code_level(
    coder: range_coder.Coder, buffer: NDArray[np.uint8], level: Level, above: Planes, coarser: NDArray[np.int32],
    values: NDArray[np.int32],
) -> None:  # fmt: skip
    """Code the grids `values` [K, h, w], or decode into them, given those of the coarser level. Raises TruncatedError."""
    count, rows, columns = values.shape
    reach = design.REACH
    seen = np.zeros((count, rows + 2 * reach, columns + 2 * reach), np.int32)
    pre = np.empty((design.HIDDEN, rows, columns), np.int32)
    for g in range(count):
        if range_coder.code_bit(coder, buffer, _EMPTY, int(not values[g].any())):
            continue
        prepare(above, level.above[g], level.above_shift, level.first[g], seen[:g], level.before[g], pre)
        busy = _activity(values[:g], coarser, rows, columns)
        whole = code_grid(
            coder, buffer, pre, level.own[g], level.hidden[g], level.hidden_bias[g], level.hidden_shift,
            level.out[g], level.out_bias[g], level.out_shift, busy, seen[g], values[g],
        )  # fmt: skip
        if not whole:
            raise TruncatedError("grid codec: the latents end early")


def _trunk(level: Level, above: Planes, values: NDArray[np.int32]) -> Planes:
    """The level's features, from those of the coarser one at this size (or of no channels) and its latents."""
    count, rows, columns = values.shape
    scaled = kernels.make_planes(count, rows, columns)
    half = 1 << (STEP - 10) >> 1
    wide = (values.astype(np.int64) * level.steps[:, None, None] + half) >> (STEP - 10)
    scaled[:, 1:-1, 1:-1] = np.clip(wide, -FULL, FULL)
    channels = level.inject.shape[0]
    trunk, inner = (kernels.make_planes(channels, rows, columns) for _ in range(2))
    kernels.convolve(scaled, level.inject, level.inject_bias, level.inject_shift, -FULL, trunk)
    if above.shape[0]:
        kernels.add(trunk, above)
    kernels.convolve(trunk, level.residual1, level.residual1_bias, level.residual1_shift, 0, inner)
    kernels.add_mixed(inner, level.residual2, level.residual2_bias, level.residual2_shift, trunk)
    return trunk


def _run(
    coder: range_coder.Coder, buffer: NDArray[np.uint8], networks: Networks, latents: Latents, height: int, width: int
) -> NDArray[np.uint8]:
    """Walk from coarse to fine, coding `latents` or filling them in; the pixels."""
    trunk = kernels.make_planes(0, 0, 0)
    coarser = np.zeros((1, *latents[-1].shape[1:]), np.int32)
    for number in reversed(range(design.LEVELS)):
        level, values = networks.levels[number], latents[number]
        above = kernels.make_planes(level.up.shape[1] if level.up.shape[0] else 0, *values.shape[1:])
        if level.up.shape[0]:
            kernels.upsample(trunk, level.up, level.up_shift, above)
        _code_level(coder, buffer, level, above, coarser, values)
        coarser = values
        trunk = _trunk(level, above, values)
    out = np.empty((height, width, 3), np.uint8)
    kernels.colours(trunk, networks.colour, networks.colour_bias, networks.colour_shift, out)
    return out


def encode(networks: Networks, latents: Latents, height: int, width: int) -> tuple[bytes, NDArray[np.uint8]]:
    """The stream of `latents`, and the pixels (uint8 [height, width, 3]) that it decodes to."""
    if any(int(np.abs(y).max(initial=0)) > design.LARGEST for y in latents):
        raise ValueError("a latent is out of range")
    buffer = np.empty(_ROOM * sum(y.size for y in latents) + 64, np.uint8)
    coder = range_coder.make_encoder()
    pixels = _run(coder, buffer, networks, [y.copy() for y in latents], height, width)
    stream = range_coder.finish(coder, buffer)
    assert stream is not None
    return stream, pixels


def decode(networks: Networks, stream: bytes | memoryview, height: int, width: int) -> NDArray[np.uint8]:
    """The pixels of `stream`. Raises TruncatedError, FormatError for what `encode` can't have made."""
    latents = [
        np.zeros((k, *size), np.int32) for k, size in zip(design.LATENTS, design.sizes(height, width), strict=True)
    ]
    data = np.frombuffer(stream, np.uint8).copy()  # kernels that also encode want it writable
    coder = range_coder.make_decoder(data)
    pixels = _run(coder, data, networks, latents, height, width)
    if range_coder.overrun(coder, data):
        raise TruncatedError("grid codec: the latents end early")
    if not range_coder.ends(coder, data):
        raise FormatError("grid codec: bytes are left over")
    return pixels
