"""Units put in the order that their code gives back, group by group, and coded as blocks (unit_block.py).

Groups are worked in order, as in canonical.py: what a group owns is in one block, and the columns that earlier groups own are in
their order by then. Tensors that no block holds move with the units and are coded as they were before.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...spec import Spec
from ...tensors import dtype_name
from ..lossy.values import is_float
from ..methods import MAX_BLOCK_ELEMENTS
from . import unit_block
from .alphabet import FLOAT, GRID, Alphabet, alphabets_of
from .architecture import Fitted
from .canonical import Owned, Tensors, negate, permute, require_floats
from .choices import cheapest, chosen
from .dead import silence
from .scale import rescale
from .unit_forms import Part
from .unit_quantiser import quantise
from .urn import Ints

Array = NDArray[Any]

LEAST_UNITS: Final = 2
StepOf = Callable[[str, Array], float | None]
"""Name and array of a tensor -> the grid step that it may be quantised at; None keeps it."""


@dataclass(frozen=True)
class Block:
    """One group's tensors: names in the order of the block, its body, and what counting says that the order is worth."""

    units: str
    tensors: tuple[str, ...]
    body: bytes
    count: int
    bound_bits: float


@dataclass
class Arranged:
    """`given`: the network with its units in their places; `decoded`: what comes out of the blocks, by tensor (the same
    arrays where nothing was quantised); `left`: (units, why) of groups that have no block; `dead`: how many units
    were silenced (dead.py).
    """

    given: Tensors
    decoded: Tensors = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    dead: int = 0


