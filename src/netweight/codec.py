"""Codec, Guarantee, Receipt and `weigh`: the one idea of netweight in one file.

A codec turns the bytes of a thing into fewer bytes and back. `weigh` is the only place where a size is printed from:
it encodes, decodes, checks what the codec promised, and only then says how long the bytes were.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from . import frame, tensors
from .errors import GuaranteeError
from .spec import Spec

Bytes = NDArray[np.uint8]
"""A one-dimensional, C-contiguous uint8 array."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What a codec promises of `decode(encode(x))`: kind "lossless", "max_error", "mse" or "none", and its limit."""

    kind: str
    limit: float = 0.0

    def holds(self, error: Error) -> bool:
        """Whether a measured error keeps the promise."""
        if self.kind == "lossless":
            return error.identical
        if self.kind == "max_error":
            return error.max_abs <= self.limit
        if self.kind == "mse":
            return error.mse <= self.limit
        return True


LOSSLESS: Final = Guarantee("lossless")


@runtime_checkable
class Codec(Protocol):
    """Bytes to bytes, told by a spec what the bytes are.

    `id` is the name in the registry. `config()` is JSON-able and rebuilds an equal codec through the registry; what a
    codec needs beside it (a base checkpoint, a model) is named by `receiver()`.
    `decode(encode(data, spec), spec)` has `spec.nbytes` bytes and keeps `guarantee`. `encode` never writes to `data`.
    `decode` raises FormatError for any payload that `encode` can't have made, and never anything else.
    """

    id: str
    guarantee: Guarantee

    def config(self) -> dict[str, Any]: ...

    def encode(self, data: Bytes, spec: Spec) -> bytes: ...

    def decode(self, payload: bytes | memoryview, spec: Spec) -> Bytes: ...


@dataclass(frozen=True, slots=True)
class Error:
    """Difference between a thing and its decoded copy; `rel_mse` is ||x - y||^2 / ||x||^2 over finite elements."""

    identical: bool
    max_abs: float = 0.0
    mse: float = 0.0
    rel_mse: float = 0.0


@dataclass(frozen=True)
class Receipt:
    """What one thing weighs under one code. Made by measuring alone.

    `bytes` counts all that a receiver needs and hasn't got already (`receiver` names that). `bound_bits` is a figure
    without bytes (an entropy), printed beside, never instead. Times are in seconds of wall clock.
    """

    codec: str
    original_bytes: int
    elements: int
    bytes: int
    guarantee: str
    error: Error
    encode_seconds: float
    decode_seconds: float
    sha256: str
    bound_bits: float | None = None
    receiver: dict[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.bytes / self.elements if self.elements else 0.0

    @property
    def ratio(self) -> float:
        return self.original_bytes / self.bytes if self.bytes else 0.0

    @property
    def saved_percent(self) -> float:
        return 100 * (1 - self.bytes / self.original_bytes) if self.original_bytes else 0.0

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields and the ratios that follow from them."""
        derived = {k: getattr(self, k) for k in ("bits_per_weight", "ratio", "saved_percent")}
        return asdict(self) | derived


def receiver_of(codec: Codec) -> dict[str, str]:
    """What a decoder needs beside the bytes, with its hash; {} for most codecs."""
    describe = getattr(codec, "receiver", None)
    return dict(describe()) if describe else {}


def measure_error(original: Bytes, decoded: Bytes, spec: Spec) -> Error:
    """Compare bit for bit, then (for numbers that differ) as float64."""
    if np.array_equal(original, decoded):
        return Error(identical=True)
    x, y = (tensors.to_array(b, spec).astype(np.float64) for b in (original, decoded))
    finite = np.isfinite(x)
    if not np.array_equal(finite, np.isfinite(y)):
        return Error(False, float("inf"), float("inf"), float("inf"))
    d = x[finite] - y[finite]
    energy = float(np.dot(x[finite], x[finite]))
    square = float(np.dot(d, d))
    worst = float(np.abs(d).max()) if d.size else 0.0
    relative = square / energy if energy else (0.0 if square == 0 else float("inf"))
    return Error(False, worst, square / max(d.size, 1), relative)


def weigh(codec: Codec, thing: Any, bound_bits: float | None = None) -> Receipt:
    """Encode `thing` (an array or bytes) in a frame, decode the frame, check the guarantee, and tell the size.

    Raises GuaranteeError if the codec broke its promise.
    """
    data, spec = tensors.to_bytes(thing)
    start = time.perf_counter()
    blob = frame.pack(codec, data, spec)
    middle = time.perf_counter()
    decoded, _ = frame.unpack_with(codec, blob)
    end = time.perf_counter()
    error = measure_error(data, decoded, spec)
    if not codec.guarantee.holds(error):
        raise GuaranteeError(f"{codec.id} promised {codec.guarantee} but decoded with {error}")
    return Receipt(
        codec=codec.id,
        original_bytes=spec.nbytes,
        elements=spec.count,
        bytes=len(blob),
        guarantee=codec.guarantee.kind,
        error=error,
        encode_seconds=middle - start,
        decode_seconds=end - middle,
        sha256=hashlib.sha256(blob).hexdigest(),
        bound_bits=bound_bits,
        receiver=receiver_of(codec),
    )
