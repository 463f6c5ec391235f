"""One rank's message of one bucket.

    message = kind byte, marks (two bits an item, four items a byte; only with kind 2), records of message.py
    fault   = kind byte 1, fault of message.py

Marks: 0 coded, 1 passed (as it is: not finite), 2 absent (no record). A message without a mark but 0 is of kind 0. A fault
is an error that one rank met while it coded: all ranks get it and stop with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ...errors import FormatError, NetweightError
from ..compressor import Compressor, Vector
from ..compressors.cast import Identity
from ..message import Address, pack, pack_fault, raise_fault, read_as_it_is, unpack
from .wire import Wire

CODED, PASSED, ABSENT = 0, 1, 2
_PLAIN, _FAULT, _MARKED = 0, 1, 2
RAW: Final = Identity()


@dataclass(frozen=True, slots=True)
class Item:
    """One vector of a bucket: float32 or float64 [d], d >= 1. `account` is charged for its bytes, if not `name`."""

    name: str
    x: Vector
    compressor: Compressor
    account: str = ""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one rank says of one item; `vector` is None where it is absent."""

    vector: Vector | None
    passed: bool = False


def limit_of(items: Sequence[Item]) -> int:
    """Bytes that no honest message of `items` exceeds: codes may expand, but not to thrice the vectors."""
    return 4096 + sum(3 * item.x.nbytes + 1024 for item in items)


def fault(error: NetweightError) -> bytes:
    """The message of a rank that can't code its own."""
    return bytes([_FAULT]) + pack_fault(error)


def build(
    items: Sequence[Item], payloads: Sequence[bytes | None], marks: Sequence[int], where: Address, wire: Wire
) -> bytes:
    """The message of `items`; `payloads` has None for the absent ones. `where` gives sender and step."""
    sent = [k for k, mark in enumerate(marks) if mark != ABSENT]
    records = pack([payloads[k] or b"" for k in sent], [_address(where, items[k], marks[k]) for k in sent])
    head = bytes([_MARKED]) + _packed(marks) if any(marks) else bytes([_PLAIN])
    for item, payload in zip(items, payloads, strict=True):
        wire.charge(item.account or item.name, item.x.nbytes, len(payload or b""))
    carried = sum(len(payload or b"") for payload in payloads)
    wire.payload += carried
    wire.headers += len(head) + len(records) - carried
    return head + records


def read(message: memoryview, items: Sequence[Item], seeds: Sequence[int], where: Address) -> list[Decoded]:
    """What `where.sender` says of `items`. Raises FormatError that names rank and parameter; PeerError for a fault."""
    if not len(message):
        raise FormatError(f"rank {where.sender} sent an empty message at step {where.step}")
    kind, body = message[0], message[1:]
    if kind == _FAULT:
        raise_fault(body, f"rank {where.sender}")
    if kind not in {_PLAIN, _MARKED}:
        raise FormatError(f"rank {where.sender} sent a message of unknown kind {kind} at step {where.step}")
    marks, body = _unpacked(body, len(items), where) if kind == _MARKED else ([CODED] * len(items), body)
    sent = [k for k, mark in enumerate(marks) if mark != ABSENT]
    out = [Decoded(None)] * len(items)
    addresses = [_address(where, items[k], marks[k]) for k in sent]
    for k, address, payload in zip(sent, addresses, unpack(body, addresses), strict=True):
        out[k] = _decoded(payload, items[k], marks[k], seeds[k], address)
    return out


def _decoded(payload: memoryview, item: Item, mark: int, seed: int, address: Address) -> Decoded:
    d, kind = item.x.size, item.x.dtype
    try:
        if mark == PASSED:
            return Decoded(read_as_it_is(payload, d, kind), passed=True)
        return Decoded(item.compressor.decompress(payload, d, kind, seed))
    except FormatError as error:
        raise type(error)(f"{address}: {error}") from None


def _address(where: Address, item: Item, mark: int) -> Address:
    return replace(where, parameter=item.name, compressor=f"{mark} {item.compressor.fingerprint()}")


def _packed(marks: Sequence[int]) -> bytes:
    padded = np.zeros(-(-len(marks) // 4) * 4, np.uint8)
    padded[: len(marks)] = marks
    return bytes((padded.reshape(-1, 4) << np.arange(0, 8, 2, dtype=np.uint8)).sum(1, dtype=np.uint8))


def _unpacked(body: memoryview, count: int, where: Address) -> tuple[list[int], memoryview]:
    length = -(-count // 4)
    if len(body) < length:
        raise FormatError(
            f"rank {where.sender} sent {len(body)} bytes where {length} of marks begin at step {where.step}"
        )
    quads = np.frombuffer(body[:length], np.uint8)[:, None] >> np.arange(0, 8, 2, dtype=np.uint8) & 3
    marks = quads.reshape(-1).tolist()
    if max(marks[:count], default=0) > ABSENT or any(marks[count:]):
        raise FormatError(f"rank {where.sender} sent impossible marks at step {where.step}")
    return marks[:count], body[length:]


__all__ = ["ABSENT", "CODED", "PASSED", "RAW", "Decoded", "Item", "build", "fault", "limit_of", "read"]
