"""Energies of tensors, in one pass and bounded memory."""

from __future__ import annotations

from ..archive.inputs import Inputs
from ..archive.plan import Plan
from .encoder import Sums
from .values import floats_of, squares


def energies(plan: Plan, inputs: Inputs, touched: set[int]) -> dict[int, Sums]:
    """Weights and ||x||^2 of each touched segment; a block with NaN or infinities adds no energy."""
    out = {k: Sums() for k in sorted(touched)}
    for piece in (p for group in plan.groups for p in group if p.segment in touched):
        place = plan.places[piece.segment]
        data = inputs.files[place.file].source.read(place.offset + piece.start, piece.nbytes)
        spec = plan.index.segments[piece.segment].piece_spec(piece.nbytes)
        values = floats_of(data, spec)
        out[piece.segment].add(Sums(spec.count, 0.0 if values is None else squares(values)))
    return out
