"""The float matrices of a file, and everything else in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...spec import Spec
from ...tensors import numpy_dtype
from ..archive.inputs import InputFile
from ..regions.model import Layout, Region, View
from .values import is_float

LEAST: Final = 1024  # weights of a matrix that is worth a code of its own
_OWN_BYTES: Final = 1 << 20  # other regions of so many bytes aren't joined
_GAP_BYTES: Final = 1 << 24

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Matrix:
    """A float tensor of two axes or more, in row-major order of `spec`, wherever the file has it."""

    name: str
    spec: Spec
    file: InputFile
    region: Region
    view: View | None

    def read(self) -> Bytes:
        """uint8 [spec.nbytes]."""
        data = self.file.source.read(self.region.offset, self.region.nbytes)
        if self.view is None:
            return data
        flat = data.view(numpy_dtype(self.spec.dtype))
        steps = tuple(s * flat.itemsize for s in self.view.strides)
        ordered = np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, self.view.shape, steps))
        return ordered.reshape(-1).view(np.uint8)


def matrices_of(file: InputFile, least: int = LEAST) -> Iterator[Matrix]:
    """Those of `least` weights or more, in file order."""
    layout = file.layout
    whole = _whole_views(layout)
    for number, region in enumerate(layout.regions):
        view = whole.get(number)
        shape = region.shape if view is None else view.shape
        name = region.name if view is None else view.name
        if is_float(region.dtype) and len(shape) > 1 and Spec(region.dtype, (shape,)).count >= least:
            yield Matrix(name, Spec(region.dtype, (shape,)), file, region, view)


def _whole_views(layout: Layout) -> dict[int, View]:
    """Region number -> the view that is all of it in another order, where it is the only one."""
    counts = Counter(v.region for v in layout.views)
    return {v.region: v for v in layout.views if counts[v.region] == 1 and _permutes(v, layout.regions[v.region])}


def _permutes(view: View, region: Region) -> bool:
    """Whether `view` has each element of `region` once."""
    expected = 1
    for step, n in sorted((s, n) for s, n in zip(view.strides, view.shape, strict=True) if n != 1):
        if step != expected:
            return False
        expected *= n
    return view.start == 0 and expected == Spec(region.dtype, (region.shape,)).count


def remainder(file: InputFile) -> Iterator[tuple[Bytes, Spec]]:
    """Everything that `matrices_of` leaves out, once: other tensors (small ones joined by dtype), then the gaps."""
    taken = {m.region.offset for m in matrices_of(file)}
    joined: dict[str, list[Region]] = defaultdict(list)
    at, gaps = 0, []
    for region in file.layout.regions:
        gaps.append((at, region.offset))
        at = region.offset + region.nbytes
        if region.offset in taken:
            continue
        if region.nbytes >= _OWN_BYTES:
            yield _read(file, region), Spec(region.dtype, (region.shape,))
        else:
            joined[region.dtype].append(region)
    for dtype, regions in joined.items():
        yield np.concatenate([_read(file, r) for r in regions]), Spec(dtype, tuple(r.shape for r in regions))
    yield from _gaps(file, [*gaps, (at, file.source.size)])


def _read(file: InputFile, region: Region) -> Bytes:
    return file.source.read(region.offset, region.nbytes)


def _gaps(file: InputFile, spans: list[tuple[int, int]]) -> Iterator[tuple[Bytes, Spec]]:
    """Short gaps end to end, long ones in pieces."""
    small = [file.source.read(a, b - a) for a, b in spans if 0 < b - a < _OWN_BYTES]
    if small:
        data = np.concatenate(small)
        yield data, Spec.raw(data.size)
    for start, end in spans:
        if end - start >= _OWN_BYTES:
            for at in range(start, end, _GAP_BYTES):
                n = min(_GAP_BYTES, end - at)
                yield file.source.read(at, n), Spec.raw(n)
