"""Small files of every format written by hand, hostile changes to them, and what must hold of any layout."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterator, Sequence
from math import prod
from random import Random

import numpy as np

from netweight.source import BytesSource
from netweight.spec import DTYPES, Spec
from netweight.tensors import to_array
from netweight.weights.regions import Layout, find
from netweight.weights.regions.blocks import BLOCK_TYPES
from netweight.weights.regions.npy import contiguous_strides


def layout_of(data: bytes) -> Layout:
    return find(BytesSource(data))


def assert_sound(layout: Layout, size: int) -> None:
    """Every promise that `Layout`, `Region` and `View` make for a file of `size` bytes."""
    assert isinstance(layout, Layout)
    assert not (layout.problem and (layout.regions or layout.views or layout.empty))
    end = 0
    for region in layout.regions:
        assert region.nbytes > 0
        assert end <= region.offset <= region.offset + region.nbytes <= size
        end = region.offset + region.nbytes
        if region.dtype in DTYPES:
            assert Spec(region.dtype, (region.shape,)).nbytes == region.nbytes
        else:
            block = BLOCK_TYPES[region.dtype]
            assert region.shape[-1] % block.weights == 0
            assert prod(region.shape) // block.weights * block.nbytes == region.nbytes
    for names in ([r.name for r in layout.regions], [v.name for v in layout.views]):
        assert len(set(names)) == len(names)
    for view in layout.views:
        region = layout.regions[view.region]
        last = view.start + sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
        assert 0 <= view.start <= last < prod(region.shape)


def arrays_of(data: bytes, layout: Layout) -> dict[str, np.ndarray]:
    """Every tensor of a layout by name, read out of the file's bytes by what the layout says alone."""
    flat = np.frombuffer(data, np.uint8)
    regions = [
        to_array(flat[r.offset : r.offset + r.nbytes].copy(), Spec(r.dtype, (r.shape,))).reshape(-1)
        for r in layout.regions
    ]
    found = {n: np.zeros(shape, to_array(flat[:0], Spec(dtype, ((0,),))).dtype) for n, dtype, shape in layout.empty}
    if not layout.views:
        return found | {r.name: a.reshape(r.shape) for r, a in zip(layout.regions, regions, strict=True)}
    for view in layout.views:
        base = regions[view.region][view.start :]
        strides = [s * base.itemsize for s in view.strides]
        found[view.name] = np.lib.stride_tricks.as_strided(base, view.shape, strides)
    return found


def safetensors_file(header: dict[str, object] | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def text(value: str) -> bytes:
    """A BINUNICODE."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    """A LONG1."""
    raw = value.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + raw


def storage(key: str, count: int, kind: str = "FloatStorage") -> bytes:
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + integer(count) + b"tQ"


def tensor(key: str, count: int, shape: Sequence[int], kind: str = "FloatStorage", start: int = 0) -> bytes:
    """The opcodes of a contiguous tensor on a storage of `count` elements."""
    sizes = b"(" + b"".join(map(integer, shape)) + b"t"
    strides = b"(" + b"".join(map(integer, contiguous_strides(tuple(shape)))) + b"t"
    hooks = b"ccollections\nOrderedDict\n)R"
    call = storage(key, count, kind) + integer(start) + sizes + strides + b"\x89" + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + call + b"tR"


def pickled(entries: dict[str, bytes]) -> bytes:
    """A pickled dict of what the opcodes in `entries` leave on the stack."""
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u."


def torch_zip(pickle: bytes, records: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in {"data.pkl": pickle, **{f"data/{k}": v for k, v in records.items()}}.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content, method)
    return out.getvalue()


EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, (1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1)
LEGACY_MAGIC = b"\x80\x02\x8a\x0a" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little") + b"."
LEGACY_START = LEGACY_MAGIC + b"\x80\x02M\xe9\x03." + b"\x80\x02}."


def torch_legacy(pickle: bytes, records: dict[str, np.ndarray]) -> bytes:
    keys = b"\x80\x02](" + b"".join(map(text, records)) + b"e."
    stored = b"".join(struct.pack("<q", a.size) + a.tobytes() for a in records.values())
    return LEGACY_START + pickle + keys + stored


def gguf_text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf_file(tensors: Sequence[tuple[str, Sequence[int], int, int]], data: bytes, pairs: Sequence[bytes]) -> bytes:
    """`tensors` as (name, sizes innermost first, type, offset); `pairs` ready-made key-value pairs."""
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs)
    for name, sizes, kind, offset in tensors:
        out += gguf_text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)
    return out + bytes(-len(out) % 32) + data


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def proto(*fields: tuple[int, int | bytes | str]) -> bytes:
    """A protobuf message: integers as varints, all else as bytes."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            raw = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return out


def onnx_file(*graph: tuple[int, int | bytes | str]) -> bytes:
    return proto((1, 8), (2, "hand"), (7, proto(*graph)), (8, proto((2, 17))))


def seeds() -> dict[str, bytes]:
    """One small valid file of each format, with its regions."""
    numbers = np.arange(6, dtype=np.float32)
    two = {
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [2], "data_offsets": [24, 28]},
    }
    objects = pickled({"w": tensor("0", 6, (2, 3)), "b": tensor("1", 2, (2,), "HalfStorage"), "e": b"K\x07"})
    half = np.ones(2, np.float16)
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, np.asfortranarray(numbers.reshape(2, 3)))
    np.savez(npz, x=numbers, y=half)
    pairs = [
        gguf_text("general.alignment") + struct.pack("<II", 4, 32),
        gguf_text("words") + struct.pack("<IIQ", 9, 8, 2) + gguf_text("ab") + gguf_text(""),
        gguf_text("nested") + struct.pack("<IIQIQ", 9, 9, 1, 4, 1) + struct.pack("<I", 7),
    ]
    infos = [("q", (64, 1), 3, 0), ("f", (2, 3), 0, 64)]
    weight = proto((1, 2), (1, 3), (2, 1), (8, "w"), (9, numbers.tobytes()))
    constant = proto((2, "c"), (4, "Constant"), (5, proto((1, "value"), (5, proto((1, 2), (2, 1), (4, bytes(8)))))))
    return {
        "safetensors": safetensors_file(two, numbers.tobytes() + b"abcd"),
        "zip": torch_zip(objects, {"0": numbers.tobytes(), "1": half.tobytes()}),
        "legacy": torch_legacy(objects, {"0": numbers, "1": half}),
        "gguf": gguf_file(infos, bytes(range(64)) + numbers.tobytes(), pairs),
        "onnx": onnx_file((1, constant), (5, weight)),
        "npy": npy.getvalue(),
        "npz": npz.getvalue(),
    }


def truncations(data: bytes) -> Iterator[bytes]:
    return (data[:k] for k in range(len(data)))


def mutate(data: bytes, random: Random) -> bytes:
    """One to four changes of the kinds that break parsers: flips, extreme lengths, cuts, repeats, swaps."""
    out = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(out) + 1)
        kind = random.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            value = random.choice(EXTREMES)
            raw = value.to_bytes(8, "little")[: random.choice((1, 2, 4, 8))]
            out[at : at + len(raw)] = raw
        elif kind == 2:
            del out[at : at + random.randint(1, 16)]
        elif kind == 3:
            length = random.randint(1, 32)
            out[at:at] = out[at : at + length] * random.randint(1, 3)
        elif kind == 4:
            out[at : at + 1] = random.randbytes(1)
        elif len(out) > at:
            other = random.randrange(len(out))
            out[at], out[other] = out[other], out[at]
    return bytes(out)
