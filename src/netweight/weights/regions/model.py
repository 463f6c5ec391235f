"""A file as typed regions and gaps: the words that all finders share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...source import Source
from ...spec import Spec


@dataclass(frozen=True, slots=True)
class Region:
    """`nbytes` bytes at `offset` that are numbers of one `dtype` (a name of `spec.DTYPES` or a block type of `blocks`).

    Invariant for a plain dtype: `Spec(dtype, (shape,)).nbytes == nbytes`. For a GGUF block type `shape` is in weights and
    its last axis is a whole number of blocks.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class View:
    """A named tensor that is part of region number `region`: `start` and `strides` count elements.

    Only formats with storages (PyTorch) need views; elsewhere each region is the tensor of its name.
    """

    name: str
    region: int
    shape: tuple[int, ...]
    start: int
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a finder found.

    Invariant: regions are sorted by offset, don't overlap, have nbytes > 0 and lie inside the file; everything else is a
    gap. `views` is empty unless names differ from regions; empty tensors (0 elements) are listed in `empty`.
    `problem` says in one sentence why a file that looked like this format was left as one gap ("" if it wasn't).
    """

    format: str
    regions: tuple[Region, ...] = ()
    views: tuple[View, ...] = ()
    empty: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    problem: str = ""


Finder = Callable[[Source], Layout | None]
"""Looks at a source; None when it isn't this format at all. Never raises for bad content: it returns a Layout without
regions and with the problem. Reads only what it needs (headers), never the tensors, and bounds what it allocates."""


def plain(name: str, dtype: str, shape: tuple[int, ...], offset: int) -> Region:
    """A region whose length follows from dtype and shape."""
    return Region(name, dtype, shape, offset, Spec(dtype, (shape,)).nbytes)


def checked(layout: Layout, size: int) -> Layout:
    """`layout` if it keeps its invariant for a file of `size` bytes, else the same format as one gap with the problem."""
    end = 0
    for region in layout.regions:
        if region.nbytes <= 0 or region.offset < end or region.offset + region.nbytes > size:
            problem = f"tensor {region.name!r} overlaps another or lies outside the file"
            return Layout(layout.format, problem=problem)
        end = region.offset + region.nbytes
    return layout
