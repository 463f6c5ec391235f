"""What all codes of labels share: the receiver's knowledge by its hash, labels under probabilities, a checksum.

    file := kind(1) | digest(8) | body | checksum(4)

`digest` is XXH3-64 of the inputs and of every setting that the receiver must have: another data set, prior or seed is refused.
`checksum` is of what precedes and of the labels.
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from ...entropy.codes import Symbols
from ...errors import BaseMismatchError, ChecksumError, FormatError, InputError
from ...frame import checksum
from ...wire import Reader
from ..bits_back.fixed_order import frequencies

Array = NDArray[Any]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_CLASSES: Final = 256
_PRECISION: Final = 28


def digest(inputs: Array, settings: dict[str, Any]) -> bytes:
    """Eight bytes that name inputs and settings."""
    state = xxhash.xxh3_64(json.dumps([settings, inputs.dtype.str, inputs.shape], sort_keys=True).encode())
    state.update(np.ascontiguousarray(inputs).reshape(-1).view(np.uint8))
    return state.digest()


def checked(inputs: Array, labels: Ints, classes: int) -> Ints:
    """The labels as int64. Raises InputError unless there is one in [0, classes) for each input, all of them finite."""
    if not 2 <= classes <= MOST_CLASSES:
        raise InputError(f"{classes} classes: 2 to {MOST_CLASSES} can be coded")
    if labels.shape != inputs.shape[:1] or (labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes):
        raise InputError(
            f"labels of shape {list(labels.shape)} aren't one of {classes} classes for each of {len(inputs)} inputs"
        )
    if inputs.dtype.kind == "f" and not bool(np.isfinite(inputs).all()):
        raise InputError("the inputs hold NaN or infinity")
    return labels.astype(np.int64)


def seal(kind: bytes, known: bytes, body: bytes, labels: Ints) -> bytes:
    """The file."""
    data = kind + known + body
    return data + checksum(data, labels.astype(np.uint8).tobytes())


def unseal(data: bytes, kind: bytes, known: bytes) -> Reader:
    """The body. Raises FormatError, BaseMismatchError; the labels are to be checked with `verify`."""
    source = Reader(data, "coded labels")
    if bytes(source.raw(1)) != kind:
        raise FormatError("coded labels: of another kind of code")
    if bytes(source.raw(len(known))) != known:
        raise BaseMismatchError("coded labels: made with other inputs, another prior, seed or recipe")
    return Reader(source.raw(max(0, source.remaining - 4)), "coded labels")


def verify(data: bytes, labels: Ints) -> Ints:
    """The labels. Raises ChecksumError."""
    if checksum(data[:-4], labels.astype(np.uint8).tobytes()) != data[-4:]:
        raise ChecksumError("coded labels: damaged, or trained differently here")
    return labels


def label_code(probabilities: Floats) -> Symbols:
    """Labels under probabilities float64 [n, classes] that were computed in fixed order."""
    return Symbols(frequencies(probabilities, _PRECISION), np.arange(len(probabilities)))


def uniform_bits(count: int, classes: int) -> float:
    """What labels take that nothing is known of, a bound."""
    return count * float(np.log2(classes))
