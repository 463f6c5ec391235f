"""How `max` codes one magnitude: exponent in unary, leading mantissa bits, plain tail (numba kernels)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...entropy.fixedpoint import EXP2, STRETCH, SURVIVAL, SURVIVAL_END
from ...entropy.mixing import DECODING, INPUT_AT, OVERFLOW, POSITION, SLOT_AT, SLOTS, code_flag, code_mixed
from .mixed_work import (
    BASE,
    EXPONENTS,
    FAR,
    FLAGS,
    INTEGER,
    LAST_TAIL,
    LOWEST,
    MANTISSA,
    MANTISSA_BITS,
    NODES,
    RAW,
    REACH,
    SCALE,
    SECOND,
    SIDED_MEAN,
    SPREAD,
    STEPS,
    TAIL_FLAG,
    TOGETHER,
    TOP,
    K,
)  # fmt: skip

_kernel: Any = njit(nogil=True, cache=True, forceinline=True, error_model="numpy")


@_kernel
def exp2(x, scale):  # type: ignore[no-untyped-def]
    """2^(x/256) in Q`scale`, at most 2^46."""
    shift = (x >> 8) - 16 + scale
    value = EXP2[x & 255]
    return value << min(shift, 30) if shift >= 0 else value >> min(-shift, 62)


@_kernel
def mass(k, a, b):  # type: ignore[no-untyped-def]
    """P(a <= z < b) in Q40 under table k; a < b in Q8."""
    if a >= 0:
        return SURVIVAL[k, min(a, SURVIVAL_END)] - SURVIVAL[k, min(b, SURVIVAL_END)]
    if b <= 0:
        return SURVIVAL[k, min(-b, SURVIVAL_END)] - SURVIVAL[k, min(-a, SURVIVAL_END)]
    return (1 << 40) - SURVIVAL[k, min(-a, SURVIVAL_END)] - SURVIVAL[k, min(b, SURVIVAL_END)]


@_kernel
def set_parametric(w, a, middle, b, mean):  # type: ignore[no-untyped-def]
    """Both parametric predictions of "in [middle, b)" given "in [a, b)": magnitudes over the residual scale, Q8."""
    a, middle, b = min(a, FAR) - mean, min(middle, FAR) - mean, min(b, FAR + 1) - mean
    for k in range(2):
        w[INPUT_AT + k] = 0
        if b - a >= 6:
            whole = mass(k, a, b)
            if whole >= 16:
                part = mass(k, middle, b)
                p = ((part >> 8) << 16) // (whole >> 8) if whole > 1 << 24 else (part << 16) // whole
                w[INPUT_AT + k] = STRETCH[min(max(p >> 4, 0), 4095)]


@_kernel
def decide(w, n, buf, node, kind, bit):  # type: ignore[no-untyped-def]
    for i in range(SLOTS):
        w[SLOT_AT + i] = w[BASE + i] + node
    return code_mixed(w, n, buf, node, NODES + w[SECOND] + kind, bit)


@_kernel
def _escape(w, n, buf, exponents, exponent):  # type: ignore[no-untyped-def]
    """The exponent itself, by a binary tree of counters."""
    bits = 0
    while 1 << bits < exponents:
        bits += 1
    node = 1
    for i in range(bits):
        node = 2 * node + code_flag(w, n, buf, FLAGS + node, exponent >> (bits - 1 - i) & 1)
    return min(node - (1 << bits), exponents - 1)


@_kernel
def _code_exponent(w, n, buf, exponent):  # type: ignore[no-untyped-def]
    """In unary from the exponent that was expected, up or down."""
    k, scale, mean, lowest = w[K], w[SCALE] + w[SPREAD], w[SIDED_MEAN], w[LOWEST]
    bit = 1
    if k > lowest:
        set_parametric(w, 0, exp2((k << 8) - scale, 8), FAR, mean)
        bit = decide(w, n, buf, 0, 0, exponent >= k)
    step = 1
    if bit:
        while k + step < w[EXPONENTS]:
            if step > STEPS:
                return _escape(w, n, buf, w[EXPONENTS], exponent)
            low, high = exp2((k + step - 1 << 8) - scale, 8), exp2((k + step << 8) - scale, 8)
            set_parametric(w, low, high, FAR, mean)
            if not decide(w, n, buf, step, 1, exponent >= k + step):
                break
            step += 1
        return k + step - 1
    while k - step > lowest:
        if step > STEPS:
            return max(_escape(w, n, buf, w[EXPONENTS], exponent), lowest)
        low, high = exp2((k - step << 8) - scale, 8), exp2((k - step + 1 << 8) - scale, 8)
        set_parametric(w, 0, low, high, mean)
        if decide(w, n, buf, STEPS + step, 2, exponent >= k - step):
            return k - step
        step += 1
    return lowest


@_kernel
def _code_mantissa(w, n, buf, exponent, bits, mantissa):  # type: ignore[no-untyped-def]
    """The leading `bits` (at most TOP) bits; `mantissa` is given and returned as these bits alone."""
    relative = min(max(exponent - w[K], -REACH), REACH)
    unit = exp2((exponent << 8) - w[SCALE] - w[SPREAD], 16)
    node = 1
    for level in range(bits):
        width = 8 >> level
        start = 8 + (node - (1 << level)) * width
        if exponent:
            set_parametric(
                w, unit * start >> 11, unit * (start + (width >> 1)) >> 11, unit * (start + width) >> 11, w[SIDED_MEAN]
            )
        else:
            w[INPUT_AT] = w[INPUT_AT + 1] = 0
        at = MANTISSA + (relative + REACH) * 7 + node - 1
        node = 2 * node + decide(w, n, buf, at, 3 + level, mantissa >> (bits - 1 - level) & 1)
    return node - (1 << bits)


@_kernel
def _code_raw(w, raw, bits, value):  # type: ignore[no-untyped-def]
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
def _code_tail(w, n, buf, raw, bits, tail):  # type: ignore[no-untyped-def]
    """The bits that aren't modelled: plain, but the lowest few may be zero together."""
    together = w[TOGETHER]
    if not together or bits < together:
        return _code_raw(w, raw, bits, tail)
    low = tail & ((1 << together) - 1)
    last = LAST_TAIL
    n[last] = code_flag(w, n, buf, TAIL_FLAG + n[last] % 2, low != 0)
    low = _code_raw(w, raw, together, low) if n[last] else 0
    return _code_raw(w, raw, bits - together, tail >> together) << together | low


@_kernel
def code_magnitude(w, n, buf, raw, magnitude):  # type: ignore[no-untyped-def]
    """Returns (magnitude, exponent, leading mantissa bits as Q7)."""
    exponent, width = 0, w[MANTISSA_BITS]
    if w[INTEGER]:
        while exponent < 64 and magnitude >> exponent:
            exponent += 1
    else:
        exponent = magnitude >> width
    exponent = _code_exponent(w, n, buf, exponent)
    if w[INTEGER]:
        width = max(exponent - 1, 0)
    mantissa = magnitude & ((1 << width) - 1)
    bits = min(width, TOP)
    rest = width - bits
    top = _code_mantissa(w, n, buf, exponent, bits, mantissa >> rest)
    tail = mantissa & ((1 << rest) - 1)
    tail = _code_tail(w, n, buf, raw, rest, tail)
    mantissa = top << rest | tail
    leading = mantissa >> (width - 7) if width > 7 else mantissa << (7 - width)
    head = exponent << width if not w[INTEGER] else (1 << width if exponent else 0)
    return head | mantissa, exponent, leading
