"""Magnitude pruning: the smallest weights to zero, where the others are, and these quantised by another code
(Han, Pool, Tran, Dally 2015).

body      := survivors varint | [places | what the quantiser makes of the survivors, each row's a tensor]
places    := 0 | a bit for each weight (indices.py)
           | 1 | gaps: weights skipped before each survivor, 255 for "255 and on" (indices.py, one row), their number first
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ....errors import FormatError
from ....wire import Reader, Writer
from ...coders.scales import Shape
from ..code import LossyCode
from ..values import Floats, squares
from .indices import checked, count_of, read_indices, write_indices
from .kmeans import DESIGNS, KMeans
from .uniform import Uniform

QUANTISERS: Final = ("uniform", *DESIGNS)
_CODERS: Final = ("rans", "order0")
_SHARES: Final = (0.0, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)  # of the error that pruning may take
_SAMPLE: Final = 1 << 16
_RUN: Final = 64
_BITMAP, _GAPS = 0, 1
_FAR: Final = 255
_MOST_ROWS: Final = 2048

Mask = NDArray[np.bool_]


@njit(nogil=True, cache=True)
def _gaps(kept, out):  # type: ignore[no-untyped-def]
    """Symbols of the gaps before each True; how many."""
    gap, k = 0, 0
    for i in range(kept.size):
        if not kept[i]:
            gap += 1
            continue
        while gap >= 255:
            out[k] = 255
            gap -= 255
            k += 1
        out[k] = gap
        k, gap = k + 1, 0
    return k


@njit(nogil=True, cache=True)
def _from_gaps(gaps, kept):  # type: ignore[no-untyped-def]
    """Sets `kept`; the number of survivors, or -1 if they leave the array."""
    at, count = 0, 0
    for k in range(gaps.size):
        at += np.int64(gaps[k])
        if gaps[k] == 255:
            continue
        if at >= kept.size:
            return -1
        kept[at] = True
        at, count = at + 1, count + 1
    return count


class Pruned(LossyCode):
    """The sparsity of the fewest bytes; the survivors' error makes up the whole to what is allowed. `quantiser` codes
    them; `coder` ("rans" or "order0") codes their places and them.
    """

    id = "netweight.lossy.pruned"

    def __init__(self, rel_mse: float = 0.01, quantiser: str = "uniform", coder: str = "rans") -> None:
        """Raises ValueError for a setting that isn't one."""
        super().__init__(rel_mse)
        if quantiser not in QUANTISERS:
            raise ValueError(f"quantiser is {quantiser!r}; it must be one of {', '.join(QUANTISERS)}")
        self.quantiser, self.coder = quantiser, checked(coder, _CODERS)

    def config(self) -> dict[str, Any]:
        return super().config() | {"quantiser": self.quantiser, "coder": self.coder}

    def _inner(self) -> Uniform | KMeans:
        if self.quantiser == "uniform":
            return Uniform(coder=self.coder)
        return KMeans(design=self.quantiser, coder=self.coder)

    def quantise(self, values: Floats, shapes: list[Shape], rel_mse: float) -> tuple[bytes, Floats] | None:
        part, own = _sample(values, shapes)
        made = ((self._pruned(part, own, rel_mse, share), share) for share in _SHARES)
        sizes = [(len(result[0]), share) for result, share in made if result is not None]
        return self._pruned(values, shapes, rel_mse, min(sizes)[1]) if sizes else None

    def _pruned(self, values: Floats, shapes: list[Shape], rel_mse: float, share: float) -> tuple[bytes, Floats] | None:
        """(body, what it decodes to) where pruning takes at most `share` of the error."""
        noise = rel_mse * squares(values)
        kept, spent = _survivors(values, share * noise)
        restored = np.zeros_like(values)
        survivors = values[kept]
        if not survivors.size:
            return Writer().varint(0).bytes(), restored
        coded = self._inner().quantise(survivors, _rows(kept, shapes), (noise - spent) / squares(survivors))
        if coded is None:
            return None
        out = Writer().varint(survivors.size)
        _write_places(out, kept, shapes, self.coder)
        restored[kept] = coded[1]
        return out.raw(coded[0]).bytes(), restored

    def restore(self, body: memoryview, shapes: list[Shape]) -> Floats:
        source = Reader(body, self.id)
        count = source.varint(limit=count_of(shapes))
        out = np.zeros(count_of(shapes), np.float32)
        if count:
            kept = _read_places(source, shapes, self.coder)
            if int(np.count_nonzero(kept)) != count:
                raise FormatError(f"{self.id}: {count} survivors have other than {count} places")
            out[kept] = self._inner().restore(source.raw(source.remaining), _rows(kept, shapes))
        source.end()
        return out


