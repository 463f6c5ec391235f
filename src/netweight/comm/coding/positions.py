"""Which k of d coordinates are sent, in bytes near log2 C(d, k) / 8.

Up to levels.SHORT coordinates are told one by one, each with its exact probability, places left / coordinates left: a binary
arithmetic code that ends within two bytes of log2 C(d, k). Beyond, the gaps between places, which are close to geometric, are split
as high * 2^r + low: low bits, all but uniform, as they are, high parts, of mean near 6, as levels.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import mixing
from ...errors import FormatError
from ...wire import Reader
from . import levels, packing

Places = NDArray[np.int64]


@njit(nogil=True, cache=True)
def _tell(work, buffer, chosen, k):  # type: ignore[no-untyped-def]
    """Code bool [d] with k true ones, or decode into it."""
    left = k
    for i in range(chosen.size):
        others = chosen.size - i
        if left == 0:
            break
        bit = np.int64(1)
        if left < others:
            p = min(max((left << 16) // others, 1), 65535)
            bit = mixing.code_bit(work, buffer, p, np.int64(chosen[i]))
        chosen[i] = bit == 1
        left -= bit


def _low_bits(k: int, d: int) -> int:
    return max(0, (d // k).bit_length() - 3)


def encode(places: Places, d: int) -> bytes:
    """The bytes of `places`, ascending below `d`, at least one of them; the receiver knows k and d."""
    if d <= levels.SHORT:
        chosen = np.zeros(d, np.bool_)
        chosen[places] = True
        work, buffer = mixing.make_work(0), np.empty(2 * d + 64, np.uint8)
        _tell(work, buffer, chosen, places.size)
        code = mixing.finish(work, buffer)
        if code is None:
            raise AssertionError("a decision takes two bytes at most")
        return code
    gaps = (np.diff(places, prepend=-1) - 1).astype(np.uint32)
    r = _low_bits(places.size, d)
    low = packing.pack(gaps & np.uint32((1 << r) - 1), r) if r else b""
    return low + levels.encode((gaps >> np.uint32(r)).astype(np.int32))


def decode(payload: bytes | memoryview, k: int, d: int) -> Places:
    """The inverse. Raises FormatError."""
    if d <= levels.SHORT:
        return _listen(np.frombuffer(payload, np.uint8).copy(), k, d)
    r, source = _low_bits(k, d), Reader(payload, "positions")
    low = packing.unpack(source.raw(packing.size(k, r)), k, r) if r else np.zeros(k, np.uint32)
    high = levels.decode(source.raw(source.remaining), k, d >> r)
    places = np.cumsum((high.astype(np.int64) << r) + low + 1) - 1
    if int(high.min()) < 0 or int(places[-1]) >= d:
        raise FormatError(f"positions: impossible ones of {d} coordinates")
    return places


def _listen(code: NDArray[np.uint8], k: int, d: int) -> Places:
    work, chosen = mixing.make_work(0), np.zeros(d, np.bool_)
    mixing.start_decoding(work, code)
    _tell(work, code, chosen, k)
    if mixing.consumed(work) != code.size:
        raise FormatError(f"positions: {mixing.consumed(work)} bytes expected, {code.size} are there")
    return np.flatnonzero(chosen)
