"""Words to byte planes and back: the bits that compress together in one byte, the noise in the others.

A block is words of 1, 2, 4 or 8 bytes; plane p holds byte p (0 the lowest) of each *folded* word. The folds:

    NONE     the word as it is
    FLOAT    the sign moves below the exponent. 16 and 32 bits:  s xxxxxxxx ... -> xxxxxxxx s ...
             (the top byte is the exponent of BF16 and F32, exponent and three mantissa bits of F16);
             64 bits:  s eee xxxxxxxx ... -> xxxxxxxx s eee ...  (the exponent's low eight bits are the top byte, its
             nearly constant rest goes with the sign and four mantissa bits)
    ZIGZAG   0, -1, 1, -2, ... -> 0, 1, 2, 3, ...: small integers of both signs have zero high bytes

The loops are written so that LLVM vectorises them; planes of one sub-block fit in the second-level cache.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from ...entropy.memory import load16, load32, load64, store16, store32, store64
from ...spec import DType

PLANE: Final = 1 << 16
"""Words in a sub-block: the distance of two planes in the buffer of planes."""
NONE, FLOAT, ZIGZAG = 0, 1, 2

_H = np.uint16
_W = np.uint32
_D = np.uint64


def layout(kind: DType) -> tuple[int, int]:
    """Bytes in a word and the fold of a dtype; a complex number is two words."""
    width = kind.word // 8
    if kind.kind == "complex" or (kind.kind == "float" and width > 1):
        return width, FLOAT
    return width, ZIGZAG if kind.kind == "int" and width > 1 else NONE


@njit(nogil=True, cache=True)
def copy(data, start, n, out, at):  # type: ignore[no-untyped-def]
    """out[at : at + n] = data[start : start + n]; a plain loop, as numba's slice assignment is slower."""
    source, target = data[start : start + n], out[at : at + n]
    for i in range(n):
        target[i] = source[i]


@njit(nogil=True, cache=True)
def split(data, start, n, width, fold, planes):  # type: ignore[no-untyped-def]
    """Bring n <= PLANE words of `width` bytes at data[start:] to planes (uint8, plane p at p * PLANE)."""
    if width == 1:
        copy(data, start, n, planes, 0)
    elif width == 2:
        _split16(data[start : start + 2 * n], n, fold, planes[:n], planes[PLANE : PLANE + n])
    elif width == 4:
        _split32(data[start : start + 4 * n], n, fold, planes)
    else:
        _split64(data[start : start + 8 * n], n, fold, planes)


@njit(nogil=True, cache=True)
def merge(payload, places, planes, n, width, fold, out, start):  # type: ignore[no-untyped-def]
    """The inverse of `split`: n words to out[start : start + n * width].

    Plane p is payload[places[p] :] (read-only uint8), or, where places[p] (int64) is negative, in `planes` as ever.
    """
    p0 = _plane(payload, places, planes, 0, n)
    if width == 1:
        copy(p0, 0, n, out, start)
        return
    p1 = _plane(payload, places, planes, 1, n)
    if width == 2:
        _merge16(p0, p1, n, fold, out[start : start + 2 * n])
        return
    p2, p3 = _plane(payload, places, planes, 2, n), _plane(payload, places, planes, 3, n)
    if width == 4:
        _merge32(p0, p1, p2, p3, n, fold, out[start : start + 4 * n])
        return
    p4, p5 = _plane(payload, places, planes, 4, n), _plane(payload, places, planes, 5, n)
    p6, p7 = _plane(payload, places, planes, 6, n), _plane(payload, places, planes, 7, n)
    _merge64(p0, p1, p2, p3, p4, p5, p6, p7, n, fold, out[start : start + 8 * n])


@njit(nogil=True, cache=True)
def _plane(payload, places, planes, plane, n):  # type: ignore[no-untyped-def]
    if places[plane] >= 0:
        return payload[places[plane] : places[plane] + n]
    return planes[plane * PLANE : plane * PLANE + n]


@njit(nogil=True, cache=True)
def _split16(data, n, fold, low, high):  # type: ignore[no-untyped-def]
    if fold == FLOAT:
        for i in range(n):
            w = load16(data, 2 * i)
            low[i] = np.uint8((w & _H(0x7F)) | ((w >> _H(8)) & _H(0x80)))
            high[i] = np.uint8(w >> _H(7))
    elif fold == ZIGZAG:
        for i in range(n):
            w = load16(data, 2 * i)
            z = _H(w << _H(1)) ^ _H(np.int16(w) >> np.int16(15))
            low[i], high[i] = np.uint8(z), np.uint8(z >> _H(8))
    else:
        for i in range(n):
            w = load16(data, 2 * i)
            low[i], high[i] = np.uint8(w), np.uint8(w >> _H(8))


