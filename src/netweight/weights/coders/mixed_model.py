"""The model behind `max`: how the bits of one weight are predicted from the weights before it (numba kernels, integers).

Each weight w is seen as z = w / 2^scale(row, column); the scale is learnt online by a robust score (row and column parts, both with
falling gains). z itself is predicted linearly (least mean squares) from weights above, to the left and the column's mean; the
residual has a scale of its own. So each bit of sign, exponent and leading mantissa has two parametric predictions (normal and Laplace
around the predicted value) and adaptive ones in contexts, and a mixer weighs them. docs/max.md tells the whole story.
Units: scales are log2 in Q8 (Q16 where they are accumulated), z in Q10.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy.fixedpoint import EXP2, LOG2, RECIPROCAL, SCORE, SHIFT, STRETCH, SURVIVAL, SURVIVAL_END
from ...entropy.mixing import (
    DECODING, INPUT_AT, OVERFLOW, POSITION, SLOT_AT, USER_AT, Work, code_flag, code_mixed, make_work,
)  # fmt: skip

Counters = NDArray[np.uint32]
Bytes = NDArray[np.uint8]

_kernel: Any = njit(nogil=True, cache=True, forceinline=True, error_model="numpy")

# Kinds of decisions. Exponents: is it >= k (0), >= k + 1.. (1-8), >= k - 1.. (9-16); then mantissa trees by exponent - k; sign; zero.
_NODES: Final = 152
_MANTISSA, _SIGN, _ZERO = 17, 150, 151
_STEPS: Final = 8  # further exponents are escapes
_CONTEXTS: Final = 768  # per slot of the mixer
_SECOND: Final = 512
TOP: Final = 3  # mantissa bits that are modelled
_ABOVE, _LEFT = 6, 12
_FEATURES: Final = _ABOVE + _LEFT + 4
_ESCAPE_FLAGS: Final = 4096
_UNIT: Final = 1024  # z = 1
_Z_LIMIT: Final = 8191
_FAR: Final = 9000  # beyond the survival table


class Fields(NamedTuple):
    """What the numbers are: `exponents` (how many values), `mantissa` bits (floats), and flags 0/1.

    `integer`: magnitudes are integers whose exponent is their bit length. `signed`: signs vary (else all are `negative`).
    `sparse`: zeros have a decision of their own. `low_zero`: so has "all low mantissa bits are 0".
    """

    exponents: int
    mantissa: int
    integer: int
    signed: int
    negative: int
    sparse: int
    low_zero: int


# Places in the work array: the plain bits' registers; where a decision stands; what lasts over the matrices of a block.
RAW: Final = 8
_BASE = USER_AT  # first slot of each context
_P, _Q, _K, _TZ, _TSIDE, _SECOND_AT, _LOWEST = (USER_AT + 8 + i for i in range(7))
_LEVEL, _SPREAD = USER_AT + 24, USER_AT + 25  # overall log2 of |w| and of the residual, Q16
_EXPONENTS, _MANTISSA_BITS, _INTEGER, _SIGNED, _NEGATIVE, _SPARSE, _LOW_ZERO = range(USER_AT + 16, USER_AT + 23)  # Fields
_PREDICTOR = USER_AT + 32  # weights of the linear prediction, Q16
_MIXED_COUNTERS: Final = 5 * _CONTEXTS * _NODES
_FLAGS: Final = _MIXED_COUNTERS
_LOW_FLAG, _ZERO_SIGN_FLAG = _FLAGS + _ESCAPE_FLAGS, _FLAGS + _ESCAPE_FLAGS + 2


def make_state(fields: Fields, level: int) -> tuple[Work, Counters]:
    """A fresh work array and counters for a block of such numbers; `level` is the exponent that a typical weight has."""
    work = make_work(_NODES + _SECOND * 8)
    work[_EXPONENTS : _LOW_ZERO + 1] = fields
    work[_PREDICTOR + _ABOVE] = 1 << 15
    work[_LEVEL] = (2 * level + 1) << 15
    return work, np.zeros(_MIXED_COUNTERS + _ESCAPE_FLAGS + 8, np.uint32)


@_kernel
def _exp2(x: int, scale: int) -> int:
    """2^(x/256) in Q`scale`, at most 2^46."""
    shift = (x >> 8) - 16 + scale
    value = EXP2[x & 255]
    return value << min(shift, 30) if shift >= 0 else value >> min(-shift, 62)


@_kernel
def _mass(k: int, a: int, b: int) -> int:
    """P(a <= z < b) in Q40 under table k; a < b in Q8."""
    if a >= 0:
        return SURVIVAL[k, min(a, SURVIVAL_END)] - SURVIVAL[k, min(b, SURVIVAL_END)]
    if b <= 0:
        return SURVIVAL[k, min(-b, SURVIVAL_END)] - SURVIVAL[k, min(-a, SURVIVAL_END)]
    return (1 << 40) - SURVIVAL[k, min(-a, SURVIVAL_END)] - SURVIVAL[k, min(b, SURVIVAL_END)]


@_kernel
def _set_parametric(w: Work, a: int, middle: int, b: int, mean: int) -> None:
    """Both parametric predictions of "in [middle, b)" given "in [a, b)": magnitudes over the residual scale, Q8."""
    a, middle, b = min(a, _FAR) - mean, min(middle, _FAR) - mean, min(b, _FAR + 1) - mean
    for k in range(2):
        w[INPUT_AT + k] = 0
        if b - a >= 6:
            whole = _mass(k, a, b)
            if whole >= 16:
                part = _mass(k, middle, b)
                p = ((part >> 8) << 16) // (whole >> 8) if whole > 1 << 24 else (part << 16) // whole
                w[INPUT_AT + k] = STRETCH[min(max(p >> 4, 0), 4095)]


@_kernel
def _decide(w: Work, n: Counters, buf: Bytes, node: int, kind: int, bit: int) -> int:
    for i in range(5):
        w[SLOT_AT + i] = w[_BASE + i] + node
    return code_mixed(w, n, buf, node, _NODES + w[_SECOND_AT] * 8 + kind, bit)


@_kernel
def _escape(w: Work, n: Counters, buf: Bytes, exponents: int, exponent: int) -> int:
    """The exponent itself, by a binary tree of counters."""
    bits = 0
    while 1 << bits < exponents:
        bits += 1
    node = 1
    for i in range(bits):
        node = 2 * node + code_flag(w, n, buf, _FLAGS + node, exponent >> (bits - 1 - i) & 1)
    return min(node - (1 << bits), exponents - 1)


@_kernel
def _code_exponent(
    w: Work, n: Counters, buf: Bytes, exponent: int
) -> int:
    """In unary from the exponent that was expected, up or down."""
    k, scale, mean, lowest = w[_K], w[_P] + w[_Q], w[_TSIDE], w[_LOWEST]
    bit = 1
    if k > lowest:
        _set_parametric(w, 0, _exp2((k << 8) - scale, 8), _FAR, mean)
        bit = _decide(w, n, buf, 0, 0, exponent >= k)
    step = 1
    if bit:
        while k + step < w[_EXPONENTS]:
            if step > _STEPS:
                return _escape(w, n, buf, w[_EXPONENTS], exponent)
            low, high = _exp2((k + step - 1 << 8) - scale, 8), _exp2((k + step << 8) - scale, 8)
            _set_parametric(w, low, high, _FAR, mean)
            if not _decide(w, n, buf, step, 1, exponent >= k + step):
                break
            step += 1
        return k + step - 1
    while k - step > lowest:
        if step > _STEPS:
            return max(_escape(w, n, buf, w[_EXPONENTS], exponent), lowest)
        low, high = _exp2((k - step << 8) - scale, 8), _exp2((k - step + 1 << 8) - scale, 8)
        _set_parametric(w, 0, low, high, mean)
        if _decide(w, n, buf, _STEPS + step, 2, exponent >= k - step):
            return k - step
        step += 1
    return lowest


@_kernel
def _code_mantissa(
    w: Work, n: Counters, buf: Bytes, exponent: int, bits: int, mantissa: int
) -> int:
    """The leading `bits` (at most TOP) bits; `mantissa` is given and returned as these bits alone."""
    relative = min(max(exponent - w[_K], -9), 9)
    unit = _exp2((exponent << 8) - w[_P] - w[_Q], 16)
    node = 1
    for level in range(bits):
        width = 8 >> level
        start = 8 + (node - (1 << level)) * width
        if exponent:
            _set_parametric(
                w, unit * start >> 11, unit * (start + (width >> 1)) >> 11, unit * (start + width) >> 11, w[_TSIDE]
            )
        else:
            w[INPUT_AT] = w[INPUT_AT + 1] = 0
        at = _MANTISSA + (relative + 9) * 7 + node - 1
        node = 2 * node + _decide(w, n, buf, at, 3 + level, mantissa >> (bits - 1 - level) & 1)
    return node - (1 << bits)


@_kernel
def _code_raw(w: Work, raw: Bytes, bits: int, value: int) -> int:
    """`bits` (under 64) plain bits, low first; registers: buffered bits, how many, then as the coder's."""
    result, done = np.int64(0), 0
    while done < bits:
        take = min(8 - w[RAW + 1], bits - done)
        if w[DECODING]:
            if w[RAW + 1] == 0:
                w[RAW] = np.int64(raw[w[RAW + POSITION]]) if w[RAW + POSITION] < raw.size else 0
                w[RAW + POSITION] += 1
            result |= (w[RAW] >> w[RAW + 1] & ((1 << take) - 1)) << done
        else:
            w[RAW] |= (value >> done & ((1 << take) - 1)) << w[RAW + 1]
        w[RAW + 1] += take
        done += take
        if w[RAW + 1] == 8:
            if not w[DECODING]:
                if w[RAW + POSITION] < raw.size:
                    raw[w[RAW + POSITION]] = w[RAW]
                else:
                    w[RAW + OVERFLOW] = 1
                w[RAW + POSITION] += 1
            w[RAW] = w[RAW + 1] = 0
    return result if w[DECODING] else value


