"""Every coder of the benchmark behind one face: a file in, a file out. Other people's tools are imported here alone.

Each rival gets its best reasonable setting, and is told the dtype of every tensor if it can use it:

- whole-file coders (zstd, xz, brotli) and tools that read checkpoints themselves (lmzip, z4ai on safetensors) get
  the file;
- coders of arrays (zipnn, openzl, pcodec, blosc2, z4ai elsewhere) get the tensors; what no tensor covers, and what they
  refuse or make larger, is stored raw. Adjacent tensors of one dtype are joined where that makes a coder faster.

Where the tensors lie is found beforehand and isn't timed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

Buffer = bytes | bytearray | memoryview
MIN_SEGMENT = 64
"""Shorter segments are stored by coders of arrays: no coder's header pays there."""


@dataclass(frozen=True)
class Segment:
    """`nbytes` bytes at `offset`, numbers of one dtype (safetensors' names; "U8" for bytes that aren't numbers)."""

    dtype: str
    offset: int
    nbytes: int
    shape: tuple[int, ...] = ()


class Part(NamedTuple):
    """What became of a segment: its code, or None if the segment is kept as it is."""

    segment: Segment
    blob: Buffer | None

    @property
    def stored(self) -> int:
        return self.segment.nbytes if self.blob is None else len(self.blob)


class Peer(Protocol):
    """One coder, from file to file and (if `memory`) from buffer to buffers.

    `many` tells whether it can use several threads; `warm` whether its first call is slower than later ones.
    `encode_all` may alter `data`; `decode_all` gives back the parts that were coded, in their order.
    """

    name: str
    package: str
    many: bool
    warm: bool
    memory: bool

    def compress(self, source: Path, target: Path, segments: Sequence[Segment], threads: int) -> None: ...

    def decompress(self, source: Path, target: Path, threads: int) -> None: ...

    def encode_all(self, data: bytearray, segments: Sequence[Segment], threads: int) -> list[Part]: ...

    def decode_all(self, parts: Sequence[Part], threads: int) -> list[Buffer]: ...


def version(package: str) -> str:
    """The installed version of a package; "standard library" for none."""
    return importlib.metadata.version(package) if package else "standard library"


def cover(segments: Sequence[Segment], size: int, *, join: bool) -> list[Segment]:
    """Segments and the gaps between them (dtype "") in file order; `join` makes neighbours of one dtype one segment."""
    plan: list[Segment] = []
    end = 0
    for s in [*segments, Segment("", size, 0)]:
        if s.offset > end:
            plan.append(Segment("", end, s.offset - end))
        end = max(end, s.offset + s.nbytes)
        last = plan[-1] if plan else None
        if join and last and last.dtype == s.dtype and last.offset + last.nbytes == s.offset:
            plan[-1] = Segment(s.dtype, last.offset, last.nbytes + s.nbytes)
        elif s.nbytes:
            plan.append(s)
    return plan


class Netweight:
    """This package: files through the functions that users call, buffers through the codec of the registry."""

    package = "netweight"
    many = warm = memory = True

    def __init__(self, effort: str) -> None:
        self.name = f"netweight {effort}"
        self._effort = effort

    def compress(self, source: Path, target: Path, _segments: Sequence[Segment], threads: int) -> None:
        import netweight

        netweight.compress_file(source, target, effort=self._effort, threads=threads, force=True)

    def decompress(self, source: Path, target: Path, threads: int) -> None:
        import netweight

        netweight.decompress_file(source, target, threads=threads, force=True)

    def encode_all(self, data: bytearray, segments: Sequence[Segment], _threads: int) -> list[Part]:
        from netweight.registry import create
        from netweight.spec import Spec

        codec, flat, parts = create(f"netweight.{self._effort}"), np.frombuffer(data, np.uint8), []
        for s in cover(segments, len(data), join=False):
            spec = Spec(s.dtype, (s.shape,)) if s.shape else Spec.raw(s.nbytes)
            parts.append(Part(s, codec.encode(flat[s.offset : s.offset + s.nbytes], spec)))
        return parts

    def decode_all(self, parts: Sequence[Part], _threads: int) -> list[Buffer]:
        from netweight.registry import create
        from netweight.spec import Spec

        codec = create(f"netweight.{self._effort}")
        specs = [
            Spec(p.segment.dtype, (p.segment.shape,)) if p.segment.shape else Spec.raw(p.segment.nbytes) for p in parts
        ]
        return [
            codec.decode(memoryview(p.blob), spec).data
            for p, spec in zip(parts, specs, strict=True)
            if p.blob is not None
        ]


