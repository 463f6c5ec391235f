"""Codes the blocks of an archive at a given grid step and adds up what that changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...spec import Spec, dtype
from ..archive.digests import piece_hash
from ..archive.index import Index, Loss, Piece, group_spec
from ..archive.writer import Coded, LosslessEncoder
from ..coders import trellis
from ..coders.scales import Shape, shapes_of
from ..coders.trellis import Settings
from ..methods import TRELLIS, Effort, encode_parts
from ..structure.improve import improved
from .aware import encode_aware
from .bounds import shannon_lower_bound
from .calibration import Layer
from .feedback import output_error
from .values import Floats, bytes_of, floats_of, rounded, squares

_DEAR: Final = 0.6  # of the dtype's width: from here on the lossless code may be shorter
_BOUND_SAMPLE: Final = 1 << 16
StepOf = Callable[[int], float]
"""Segment number -> grid step."""
LayerOf = Callable[[int], Layer | None]
"""Segment number -> what its layer sees; None if it isn't calibrated."""


@dataclass
class Sums:
    """Over weights: how many, ||x||^2, ||x - y||^2, the largest |x - y|, payload bits of their blocks, the bound on them;
    `felt` is the error of the outputs of calibrated layers.
    """

    weights: int = 0
    energy: float = 0.0
    noise: float = 0.0
    worst: float = 0.0
    bits: float = 0.0
    bound: float = 0.0
    felt: float = 0.0

    def add(self, other: Sums) -> None:
        self.weights += other.weights
        self.energy += other.energy
        self.noise += other.noise
        self.worst = max(self.worst, other.worst)
        self.bits += other.bits
        self.bound += other.bound
        self.felt += other.felt

    @property
    def rel_mse(self) -> float:
        return self.noise / self.energy if self.energy else 0.0


@dataclass(frozen=True)
class Quantiser:
    """How blocks are quantised: the grid step of each segment, states of the trellis, lambda, the largest error
    that a weight may have (infinite: none is promised), and what layers see.
    """

    step_of: StepOf
    states: int
    strength: float
    limit: float = float("inf")
    layer_of: LayerOf = lambda _: None

    def settings(self, segments: list[int], shapes: int) -> Settings:
        """For a block of these segments, one a shape."""
        steps = tuple(self.step_of(k) for k in segments)
        same = len(set(steps)) == 1 or len(steps) != shapes
        return Settings((min(steps),) if same else steps, self.states, self.strength)


