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

from ...entropy.fixedpoint import SURVIVAL_END, Tables
from ...entropy.mixing import Coder, Mixer, code_flag, code_mixed, make_mixer

_kernel: Any = njit(nogil=True, cache=True, forceinline=True)

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
_LOW_FLAG, _ZERO_SIGN_FLAG = _ESCAPE_FLAGS, _ESCAPE_FLAGS + 2
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


class State(NamedTuple):
    """What lasts over the matrices of a block: mixer, flag counters, predictor weights (Q16), and `numbers` (see code_matrix)."""

    mixer: Mixer
    flags: NDArray[np.uint32]
    predictor: NDArray[np.int64]
    numbers: NDArray[np.int64]


_LEVEL, _SPREAD = 0, 1  # places in `numbers`: overall log2 of |w| and of the residual, Q16
_PARAMETERS: Final = 16
_P, _Q, _K, _TZ, _SIDE, _TSIDE, _SECOND_AT, _LOWEST = range(8)


def make_state(level: int) -> State:
    """A fresh state; `level` is the exponent that a typical weight has."""
    predictor = np.zeros(_FEATURES, np.int64)
    predictor[_ABOVE] = 1 << 15
    numbers = np.array([(2 * level + 1) << 15, 0], np.int64)
    mixer = make_mixer(5 * _CONTEXTS * _NODES, _NODES + _SECOND * 8)
    return State(mixer, np.zeros(_ESCAPE_FLAGS + 8, np.uint32), predictor, numbers)


@_kernel
def _exp2(x: int, scale: int, t: Tables) -> int:
    """2^(x/256) in Q`scale`, at most 2^46."""
    shift = (x >> 8) - 16 + scale
    value = t.exp2[x & 255]
    return value << min(shift, 30) if shift >= 0 else value >> min(-shift, 62)


@_kernel
def _mass(k: int, a: int, b: int, t: Tables) -> int:
    """P(a <= z < b) in Q40 under table k; a < b in Q8."""
    if a >= 0:
        return t.survival[k, min(a, SURVIVAL_END)] - t.survival[k, min(b, SURVIVAL_END)]
    if b <= 0:
        return t.survival[k, min(-b, SURVIVAL_END)] - t.survival[k, min(-a, SURVIVAL_END)]
    return (1 << 40) - t.survival[k, min(-a, SURVIVAL_END)] - t.survival[k, min(b, SURVIVAL_END)]


@_kernel
def _set_parametric(m: Mixer, a: int, middle: int, b: int, mean: int, t: Tables) -> None:
    """Both parametric predictions of "in [middle, b)" given "in [a, b)": magnitudes over the residual scale, Q8."""
    a, middle, b = min(a, _FAR) - mean, min(middle, _FAR) - mean, min(b, _FAR + 1) - mean
    for k in range(2):
        m.inputs[k] = 0
        if b - a >= 6:
            whole = _mass(k, a, b, t)
            if whole >= 16:
                part = _mass(k, middle, b, t)
                p = ((part >> 8) << 16) // (whole >> 8) if whole > 1 << 24 else (part << 16) // whole
                m.inputs[k] = t.stretch[min(max(p >> 4, 0), 4095)]


@_kernel
def _decide(c: Coder, s: State, f: NDArray[np.int64], base: NDArray[np.int64], node: int, kind: int, bit: int, t: Tables) -> int:
    for i in range(5):
        s.mixer.slots[i] = base[i] + node
    return code_mixed(c, s.mixer, node, _NODES + f[_SECOND_AT] * 8 + kind, bit, t)


@_kernel
def _escape(c: Coder, s: State, exponents: int, exponent: int, t: Tables) -> int:
    """The exponent itself, by a binary tree of counters."""
    bits = 0
    while 1 << bits < exponents:
        bits += 1
    node = 1
    for i in range(bits):
        node = 2 * node + code_flag(c, s.flags, node, exponent >> (bits - 1 - i) & 1, t)
    return min(node - (1 << bits), exponents - 1)