@njit(nogil=True, cache=True)
def _merge16(low, high, n, fold, out):  # type: ignore[no-untyped-def]
    if fold == FLOAT:
        for i in range(n):
            a, b = _H(low[i]), _H(high[i])
            store16(out, 2 * i, _H((b << _H(7)) | (a & _H(0x7F)) | ((a & _H(0x80)) << _H(8))))
    elif fold == ZIGZAG:
        for i in range(n):
            z = _H(low[i]) | _H(_H(high[i]) << _H(8))
            store16(out, 2 * i, _H(z >> _H(1)) ^ _H(-np.int16(z & _H(1))))
    else:
        for i in range(n):
            store16(out, 2 * i, _H(low[i]) | _H(_H(high[i]) << _H(8)))


@njit(nogil=True, cache=True, inline="always")
def _fold32(w, fold):  # type: ignore[no-untyped-def]
    if fold == FLOAT:
        return ((w & _W(0x7F80_0000)) << _W(1)) | ((w >> _W(8)) & _W(0x0080_0000)) | (w & _W(0x007F_FFFF))
    if fold == ZIGZAG:
        return (w << _W(1)) ^ _W(np.int32(w) >> np.int32(31))
    return w


@njit(nogil=True, cache=True, inline="always")
def _unfold32(z, fold):  # type: ignore[no-untyped-def]
    if fold == FLOAT:
        return ((z >> _W(1)) & _W(0x7F80_0000)) | ((z & _W(0x0080_0000)) << _W(8)) | (z & _W(0x007F_FFFF))
    if fold == ZIGZAG:
        return (z >> _W(1)) ^ _W(-np.int32(z & _W(1)))
    return z


@njit(nogil=True, cache=True, inline="always")
def _fold64(w, fold):  # type: ignore[no-untyped-def]
    if fold == FLOAT:
        top = ((w << _D(4)) & _D(0xFF << 56)) | ((w >> _D(8)) & _D(0xF << 52))
        return top | (w & _D((1 << 52) - 1))
    if fold == ZIGZAG:
        return (w << _D(1)) ^ _D(np.int64(w) >> np.int64(63))
    return w


@njit(nogil=True, cache=True, inline="always")
def _unfold64(z, fold):  # type: ignore[no-untyped-def]
    if fold == FLOAT:
        top = ((z >> _D(4)) & _D(0xFF << 52)) | ((z << _D(8)) & _D(0xF << 60))
        return top | (z & _D((1 << 52) - 1))
    if fold == ZIGZAG:
        return (z >> _D(1)) ^ _D(-np.int64(z & _D(1)))
    return z


@njit(nogil=True, cache=True)
def _split32(data, n, fold, planes):  # type: ignore[no-untyped-def]
    p0, p1 = planes[:n], planes[PLANE : PLANE + n]
    p2, p3 = planes[2 * PLANE : 2 * PLANE + n], planes[3 * PLANE : 3 * PLANE + n]
    for i in range(n):
        z = _W(_fold32(load32(data, 4 * i), fold))
        p0[i], p1[i] = np.uint8(z), np.uint8(z >> _W(8))
        p2[i], p3[i] = np.uint8(z >> _W(16)), np.uint8(z >> _W(24))


@njit(nogil=True, cache=True)
def _merge32(p0, p1, p2, p3, n, fold, out):  # type: ignore[no-untyped-def]
    for i in range(n):
        low = _W(p0[i]) | (_W(p1[i]) << _W(8))
        z = _W(low | (_W(p2[i]) << _W(16)) | (_W(p3[i]) << _W(24)))
        store32(out, 4 * i, _unfold32(z, fold))


@njit(nogil=True, cache=True)
def _split64(data, n, fold, planes):  # type: ignore[no-untyped-def]
    for i in range(n):
        z = _fold64(load64(data, 8 * i), fold)
        for p in range(8):
            planes[p * PLANE + i] = np.uint8(z >> _D(8 * p))


@njit(nogil=True, cache=True)
def _merge64(p0, p1, p2, p3, p4, p5, p6, p7, n, fold, out):  # type: ignore[no-untyped-def]
    for i in range(n):
        low = _W(p0[i]) | (_W(p1[i]) << _W(8)) | (_W(p2[i]) << _W(16)) | (_W(p3[i]) << _W(24))
        high = _W(p4[i]) | (_W(p5[i]) << _W(8)) | (_W(p6[i]) << _W(16)) | (_W(p7[i]) << _W(24))
        store64(out, 8 * i, _unfold64(_D(_W(low)) | (_D(_W(high)) << _D(32)), fold))
