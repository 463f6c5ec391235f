"""Rows of values to one message and back, with memory on both sides: one way across one boundary.

    message = kind byte, record of message.py
    record  = rows in their order; each preceded by its length (a varint) if the compressor's payloads differ in length

Kinds: 0 coded, 1 a fault (of message.py, no record), 2 as it is. The record's checksum covers the number of the message,
the boundary, the keys of the rows and the compressors, so a message out of order is refused.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from ...errors import FormatError, InputError, NetweightError
from ...wire import Reader, Writer
from ..compressor import Compressor, Vector
from ..message import Address, as_it_is, pack, pack_fault, raise_fault, read_as_it_is, unpack
from ..policy import Role
from ..state.base import State

Rows = Sequence[Vector]
_CODED, _FAULT, _RAW = 0, 1, 2


class Direction:
    """One way across the boundary `name`. The sender's and the receiver's are alike and see the same messages.

    `key` of a row names its memory: its place in the batch, or the training example (AQ-SGD).
    """

    def __init__(self, state: State, name: str, role: Role) -> None:
        self.state, self.name, self.role = state, name, role

    def send(
        self, rows: Rows, keys: Sequence[Hashable], *, remember: bool, raw: bool = False
    ) -> tuple[bytes, list[Vector]]:
        """The message of `rows` and each as it is decoded (without what memories add).

        `remember` uses and keeps memory; `raw` sends the rows as they are. Raises InputError for rows that aren't finite,
        unless the state passes them on as they are.
        """
        if not all(np.isfinite(row).all() for row in rows):
            if self.state.on_nonfinite == "raise":
                raise InputError(
                    f"the {self.role.replace('_', ' ')} at {self.name!r} isn't finite (message {self.state.step})"
                )
            raw = True
        if raw:
            return self._message(_RAW, b"".join(as_it_is(row) for row in rows), keys), list(rows)
        out, decoded = Writer(), []
        with self.state.whole():
            for row, key in zip(rows, self._names(keys), strict=True):
                payload, seen = self._sent(row, key, remember)
                if self._compressor(key, row.size, remember).size(row.size) is None:
                    out.varint(len(payload))
                out.raw(payload)
                decoded.append(seen)
        return self._message(_CODED, out.bytes(), keys), decoded

    def receive(
        self, message: bytes | memoryview, like: Rows, keys: Sequence[Hashable], *, remember: bool
    ) -> tuple[list[Vector], list[Vector]]:
        """The estimates of the rows, and each as it was decoded. `like` gives lengths and dtype.

        Raises FormatError or ChecksumError for a damaged message or one of another place; PeerError for a fault.
        """
        with self.state.whole():
            return self._received(memoryview(message), like, keys, remember)

    def fault(self, error: NetweightError) -> bytes:
        """The message of a side that failed."""
        return bytes([_FAULT]) + pack_fault(error)

    # parts

    def _received(
        self, view: memoryview, like: Rows, keys: Sequence[Hashable], remember: bool
    ) -> tuple[list[Vector], list[Vector]]:
        if not len(view):
            raise FormatError(f"{self.name}: an empty message")
        kind, named = view[0], self._names(keys)
        if kind == _FAULT:
            raise_fault(view[1:], f"the other side of {self.name!r}")
        if kind not in {_CODED, _RAW}:
            raise FormatError(f"{self.name}: a message of unknown kind {kind}")
        (record,) = unpack(view[1:], [self._address(kind, keys)])
        reader = Reader(record, self.name)
        if kind == _RAW:
            decoded = [read_as_it_is(reader.raw(row.nbytes), row.size, row.dtype) for row in like]
        else:
            decoded = [self._decoded(reader, row, key, remember) for row, key in zip(like, named, strict=True)]
        reader.end()
        if kind == _RAW or not remember:
            return decoded, decoded
        return [self.state.received(key, seen) for key, seen in zip(named, decoded, strict=True)], decoded

    def _names(self, keys: Sequence[Hashable]) -> list[str]:
        return [f"{self.name}#{key}" for key in keys]

    def _compressor(self, key: str, d: int, remember: bool) -> Compressor:
        if remember:
            return self.state.compressor(key, d, self.role)
        return self.state.policy.compressor(key, d, self.role)

    def _sent(self, row: Vector, key: str, remember: bool) -> tuple[bytes, Vector]:
        compressor, seed = self._compressor(key, row.size, remember), self.state.seed_of(0, key)
        vector = self.state.outgoing(key, row) if remember else row
        payload = compressor.compress(np.zeros_like(row) if vector is None else vector, seed)
        seen = compressor.decompress(payload, row.size, row.dtype, seed)
        if remember and vector is not None:
            self.state.sent(key, vector, seen)
        return payload, seen

    def _decoded(self, reader: Reader, row: Vector, key: str, remember: bool) -> Vector:
        compressor = self._compressor(key, row.size, remember)
        size = compressor.size(row.size)
        payload = reader.raw(reader.varint() if size is None else size)
        return compressor.decompress(payload, row.size, row.dtype, self.state.seed_of(0, key))

    def _message(self, kind: int, record: bytes, keys: Sequence[Hashable]) -> bytes:
        return bytes([kind]) + pack([record], [self._address(kind, keys)])

    def _address(self, kind: int, keys: Sequence[Hashable]) -> Address:
        rows = xxhash.xxh64_hexdigest("\0".join(map(str, keys)).encode())
        return Address(0, f"{self.name} {rows}", self.state.step, f"{kind} {self.state.policy.fingerprint()}")


def rows_of(x: NDArray[Any], per_sample: bool) -> Rows:
    """The rows of a batch: one for each sample, flattened, or the whole batch as one."""
    if not (per_sample and x.ndim > 1):
        return [np.ascontiguousarray(x.reshape(-1))]
    return list(np.ascontiguousarray(x.reshape(len(x), math.prod(x.shape[1:]))))