class WholeFile:
    """A coder of plain bytes."""

    warm = False
    memory = True

    def __init__(
        self,
        name: str,
        package: str,
        encode: Callable[[Buffer, int], bytes],
        decode: Callable[[Buffer], bytes],
        *,
        many: bool = False,
    ) -> None:
        self.name, self.package, self.many = name, package, many
        self._encode, self._decode = encode, decode

    def compress(self, source: Path, target: Path, _segments: Sequence[Segment], threads: int) -> None:
        target.write_bytes(self._encode(source.read_bytes(), threads))

    def decompress(self, source: Path, target: Path, _threads: int) -> None:
        target.write_bytes(self._decode(source.read_bytes()))

    def encode_all(self, data: bytearray, _segments: Sequence[Segment], threads: int) -> list[Part]:
        return [Part(Segment("", 0, len(data)), self._encode(data, threads))]

    def decode_all(self, parts: Sequence[Part], _threads: int) -> list[Buffer]:
        return [self._decode(p.blob) for p in parts if p.blob is not None]


def zstd(level: int) -> WholeFile:
    import zstandard

    def encode(data: Buffer, threads: int) -> bytes:
        return zstandard.ZstdCompressor(level=level, threads=threads if threads > 1 else 0).compress(data)

    return WholeFile(f"zstd {level}", "zstandard", encode, zstandard.ZstdDecompressor().decompress, many=True)


def xz(level: int) -> WholeFile:
    import lzma

    return WholeFile(f"xz {level}", "", lambda data, _: lzma.compress(data, preset=level), lzma.decompress)


def brotli(quality: int) -> WholeFile:
    import brotli as module

    def encode(data: Buffer, _: int) -> bytes:
        blob: bytes = module.compress(data, quality=quality, lgwin=24)
        return blob

    return WholeFile(f"brotli {quality}", "brotli", encode, module.decompress)


class Lmzip:
    """lmzip reads safetensors and GGUF itself, and works on files alone."""

    name, package = "lmzip", "lmzip"
    many = warm = True
    memory = False

    def compress(self, source: Path, target: Path, _segments: Sequence[Segment], threads: int) -> None:
        importlib.import_module("lmz").compress(str(source), str(target), workers=threads)

    def decompress(self, source: Path, target: Path, threads: int) -> None:
        importlib.import_module("lmz").decompress(str(source), str(target), workers=threads, overwrite=True)

    def encode_all(self, data: bytearray, segments: Sequence[Segment], threads: int) -> list[Part]:
        raise NotImplementedError

    def decode_all(self, parts: Sequence[Part], threads: int) -> list[Buffer]:
        raise NotImplementedError


class ArrayCoder:
    """A coder of arrays: subclasses code one segment; this keeps the segments in one file.

    part := dtype number (u8), 1 if coded else 0 (u8), decoded bytes (u64), stored bytes (u64) | bytes
    """

    many = join = False
    warm = memory = True
    dtypes: tuple[str, ...] = ()
    """The dtypes that the coder is given, in the order of their numbers; all else is stored."""

    name = package = ""
    _HEAD = struct.Struct("<BBQQ")

    def encode(self, data: memoryview, dtype: str, threads: int) -> Buffer:
        raise NotImplementedError

    def decode(self, blob: Buffer, dtype: str, threads: int) -> Buffer:
        raise NotImplementedError

    def encode_all(self, data: bytearray, segments: Sequence[Segment], threads: int) -> list[Part]:
        view, parts = memoryview(data), []
        for s in cover(segments, len(data), join=self.join):
            blob = None
            if s.dtype in self.dtypes and s.nbytes >= MIN_SEGMENT:
                blob = self.encode(view[s.offset : s.offset + s.nbytes], s.dtype, threads)
            parts.append(Part(s, blob if blob is not None and len(blob) < s.nbytes else None))
        return parts

    def decode_all(self, parts: Sequence[Part], threads: int) -> list[Buffer]:
        return [self.decode(p.blob, p.segment.dtype, threads) for p in parts if p.blob is not None]

    def compress(self, source: Path, target: Path, segments: Sequence[Segment], threads: int) -> None:
        parts = self.encode_all(bytearray(source.read_bytes()), segments, threads)
        with source.open("rb") as original, target.open("wb") as sink:
            for s, blob in parts:
                number = self.dtypes.index(s.dtype) if blob is not None else 0
                sink.write(self._HEAD.pack(number, blob is not None, s.nbytes, s.nbytes if blob is None else len(blob)))
                if blob is None:
                    original.seek(s.offset)
                sink.write(original.read(s.nbytes) if blob is None else blob)

    def decompress(self, source: Path, target: Path, threads: int) -> None:
        data, at = memoryview(source.read_bytes()), 0
        with target.open("wb") as sink:
            while at < len(data):
                number, coded, _, stored = self._HEAD.unpack_from(data, at)
                blob = data[at + self._HEAD.size : at + self._HEAD.size + stored]
                at += self._HEAD.size + stored
                sink.write(self.decode(blob, self.dtypes[number], threads) if coded else blob)


