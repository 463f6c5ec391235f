"""A block that was quantised plainly, by its structure instead, where that is shorter and errs no more."""

from __future__ import annotations

import numpy as np

from ...spec import Spec
from ...tensors import numpy_dtype
from ..lossy.values import Bytes, Floats, floats_of
from ..methods import STRUCTURE
from . import block, one_of
from .families import encode_family
from .model import Tolerance, mean_square

Payload = tuple[bytes, bytes | Bytes]
"""Method and body, as of methods.py."""


def improved(data: Bytes, spec: Spec, plain: tuple[Payload, Bytes], limit: float = np.inf) -> tuple[Payload, Bytes]:
    """(payload, what it decodes to): `plain`, or a shorter one whose mean square error is no larger.

    `limit` is the largest error that a weight may have, where one is promised.
    """
    values, decoded = floats_of(data, spec), floats_of(plain[1], spec)
    if values is None or decoded is None or not values.any():
        return plain
    body = _body(data, values, spec, _tolerance(values, decoded, limit))
    if body is None or len(body) >= len(plain[0][1]):
        return plain
    again = block.decode(body, spec)
    error = values.astype(np.float64) - again.view(numpy_dtype(spec.dtype)).astype(np.float32)
    return ((bytes([STRUCTURE]), body), again) if one_of.kept(error, _tolerance(values, decoded, limit)) else plain


def _tolerance(values: Floats, decoded: Floats, limit: float) -> Tolerance:
    """Of an even error within the limit, where one is promised; else the noise that the plain code has made."""
    noise = mean_square(values.astype(np.float64) - decoded)
    return Tolerance(noise) if limit == np.inf or noise == 0 else Tolerance(limit * limit / 3, limit)


def _body(data: Bytes, values: Floats, spec: Spec, tolerance: Tolerance) -> bytes | None:
    layout = block.layout_of(spec)
    if layout is None:
        return encode_family(data, values, spec, tolerance) if len(spec.shapes) > 1 else None
    found = block.encode(values, layout, tolerance)
    return None if found is None else found.body
