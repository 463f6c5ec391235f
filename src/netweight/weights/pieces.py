"""Cutting tensors into blocks: whole rows where possible, at most so many elements."""

from __future__ import annotations

from collections.abc import Iterator

from ..ggml import BLOCK_TYPES
from ..spec import Spec, dtype, element_count


def split(spec: Spec, block_elements: int) -> Iterator[Spec]:
    """The specs of consecutive blocks of a one-tensor spec, in order. Their nbytes add up to the whole."""
    (shape,) = spec.shapes
    count = element_count(shape)
    if count <= block_elements:
        yield spec
        return
    unit = _unit(spec.dtype)
    rows = shape[0] if len(shape) > 1 else count
    width = count // rows
    if len(shape) > 1 and width <= block_elements and width % unit == 0:
        yield from (Spec(spec.dtype, ((n, *shape[1:]),)) for n in _runs(rows, max(1, block_elements // width)))
        return
    whole, rest = divmod(count, unit)
    for n in _runs(whole, max(1, block_elements // unit)):
        whole -= n
        yield Spec(spec.dtype, ((n * unit + (rest if whole == 0 else 0),),))


def _unit(name: str) -> int:
    """The least number of elements that fill whole bytes (or a whole block)."""
    if name in BLOCK_TYPES:
        return BLOCK_TYPES[name].weights
    return 8 if dtype(name).bits % 8 else 1


def _runs(total: int, most: int) -> Iterator[int]:
    """`total` as nearly equal runs of at most `most`, rounded so that none is tiny."""
    parts = -(-total // most)
    size = -(-total // parts)
    while total > 0:
        yield min(size, total)
        total -= size
