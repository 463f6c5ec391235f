"""Which tensors of an archive get a block of their own, or one with their kin, so that their structure can be coded.

Small tensors share blocks, where no structure can be seen; a tensor in which one pays is taken out. Tensors that are
nearly one another are put together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from ...spec import Spec
from ..archive.index import Piece, Segment
from ..archive.inputs import Inputs
from ..archive.plan import SMALL_ELEMENTS, Plan
from ..lossy.values import Bytes, Floats, floats_of, is_float
from . import tied
from .model import Tolerance
from .pricing import best_ways, tied_way

ToleranceOf = Callable[[Floats], Tolerance]
"""What the weights of a tensor (float32 [n]) may err."""

_LEAST = 4


@dataclass
class _Family:
    """A first tensor and those that are made of it, by segment; shape and fingerprints are the first one's."""

    members: list[int]
    shape: tuple[int, ...]
    prints: dict[tuple[int, ...], Floats]


@dataclass
class _Survey:
    tolerance_of: ToleranceOf
    values_of: Callable[[int], Floats]
    alone: set[int] = field(default_factory=set)
    families: list[_Family] = field(default_factory=list)

    def look_at(self, number: int, data: Bytes, values: Floats, spec: Spec) -> None:
        tolerance, shape = self.tolerance_of(values), spec.shapes[0]
        kin = self._kin(values, shape)
        small = spec.count < SMALL_ELEMENTS
        if small or kin is not None:
            plain, best = best_ways(data, values, spec, tolerance)
            if kin is not None:
                way = tied_way(values, spec, self.values_of(kin.members[0]), kin.shape, "", tolerance)
                if way is not None and len(way.payload) < len(best.payload):
                    kin.members.append(number)
                    return
            if small and best is not plain:
                self.alone.add(number)
        self.families.append(_Family([number], shape, tied.fingerprints(values, shape)))

    def _kin(self, values: Floats, shape: tuple[int, ...]) -> _Family | None:
        mine = tied.fingerprint(values, shape)
        near = [(abs(float(mine @ f.prints[shape])), k) for k, f in enumerate(self.families) if shape in f.prints]
        likeness, k = max(near, default=(0.0, -1))
        full = k >= 0 and len(self.families[k].members) >= tied.MOST_TENSORS
        return self.families[k] if tied.alike(likeness, values.size) and not full else None


def regroup(plan: Plan, inputs: Inputs, wanted: Iterable[int], tolerance_of: ToleranceOf) -> None:
    """Change the groups of a plan so that structure in the segments `wanted` (and between them) can be coded."""
    surveys: dict[str, _Survey] = {}
    segments = plan.index.segments
    whole = {p.segment for g in plan.groups for p in g if _is_whole(p, segments)}

    def read(number: int) -> Bytes:
        place = plan.places[number]
        return inputs.files[place.file].source.read(place.offset, segments[number].nbytes)

    def values_of(number: int) -> Floats:
        values = floats_of(read(number), Spec(segments[number].dtype, (segments[number].shape,)))
        return np.zeros(0, np.float32) if values is None else values

    for number in sorted(set(wanted) & whole):
        segment = segments[number]
        spec = Spec(segment.dtype, (segment.shape,))
        if is_float(segment.dtype) and len(segment.shape) > 1 and _LEAST <= spec.count <= tied.MOST:
            values = values_of(number)
            if values.any():
                survey = surveys.setdefault(segment.dtype, _Survey(tolerance_of, values_of))
                survey.look_at(number, read(number), values, spec)
    for survey in surveys.values():
        families = [f.members for f in survey.families if len(f.members) > 1]
        tied_ones = {k for members in families for k in members}
        _move(plan, [[k] for k in sorted(survey.alone - tied_ones)] + families)


def _is_whole(piece: Piece, segments: list[Segment]) -> bool:
    return piece.nbytes == segments[piece.segment].nbytes


def _move(plan: Plan, together: list[list[int]]) -> None:
    """Give each list of segments a block of its own, out of the blocks where they are."""
    pieces = {p.segment: p for g in plan.groups for p in g}
    moved = {k for members in together for k in members}
    kept = (tuple(p for p in group if p.segment not in moved) for group in plan.groups)
    plan.groups[:] = [g for g in kept if g] + [tuple(pieces[k] for k in members) for members in together]
