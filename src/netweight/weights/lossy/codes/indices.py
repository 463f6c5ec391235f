"""Indices to bytes by a coder of choice: ours, bits packed as they are, or somebody else's (PNG, gzip, xz, ...).

rans    := symbols of scaled.py: rANS in contexts of row scale x column scale
order0  := the same with one context
packed  := ceil(log2(alphabet)) bits an index
others  := blob: what that codec of the registry makes of a matrix of bytes, one index a byte
wide    := indices >> 8 as above | indices & 255: rANS given the former, or packed       (alphabets over 256)
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ....entropy import rans, tables
from ....errors import FormatError
from ....registry import create
from ....spec import Spec
from ....wire import Reader, Writer
from ...coders.lowbits import pack_bits, unpack_bits
from ...coders.scaled import read_symbols, write_symbols
from ...coders.scales import Shape

Bytes = NDArray[np.uint8]
Energy = NDArray[np.float64]

CODERS: Final = ("rans", "order0", "packed", "png", "zip", "gzip", "bzip2", "xz", "zstd", "brotli")
WIDE_CODERS: Final = ("rans", "order0", "packed")
MOST: Final = 256
MOST_WIDE: Final = 4096


def checked(coder: str, allowed: tuple[str, ...] = CODERS) -> str:
    """`coder` itself. Raises ValueError for one that isn't `allowed`."""
    if coder not in allowed:
        raise ValueError(f"coder is {coder!r}; it must be one of {', '.join(allowed)}")
    return coder


def count_of(shapes: list[Shape]) -> int:
    """Elements in all."""
    return sum(s.rows * s.columns for s in shapes)


def _spec(shapes: list[Shape], coder: str) -> Spec:
    if coder == "order0":
        return Spec.raw(count_of(shapes))
    return Spec("U8", tuple((s.rows, s.inner, s.kernel) for s in shapes))


def write_indices(
    out: Writer, indices: Bytes, alphabet: int, shapes: list[Shape], coder: str, energy: Energy | None = None
) -> None:
    """`indices` (uint8 [n], each below `alphabet` <= 256) of tensors of `shapes`.

    `energy` (float64 [alphabet]) is the square of what each index stands for: it tells rows and columns of large
    weights from others. The reader needs all but the energy.
    """
    if coder == "packed":
        out.raw(pack_bits(indices, _width(alphabet)))
    elif coder in ("rans", "order0"):
        squares = np.zeros(MOST)
        if energy is not None:
            squares[:alphabet] = energy / (energy.max() or 1.0)
        write_symbols(out, indices, alphabet, squares, _spec(shapes, coder))
    else:
        out.blob(create(coder).encode(indices, _spec(shapes, coder)))


def read_indices(source: Reader, alphabet: int, shapes: list[Shape], coder: str) -> Bytes:
    """The inverse: uint8 [n]. Raises FormatError, also for an index that isn't below `alphabet`."""
    count = count_of(shapes)
    if coder in ("rans", "order0"):
        return read_symbols(source, count, alphabet, _spec(shapes, coder)).symbols
    if coder == "packed":
        indices = unpack_bits(source, _width(alphabet), count)
    else:
        indices = create(coder).decode(source.blob(), _spec(shapes, coder))
    if int(indices.max(initial=0)) >= alphabet:
        raise FormatError(f"indices: one that isn't below {alphabet}")
    return indices


def _width(alphabet: int) -> int:
    return (alphabet - 1).bit_length()


def write_wide(
    out: Writer, indices: NDArray[np.int32], alphabet: int, shapes: list[Shape], coder: str, energy: Energy
) -> None:
    """`write_indices` for up to MOST_WIDE indices, by one of WIDE_CODERS.

    Numbering by energy pays: the high bits, which tell how large a weight is, are the ones in contexts of its row and column.
    """
    if alphabet <= MOST:
        write_indices(out, indices.astype(np.uint8), alphabet, shapes, coder, energy)
        return
    high, low = (indices >> 8).astype(np.uint8), indices.astype(np.uint8)
    groups = -(-alphabet // MOST)
    means = np.array([energy[k * MOST : (k + 1) * MOST].mean() for k in range(groups)])
    write_indices(out, high, groups, shapes, coder, means)
    if coder == "packed":
        out.raw(low)
        return
    counts = np.zeros(groups * MOST, np.uint32)
    tables.count_pairs(high, low, counts)
    levels, scale = tables.levels_of(counts.reshape(groups, MOST).astype(np.int64)), tables.scale_for(low.size)
    tables.write_tables(out, levels)
    out.blob(rans.encode(low, high, tables.frequencies_of(levels, scale), scale))


def read_wide(source: Reader, alphabet: int, shapes: list[Shape], coder: str) -> NDArray[np.int32]:
    """The inverse: int32 [n]. Raises FormatError, also for an index that isn't below `alphabet`."""
    if alphabet <= MOST:
        return read_indices(source, alphabet, shapes, coder).astype(np.int32)
    groups, count = -(-alphabet // MOST), count_of(shapes)
    high = read_indices(source, groups, shapes, coder)
    if coder == "packed":
        low = np.frombuffer(source.raw(count), np.uint8)
    else:
        scale = tables.scale_for(count)
        frequencies = tables.frequencies_of(tables.read_tables(source, groups, MOST), scale)
        low = rans.decode(source.blob(), high, frequencies, scale)
    indices = high.astype(np.int32) << 8 | low
    if int(indices.max(initial=0)) >= alphabet:
        raise FormatError(f"indices: one that isn't below {alphabet}")
    return indices
