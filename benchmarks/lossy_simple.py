"""Coders of weights as they are practised, written here: round to nearest, GGUF's blocks, k-means codebooks."""

from __future__ import annotations

import importlib

import numpy as np
from lossy_parts import HEAD, Floats, Matrices, Part, Setting, pack, unpack
from numpy.typing import NDArray


def zstd_indices(indices: NDArray[np.uint8], bits: int) -> bytes:
    """Numbers below 2^bits, packed or one a byte, whichever zstd makes smaller; its Huffman coder sees bytes alone."""
    import zstandard

    packed = np.packbits(np.unpackbits(indices[:, None], axis=1, count=bits, bitorder="little"), bitorder="little")
    coder = zstandard.ZstdCompressor(level=9)
    loose, tight = coder.compress(indices.tobytes()), coder.compress(packed.tobytes())
    return b"\0" + loose if len(loose) < len(tight) else b"\1" + tight


def unzstd_indices(blob: bytes, bits: int, count: int) -> NDArray[np.uint8]:
    """The inverse of `zstd_indices`."""
    import zstandard

    flat = np.frombuffer(zstandard.ZstdDecompressor().decompress(blob[1:]), np.uint8)
    if blob[0] == 0:
        return flat
    digits = np.unpackbits(flat, count=count * bits, bitorder="little").reshape(count, bits)
    return np.packbits(digits, axis=1, bitorder="little").reshape(-1)


class RoundToNearest:
    """Symmetric integers in groups along the flat weights, the largest of a group at the end of the range."""

    name, package = "round to nearest", ""

    def settings(self, _matrices: Matrices) -> list[Setting]:
        return [Setting(f"int{b} g{g}", (b, g)) for b in (2, 3, 4, 5, 6, 8) for g in (128, 32)]

    def encode(self, matrices: Matrices, setting: Setting) -> bytes:
        bits, group = setting.value
        return pack(
            [Part("", (bits, group), b""), *(Part(k, m.shape, self._one(m, bits, group)) for k, m in matrices.items())]
        )

    @staticmethod
    def _one(matrix: Floats, bits: int, group: int) -> bytes:
        import zstandard

        top = (1 << (bits - 1)) - 1
        groups = np.pad(matrix.reshape(-1), (0, -matrix.size % group)).reshape(-1, group)
        scales = (np.abs(groups).max(axis=1, keepdims=True) / np.float32(top)).astype(np.float16)
        steps = scales.astype(np.float32)
        codes = np.clip(np.rint(groups / np.where(steps > 0, steps, 1)), -top, top) + top
        indices = codes.astype(np.uint8).reshape(-1)[: matrix.size]
        side = zstandard.ZstdCompressor(level=9).compress(scales.tobytes())
        return HEAD.pack(len(side)) + side + zstd_indices(indices, bits)

    def decode(self, blob: bytes) -> Matrices:
        (_, (bits, group), _), *parts = unpack(blob)
        return {p.name: self._back(p, bits, group) for p in parts}

    @staticmethod
    def _back(part: Part, bits: int, group: int) -> Floats:
        import zstandard

        (length,), count = HEAD.unpack_from(part.blob), int(np.prod(part.shape))
        at = HEAD.size + length
        scales = np.frombuffer(zstandard.ZstdDecompressor().decompress(part.blob[HEAD.size : at]), np.float16)
        codes = unzstd_indices(part.blob[at:], bits, count).astype(np.float32) - ((1 << (bits - 1)) - 1)
        groups = np.pad(codes, (0, -count % group)).reshape(-1, group) * scales.astype(np.float32)[:, None]
        out: Floats = groups.reshape(-1)[:count].reshape(part.shape)
        return out


class Gguf:
    """GGUF's block types that its Python package can write, on the flat weights, as they are stored."""

    name, package = "GGUF", "gguf"
    _BLOCK = 32

    def settings(self, _matrices: Matrices) -> list[Setting]:
        return [Setting(t, t) for t in ("MXFP4", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")]

    def encode(self, matrices: Matrices, setting: Setting) -> bytes:
        gguf = importlib.import_module("gguf")
        kind = gguf.GGMLQuantizationType[setting.value]
        parts = [Part("", (int(kind),), b"")]
        for name, m in matrices.items():
            rows = np.pad(m.reshape(-1), (0, -m.size % self._BLOCK)).reshape(-1, self._BLOCK)
            parts.append(Part(name, m.shape, gguf.quants.quantize(rows, kind).tobytes()))
        return pack(parts)

    def decode(self, blob: bytes) -> Matrices:
        gguf = importlib.import_module("gguf")
        (_, (number,), _), *parts = unpack(blob)
        kind, out = gguf.GGMLQuantizationType(number), {}
        for p in parts:
            count = int(np.prod(p.shape))
            rows = np.frombuffer(p.blob, np.uint8).reshape(-(-count // self._BLOCK), -1)
            out[p.name] = gguf.quants.dequantize(rows, kind).reshape(-1)[:count].reshape(p.shape)
        return out


def lloyd(values: Floats, levels: int, rounds: int = 50) -> Floats:
    """Codebook float32 [levels], sorted: k-means in one dimension from equal spacing, as Deep Compression starts it.

    Exact rounds by sums up to each place of the sorted weights, so that each costs `levels` searches.
    """
    ordered = np.sort(values, axis=None).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    book = np.linspace(ordered[0], ordered[-1], levels)
    for _ in range(rounds):
        edges = np.searchsorted(ordered, (book[1:] + book[:-1]) / 2)
        bounds = np.concatenate([[0], edges, [ordered.size]])
        counts = np.diff(bounds)
        means = np.diff(sums[bounds]) / np.maximum(counts, 1)
        book, old = np.where(counts > 0, means, book), book
        if np.array_equal(book, old):
            break
    return np.sort(book).astype(np.float32)


class Codebook:
    """Deep Compression's second and third stage: a k-means codebook for each matrix, indices in zstd's Huffman code."""

    name, package = "k-means codebook", ""

    def settings(self, _matrices: Matrices) -> list[Setting]:
        return [Setting(f"{k} levels", k) for k in (3, 4, 6, 8, 12, 16, 32, 64, 128, 256)]

    def encode(self, matrices: Matrices, setting: Setting) -> bytes:
        parts = [Part("", (setting.value,), b"")]
        for name, m in matrices.items():
            book = lloyd(m, setting.value)
            indices = np.searchsorted((book[1:] + book[:-1]) / 2, m.reshape(-1)).astype(np.uint8)
            bits = max(1, int(setting.value - 1).bit_length())
            parts.append(Part(name, m.shape, book.tobytes() + zstd_indices(indices, bits)))
        return pack(parts)

    def decode(self, blob: bytes) -> Matrices:
        (_, (levels,), _), *parts = unpack(blob)
        bits, out = max(1, int(levels - 1).bit_length()), {}
        for p in parts:
            book = np.frombuffer(p.blob[: 4 * levels], np.float32)
            indices = unzstd_indices(p.blob[4 * levels :], bits, int(np.prod(p.shape)))
            out[p.name] = book[indices].reshape(p.shape)
        return out
