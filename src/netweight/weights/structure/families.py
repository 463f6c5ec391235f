"""Blocks of several tensors that are one another, nearly: the first by itself, the others given the first."""

from __future__ import annotations

from collections.abc import Iterator

from ...spec import Spec
from ..lossy.values import Bytes, Floats
from . import tied
from .block import TIED_HEAD
from .model import Tolerance
from .pricing import best_ways, tied_way


def encode_family(data: Bytes, values: Floats, spec: Spec, tolerance: Tolerance) -> bytes | None:
    """The body of a block of several tensors (values float32 [n], finite); None if they aren't alike."""
    if not _are_alike(values, spec):
        return None
    parts = _parts(data, values, spec)
    first_data, first_values, first_spec = next(parts)
    first = best_ways(first_data, first_values, first_spec, tolerance)[1]
    others = []
    for _, own, own_spec in parts:
        way = tied_way(own, own_spec, first.decoded, first_spec.shapes[0], "", tolerance)
        if way is None:
            return None
        others.append(way.payload)
    return bytes([TIED_HEAD]) + tied.assemble(first.payload, others)


def _parts(data: Bytes, values: Floats, spec: Spec) -> Iterator[tuple[Bytes, Floats, Spec]]:
    """Bytes, values and spec of each tensor."""
    at = weight = 0
    for shape in spec.shapes:
        own = Spec(spec.dtype, (shape,))
        yield data[at : at + own.nbytes], values[weight : weight + own.count], own
        at, weight = at + own.nbytes, weight + own.count


def _are_alike(values: Floats, spec: Spec) -> bool:
    """Whether each tensor's fingerprint is like the first one's, in one of the ways their shapes allow."""
    shapes = spec.shapes
    if not 2 <= len(shapes) <= tied.MOST_TENSORS or any(len(s) < 2 for s in shapes):
        return False
    count = Spec(spec.dtype, shapes[:1]).count
    first = values[:count]
    prints = tied.fingerprints(first, shapes[0])
    at = count
    for shape in shapes[1:]:
        own = values[at : at + count]
        if shape not in prints or not own.any():
            return False
        if not tied.alike(float(tied.fingerprint(own, shape) @ prints[shape]), count):
            return False
        at += count
    return True