@_kernel
def _code_exponent(
    c: Coder, s: State, fields: Fields, f: NDArray[np.int64], base: NDArray[np.int64], exponent: int, t: Tables
) -> int:
    """In unary from the exponent that was expected, up or down."""
    k, scale, mean, lowest = f[_K], f[_P] + f[_Q], f[_TSIDE], f[_LOWEST]
    bit = 1
    if k > lowest:
        _set_parametric(s.mixer, 0, _exp2((k << 8) - scale, 8, t), _FAR, mean, t)
        bit = _decide(c, s, f, base, 0, 0, exponent >= k, t)
    step = 1
    if bit:
        while k + step < fields.exponents:
            if step > _STEPS:
                return _escape(c, s, fields.exponents, exponent, t)
            low, high = _exp2((k + step - 1 << 8) - scale, 8, t), _exp2((k + step << 8) - scale, 8, t)
            _set_parametric(s.mixer, low, high, _FAR, mean, t)
            if not _decide(c, s, f, base, step, 1, exponent >= k + step, t):
                break
            step += 1
        return k + step - 1
    while k - step > lowest:
        if step > _STEPS:
            return max(_escape(c, s, fields.exponents, exponent, t), lowest)
        low, high = _exp2((k - step << 8) - scale, 8, t), _exp2((k - step + 1 << 8) - scale, 8, t)
        _set_parametric(s.mixer, 0, low, high, mean, t)
        if _decide(c, s, f, base, _STEPS + step, 2, exponent >= k - step, t):
            return k - step
        step += 1
    return lowest


@_kernel
def _code_mantissa(
    c: Coder, s: State, f: NDArray[np.int64], base: NDArray[np.int64], exponent: int, bits: int, mantissa: int, t: Tables
) -> int:
    """The leading `bits` (at most TOP) bits; `mantissa` is given and returned as these bits alone."""
    relative = min(max(exponent - f[_K], -9), 9)
    unit = _exp2((exponent << 8) - f[_P] - f[_Q], 16, t)
    node = 1
    for level in range(bits):
        width = 8 >> level
        start = 8 + (node - (1 << level)) * width
        if exponent:
            _set_parametric(
                s.mixer, unit * start >> 11, unit * (start + (width >> 1)) >> 11, unit * (start + width) >> 11, f[_TSIDE], t
            )
        else:
            s.mixer.inputs[0] = s.mixer.inputs[1] = 0
        at = _MANTISSA + (relative + 9) * 7 + node - 1
        node = 2 * node + _decide(c, s, f, base, at, 3 + level, mantissa >> (bits - 1 - level) & 1, t)
    return node - (1 << bits)


@_kernel
def _code_raw(low: Coder, bits: int, value: int) -> int:
    """`bits` (under 64) plain bits, low first; registers: [0] buffered bits, [1] how many, POSITION, DECODING, OVERFLOW as in Coder."""
    reg, buf = low.registers, low.buffer
    result, done = np.int64(0), 0
    while done < bits:
        take = min(8 - reg[1], bits - done)
        if reg[4]:
            if reg[1] == 0:
                reg[0] = np.int64(buf[reg[3]]) if reg[3] < buf.size else 0
                reg[3] += 1
            result |= (reg[0] >> reg[1] & ((1 << take) - 1)) << done
        else:
            reg[0] |= (value >> done & ((1 << take) - 1)) << reg[1]
        reg[1] += take
        done += take
        if reg[1] == 8:
            if not reg[4]:
                if reg[3] < buf.size:
                    buf[reg[3]] = reg[0]
                else:
                    reg[5] = 1
                reg[3] += 1
            reg[0] = reg[1] = 0
    return result if reg[4] else value


