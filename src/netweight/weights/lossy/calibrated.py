"""The tensors of a plan that are calibrated, and what their layers' outputs hold.

All tensors share one step. Steps by the layer's level of D, or by that over the energy of its outputs (an equal share of
noise in each layer), were tried on ResNet-20 and SmolLM2-135M: nothing gained on the one, much lost on the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..archive.index import Index
from ..archive.inputs import Inputs
from ..archive.plan import Plan
from .calibration import Calibration, Layer
from .feedback import output_error
from .values import floats_of


@dataclass
class Calibrated:
    """`energies`: of each segment that is calibrated, tr(W H W^T), its outputs' energy."""

    calibration: Calibration
    index: Index
    energies: dict[int, float] = field(default_factory=dict)

    def layer(self, segment: int) -> Layer | None:
        """None for a segment that isn't calibrated."""
        if segment not in self.energies:
            return None
        found = self.index.segments[segment]
        return self.calibration.layer(found.name, found.shape)

    def notes(self, noise: float) -> dict[str, Any]:
        """For a receipt: how many tensors, their output error over their outputs' energy, and what was of no use."""
        used = {self.index.segments[k].name for k in self.energies}
        energy = sum(self.energies.values())
        ignored = self.calibration.ignored(used)
        out = {"tensors": len(self.energies), "output_error": noise / energy if energy else 0.0}
        return out | ({"ignored": ignored} if ignored else {})


def calibrate(plan: Plan, inputs: Inputs, touched: set[int], calibration: Calibration) -> Calibrated:
    """Look at every touched tensor that `calibration` knows. Raises InputError as `Calibration.layer` does."""
    out = Calibrated(calibration, plan.index)
    for piece in (p for group in plan.groups for p in group if p.segment in touched):
        k, segment = piece.segment, plan.index.segments[piece.segment]
        layer, spec, place = (
            calibration.layer(segment.name, segment.shape),
            segment.piece_spec(piece.nbytes),
            plan.places[k],
        )
        if layer is None or spec.matrices()[0][1] != layer.columns:
            continue
        values = floats_of(inputs.files[place.file].source.read(place.offset + piece.start, piece.nbytes), spec)
        if values is not None:
            energy = output_error(values.reshape(-1, layer.columns), layer.moments)
            out.energies[k] = out.energies.get(k, 0.0) + energy
    return out
