"""One message between ranks: payloads of several vectors, each with its length and checksum.

    message  = record*
    record   = varint length, uint32 checksum, payload

The number of records, their names, vector lengths and compressors are known to both sides, so they aren't sent; the
checksum covers the context as well (who sends, which parameter, which step, under which compressor), so that bytes meant
for another place are refused like damaged ones.

    fault    = uint32 checksum, UTF-8 text

A fault goes out in place of a message that its sender couldn't make.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np
import xxhash

from ..errors import ChecksumError, FormatError, PeerError
from ..wire import Reader, Writer
from .compressor import Vector

_LONGEST_FAULT: Final = 2000


@dataclass(frozen=True, slots=True)
class Address:
    """Where a payload belongs; `compressor` is its fingerprint."""

    sender: int
    parameter: str
    step: int
    compressor: str

    def __str__(self) -> str:
        return f"parameter {self.parameter!r} from rank {self.sender} at step {self.step}"


def _checksum(payload: bytes | memoryview, address: Address) -> bytes:
    state = xxhash.xxh32(payload)
    state.update(f"{address.sender}\0{address.parameter}\0{address.step}\0{address.compressor}".encode())
    return state.digest()


def pack(payloads: Sequence[bytes], addresses: Sequence[Address]) -> bytes:
    """One message of payloads in their order."""
    out = Writer()
    for payload, address in zip(payloads, addresses, strict=True):
        out.varint(len(payload)).raw(_checksum(payload, address)).raw(payload)
    return out.bytes()


def unpack(message: bytes | memoryview, addresses: Sequence[Address]) -> Iterator[memoryview]:
    """The payloads again. Raises FormatError or ChecksumError that names the parameter, the rank and the step."""
    reader = Reader(message, "message")
    for address in addresses:
        try:
            length = reader.varint()
            checksum = bytes(reader.raw(4))
            payload = reader.raw(length)
        except FormatError as error:
            raise type(error)(f"{address}: {error}") from None
        if _checksum(payload, address) != checksum:
            raise ChecksumError(f"{address}: damaged, or coded with other settings than this rank's")
        yield payload
    if reader.remaining:
        raise FormatError(f"{addresses[-1] if addresses else 'message'}: {reader.remaining} bytes are left over")


def as_it_is(x: Vector) -> bytes:
    """The values of `x` [d], little-endian, finite or not: what is sent where nothing is compressed."""
    return x.astype(x.dtype.newbyteorder("<"), copy=False).tobytes()


def read_as_it_is(payload: memoryview, d: int, kind: np.dtype[Any]) -> Vector:
    """The inverse of `as_it_is`. Raises FormatError."""
    if len(payload) != d * kind.itemsize:
        raise FormatError(f"{len(payload)} bytes for {d} values of {kind.name}")
    return np.frombuffer(payload, kind.newbyteorder("<")).astype(kind)


def pack_fault(error: Exception) -> bytes:
    """The text of `error` for the other ranks, cut to a few lines."""
    text = str(error).encode()[:_LONGEST_FAULT]
    return xxhash.xxh32_digest(text) + text


def raise_fault(fault: memoryview, sender: str) -> NoReturn:
    """Raises PeerError with what `sender` met, or ChecksumError if that isn't what was sent."""
    if len(fault) > 4 + _LONGEST_FAULT or xxhash.xxh32_digest(fault[4:]) != fault[:4]:
        raise ChecksumError(f"{sender} sent a damaged message")
    raise PeerError(f"{sender}: {bytes(fault[4:]).decode(errors='replace')}")