@_kernel
def _octave(x: int) -> int:
    """floor(log2(x)), at most 7, for x >= 1."""
    octave = 0
    while x > 1 and octave < 7:
        x >>= 1
        octave += 1
    return octave


@_kernel
def _bucket(x: int) -> int:
    """A log2 ratio in Q8 as one of 8 octaves from -4."""
    return min(max((x + 1024) >> 8, 0), 7)


@_kernel
def _distance(t: int) -> int:
    """|t| (Q10 standard deviations) in 7 classes."""
    x, n = abs(t), 0
    for limit in (102, 307, 614, 1024, 1638, 2560):
        n += x >= limit
    return n


@_kernel
def _code_magnitude(
    w: Work, n: Counters, buf: Bytes, raw: Bytes, magnitude: int
) -> tuple[int, int, int]:
    """Returns (magnitude, exponent, leading mantissa bits as Q7)."""
    exponent, width = 0, w[_MANTISSA_BITS]
    if w[_INTEGER]:
        while exponent < 64 and magnitude >> exponent:
            exponent += 1
    else:
        exponent = magnitude >> width
    exponent = _code_exponent(w, n, buf, exponent)
    if w[_INTEGER]:
        width = max(exponent - 1, 0)
    mantissa = magnitude & ((1 << width) - 1)
    bits = min(width, TOP)
    rest = width - bits
    top = _code_mantissa(w, n, buf, exponent, bits, mantissa >> rest)
    tail = mantissa & ((1 << rest) - 1)
    if w[_LOW_ZERO] and rest:
        at = _LOW_FLAG + n[_LOW_FLAG + 3] % 2
        if code_flag(w, n, buf, at, tail != 0):
            tail = _code_raw(w, raw, rest, tail)
            n[_LOW_FLAG + 3] = 1
        else:
            tail = 0
            n[_LOW_FLAG + 3] = 0
    elif rest:
        tail = _code_raw(w, raw, rest, tail)
    mantissa = top << rest | tail
    leading = mantissa >> (width - 7) if width > 7 else mantissa << (7 - width)
    head = exponent << width if not w[_INTEGER] else (1 << width if exponent else 0)
    return head | mantissa, exponent, leading


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def code_matrix(
    w: Work, n: Counters, buf: Bytes, raw: Bytes, sign: NDArray[np.uint8], magnitude: NDArray[np.int64], cols: int, gap: int
) -> None:  # fmt: skip
    """Code one matrix of `cols` columns, row by row: reads `sign` and `magnitude` (flat), or fills them.

    `gap`: elements of one convolution kernel (1 for plain matrices).
    """
    rows = sign.size // cols
    column, column_spread = np.zeros(cols, np.int64), np.zeros(cols, np.int64)
    mean = np.zeros(cols, np.int64)
    above = np.full(cols, -1024, np.int64)
    history = np.zeros((_ABOVE + 1, _LEFT + cols + 1), np.int64)  # zeros at both ends of a row
    ring = np.zeros(_ABOVE + 1, np.int64)
    feature = np.zeros(_FEATURES, np.int64)
    row_mean = spread_row = np.int64(0)
    for r in range(rows):
        row = row_mean
        spread_row >>= 1
        for j in range(_ABOVE + 1):
            ring[j] = (r + _ABOVE + 1 - j) % (_ABOVE + 1)
        left = np.int64(0)
        row_octave = _octave(r + 1)
        row_n = min(r, 1023)
        history[ring[0]] = 0
        for x in range(cols):
            # Linear prediction of z from the neighbours.
            for j in range(_ABOVE):
                feature[j] = history[ring[j + 1], x + _LEFT]
            feature[_ABOVE] = mean[x] >> 6
            feature[_ABOVE + 1] = history[ring[1], x + _LEFT - 1]
            feature[_ABOVE + 2] = history[ring[1], x + _LEFT + 1]
            for j in range(_LEFT):
                feature[_ABOVE + 3 + j] = history[ring[0], x + j]
            feature[_FEATURES - 1] = history[ring[0], x + _LEFT - gap] if gap > _LEFT and x >= gap else 0
            dot = np.int64(1 << 15)
            for j in range(_FEATURES):
                dot += w[_PREDICTOR + j] * feature[j]
            guess = min(max(dot >> 16, -_Z_LIMIT - 1), _Z_LIMIT)
            # Scales, and what follows from them.
            w[_P] = scale = (w[_LEVEL] + row + column[x]) >> 8
            w[_Q] = spread = (w[_SPREAD] + spread_row + column_spread[x]) >> 8
            distance = guess * _exp2(-spread, 12) >> 12
            w[_TZ] = min(max(distance >> 2, -_FAR), _FAR)
            classes = _distance(distance)
            center = scale + spread - 17 + SHIFT[min(abs(distance) >> 6, 255)]
            center = min(max(center, 0), (w[_EXPONENTS] - 1) << 8)
            w[_K] = center >> 8
            fraction = (center & 255) >> 3
            w[_SECOND_AT] = row_octave * 8 + _octave(x + 1)
            i = r * cols + x
            negative = np.int64(sign[i])
            part = fraction >> 3
            contexts = (
                ((min(max((column[x] >> 14) + 16, 0), 31)) * 4 + part) * 3,
                ((min(max(((row - row_mean) >> 14) + 16, 0), 31)) * 4 + part) * 3,
                ((_bucket(left) * 8 + _bucket(above[x])) * 4 + part) * 3,
                (w[_K] & 255) * 3,
            )
            side = 0 if classes < 2 else (1 if guess < 0 else 2)
            w[_BASE] = ((fraction >> 1) * 14 + (classes if guess < 0 else 7 + classes)) * _NODES
            for j in range(4):
                w[_BASE + 1 + j] = ((1 + j) * _CONTEXTS + contexts[j] + side) * _NODES
            zero = np.int64(0)
            if w[_SPARSE]:
                w[INPUT_AT] = w[INPUT_AT + 1] = 0
                zero = _decide(w, n, buf, _ZERO, 7, magnitude[i] == 0)
            if not w[_SIGNED]:
                negative = w[_NEGATIVE]
            elif not zero:
                for k in range(2):
                    p = _mass(k, -2 * _FAR, -w[_TZ]) >> 28
                    w[INPUT_AT + k] = STRETCH[min(max(p, 0), 4095)]
                negative = _decide(w, n, buf, _SIGN, 6, negative)
            elif w[_INTEGER]:
                negative = 0
            else:
                negative = code_flag(w, n, buf, _ZERO_SIGN_FLAG, negative)
            sign[i] = negative
            z = np.int64(0)
            offset = np.int64(-1024)
            if zero:
                magnitude[i] = 0
            else:
                w[_TSIDE] = -w[_TZ] if negative else w[_TZ]
                w[_LOWEST] = 1 if w[_INTEGER] and (negative or w[_SPARSE]) else 0
                w[_K] = max(w[_K], w[_LOWEST])
                agrees = (guess < 0) == (negative == 1)
                w[_BASE] = ((fraction >> 1) * 14 + (classes if agrees else 7 + classes)) * _NODES
                side = 0 if classes == 0 and not w[_INTEGER] else (1 if agrees else 2)
                if w[_INTEGER] and classes < 2:
                    side = 1 + negative
                for j in range(4):
                    w[_BASE + 1 + j] = ((1 + j) * _CONTEXTS + contexts[j] + side) * _NODES
                value, exponent, leading = _code_magnitude(w, n, buf, raw, magnitude[i])
                magnitude[i] = value
                place = np.int64(0)
                if exponent:
                    place = (exponent << 8) + LOG2[2 * leading + 1]
                elif leading and not w[_INTEGER]:
                    place = np.int64(256)
                    while leading < 128:
                        leading <<= 1
                        place -= 256
                offset = min(max(place - scale, -2048), 2047)
                score = SCORE[offset + 2048]
                row += score * RECIPROCAL[min(x, 1023) + 8] >> 16
                column[x] += score * RECIPROCAL[row_n + 4] >> 16
                if value:
                    z = min(_exp2(offset, 10), _Z_LIMIT)
                    if negative:
                        z = -z
                offset = max(offset, -1024)
            # Learn from the residual.
            error = z - guess
            size = 2 * abs(error) + 1
            octaves = np.int64(0)
            while size >> octaves + 1:
                octaves += 1
            place = (octaves - 11 << 8) + LOG2[((size << 8) >> octaves) - 256]
            score = SCORE[min(max(place - spread, -2048), 2047) + 2048]
            spread_row += score * RECIPROCAL[min(x, 1023) + 32] >> 16
            column_spread[x] += score * RECIPROCAL[min(r, 255) + 16] >> 16
            w[_SPREAD] += score >> 10
            error = 2 * min(max(error, -2 * _UNIT), 2 * _UNIT)
            for j in range(_FEATURES):
                w[_PREDICTOR + j] += (error * feature[j] + (1 << 13)) >> 14
            mean[x] += ((z << 6) - mean[x]) * RECIPROCAL[min(r, 255) + 2] >> 16
            history[ring[0], x + _LEFT] = z
            left = above[x] = offset
        row_mean += (row - row_mean) * RECIPROCAL[min(r + 1, 64)] >> 16
    w[_LEVEL] += row_mean
