"""Round to nearest with one scale a row or a group: what "int8" and "int4" mean in most tools.

body   := bits(1) | group varint (0: whole rows) | scales | indices (indices.py)
scales := largest (float32) | each relative to it (float16) as two byte planes, low first (lowbits.py)
weight  = (index - (2^(bits-1) - 1)) * scale of its group; groups end with their row
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ....errors import FormatError
from ....wire import Reader, Writer
from ...coders.lowbits import read_plane, write_plane
from ...coders.scales import Shape
from ..code import LossyCode
from ..values import Floats, squares
from .indices import checked, count_of, read_indices, write_indices

BITS: Final = range(2, 9)
GROUPS: Final = (0, 128, 64, 32)
_CODERS: Final = ("rans", "order0", "packed")
_MOST_GROUP: Final = 1 << 20


def _groups(shapes: list[Shape], group: int) -> Iterator[tuple[int, int, int, int]]:
    """(rows, columns, group length, groups a row) of each tensor."""
    for s in shapes:
        length = min(group, s.columns) or s.columns
        yield s.rows, s.columns, length, -(-s.columns // length) if length else 0


@njit(nogil=True, cache=True)
def _largest(values, columns, group, out):  # type: ignore[no-untyped-def]
    """out[r, g] = largest magnitude of group g of row r of one tensor."""
    for r in range(out.shape[0]):
        for j in range(columns):
            w = abs(values[r * columns + j])
            out[r, j // group] = max(out[r, j // group], w)


@njit(nogil=True, cache=True)
def _round(values, scales, columns, group, limit, out):  # type: ignore[no-untyped-def]
    """Nearest multiple of the group's scale, within -limit..limit, plus limit, to `out`; the squared error."""
    noise = 0.0
    for r in range(scales.shape[0]):
        for j in range(columns):
            i, scale = r * columns + j, np.float64(scales[r, j // group])
            w = np.float64(values[i])
            q = min(max(np.rint(w / scale), -limit), limit) if scale > 0 else 0.0
            out[i] = np.uint8(q + limit)
            noise += (w - q * scale) ** 2
    return noise


@njit(nogil=True, cache=True)
def _restore(indices, scales, columns, group, limit, out):  # type: ignore[no-untyped-def]
    """(index - limit) * scale to `out`: one IEEE product of float32 a weight."""
    for r in range(scales.shape[0]):
        for j in range(columns):
            i = r * columns + j
            out[i] = np.float32(np.int64(indices[i]) - limit) * scales[r, j // group]


class RoundToNearest(LossyCode):
    """Symmetric integers of 2 to 8 bits: of the group lengths allowed, each with the fewest bits that hold the error,
    the one of the fewest bytes. `bits` and `group` (0: rows) fix them; then an error out of reach is coded losslessly.
    """

    id = "netweight.lossy.rtn"

    def __init__(
        self, rel_mse: float = 0.01, bits: int | None = None, group: int | None = None, coder: str = "rans"
    ) -> None:
        """Raises ValueError for a setting that isn't one."""
        super().__init__(rel_mse)
        if bits is not None and (type(bits) is not int or bits not in BITS):
            raise ValueError(f"bits is {bits!r}; it must be from {BITS[0]} to {BITS[-1]}")
        if group is not None and (type(group) is not int or not 0 <= group <= _MOST_GROUP):
            raise ValueError(f"group is {group!r}; it must be from 0 (rows) to {_MOST_GROUP}")
        self.bits, self.group, self.coder = bits, group, checked(coder, _CODERS)

    def config(self) -> dict[str, Any]:
        return super().config() | {"bits": self.bits, "group": self.group, "coder": self.coder}

    def quantise(self, values: Floats, shapes: list[Shape], rel_mse: float) -> tuple[bytes, Floats] | None:
        noise = rel_mse * squares(values)
        best: bytes | None = None
        for group in GROUPS if self.group is None else (self.group,):
            body = self._body(values, shapes, group, noise)
            if body is not None and (best is None or len(body) < len(best)):
                best = body
        return None if best is None else (best, self.restore(memoryview(best), shapes))

    def _body(self, values: Floats, shapes: list[Shape], group: int, noise: float) -> bytes | None:
        """The fewest bits with groups of this length that hold the error."""
        peaks = _peaks(values, shapes, group)
        indices = np.empty(values.size, np.uint8)
        for bits in BITS if self.bits is None else (self.bits,):
            limit = (1 << (bits - 1)) - 1
            out = Writer().raw(bytes([bits])).varint(group)
            scales = _write_scales(out, peaks / limit)
            if _rounded(values, scales, shapes, group, limit, indices) <= noise:
                energy = np.arange(-limit, limit + 1, dtype=np.float64) ** 2
                write_indices(out, indices, 2 * limit + 1, shapes, self.coder, energy)
                return out.bytes()
        return None

    def restore(self, body: memoryview, shapes: list[Shape]) -> Floats:
        source = Reader(body, self.id)
        bits, group = source.byte(), source.varint(limit=_MOST_GROUP)
        if bits not in BITS:
            raise FormatError(f"{self.id}: {bits} bits")
        scales = _read_scales(source, sum(rows * n for rows, _, _, n in _groups(shapes, group)))
        limit = (1 << (bits - 1)) - 1
        indices = read_indices(source, 2 * limit + 1, shapes, self.coder)
        source.end()
        out, at, first = np.empty(count_of(shapes), np.float32), 0, 0
        for rows, columns, length, n in _groups(shapes, group):
            part, own = slice(at, at + rows * columns), scales[first : first + rows * n].reshape(rows, n)
            _restore(indices[part], own, columns, length, limit, out[part])
            at, first = part.stop, first + rows * n
        if not bool(np.isfinite(out).all()):
            raise FormatError(f"{self.id}: a weight that isn't finite")
        return out


def _peaks(values: Floats, shapes: list[Shape], group: int) -> NDArray[np.float64]:
    """Largest magnitude of each group, all tensors end to end."""
    out, at = [], 0
    for rows, columns, length, n in _groups(shapes, group):
        peaks = np.zeros((rows, n), np.float32)
        if length:
            _largest(values[at : at + rows * columns], columns, length, peaks)
        out.append(peaks.reshape(-1))
        at += rows * columns
    return np.concatenate(out).astype(np.float64)


def _rounded(
    values: Floats, scales: Floats, shapes: list[Shape], group: int, limit: int, indices: NDArray[np.uint8]
) -> float:
    """Fills `indices`; the squared error."""
    noise, at, first = 0.0, 0, 0
    for rows, columns, length, n in _groups(shapes, group):
        part, own = slice(at, at + rows * columns), scales[first : first + rows * n].reshape(rows, n)
        if length:
            noise += _round(values[part], own, columns, length, limit, indices[part])
        at, first = part.stop, first + rows * n
    return noise


def _write_scales(out: Writer, scales: NDArray[np.float64]) -> Floats:
    """What the reader gets, as float32."""
    largest = np.float32(scales.max(initial=0.0))
    halves = (scales / (np.float64(largest) or 1.0)).astype("<f2")
    out.raw(np.array([largest], "<f4").view(np.uint8))
    for plane in np.ascontiguousarray(halves.view(np.uint8).reshape(-1, 2).T):
        write_plane(out, plane)
    return np.asarray(halves.astype(np.float32) * largest)


def _read_scales(source: Reader, count: int) -> Floats:
    """Raises FormatError."""
    largest = source.array(1, "<f4").astype(np.float32)[0]
    planes = [read_plane(source, count) for _ in range(2)]
    halves = np.ascontiguousarray(np.stack(planes, axis=1)).reshape(-1).view("<f2")
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(halves.astype(np.float32) * largest)