class Zipnn(ArrayCoder):
    """Huffman over byte planes. Bytes that aren't numbers go through its FP8 path, which is Huffman over bytes."""

    name, package = "zipnn", "zipnn"
    many = join = True
    dtypes = ("F32", "BF16", "F16", "F8_E4M3", "F8_E5M2", "U8")
    _theirs = ("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fn")

    def _coder(self, dtype: str, threads: int) -> Any:
        theirs = self._theirs[self.dtypes.index(dtype)]
        return importlib.import_module("zipnn").ZipNN(input_format="byte", bytearray_dtype=theirs, threads=threads)

    def encode(self, data: memoryview, dtype: str, threads: int) -> Buffer:
        blob: Buffer = self._coder(dtype, threads).compress(data)
        return blob

    def decode(self, blob: Buffer, dtype: str, threads: int) -> Buffer:
        out: Buffer = self._coder(dtype, threads).decompress(bytearray(blob))
        return out


class Openzl(ArrayCoder):
    """A graph for each dtype, the smallest of those tried: field split and FSE, or byte planes and zstd for F16."""

    name, package = "openzl", "openzl"
    dtypes = ("F32", "BF16", "F16", "F8_E4M3", "F8_E5M2", "U8", "I64", "I32")
    _codes = ("u4", "u2", "u2", "", "", "", "u8", "u4")

    def __init__(self) -> None:
        self._ready: dict[str, Any] = {}

    def _context(self, dtype: str) -> Any:
        if dtype not in self._ready:
            zl = importlib.import_module("openzl.ext")
            compressor = zl.Compressor()
            compressor.select_starting_graph(self._graph(zl, compressor, dtype))
            context = zl.CCtx()
            context.ref_compressor(compressor)
            context.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
            context.set_parameter(zl.CParam.StickyParameters, 1)
            self._ready[dtype] = (compressor, context)
        return self._ready[dtype][1]

    @staticmethod
    def _graph(zl: Any, c: Any, dtype: str) -> Any:
        nodes, graphs = zl.nodes, zl.graphs
        if dtype == "BF16":
            return nodes.BFloat16Deconstruct()(c, sign_frac=graphs.Store()(c), exponent=graphs.Fse()(c))
        if dtype == "F32":
            planes = nodes.TransposeSplit()(c, graphs.Fse()(c))
            return nodes.Float32Deconstruct()(c, sign_frac=planes, exponent=graphs.Fse()(c))
        if dtype == "F16":
            return nodes.ConvertNumToStructLE()(c, nodes.TransposeSplit()(c, graphs.Zstd()(c)))
        if dtype.startswith("F8"):
            return graphs.Fse()(c)
        return graphs.FieldLz()(c) if dtype in ("I64", "I32") else graphs.Zstd()(c)

    def encode(self, data: memoryview, dtype: str, _threads: int) -> Buffer:
        zl = importlib.import_module("openzl.ext")
        code = self._codes[self.dtypes.index(dtype)]
        array = np.frombuffer(data, f"<{code}" if code else np.uint8)
        kind = zl.Type.Numeric if code else zl.Type.Serial
        blob: bytes = self._context(dtype).compress([zl.Input(kind, array)])
        return blob

    def decode(self, blob: Buffer, _dtype: str, _threads: int) -> Buffer:
        zl = importlib.import_module("openzl.ext")
        out: bytes = zl.DCtx().decompress(bytes(blob))[0].content.as_bytes()
        return out