def arrange(
    tensors: Mapping[str, Array], groups: Sequence[Fitted], owned: list[list[Owned]], step_of: StepOf, *, code: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> Arranged:  # fmt: skip
    """The network with its units in their places and the blocks; without `code` bodies are left out, which is quick.

    Raises InputError for weights that can't be negated or rescaled.
    """
    out = Arranged({name: np.array(array) for name, array in tensors.items()})
    out.dead = silence(out.given, groups)
    for number, (fitted, own) in enumerate(zip(groups, owned, strict=True)):
        progress(number)
        held = _held(out.given, own)
        why = _why_not(fitted, held, out.given)
        if why:
            out.left.append((fitted.group.units, why))
            continue
        _arrange_group(out, fitted, held, step_of, code=code)
    for name, array in out.given.items():
        out.decoded.setdefault(name, array)
    return out


def _held(tensors: Tensors, owned: list[Owned]) -> list[Owned]:
    """Of what a group owns the tensors of the dtype that most of it has: a block has one."""
    sizes: Counter[str] = Counter()
    for own in owned:
        sizes[dtype_name(tensors[own.tensor].dtype)] += tensors[own.tensor].nbytes
    top = max(sizes, key=lambda name: sizes[name])
    return [own for own in owned if dtype_name(tensors[own.tensor].dtype) == top]


def _why_not(fitted: Fitted, held: list[Owned], tensors: Tensors) -> str:
    """Why a group can't be a block; "" if it can."""
    total = sum(tensors[own.tensor].size for own in held)
    if not LEAST_UNITS <= fitted.group.count <= unit_block.MOST_UNITS:
        return f"{fitted.group.count} units; a block has {LEAST_UNITS} to {unit_block.MOST_UNITS}"
    if len(held) > unit_block.MOST_TENSORS:
        return f"{len(held)} tensors; a block has at most {unit_block.MOST_TENSORS}"
    if not 0 < total <= MAX_BLOCK_ELEMENTS:
        return f"{total} weights; a block has at most {MAX_BLOCK_ELEMENTS}"
    return ""


def _arrange_group(out: Arranged, fitted: Fitted, held: list[Owned], step_of: StepOf, *, code: bool) -> None:
    if fitted.group.scale:
        require_floats(out.given, fitted, "a change of scale")
        if not any(_is_grid(out.given, own) for own in held):
            rescale(out.given, fitted)
    made = [_part(out.given, own, step_of, code=code) for own in held]
    parts = [part for part, _ in made if part is not None]
    if len(parts) < len(held):
        names = [own.tensor for own, (part, _) in zip(held, made, strict=True) if part is None]
        out.left.append((fitted.group.units, f"the numbers of {names[0]!r} have no alphabet here"))
        return
    keys = [k for _, k in made]
    signs = fitted.group.sign and all(part.alphabet.kind in (FLOAT, GRID) for part in parts)
    if signs:
        require_floats(out.given, fitted, "a change of sign")
        keys = _positive(out, fitted, parts, keys)
    order = unit_block.order_of(np.concatenate(keys, axis=1))
    permute(out.given, fitted, order)
    keys = [k[order] for k in keys]
    for own, part, k in zip(held, parts, keys, strict=True):
        out.decoded[own.tensor] = own.restore(part.alphabet.numbers(k), out.given[own.tensor].shape)
    body = _body(keys, parts, signs=signs) if code else b""
    bound = _order_bits(keys) + (fitted.group.count if signs else 0)
    out.blocks.append(Block(fitted.group.units, tuple(own.tensor for own in held), body, fitted.group.count, bound))


def _body(keys: list[Ints], parts: list[Part], *, signs: bool) -> bytes:
    """The shorter body: with signs given back, which must be plain then, or predicted, the first of a unit always positive."""
    bodies = [unit_block.encode(keys, parts, signs=False)]
    if signs:
        bodies.append(unit_block.encode(keys, [replace(part, plain_signs=True) for part in parts], signs=True))
    return min(bodies, key=len)


def _is_grid(tensors: Tensors, own: Owned) -> bool:
    array = tensors[own.tensor]
    if array.size <= 2 * len(own.places):  # a bias or gain
        return False
    return any(a.kind == GRID for a in alphabets_of(own.records(array), dtype_name(array.dtype)))


def _part(tensors: Tensors, own: Owned, step_of: StepOf, *, code: bool) -> tuple[Part | None, Ints]:
    """How a tensor is coded, and its keys; None if it can't be."""
    array = tensors[own.tensor]
    records, dtype = own.records(array), dtype_name(array.dtype)
    step = step_of(own.tensor, array)
    if step is not None and is_float(dtype):
        made = quantise(records.astype(np.float32), dtype, step)
        if made is not None:
            return (chosen(own, made.alphabet, made.keys) if code else Part(own, made.alphabet)), made.keys
    found: list[tuple[Alphabet, Ints]] = [(a, a.keys(records)) for a in alphabets_of(records, dtype)]
    if not found:
        return None, np.zeros((len(records), 0), np.int64)
    return cheapest(own, found) if code else (Part(own, found[0][0]), found[0][1])


def _positive(out: Arranged, fitted: Fitted, parts: list[Part], keys: list[Ints]) -> list[Ints]:
    """The keys once the units whose first number is negative are negated."""
    wrong = ~unit_block.positive(np.concatenate(keys, axis=1))
    negate(out.given, fitted, wrong)
    return [
        np.where(wrong[:, None], k ^ ((k > 1) | (part.alphabet.signs == 2)), k)
        for part, k in zip(parts, keys, strict=True)
    ]


def _order_bits(keys: list[Ints]) -> float:
    """log2 of how many orders of the units differ."""
    alike = Counter(unit_block.key_of(row) for row in np.concatenate(keys, axis=1))
    return (math.lgamma(len(keys[0]) + 1) - sum(math.lgamma(m + 1) for m in alike.values())) / math.log(2)


def spec_of(block: Block, tensors: Mapping[str, Array]) -> Spec:
    """The spec of a block's bytes."""
    shapes = tuple(tensors[name].shape for name in block.tensors)
    return Spec(dtype_name(tensors[block.tensors[0]].dtype), shapes)
