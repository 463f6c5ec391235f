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
from .errors import GuaranteeError, NotFoundError
from .spec import Spec

Bytes = NDArray[np.uint8]
"""A one-dimensional, C-contiguous uint8 array."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What a codec promises of `decode(encode(x))`: kind "lossless", "max_error", "mse", "rel_mse" or "none", and its limit."""

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
        if self.kind == "rel_mse":
            return error.rel_mse <= self.limit
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


class ConfigCodec:
    """Base of codecs that are all said by `id` and `config()`: gives them equality, a hash and a repr."""

    id: str

    def config(self) -> dict[str, Any]:
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config().items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConfigCodec) and type(self) is type(other) and self.config() == other.config()

    def __hash__(self) -> int:
        return hash(repr(self))


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


def _distance(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """|x - y|; for integers exact before it is rounded, for int64 extremes too."""
    if x.dtype.kind == "f":
        return np.asarray(np.abs(x - y), np.float64)
    wrapped = np.where(x > y, x - y, y - x)
    return np.asarray(wrapped.view(f"u{x.itemsize}"), np.float64)


def measure_error(original: Bytes, decoded: Bytes, spec: Spec) -> Error:
    """Compare bit for bit, then (for numbers that differ) as float64.

    Both parts of a complex number count as numbers; NaN equals NaN. A value that isn't finite and isn't what it was
    makes every error infinite, and so does a decoded copy of another length.
    """
    if np.array_equal(original, decoded):
        return Error(identical=True)
    hopeless = Error(False, *[float("inf")] * 3)
    if original.size != decoded.size:
        return hopeless
    x, y = (tensors.to_numbers(b, spec) for b in (original, decoded))
    finite = np.isfinite(x)
    if not (np.isfinite(y[finite]).all() and np.array_equal(x[~finite], y[~finite], equal_nan=True)):
        return hopeless
    x, y = x[finite], y[finite]
    with np.errstate(over="ignore"):
        d = _distance(x, y)
        worst = float(d.max(initial=0.0))
        scale = max(worst, float(np.abs(x.astype(np.float64)).max(initial=0.0)))
        if not 0 < scale < float("inf"):
            return hopeless if scale else Error(False)
        # divided by the largest value, squares neither overflow nor vanish
        square, energy = (float(np.sum(np.square(v / scale))) for v in (d, x.astype(np.float64)))
        mse = float(np.float64(scale) ** 2 * square / d.size)
    return Error(False, worst, mse, square / energy if energy else float("inf"))


def _receiving(codec: Codec) -> Codec:
    """The codec that a receiver builds from the frame, so that nothing the sender's object remembers reaches it.

    It is `codec` itself when the registry can't build it: it needs something beside the bytes, or isn't registered.
    """
    from .registry import create

    if receiver_of(codec):
        return codec
    try:
        return create(codec.id, frame.parse_config(frame.config_text(codec)))
    except NotFoundError:
        return codec


def weigh(codec: Codec, thing: Any, bound_bits: float | None = None) -> Receipt:
    """Encode `thing` (an array or bytes) in a frame, decode the frame, check the guarantee, and tell the size.

    Raises GuaranteeError if the codec broke its promise, altered its input or decoded to another length.
    """
    data, spec = tensors.to_bytes(thing)
    before, receiving = frame.checksum(data), _receiving(codec)
    start = time.perf_counter()
    blob = frame.pack(codec, data, spec)
    middle = time.perf_counter()
    decoded, _ = frame.unpack_with(receiving, blob)
    end = time.perf_counter()
    if frame.checksum(data) != before:
        raise GuaranteeError(f"{codec.id} altered its input")
    if decoded.shape != (spec.nbytes,):
        raise GuaranteeError(f"{codec.id} decoded to shape {decoded.shape}, not to {spec.nbytes} bytes")
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
