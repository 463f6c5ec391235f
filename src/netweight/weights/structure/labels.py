"""The facts of a structure that are no weights: masks, labels, places; by the adaptive binary coder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...entropy import adaptive
from ...errors import FormatError
from ...wire import Reader, Writer

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def _plain(count: int) -> NDArray[np.uint8]:
    return np.zeros(count, np.uint8)


def write_mask(out: Writer, mask: Mask) -> None:
    """Truth values, as where they change."""
    out.blob(adaptive.encode(_changes(mask), _plain(mask.size)))


def _changes(mask: Mask) -> Ints:
    """Whether each is another than the one before."""
    whole = np.concatenate([[False], mask])
    return np.asarray(whole[1:] != whole[:-1]).astype(np.int64)


def read_mask(source: Reader, count: int) -> Mask:
    """The inverse: bool [count]. Raises FormatError."""
    changes = adaptive.decode(source.blob(), _plain(count), 1)
    return np.asarray(np.cumsum(changes) % 2 == 1)


def write_places(out: Writer, places: Ints) -> None:
    """Rising places: how many, then the distances between them in a Golomb code of the best power of two."""
    gaps = np.diff(places, prepend=-1) - 1
    shift = max(int(np.log2(max(gaps.mean(), 1.0) * 0.7)), 0) if places.size else 0
    out.varint(places.size).raw(bytes([shift]))
    write_numbers(out, gaps, shift)


def read_places(source: Reader, count: int) -> Ints:
    """The inverse: int64, rising, below `count`. Raises FormatError."""
    found = source.varint(limit=count)
    shift = source.byte()
    gaps = read_numbers(source, found, shift, count)
    places: Ints = np.cumsum(gaps + 1) - 1
    if found and int(places[-1]) >= count:
        raise FormatError(f"structure: place {places[-1]} of {count}")
    return places


def write_numbers(out: Writer, values: Ints, shift: int) -> None:
    """Whole numbers: what is above `shift` bits adaptively, the bits below as they are."""
    out.blob(adaptive.encode(values >> shift, _plain(values.size)))
    low = (values[:, None] >> np.arange(shift)) & 1
    out.raw(np.packbits(low.astype(np.uint8).reshape(-1)))


def read_numbers(source: Reader, count: int, shift: int, limit: int) -> Ints:
    """The inverse: int64 [count], at most about `limit` each. Raises FormatError."""
    if shift > 40:
        raise FormatError(f"structure: numbers of {shift} low bits")
    high = adaptive.decode(source.blob(), _plain(count), limit >> shift)
    bits = np.unpackbits(np.frombuffer(source.raw((count * shift + 7) // 8), np.uint8), count=count * shift)
    low = bits.reshape(count, shift).astype(np.int64) @ (1 << np.arange(shift, dtype=np.int64))
    return (high << shift) + low


def write_labels(out: Writer, labels: Ints, most: int) -> None:
    """Labels below `most`: whether each is that of the one before, adaptively; else itself, in as many bits as `most` needs."""
    same = np.concatenate([[0], labels[:-1]]) == labels if labels.size else np.zeros(0, bool)
    out.blob(adaptive.encode((~same).astype(np.int64), _plain(labels.size)))
    write_numbers(out, labels[~same], _width(most))


def read_labels(source: Reader, count: int, most: int) -> Ints:
    """The inverse: int64 [count]. Raises FormatError."""
    fresh = adaptive.decode(source.blob(), _plain(count), 1) == 1
    values = read_numbers(source, int(fresh.sum()), _width(most), max(most - 1, 0))
    if values.size and int(values.max()) >= most:
        raise FormatError(f"structure: label {values.max()} of {most}")
    return np.concatenate([[0], values])[np.cumsum(fresh)] if count else np.zeros(0, np.int64)


def _width(most: int) -> int:
    return max(most - 1, 0).bit_length()
