"""The decoder's networks as integers: from a tensor's integer values to what the kernels take, with every bound checked.

A tensor's value is `integer * 2^-fraction`; the fraction is fixed for most kinds (FRACTIONS) and else comes with the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.fixedpoint import EXP2
from ...errors import FormatError
from . import design
from .kernels import FULL

Integers = NDArray[np.int32]
Values = dict[str, Integers]

FEATURE: Final = 10
"""Fractional bits of features."""
FIRST: Final = 12
"""Fractional bits of a context network's first sums."""
RECTIFIED: Final = 7
"""Fractional bits of its hidden units."""
FRACTIONS: Final = {"gain": 8, "own": 9, "before": 9}
"""By kind; every bias and tilt has FEATURE."""
LEAST_FRACTION, MOST_FRACTION = 3, 12
_BOUND: Final = (1 << 31) - 1
STEP: Final = 12
"""Fractional bits of `Level.steps`."""


def shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of the decoder, by name, in the order in which a file holds them."""
    out: dict[str, tuple[int, ...]] = {}
    for level, (k, c) in enumerate(zip(design.LATENTS, design.TRUNK, strict=True)):
        h, below = design.HIDDEN * k, design.TRUNK[level + 1] if level + 1 < design.LEVELS else 0
        coarser = {"up": (below, c, 4, 4), "above": (h, c)} if below else {}
        made: dict[str, tuple[int, ...]] = {
            "gain": (k,),
            **coarser,
            "own": (h, len(design.OWN)),
            "before": (h, k - 1, len(design.CROSS)),
            "bias1": (h,),
            "tilt1": (h,),
            "hidden": (h, design.HIDDEN),
            "bias2": (h,),
            "out": (2 * k, design.HIDDEN),
            "bias3": (2 * k,),
            "inject": (c, k, 3, 3),
            "bias4": (c,),
            "residual1": (c, c, 3, 3),
            "bias5": (c,),
            "residual2": (c, c),
            "bias6": (c,),
        }
        out |= {f"{level}.{kind}": shape for kind, shape in made.items()}
    out["colour"] = (design.OUTPUTS, design.TRUNK[0], 3, 3)
    out["bias7"] = (design.OUTPUTS,)
    return out


def analysis_shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of the encoder's analysis, by name. It is in floating point: no decoder needs it."""
    out: dict[str, tuple[int, ...]] = {}
    for level, (k, c) in enumerate(zip(design.LATENTS, design.ANALYSIS, strict=True)):
        made: dict[str, tuple[int, ...]] = {
            "down": (c, design.ANALYSIS[level - 1], 4, 4) if level else (c, design.OUTPUTS, 3, 3),
            "bias1": (c,),
            "residual1": (c, c, 3, 3),
            "bias2": (c,),
            "residual2": (c, c),
            "latents": (k, c, 3, 3),
            "bias3": (k,),
        }
        out |= {f"{level}.{kind}": shape for kind, shape in made.items()}
    return out


def kind_of(name: str) -> str:
    """The part of a tensor's name after its level: own of 3.own."""
    return name.rpartition(".")[2]


def fixed_fraction(name: str) -> int | None:
    """A tensor's fractional bits, where its kind fixes them."""
    kind = kind_of(name)
    return FEATURE if kind.startswith(("bias", "tilt")) else FRACTIONS.get(kind)


@dataclass(frozen=True)
class Level:
    """What the kernels of one level take: int32 arrays, and shifts."""

    steps: Integers  # [K] Q12: units of the trunk's input to a quantisation step
    up: Integers  # [C below, C, 16]
    up_shift: int
    above: Integers  # [K, HIDDEN, C]
    above_shift: int
    first: Integers  # [K, HIDDEN] Q12
    own: Integers  # [K, 12, HIDDEN]
    before: Integers  # [K, HIDDEN, K - 1, 5]
    hidden: Integers  # [K, HIDDEN in, HIDDEN out]
    hidden_bias: Integers  # [K, HIDDEN]
    hidden_shift: int
    out: Integers  # [K, 2, HIDDEN]
    out_bias: Integers  # [K, 2]
    out_shift: int
    inject: Integers  # [C, K, 9]
    inject_bias: Integers
    inject_shift: int
    residual1: Integers  # [C, C, 9]
    residual1_bias: Integers
    residual1_shift: int
    residual2: Integers  # [C, C]
    residual2_bias: Integers
    residual2_shift: int


@dataclass(frozen=True)
class Networks:
    """All of the decoder at one quality."""

    levels: list[Level]
    colour: Integers  # [12, C, 9]
    colour_bias: Integers
    colour_shift: int


def _bounded(name: str, weights: Integers, largest: int, extra: NDArray[np.int64]) -> None:
    """Raises FormatError if a sum of `weights` [outputs, ...] times inputs up to `largest`, plus `extra`, may overflow."""
    sums = np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(1) * largest + np.abs(extra)
    if int(sums.max(initial=0)) > _BOUND - (1 << 16):
        raise FormatError(f"grid codec: weights of {name!r} are so large that sums could overflow")