@_kernel
def _octave(x: int) -> int:
    """floor(log2(x)), at most 7, for x >= 1."""
    n = 0
    while x > 1 and n < 7:
        x >>= 1
        n += 1
    return n


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
    c: Coder, low: Coder, s: State, fields: Fields, f: NDArray[np.int64], base: NDArray[np.int64], magnitude: int, t: Tables
) -> tuple[int, int, int]:
    """Returns (magnitude, exponent, leading mantissa bits as Q7)."""
    exponent, width = 0, fields.mantissa
    if fields.integer:
        while exponent < 64 and magnitude >> exponent:
            exponent += 1
    else:
        exponent = magnitude >> width
    exponent = _code_exponent(c, s, fields, f, base, exponent, t)
    if fields.integer:
        width = max(exponent - 1, 0)
    mantissa = magnitude & ((1 << width) - 1)
    bits = min(width, TOP)
    rest = width - bits
    top = _code_mantissa(c, s, f, base, exponent, bits, mantissa >> rest, t)
    tail = mantissa & ((1 << rest) - 1)
    if fields.low_zero and rest:
        at = _LOW_FLAG + s.flags[_LOW_FLAG + 3] % 2
        if code_flag(c, s.flags, at, tail != 0, t):
            tail = _code_raw(low, rest, tail)
            s.flags[_LOW_FLAG + 3] = 1
        else:
            tail = 0
            s.flags[_LOW_FLAG + 3] = 0
    elif rest:
        tail = _code_raw(low, rest, tail)
    mantissa = top << rest | tail
    leading = mantissa >> (width - 7) if width > 7 else mantissa << (7 - width)
    head = exponent << width if not fields.integer else (1 << width if exponent else 0)
    return head | mantissa, exponent, leading


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def code_matrix(
    c: Coder, low: Coder, s: State, fields: Fields, sign: NDArray[np.uint8], magnitude: NDArray[np.int64], cols: int, gap: int,
    t: Tables,
) -> None:  # fmt: skip
    """Code one matrix of `cols` columns, row by row: reads `sign` and `magnitude` (flat), or fills them.

    `gap`: elements of one convolution kernel (1 for plain matrices).
    """
    rows = sign.size // cols
    column, column_spread = np.zeros(cols, np.int64), np.zeros(cols, np.int64)
    mean = np.zeros(cols, np.int64)
    above = np.full(cols, -1024, np.int64)
    history = np.zeros((_ABOVE + 1, cols), np.int64)
    feature, base, f = np.zeros(_FEATURES, np.int64), np.zeros(5, np.int64), np.zeros(_PARAMETERS, np.int64)
    weights = s.predictor
    row_mean = spread_row = np.int64(0)
    for r in range(rows):
        row = row_mean
        spread_row >>= 1
        now = r % (_ABOVE + 1)
        left = np.int64(0)
        row_octave = _octave(r + 1)
        row_n = min(r, 1023)
        for i in range(_FEATURES):
            feature[i] = 0
        for x in range(cols):
            # Linear prediction of z from the neighbours.
            for j in range(_ABOVE):
                feature[j] = history[(now + _ABOVE - j) % (_ABOVE + 1), x]
            feature[_ABOVE] = mean[x] >> 6
            up = (now + _ABOVE) % (_ABOVE + 1)
            feature[_ABOVE + 1] = history[up, x - 1] if x > 0 else 0
            feature[_ABOVE + 2] = history[up, x + 1] if x + 1 < cols else 0
            for j in range(min(_LEFT, x)):
                feature[_ABOVE + 3 + j] = history[now, x - 1 - j]
            feature[_FEATURES - 1] = history[now, x - gap] if gap > _LEFT and x >= gap else 0
            dot = np.int64(1 << 15)
            for j in range(_FEATURES):
                dot += weights[j] * feature[j]
            guess = min(max(dot >> 16, -_Z_LIMIT - 1), _Z_LIMIT)
            # Scales, and what follows from them.
            f[_P] = scale = (s.numbers[_LEVEL] + row + column[x]) >> 8
            f[_Q] = spread = (s.numbers[_SPREAD] + spread_row + column_spread[x]) >> 8
            distance = guess * _exp2(-spread, 12, t) >> 12
            f[_TZ] = min(max(distance >> 2, -_FAR), _FAR)
            classes = _distance(distance)
            center = scale + spread - 17 + t.shift[min(abs(distance) >> 6, 255)]
            center = min(max(center, 0), (fields.exponents - 1) << 8)
            f[_K] = center >> 8
            fraction = (center & 255) >> 3
            f[_SECOND_AT] = row_octave * 8 + _octave(x + 1)
            i = r * cols + x
            negative = np.int64(sign[i])
            part = fraction >> 3
            contexts = (
                ((min(max((column[x] >> 14) + 16, 0), 31)) * 4 + part) * 3,
                ((min(max(((row - row_mean) >> 14) + 16, 0), 31)) * 4 + part) * 3,
                ((_bucket(left) * 8 + _bucket(above[x])) * 4 + part) * 3,
                (f[_K] & 255) * 3,
            )
            side = 0 if classes < 2 else (1 if guess < 0 else 2)
            base[0] = ((fraction >> 1) * 14 + (classes if guess < 0 else 7 + classes)) * _NODES
            for j in range(4):
                base[1 + j] = ((1 + j) * _CONTEXTS + contexts[j] + side) * _NODES
            zero = np.int64(0)
            if fields.sparse:
                s.mixer.inputs[0] = s.mixer.inputs[1] = 0
                zero = _decide(c, s, f, base, _ZERO, 7, magnitude[i] == 0, t)
            if not fields.signed:
                negative = fields.negative
            elif not zero:
                for k in range(2):
                    p = _mass(k, -2 * _FAR, -f[_TZ], t) >> 28
                    s.mixer.inputs[k] = t.stretch[min(max(p, 0), 4095)]
                negative = _decide(c, s, f, base, _SIGN, 6, negative, t)
            elif fields.integer:
                negative = 0
            else:
                negative = code_flag(c, s.flags, _ZERO_SIGN_FLAG, negative, t)
            sign[i] = negative
            z = np.int64(0)
            offset = np.int64(-1024)
            if zero:
                magnitude[i] = 0
            else:
                f[_TSIDE] = -f[_TZ] if negative else f[_TZ]
                f[_LOWEST] = 1 if fields.integer and (negative or fields.sparse) else 0
                f[_K] = max(f[_K], f[_LOWEST])
                agrees = (guess < 0) == (negative == 1)
                base[0] = ((fraction >> 1) * 14 + (classes if agrees else 7 + classes)) * _NODES
                side = 0 if classes == 0 and not fields.integer else (1 if agrees else 2)
                if fields.integer and classes < 2:
                    side = 1 + negative
                for j in range(4):
                    base[1 + j] = ((1 + j) * _CONTEXTS + contexts[j] + side) * _NODES
                value, exponent, leading = _code_magnitude(c, low, s, fields, f, base, magnitude[i], t)
                magnitude[i] = value
                place = np.int64(0)
                if exponent:
                    place = (exponent << 8) + t.log2[2 * leading + 1]
                elif leading and not fields.integer:
                    place = np.int64(256)
                    while leading < 128:
                        leading <<= 1
                        place -= 256
                offset = min(max(place - scale, -2048), 2047)
                score = t.score[offset + 2048]
                row += score * t.reciprocal[min(x, 1023) + 8] >> 16
                column[x] += score * t.reciprocal[row_n + 4] >> 16
                if value:
                    z = min(_exp2(offset, 10, t), _Z_LIMIT)
                    if negative:
                        z = -z
                offset = max(offset, -1024)
            # Learn from the residual.
            error = z - guess
            size = 2 * abs(error) + 1
            octaves = np.int64(0)
            while size >> octaves + 1:
                octaves += 1
            place = (octaves - 11 << 8) + t.log2[((size << 8) >> octaves) - 256]
            score = t.score[min(max(place - spread, -2048), 2047) + 2048]
            spread_row += score * t.reciprocal[min(x, 1023) + 32] >> 16
            column_spread[x] += score * t.reciprocal[min(r, 255) + 16] >> 16
            s.numbers[_SPREAD] += score >> 10
            error = 2 * min(max(error, -2 * _UNIT), 2 * _UNIT)
            for j in range(_FEATURES):
                weights[j] += (error * feature[j] + (1 << 13)) >> 14
            mean[x] += ((z << 6) - mean[x]) * t.reciprocal[min(r, 255) + 2] >> 16
            history[now, x] = z
            left = above[x] = offset
        row_mean += (row - row_mean) * t.reciprocal[min(r + 1, 64)] >> 16
    s.numbers[_LEVEL] += row_mean