def _row(count: int) -> list[Shape]:
    return [Shape(1, count, 1)]


def _rows(kept: Mask, shapes: list[Shape]) -> list[Shape]:
    """The survivors of each row as a tensor of its own, so that rows of large weights keep their contexts."""
    if sum(s.rows for s in shapes) > _MOST_ROWS:
        return _row(int(np.count_nonzero(kept)))
    out, at = [], 0
    for s in shapes:
        part = kept[at : at + s.rows * s.columns].reshape(s.rows, s.columns)
        out += [Shape(1, int(n), 1) for n in np.count_nonzero(part, axis=1)]
        at += part.size
    return out


def _sample(values: Floats, shapes: list[Shape]) -> tuple[Floats, list[Shape]]:
    """Runs of weights from all over, as one row; all of them, as they are, if they are few."""
    if values.size <= _SAMPLE:
        return values, shapes
    runs = values[: values.size // _RUN * _RUN].reshape(-1, _RUN)
    part = np.ascontiguousarray(runs[:: -(-len(runs) * _RUN // _SAMPLE)]).reshape(-1)
    return (part, _row(part.size)) if part.any() else (values, shapes)


def _survivors(values: Floats, noise: float) -> tuple[Mask, float]:
    """Which weights stay when the smallest ones go that hold at most `noise` together, and how much those held."""
    energy = np.square(values, dtype=np.float64)
    lost = np.cumsum(np.sort(energy))
    gone = int(np.searchsorted(lost, noise, side="right"))
    if not gone:
        return values != 0, 0.0
    border = np.partition(energy, gone - 1)[gone - 1]
    kept = energy > border  # equal weights at the border all go, if that is within the noise
    spent = float(energy[~kept].sum())
    if spent > noise:
        kept = energy >= border
        spent = float(energy[~kept].sum())
    return kept, spent


def _write_places(out: Writer, kept: Mask, shapes: list[Shape], coder: str) -> None:
    """The shorter of bitmap and gaps."""
    bitmap, gaps = Writer().raw(bytes([_BITMAP])), Writer().raw(bytes([_GAPS]))
    write_indices(bitmap, kept.view(np.uint8), 2, shapes, coder, np.array([0.0, 1.0]))
    symbols = np.empty(kept.size, np.uint8)
    symbols = symbols[: _gaps(kept, symbols)]
    gaps.varint(symbols.size)
    write_indices(gaps, symbols, _FAR + 1, _row(symbols.size), coder)
    out.raw(min((bitmap.bytes(), gaps.bytes()), key=len))


def _read_places(source: Reader, shapes: list[Shape], coder: str) -> Mask:
    """Raises FormatError."""
    method = source.byte()
    if method == _BITMAP:
        return read_indices(source, 2, shapes, coder).astype(np.bool_)
    if method != _GAPS:
        raise FormatError("places: neither a bitmap nor gaps")
    symbols = read_indices(source, _FAR + 1, _row(source.varint(limit=count_of(shapes))), coder)
    kept = np.zeros(count_of(shapes), np.bool_)
    if _from_gaps(symbols, kept) < 0 or symbols[-1:].tolist() == [_FAR]:
        raise FormatError("places: a gap beyond the end")
    return kept