def _shifted(bias: Integers, shift: int) -> NDArray[np.int64]:
    return bias.astype(np.int64) << shift


def _narrow(values: NDArray[np.int64]) -> Integers:
    return np.ascontiguousarray(values, np.int32)


def _steps(gain: Integers, quality: int) -> Integers:
    """2^-(gain/256 + quality/16) in Q12. Raises FormatError for gains out of range."""
    if not -1024 <= int(gain.min()) <= int(gain.max()) <= 2047:
        raise FormatError("grid codec: a gain is out of range")
    octaves, part = np.divmod(-gain.astype(np.int64) - 16 * quality, 256)
    wide, drop = EXP2[part] << 2, 18 - STEP - octaves
    return _narrow((wide + (1 << (drop - 1))) >> drop)


def _level(values: Values, fractions: dict[str, int], level: int, quality: int) -> Level:
    def get(kind: str) -> Integers:
        return values[f"{level}.{kind}"]

    def fraction(kind: str) -> int:
        return fractions[f"{level}.{kind}"]

    def biased(weight: str, bias: str, largest: int, unit: int) -> Integers:
        """The bias in the accumulator's units (its `unit` fractional bits and the weight's), once the sums are known to fit."""
        wide = _shifted(get(bias), fraction(weight) + unit - FEATURE)
        _bounded(f"{level}.{weight}", get(weight), largest, wide)
        return _narrow(wide)

    k, c, h = design.LATENTS[level], design.TRUNK[level], design.HIDDEN
    coarsest = level + 1 == design.LEVELS
    below = 0 if coarsest else design.TRUNK[level + 1]
    up = np.zeros((0, c, 16), np.int32) if coarsest else get("up").reshape(below, c, 16)
    above = np.zeros((h * k, c if not coarsest else 0), np.int32) if coarsest else get("above")
    up_shift, above_shift = (LEAST_FRACTION, LEAST_FRACTION) if coarsest else (fraction("up"), fraction("above"))
    none = np.zeros(1, np.int64)
    _bounded(f"{level}.up", up.transpose(1, 0, 2), FULL, none)
    _bounded(f"{level}.above", above, FULL, none)
    tone = (get("tilt1").astype(np.int64) * (quality - design.QUALITIES // 2)) >> 5
    first = (get("bias1") + tone) << (FIRST - FEATURE)
    mixed = np.abs(above.astype(np.int64)).sum(1) * FULL >> (above_shift + FEATURE - FIRST)
    own, before = (_narrow(_shifted(get(kind), FIRST - FRACTIONS[kind])) for kind in ("own", "before"))
    neighbours = np.concatenate([own, before.reshape(h * k, -1)], 1)
    _bounded(f"{level}.own", neighbours, design.CLIP, np.abs(first) + mixed)
    out_bias = _shifted(get("bias3"), fraction("out") + RECTIFIED - FEATURE)
    _bounded(f"{level}.out", get("out"), FULL, out_bias)
    return Level(
        steps=_steps(get("gain"), quality),
        up=up,
        up_shift=up_shift,
        above=above.reshape(k, h, above.shape[1]),
        above_shift=above_shift + FEATURE - FIRST,
        first=_narrow(first).reshape(k, h),
        own=np.ascontiguousarray(own.reshape(k, h, -1).transpose(0, 2, 1)),
        before=before.reshape(k, h, k - 1, len(design.CROSS)),
        hidden=np.ascontiguousarray(get("hidden").reshape(k, h, h).transpose(0, 2, 1)),
        hidden_bias=biased("hidden", "bias2", FULL, RECTIFIED).reshape(k, h),
        hidden_shift=fraction("hidden"),
        out=get("out").reshape(k, 2, h),
        out_bias=_narrow(out_bias).reshape(k, 2),
        out_shift=fraction("out"),
        inject=get("inject").reshape(c, k, 9),
        inject_bias=biased("inject", "bias4", FULL, FEATURE),
        inject_shift=fraction("inject"),
        residual1=get("residual1").reshape(c, c, 9),
        residual1_bias=biased("residual1", "bias5", FULL, FEATURE),
        residual1_shift=fraction("residual1"),
        residual2=get("residual2"),
        residual2_bias=biased("residual2", "bias6", FULL, FEATURE),
        residual2_shift=fraction("residual2"),
    )


def build(values: Values, fractions: dict[str, int], quality: int) -> Networks:
    """Networks from int32 tensors named and shaped as `shapes()` says, and their fractional bits.

    Raises FormatError for values with which a 32-bit sum might overflow.
    """
    limit = 1 << 20
    for name, v in values.items():
        if v.size and int(np.abs(v.astype(np.int64)).max()) > limit:
            raise FormatError(f"grid codec: a weight of {name!r} is out of range")
    shift = fractions["colour"]
    bias = _shifted(values["bias7"], shift)
    _bounded("colour", values["colour"], FULL, bias)
    return Networks(
        levels=[_level(values, fractions, level, quality) for level in range(design.LEVELS)],
        colour=values["colour"].reshape(design.OUTPUTS, design.TRUNK[0], 9),
        colour_bias=_narrow(bias),
        colour_shift=shift,
    )
