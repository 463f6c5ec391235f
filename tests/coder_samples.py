"""Inputs of the coders' tests, made of integers (the same on every machine), and attacks on their payloads."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator

import numpy as np

from netweight.errors import FormatError
from netweight.spec import Spec

Bytes = np.ndarray


def random_words(key: object, count: int) -> np.ndarray:
    """uint64 [count], uniform: splitmix64 (Steele, Lea, Flood 2014) of a seed that depends on `key` alone."""
    z = np.arange(1, count + 1, dtype=np.uint64) + (np.uint64(zlib.crc32(repr(key).encode())) << np.uint64(24))
    z *= np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def below(key: object, count: int, bound: int) -> np.ndarray:
    """int64 [count], uniform in [0, bound)."""
    return (random_words(key, count) >> np.uint64(33)).astype(np.int64) % bound


def random_bytes(key: object, count: int) -> Bytes:
    return random_words(key, -(-count // 8)).view(np.uint8)[:count].copy()


def bell(key: object, count: int) -> np.ndarray:
    """int64 [count], nearly Gaussian, mean 0, standard deviation 2^20: the sum of twelve uniform numbers."""
    return sum(below((key, k), count, 1 << 20) for k in range(12)) - (6 << 20)


def weights(key: object, shape: tuple[int, ...], row_octaves: int = 0, column_octaves: int = 0) -> np.ndarray:
    """float32 of `shape`: a bell curve whose width varies by row and by column over so many octaves.

    Integers times powers of two, rounded once: IEEE makes them the same everywhere.
    """
    rows, columns = shape[0], int(np.prod(shape[1:]))
    scale = below((key, "row"), rows, row_octaves + 1)[:, None] + below((key, "column"), columns, column_octaves + 1)
    # the middle bits of another word make a mantissa that isn't an integer's
    fine = bell(key, rows * columns).reshape(rows, columns) * 1024 + below((key, "fine"), rows * columns, 1024).reshape(
        rows, columns
    )
    return np.ldexp(fine.astype(np.float32), -36 - scale).astype(np.float32).reshape(shape)


def bfloat16(numbers: np.ndarray) -> np.ndarray:
    """float32 cut to the uint16 patterns of BF16."""
    return (np.ascontiguousarray(numbers).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def as_bytes(array: np.ndarray) -> Bytes:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def digest(payload: bytes | np.ndarray) -> str:
    """Sixteen hex digits that pin coded bytes."""
    return hashlib.sha256(bytes(payload)).hexdigest()[:16]


def entropy_bits(symbols: np.ndarray) -> float:
    """n times the empirical entropy: no code of independent symbols with these counts is shorter."""
    counts = np.unique(symbols, return_counts=True)[1].astype(np.float64)
    return float((counts * np.log2(counts.sum() / counts)).sum())


def mutants(body: bytes, key: object, count: int) -> Iterator[bytes]:
    """`body` cut everywhere in its first bytes and here and there later, altered in one place or a few, and garbage."""
    size = max(len(body), 1)
    yield b""
    yield from (body[:n] for n in range(1, min(size, 40)))
    for k, word in enumerate(random_words((key, "mutant"), count).tolist()):
        at, value = (word >> 8) % size, word >> 40
        # headers and tables lie in front and matter most
        at = at % 48 if word & 1 else at
        changed = bytearray(body)
        kind = k % 8 if body else 5
        if kind == 0:
            del changed[at:]
        elif kind == 1:
            changed += random_bytes((key, k), 1 + value % 9).tobytes()
        elif kind == 2:
            changed[at : at + 4] = bytes([255]) * 4
        elif kind == 3:
            changed[at:at] = bytes([value & 255])
        elif kind == 4:
            del changed[at]
        elif kind == 5:
            changed = bytearray(body[: at % 24]) + random_bytes((key, k), 8 + value % 600).tobytes()
        else:
            changed[at % len(changed)] ^= 1 << (value & 7) if kind == 6 else 1 + value % 255
        yield bytes(changed)


def attack(decode: Callable[[bytes], Bytes], body: bytes, spec: Spec, key: object, count: int = 400) -> int:
    """Decode mutants of `body`: each gives a FormatError or `spec.nbytes` bytes. Returns how many were refused."""
    refused = 0
    for mutant in mutants(body, key, count):
        try:
            decoded = decode(mutant)
        except FormatError:
            refused += 1
        else:
            assert decoded.dtype == np.uint8
            assert decoded.shape == (spec.nbytes,)
    return refused
