"""A file as typed regions and gaps: the words that all finders share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ...source import Source
from ...spec import Spec, element_count


@dataclass(frozen=True, slots=True)
class Region:
    """`nbytes` bytes at `offset` that are numbers of one `dtype` (a name of `spec.DTYPES` or a block type of `blocks`).

    Invariant for a plain dtype: `Spec(dtype, (shape,)).nbytes == nbytes`. For a GGUF block type `shape` is in weights
    and its last axis is a whole number of blocks.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class View:
    """A named tensor that is part of region number `region`: `start` and `strides` count elements.

    PyTorch's storages and numpy's Fortran order need views; elsewhere each region is the tensor of its name.
    """

    name: str
    region: int
    shape: tuple[int, ...]
    start: int
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a finder found.

    Invariant: regions are sorted by offset, don't overlap, have nbytes > 0 and lie inside the file; everything else is
    a gap. `views` is empty if each region is the C-contiguous tensor of its name, and else lists every tensor; empty
    tensors (0 elements) are listed in `empty` as (name, dtype, shape) either way.
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


def _bad_region(layout: Layout, size: int) -> str:
    end = 0
    for region in layout.regions:
        if region.nbytes <= 0 or region.offset < end or region.offset + region.nbytes > size:
            return f"tensor {region.name!r} overlaps another or lies outside the file"
        end = region.offset + region.nbytes
    return ""


def _bad_view(layout: Layout) -> str:
    for view in layout.views:
        if not 0 <= view.region < len(layout.regions) or len(view.shape) != len(view.strides):
            return f"tensor {view.name!r} is part of nothing that the file holds"
        if view.start < 0 or min(view.shape, default=1) < 1 or min(view.strides, default=0) < 0:
            return f"tensor {view.name!r} has an impossible start, shape or strides"
        last = view.start + sum((n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True))
        if last >= element_count(layout.regions[view.region].shape):
            return f"tensor {view.name!r} reaches past the end of its storage"
    return ""


def _repeated_name(layout: Layout) -> str:
    empty = [e[0] for e in layout.empty]
    for names in ([r.name for r in layout.regions] + empty, [v.name for v in layout.views] + empty):
        if len(set(names)) != len(names):
            return f"two tensors are called {Counter(names).most_common(1)[0][0]!r}"
    return ""


def checked(layout: Layout, size: int) -> Layout:
    """`layout` if it keeps its invariants for a file of `size` bytes, else the same format as one gap with the problem.

    Beside those of `Layout`: names don't repeat, and each view lies inside its region.
    """
    problem = _bad_region(layout, size) or _bad_view(layout) or _repeated_name(layout)
    return Layout(layout.format, problem=problem) if problem else layout
