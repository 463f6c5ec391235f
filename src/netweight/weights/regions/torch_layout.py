"""Storages at known places and the tensors that view them, as a layout."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from math import prod
from typing import NamedTuple

from ...errors import FormatError
from ...spec import DTYPES
from .model import Layout, Region, View
from .torch_objects import UNTYPED, Storage, Tensor


class Place(NamedTuple):
    """Where a storage's bytes lie. `folder` tells apart the storages of several pickles in one file."""

    folder: str
    storage: Storage
    offset: int
    nbytes: int


class Part(NamedTuple):
    """Elements [start, start + prod(shape)) of a storage that become one region."""

    start: int
    shape: tuple[int, ...]
    name: str


Placed = tuple[str, Tensor]
"""A tensor and the folder of its storage."""


def memory_shape(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """`shape` with its axes in the order of memory; None if the elements don't fill one run, each once.

    If the order isn't `shape`'s own, axes of one element go, and a first axis that lies innermost (the output channels
    of a matrix or kernel that was written transposed) stays as the last of two.
    """
    axes = [axis for axis in range(len(shape)) if shape[axis] != 1]
    ordered = sorted(axes, key=lambda axis: -strides[axis])
    expected = 1
    for axis in reversed(ordered):
        if strides[axis] != expected:
            return None
        expected *= shape[axis]
    if ordered == axes:
        return shape
    if ordered[-1] == axes[0]:
        return expected // shape[axes[0]], shape[axes[0]]
    return tuple(shape[axis] for axis in ordered)


def _last(tensor: Tensor) -> int:
    """The highest element of the storage that a tensor (of one element or more) reads."""
    return tensor.start + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))


def _element_type(place: Place, viewers: list[Tensor]) -> str:
    """The storage's dtype, or that of the first tensor on untyped bytes; "" if it doesn't fit the bytes there are."""
    storage = place.storage
    dtype = storage.dtype or next((t.dtype for t in viewers if t.dtype), UNTYPED)
    if dtype not in DTYPES:
        return ""
    width = DTYPES[dtype].bits // 8
    expected = storage.elements if storage.dtype == UNTYPED else storage.elements * width
    return dtype if expected == place.nbytes and expected % width == 0 else ""


def _dense(viewers: list[Tensor]) -> list[Part]:
    """The runs of memory that tensors fill: the longest first of those that start together, C order before others."""
    runs = []
    for tensor in viewers:
        shape = memory_shape(tensor.shape, tensor.strides)
        if shape is not None:
            runs.append((tensor.start, -prod(shape), shape != tensor.shape, Part(tensor.start, shape, tensor.name)))
    return [run[-1] for run in sorted(runs, key=lambda run: run[:3])]


def split(label: str, count: int, viewers: list[Tensor]) -> list[Part]:
    """A storage of `count` elements in parts of which each is a whole tensor if possible, in order, without holes.

    Mostly that is one part. Recurrent layers and optimizers keep many tensors in one storage. If a tensor reads across
    the parts' borders, all stays one part.
    """
    parts: list[Part] = []
    end = 0
    for part in _dense(viewers):
        if part.start >= end:
            if part.start > end:
                parts.append(Part(end, (part.start - end,), f"{label}@{end}" if end else label))
            parts.append(part)
            end = part.start + prod(part.shape)
    if end < count:
        parts.append(Part(end, (count - end,), f"{label}@{end}" if end else label))
    starts = [part.start for part in parts]
    crossed = any(bisect_right(starts, t.start) != bisect_right(starts, _last(t)) for t in viewers)
    return [Part(0, (count,), label)] if crossed else parts


class _Builder:
    """Collects regions in the order of the file, and where each storage's parts went."""

    def __init__(self) -> None:
        self.regions: list[Region] = []
        self._index: dict[tuple[str, str], tuple[str, int, list[int]]] = {}

    def add(self, place: Place, viewers: list[Tensor]) -> None:
        dtype = _element_type(place, viewers)
        if not dtype or not place.nbytes:
            return
        width = DTYPES[dtype].bits // 8
        count = place.nbytes // width
        same = [t for t in viewers if t.dtype == dtype]
        for tensor in same:
            if _last(tensor) >= count:
                raise FormatError(f"tensor {tensor.name!r} reaches past the end of its storage")
        parts = split(f"storage/{place.folder}{place.storage.key}", count, same)
        self._index[place.folder, place.storage.key] = dtype, len(self.regions), [part.start for part in parts]
        for part in parts:
            offset, nbytes = place.offset + part.start * width, prod(part.shape) * width
            self.regions.append(Region(part.name, dtype, part.shape, offset, nbytes))

    def view(self, folder: str, tensor: Tensor) -> View | None:
        """None for a tensor on a storage that is a gap, or that it reads as another dtype than the storage's own."""
        dtype, first, starts = self._index.get((folder, tensor.storage.key), ("", 0, []))
        if not dtype or tensor.dtype != dtype:
            return None
        part = bisect_right(starts, tensor.start) - 1
        return View(tensor.name, first + part, tensor.shape, tensor.start - starts[part], tensor.strides)


def _is_region(view: View, region: Region) -> bool:
    same = view.name == region.name and view.shape == region.shape
    return same and memory_shape(view.shape, view.strides) == view.shape


def arrange(places: Iterable[Place], tensors: list[Placed]) -> Layout:
    """The layout of a PyTorch file. Raises FormatError for a tensor that reaches past its storage.

    A storage whose dtype stays unknown, or doesn't fit its bytes, is a gap, and its tensors have no view.
    """
    viewers: dict[tuple[str, str], list[Tensor]] = {}
    for folder, tensor in tensors:
        if prod(tensor.shape):
            viewers.setdefault((folder, tensor.storage.key), []).append(tensor)
    builder = _Builder()
    for place in sorted(places, key=lambda p: p.offset):
        builder.add(place, viewers.get((place.folder, place.storage.key), []))
    seen = (builder.view(folder, tensor) for folder, tensor in tensors if prod(tensor.shape))
    views = tuple(view for view in seen if view is not None)
    regions = tuple(builder.regions)
    plain = len(views) == len(regions) and all(_is_region(v, regions[v.region]) for v in views)
    empty = tuple((t.name, t.dtype, t.shape) for _, t in tensors if t.dtype and not prod(t.shape))
    return Layout("pytorch", regions, () if plain else views, empty)