@dataclass
class LossyEncoder:
    """An Encoder. Blocks of `touched` segments are quantised, others (and those that can't be) coded losslessly.

    `bounds` asks for estimates of the bounds too, `structured` for structure where it makes a block shorter. Sums are added
    up in the order of the file, whichever thread comes first: floating point depends on it.
    """

    plain: LosslessEncoder
    index: Index
    touched: set[int]
    quantiser: Quantiser
    effort: Effort
    bounds: bool = False
    structured: bool = False
    _measured: dict[tuple[int, int], Sums] = field(default_factory=dict)

    def __call__(self, pieces: tuple[Piece, ...]) -> Coded:
        if pieces[0].segment not in self.touched:
            return self.plain(pieces)
        parts = [self.plain.read(p) for p in pieces]
        data = parts[0] if len(parts) == 1 else np.concatenate(parts)
        spec = group_spec(self.index.segments, pieces)
        payload, decoded = encode_touched(data, spec, self.quantiser, [p.segment for p in pieces], self.effort)
        if self.structured:
            payload, decoded = improved(data, spec, (payload, decoded), self.quantiser.limit)
        hashes, at, length = [], 0, sum(map(len, payload))
        for piece, part in zip(pieces, parts, strict=True):
            mine = decoded[at : at + piece.nbytes]
            at += piece.nbytes
            hashes.append(piece_hash(mine))
            counted = self._difference(part, mine, spec.dtype, piece.segment)
            counted.bits = 8 * length * piece.nbytes / data.size
            self._measured[piece.segment, piece.start] = counted
        return Coded(payload, tuple(hashes), pieces)

    def _difference(self, data: NDArray[np.uint8], decoded: NDArray[np.uint8], name: str, segment: int) -> Sums:
        """All but the bits of a piece of a segment."""
        spec = Spec(name, ((data.size * 8 // dtype(name).bits,),))
        x, y = floats_of(data, spec), floats_of(decoded, spec)
        if x is None or y is None:  # NaN or infinities: coded losslessly
            return Sums(weights=spec.count)
        wide = x.astype(np.float64)
        noise = wide - y
        out = Sums(x.size, squares(wide), squares(noise), float(np.abs(noise).max(initial=0.0)))
        if self.bounds:
            out.bound = _bound(x, out)
        layer = self.quantiser.layer_of(segment)
        if layer is not None and x.size % layer.columns == 0:  # whole rows
            out.felt = output_error((x - y).reshape(-1, layer.columns), layer.moments)
        return out

    @property
    def sums(self) -> dict[int, Sums]:
        """Of each touched segment that has been coded."""
        out: dict[int, Sums] = defaultdict(Sums)
        for segment, start in sorted(self._measured):
            out[segment].add(self._measured[segment, start])
        return out

    def total(self) -> Sums:
        """Over all touched segments."""
        out = Sums()
        for one in self.sums.values():
            out.add(one)
        return out

    def losses(self) -> dict[int, Loss]:
        """What the index tells of each touched segment."""
        return {k: Loss(s.rel_mse, s.worst, s.bound / max(s.weights, 1)) for k, s in self.sums.items()}


def _bound(values: Floats, sums: Sums) -> float:
    """Shannon's lower bound on the bits of these weights at the error of `sums`, from a sample of them."""
    if not 0 < sums.rel_mse < 1:
        return 0.0
    sample = values[:: max(1, values.size // _BOUND_SAMPLE)]
    energy = max(squares(sample) / sample.size, 1e-300)
    return sums.weights * shannon_lower_bound(sample, sums.noise / sums.weights / energy)


def encode_touched(
    data: NDArray[np.uint8], spec: Spec, quantiser: Quantiser, segments: list[int], effort: Effort
) -> tuple[tuple[bytes, bytes | NDArray[np.uint8]], NDArray[np.uint8]]:
    """(payload in parts, what it decodes to): quantised, or losslessly where that is shorter or there is no other way."""
    values = floats_of(data, spec)
    made = None
    if values is not None and values.any():
        made = _quantised(values, spec, quantiser, segments, effort)
    if made is not None and 8 * len(made[0]) < _DEAR * 8 * data.size:
        return (bytes([TRELLIS]), made[0]), made[1]
    lossless = encode_parts(data, spec, effort)
    if made is None or len(lossless[1]) <= len(made[0]):
        return lossless, data
    return (bytes([TRELLIS]), made[0]), made[1]


def _quantised(
    values: Floats, spec: Spec, quantiser: Quantiser, segments: list[int], effort: Effort
) -> tuple[bytes, NDArray[np.uint8]] | None:
    """(body, decoded bytes); None if the weights can't be had within the limit, or are too many steps large."""
    shapes: list[Shape] = shapes_of(spec)
    settings = replace(quantiser.settings(segments, len(shapes)), mixed=effort.mixed)
    layer = quantiser.layer_of(segments[0]) if len(segments) == 1 else None
    if layer is not None and shapes[0].columns == layer.columns:
        made = encode_aware(values, shapes[0], settings, layer.feedback)
    else:
        made = trellis.encode(values, shapes, settings)
    if made is None:
        return None
    body, restored = made
    if quantiser.limit < np.inf:
        error = np.abs(values.astype(np.float64) - rounded(restored, spec.dtype))
        if not bool((error <= quantiser.limit).all()):
            return None
    return body, bytes_of(restored, spec.dtype)
