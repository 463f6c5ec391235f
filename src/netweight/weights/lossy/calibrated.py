"""The tensors of a plan that are calibrated: what their layers see, and the share of the error that each is given."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..archive.index import Index
from ..archive.inputs import Inputs
from ..archive.plan import Plan
from .calibration import Calibration, Layer
from .feedback import output_error
from .values import floats_of


@dataclass
class Calibrated:
    """`factors`: segment -> grid step over the common one; `energies`: segment -> tr(W H W^T), the outputs' energy."""

    calibration: Calibration
    index: Index
    factors: dict[int, float] = field(default_factory=dict)
    energies: dict[int, float] = field(default_factory=dict)

    def layer(self, segment: int) -> Layer | None:
        """None for a segment that isn't calibrated."""
        if segment not in self.factors:
            return None
        return self._look(segment)

    def _look(self, segment: int) -> Layer | None:
        found = self.index.segments[segment]
        return self.calibration.layer(found.name, found.shape)

    def notes(self, noise: float) -> dict[str, Any]:
        """For a receipt: how many tensors, their output error over their outputs' energy, and what was of no use."""
        used = {self.index.segments[k].name for k in self.factors}
        energy = sum(self.energies.values())
        ignored = self.calibration.ignored(used)
        out = {"tensors": len(self.factors), "output_error": noise / energy if energy else 0.0}
        return out | ({"ignored": ignored} if ignored else {})


def calibrate(plan: Plan, inputs: Inputs, touched: set[int], calibration: Calibration) -> Calibrated:
    """Look at every touched tensor that `calibration` knows. Raises InputError as `Calibration.layer` does.

    Output errors are compared layer by layer with the layer's own output: noise adds up relative to the signal. With d
    the level of D (feedback.py), a step s on n weights a row costs about n d s^2 of an energy e a row, at a rate of
    -log2 s, so that the slope is the same for all tensors where s^2 = e / d. Steps are then scaled to a geometric mean
    over the calibrated weights of the common step.
    """
    out = Calibrated(calibration, plan.index)
    weights: dict[int, int] = {}
    for piece in (p for group in plan.groups for p in group if p.segment in touched):
        k, segment = piece.segment, plan.index.segments[piece.segment]
        layer = calibration.layer(segment.name, segment.shape)
        place = plan.places[k]
        spec = segment.piece_spec(piece.nbytes)
        if layer is None or spec.matrices()[0][1] != layer.columns:
            continue
        values = floats_of(inputs.files[place.file].source.read(place.offset + piece.start, piece.nbytes), spec)
        if values is None:
            continue
        energy = output_error(values.reshape(-1, layer.columns), layer.moments)
        out.energies[k] = out.energies.get(k, 0.0) + energy
        weights[k] = weights.get(k, 0) + spec.count
        out.factors[k] = layer.feedback.level
    _share(out, weights)
    return out


def _share(calibrated: Calibrated, weights: dict[int, int]) -> None:
    """From levels to factors."""
    logs = {}
    for k, level in calibrated.factors.items():
        rows = calibrated.index.segments[k].shape[0]
        logs[k] = 0.5 * math.log(max(calibrated.energies[k], np.finfo(np.float64).tiny) / (rows * level))
    mean = sum(logs[k] * weights[k] for k in logs) / max(sum(weights.values()), 1)
    calibrated.factors = {k: math.exp(log - mean) for k, log in logs.items()}
