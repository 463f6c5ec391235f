"""The payloads that compete for a block, each decoded again before its length is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ...errors import GuaranteeError
from ...spec import Spec
from ...tensors import numpy_dtype
from ...wire import Reader
from ..lossy.values import Bytes, Floats
from ..methods import EFFORTS, STRUCTURE, decode_block, encode_block
from . import block, one_of, tied
from .model import Layout, Tolerance

_DEAR: Final = 0.6  # of the dtype's width: from here on the lossless code may be shorter


@dataclass(frozen=True)
class Way:
    """A payload (as of methods.py), what it decodes to (float32 [n]), and the structure that it tells, "" for none."""

    name: str
    text: str
    payload: bytes
    decoded: Floats


def best_ways(data: Bytes, values: Floats, spec: Spec, tolerance: Tolerance) -> tuple[Way, Way]:
    """(the plain code, the cheapest of all) of one tensor of finite weights; both decoded again and within the tolerance."""
    layout = Layout(spec.shapes[0], spec.dtype)
    plain = _plain(data, values, spec, layout, tolerance)
    found = block.encode(values, layout, tolerance)
    if found is None or 1 + len(found.body) >= len(plain.payload):
        return plain, plain
    structure = checked(Way(found.name, found.text, bytes([STRUCTURE]) + found.body, values), values, spec, tolerance)
    return plain, structure


def _plain(data: Bytes, values: Floats, spec: Spec, layout: Layout, tolerance: Tolerance) -> Way:
    made = block.encode_plain(values, layout, tolerance)
    ways = [] if made is None else [Way("", "", bytes([STRUCTURE]) + made.body, values)]
    if made is None or len(made.body) > _DEAR * data.size:
        ways.append(Way("", "", encode_block(data, spec, EFFORTS["balanced"]), values))
    return checked(min(ways, key=lambda w: len(w.payload)), values, spec, tolerance)


def checked(way: Way, values: Floats, spec: Spec, tolerance: Tolerance) -> Way:
    """The way with what its payload decodes to. Raises GuaranteeError if that isn't within the tolerance."""
    decoded = decoded_values(way.payload, spec)
    error = values.astype(np.float64) - decoded
    if error.any() and not one_of.kept(error, tolerance):
        raise GuaranteeError(f"structure {way.name or 'plain'}: more error than was allowed; please report this")
    return Way(way.name, way.text, way.payload, decoded)


def decoded_values(payload: bytes, spec: Spec) -> Floats:
    """What a payload decodes to: float32 [n]. Raises FormatError."""
    return decode_block(payload, spec).view(numpy_dtype(spec.dtype)).astype(np.float32)


def tied_way(
    values: Floats, spec: Spec, first: Floats, shape: tuple[int, ...], name: str, tolerance: Tolerance
) -> Way | None:
    """A tensor as another one of `shape` that the receiver has decoded already; None if it can't be."""
    layout = Layout(spec.shapes[0], spec.dtype)
    body = tied.encode_other(values, first, shape, layout, tolerance)
    if body is None:
        return None
    data = tied.decode_other(Reader(body, name), first, shape, layout)
    decoded = data.view(numpy_dtype(spec.dtype)).astype(np.float32)
    return Way("tied", tied.words(body, name), body, decoded)
