"""Levels of a quantiser (small signed integers, most often 0) as bytes.

payload = compact code                       of up to SHORT levels
        | 1, grouped code
        | 2, how many aren't 0 (varint), their positions (blob), the payload of what they are: k - 1 for k > 0, else k
        | 3                                  all are 0
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ...wire import Reader, Writer
from . import compact, grouped

Levels = NDArray[np.int32]

SHORT: Final = 1 << 14
MOST: Final = (1 << 30) - 1
"""The largest magnitude that can be coded."""
_GROUPED, _SPARSE, _ZEROS = 1, 2, 3
_SPARSE_BELOW: Final = 1 / 64


def encode(levels: Levels) -> bytes:
    """The bytes of int32 [n] levels within +-MOST, n >= 1."""
    if levels.size <= SHORT:
        return compact.encode(levels)
    sample = levels[:: levels.size >> 12]
    if float((sample != 0).mean()) < _SPARSE_BELOW:
        places = np.flatnonzero(levels)
        if places.size < levels.size * _SPARSE_BELOW:
            return _encode_sparse(levels, places)
    return bytes([_GROUPED]) + grouped.encode(levels)


def _encode_sparse(levels: Levels, places: NDArray[np.int64]) -> bytes:
    from . import positions

    if not places.size:
        return bytes([_ZEROS])
    values = levels[places]
    out = Writer().raw(bytes([_SPARSE])).varint(places.size).blob(positions.encode(places, levels.size))
    return out.raw(encode(values - (values > 0))).bytes()


def decode(payload: bytes | memoryview, n: int, limit: int) -> Levels:
    """The inverse: int32 [n] within +-limit. Raises FormatError."""
    if n <= SHORT:
        return compact.decode(payload, n, limit)
    source = Reader(payload, "levels")
    kind = source.byte()
    if kind == _GROUPED:
        return grouped.decode(source.raw(source.remaining), n, limit)
    levels = np.zeros(n, np.int32)
    if kind == _SPARSE:
        _decode_sparse(source, levels, limit)
    elif kind != _ZEROS:
        raise FormatError(f"levels: kind {kind}")
    source.end()
    return levels


def _decode_sparse(source: Reader, levels: Levels, limit: int) -> None:
    from . import positions

    count = source.varint(limit=levels.size // 2)
    if not count:
        raise FormatError("levels: sparse, but none isn't 0")
    places = positions.decode(source.blob(), count, levels.size)
    values = decode(source.raw(source.remaining), count, limit)
    values += values >= 0
    if int(values.max()) > limit:
        raise FormatError(f"levels: one beyond {limit}")
    levels[places] = values
