"""Bytes that aren't numbers (headers, pickles, tokenizers, unknown files): the best of Brotli, Zstandard and xz.

body := coder (1 byte: 0 brotli, 1 zstd, 2 xz) | its stream
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...codec import Codec
from ...entropy.general import Brotli, Xz, Zstd
from ...errors import FormatError
from ...spec import Spec

_CODERS: Final = (Brotli, Zstd, Xz)
_BROTLI, _ZSTD, _XZ = 0, 1, 2
_SMALL: Final = 1 << 16
_PROMISING: Final = 0.98


@lru_cache
def _coder(number: int, level: int) -> Codec:
    codec: Codec = _CODERS[number](level=level)
    return codec


def _choices(size: int, level: int) -> list[Codec]:
    """Coders to try: small inputs get the strongest always; `level` is a Zstandard level."""
    if size <= _SMALL:
        return [_coder(_BROTLI, 11)]
    if level <= 3:
        return [_coder(_ZSTD, 3)]
    if level < 19:
        return [_coder(_ZSTD, level), _coder(_BROTLI, 9)]
    return [_coder(_BROTLI, 11), _coder(_XZ, 9)]


def promises(data: NDArray[np.uint8]) -> bool:
    """Whether repeats, which these coders find, say more of a sample than its byte counts do: weights seldom repeat."""
    if data.size <= _SMALL:
        return True
    start = (data.size - _SMALL) // 2
    sample = data[start : start + _SMALL]
    counts = np.bincount(sample, minlength=256)
    used = counts[counts > 0].astype(np.float64)
    ideal = float((used * np.log2(sample.size / used)).sum()) / 8
    return len(_coder(_ZSTD, 3).encode(sample, Spec.raw(sample.size))) < _PROMISING * ideal + 64


def encode_block(data: NDArray[np.uint8], level: int) -> bytes:
    """The shortest of the coders that `level` allows."""
    spec = Spec.raw(data.size)
    numbered = ((_CODERS.index(type(c)), c.encode(data, spec)) for c in _choices(data.size, level))
    number, body = min(numbered, key=lambda pair: len(pair[1]))
    return bytes([number]) + body


def decode_block(body: bytes | memoryview, spec: Spec) -> NDArray[np.uint8]:
    """`spec.nbytes` bytes. Raises FormatError."""
    if not len(body) or body[0] >= len(_CODERS):
        raise FormatError("general block: unknown coder")
    return _coder(body[0], 1).decode(body[1:], Spec.raw(spec.nbytes))
