"""Reading and writing the small things: varints, strings, arrays. Reading never trusts a length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError, TruncatedError

_MAX_VARINT_BYTES = 10
Number = TypeVar("Number", int, NDArray[np.int64])


def varint(value: int) -> bytes:
    """LEB128: seven bits a byte, low first. `value` in [0, 2^63)."""
    if value < 0 or value >= 1 << 63:
        raise ValueError(f"varint out of range: {value}")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: Number) -> Number:
    """0, -1, 1, -2, 2, ... as 0, 1, 2, 3, 4, ...; of one integer or of int64 [n]."""
    return (value << 1) ^ (value >> 63)


def from_zigzag(value: Number) -> Number:
    """The inverse of `zigzag`."""
    return (value >> 1) ^ -(value & 1)


class Writer:
    """Collects parts; they are copied once, by `bytes()`."""

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = []
        self._length = 0

    def varint(self, value: int) -> Writer:
        return self.raw(varint(value))

    def varints(self, values: Iterable[int]) -> Writer:
        return self.raw(b"".join(map(varint, values)))

    def raw(self, data: bytes | memoryview | NDArray[np.uint8]) -> Writer:
        """The part itself is kept, not a copy: it must not change before `bytes()`."""
        part = data if isinstance(data, bytes) else memoryview(data)
        self._parts.append(part)
        self._length += len(part)
        return self

    def blob(self, data: bytes | memoryview | NDArray[np.uint8]) -> Writer:
        """A length and that many bytes."""
        return self.varint(len(data)).raw(data)

    def text(self, value: str) -> Writer:
        return self.blob(value.encode("utf-8", "surrogatepass"))

    def bytes(self) -> bytes:
        return b"".join(self._parts)

    def __len__(self) -> int:
        return self._length


class Reader:
    """Walks over bytes; every step checks that they are there. Raises TruncatedError or FormatError."""

    def __init__(self, data: bytes | memoryview | NDArray[np.uint8], what: str = "data") -> None:
        self._data = memoryview(data)
        self._what = what
        self._at = 0

    @property
    def remaining(self) -> int:
        return len(self._data) - self._at

    def raw(self, length: int) -> memoryview:
        if length < 0 or length > self.remaining:
            raise TruncatedError(f"{self._what}: {length} bytes announced at {self._at}, {self.remaining} are there")
        start = self._at
        self._at += length
        return self._data[start : self._at]

    def byte(self) -> int:
        return self.raw(1)[0]

    def varint(self, limit: int = (1 << 63) - 1) -> int:
        """One LEB128 number, at most `limit`, in its shortest form."""
        value = 0
        for k in range(_MAX_VARINT_BYTES):
            b = self.byte()
            value |= (b & 0x7F) << (7 * k)
            if b < 0x80:
                if (b == 0 and k > 0) or value > limit:
                    raise FormatError(f"{self._what}: bad number {value} before byte {self._at} (at most {limit})")
                return value
        raise FormatError(f"{self._what}: number too long before byte {self._at}")

    def varints(self, count: int, limit: int = (1 << 63) - 1) -> list[int]:
        if count > self.remaining:
            raise TruncatedError(f"{self._what}: {count} numbers announced, {self.remaining} bytes are there")
        return [self.varint(limit) for _ in range(count)]

    def blob(self) -> memoryview:
        return self.raw(self.varint())

    def text(self) -> str:
        try:
            return bytes(self.blob()).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise FormatError(f"{self._what}: not UTF-8 before byte {self._at}: {error.reason}") from None

    def array(self, count: int, code: str) -> NDArray[np.generic]:
        """`count` little-endian numbers of numpy type `code`, copied out."""
        width = np.dtype(code).itemsize
        return np.frombuffer(self.raw(count * width), dtype=code).copy()

    def end(self) -> None:
        """Raises FormatError if bytes are left."""
        if self.remaining:
            raise FormatError(f"{self._what}: {self.remaining} unexpected bytes at the end")