class Pcodec(ArrayCoder):
    package = "pcodec"
    dtypes = ("F32", "BF16", "F16", "F8_E4M3", "F8_E5M2", "U8", "F64", "I64", "I32", "I16", "I8")
    _codes = ("f4", "u2", "f2", "u1", "u1", "u1", "f8", "i8", "i4", "i2", "i1")

    def __init__(self, level: int) -> None:
        self.name = f"pcodec {level}"
        self._level = level

    def encode(self, data: memoryview, dtype: str, _threads: int) -> Buffer:
        pcodec = importlib.import_module("pcodec")
        config = pcodec.ChunkConfig(compression_level=self._level, enable_8_bit=True)
        array = np.frombuffer(data, f"<{self._codes[self.dtypes.index(dtype)]}")
        blob: bytes = importlib.import_module("pcodec.standalone").simple_compress(array, config)
        return blob

    def decode(self, blob: Buffer, _dtype: str, _threads: int) -> Buffer:
        array = importlib.import_module("pcodec.standalone").simple_decompress(bytes(blob))
        return memoryview(array).cast("B") if array.dtype != np.float16 else memoryview(array.view(np.uint8))


class Blosc2(ArrayCoder):
    """Byte shuffle and zstd."""

    package = "blosc2"
    many = True
    dtypes = ("F32", "BF16", "F16", "F8_E4M3", "F8_E5M2", "U8", "F64", "I64", "I32")
    _widths = (4, 2, 2, 1, 1, 1, 8, 8, 4)

    def __init__(self, level: int) -> None:
        self.name = f"blosc2 {level}"
        self._level = level

    def encode(self, data: memoryview, dtype: str, threads: int) -> Buffer:
        blosc2 = importlib.import_module("blosc2")
        blob: bytes = blosc2.compress2(
            data,
            typesize=self._widths[self.dtypes.index(dtype)],
            codec=blosc2.Codec.ZSTD,
            clevel=self._level,
            filters=[blosc2.Filter.SHUFFLE],
            nthreads=threads,
        )
        return blob

    def decode(self, blob: Buffer, _dtype: str, threads: int) -> Buffer:
        out: bytes = importlib.import_module("blosc2").decompress2(bytes(blob), nthreads=threads)
        return out


class Z4ai(ArrayCoder):
    """z4ai reads safetensors itself (default tier); its `max` tier and other formats go by tensors."""

    package = "z4ai"
    many = True
    dtypes = ("F32", "BF16", "F16", "F8_E4M3", "F8_E5M2", "U8", "F64", "I64", "I32")
    _theirs = ("fp32", "bf16", "fp16", "fp8_e4m3", "fp8_e5m2", "uint8", "fp64", "int64", "int32")
    _OWN = b"\xff"

    def __init__(self, effort: str | None = None) -> None:
        self.name = f"z4ai {effort}" if effort else "z4ai"
        self._effort = effort

    def encode(self, data: memoryview, dtype: str, threads: int) -> Buffer:
        theirs = self._theirs[self.dtypes.index(dtype)]
        z4ai = importlib.import_module("z4ai")
        blob: bytes = z4ai.compress(bytes(data), dtype=theirs, threads=threads, effort=self._effort)
        return blob

    def decode(self, blob: Buffer, _dtype: str, _threads: int) -> Buffer:
        out: Buffer = importlib.import_module("z4ai").decompress(bytes(blob))
        return out

    def compress(self, source: Path, target: Path, segments: Sequence[Segment], threads: int) -> None:
        if self._effort or source.suffix != ".safetensors":
            super().compress(source, target, segments, threads)
            return
        theirs = importlib.import_module("z4ai.safetensors")
        target.write_bytes(self._OWN + theirs.compress_bytes(source.read_bytes(), threads=threads, workers=threads))

    def decompress(self, source: Path, target: Path, threads: int) -> None:
        with source.open("rb") as archive:
            own = archive.read(1) == self._OWN
        if not own:
            super().decompress(source, target, threads)
            return
        theirs = importlib.import_module("z4ai.safetensors")
        target.write_bytes(theirs.decompress_bytes(source.read_bytes()[1:], workers=threads))


PEERS: dict[str, Callable[[], Peer]] = {
    "fast": lambda: Netweight("fast"),
    "balanced": lambda: Netweight("balanced"),
    "max": lambda: Netweight("max"),
    "zipnn": Zipnn,
    "openzl": Openzl,
    "pcodec": lambda: Pcodec(8),
    "pcodec-12": lambda: Pcodec(12),
    "blosc2": lambda: Blosc2(5),
    "blosc2-9": lambda: Blosc2(9),
    "lmzip": Lmzip,
    "z4ai": Z4ai,
    "z4ai-max": lambda: Z4ai("max"),
    "zstd": lambda: zstd(3),
    "zstd-19": lambda: zstd(19),
    "xz": lambda: xz(6),
    "brotli": lambda: brotli(9),
    "brotli-11": lambda: brotli(11),
}
DEFAULT = [name for name in PEERS if name not in ("blosc2-9", "z4ai-max", "brotli-11")]  # those take an hour
