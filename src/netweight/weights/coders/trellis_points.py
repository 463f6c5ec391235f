"""Where an index is reconstructed: on its grid point, moved towards the centroid of the weights that chose it.

In union u index k means q = 2 k - u grid steps. It is put at sign(q) (|q| - offset / 32), the offset depending on the group, on the
union and on which of the first three points from zero it is (all beyond the third move like it).

offsets := adaptive blob of zigzag numbers (groups x 6)
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import adaptive
from ...errors import FormatError
from ...wire import Reader, Writer, from_zigzag, zigzag

PER_GROUP: Final = 6
UNIT: Final = 32
_MOST: Final = 31  # under one grid step, so that no point changes its side
_LEAST: Final = -64

Offsets = NDArray[np.int64]
"""int64 [groups * PER_GROUP], in 1 / UNIT grid steps."""


@njit(nogil=True, cache=True)
def _place(k, u):  # type: ignore[no-untyped-def]
    """Which offset of its group an index has; -1 for the point at zero."""
    if u:
        return 3 + min(k - 1 if k > 0 else -k, 2)
    return min(abs(k), 3) - 1


@njit(nogil=True, cache=True)
def _sum_errors(values, indices, contexts, groups, sums, counts):  # type: ignore[no-untyped-def]
    """For each offset the sum of |q| - |value| (towards zero is positive) and how many."""
    for i in range(values.size):
        u, k = np.int64(contexts[i] >= groups), np.int64(indices[i])
        place = _place(k, u)
        if place >= 0:
            q = 2 * k - u
            at = (np.int64(contexts[i]) - u * groups) * 6 + place
            sums[at] += q - values[i] if q > 0 else values[i] - q
            counts[at] += 1


def fit(values: NDArray[np.float32], indices: NDArray[np.int32], contexts: NDArray[np.uint8], groups: int) -> Offsets:
    """The offsets of least square error; `values` in grid steps."""
    sums, counts = np.zeros(groups * PER_GROUP), np.zeros(groups * PER_GROUP, np.int64)
    _sum_errors(values, indices, contexts, groups, sums, counts)
    means = np.rint(UNIT * sums / np.maximum(counts, 1)).astype(np.int64)
    return np.clip(means, _LEAST, _MOST)


def table(offsets: Offsets, groups: int, reach: int) -> NDArray[np.float32]:
    """Points in grid steps, float32 [groups, 2, 2 reach + 1], by union and k + reach."""
    out = np.empty((groups, 2, 2 * reach + 1), np.float32)
    k = np.arange(-reach, reach + 1)
    by_group = offsets.reshape(groups, PER_GROUP)
    for u in (0, 1):
        q = 2 * k - u
        place = np.where(k > 0, k - 1, -k) if u else np.maximum(np.abs(k), 1) - 1
        shift = by_group[:, 3 * u + np.minimum(place, 2)] / UNIT
        out[:, u] = np.sign(q) * (np.abs(q) - shift)
    return out


@njit(nogil=True, cache=True)
def restore(indices, contexts, groups, offsets, unit, out):  # type: ignore[no-untyped-def]
    """out[i] = the reconstruction, float32; `unit` is the grid step / UNIT. One IEEE product each."""
    for i in range(indices.size):
        u, k = np.int64(contexts[i] >= groups), np.int64(indices[i])
        place = _place(k, u)
        if place < 0:
            out[i] = np.float32(0)
            continue
        q = 2 * k - u
        size = 32 * abs(q) - offsets[(np.int64(contexts[i]) - u * groups) * 6 + place]
        value = np.float32(size) * unit
        out[i] = value if q > 0 else -value


def of_symbols(offsets: Offsets, groups: int, indices: NDArray[np.int32]) -> NDArray[np.float32]:
    """What `restore` multiplies by the unit, for symbols that stand for `indices` (int32 [m]): float32 [2 groups, m], by full
    context.
    """
    contexts = np.repeat(np.arange(2 * groups, dtype=np.uint8), indices.size)
    out = np.empty(contexts.size, np.float32)
    restore(np.tile(indices, 2 * groups), contexts, groups, offsets, np.float32(1), out)
    return out.reshape(2 * groups, indices.size)


@njit(nogil=True, cache=True)
def restore_symbols(symbols, contexts, sizes, unit, out):  # type: ignore[no-untyped-def]
    """As `restore` does it, from symbols and a table of `of_symbols`: a fourth of the time."""
    for i in range(symbols.size):
        out[i] = sizes[contexts[i], symbols[i]] * unit


def write(out: Writer, offsets: Offsets) -> None:
    out.blob(adaptive.encode(zigzag(offsets), _contexts(offsets.size)))


def read(source: Reader, groups: int) -> Offsets:
    """The inverse. Raises FormatError."""
    offsets = from_zigzag(adaptive.decode(source.blob(), _contexts(groups * PER_GROUP), 2 * -_LEAST))
    if offsets.size and (int(offsets.max()) > _MOST or int(offsets.min()) < _LEAST):
        raise FormatError("trellis block: a point out of range")
    return offsets


def _contexts(count: int) -> NDArray[np.uint8]:
    return np.asarray(np.arange(count) % PER_GROUP, np.uint8)
