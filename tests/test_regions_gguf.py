"""GGUF: agreement with the gguf package, the table of blocks, and files that lie."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from attacks_regions import assert_sound, gguf_file, gguf_text, layout_of, seeds
from netweight.weights.regions import gguf as finder
from netweight.weights.regions.blocks import BLOCK_TYPES


def test_fields_tile_their_block() -> None:
    for block in BLOCK_TYPES.values():
        end = 0
        for field in block.fields:
            assert field.offset == end
            assert field.nbytes % {"F16": 2, "F32": 4, "U8": 1, "U4": 1}[field.dtype] == 0
            end += field.nbytes
        assert end == block.nbytes
        assert len({f.name for f in block.fields}) == len(block.fields)


def test_block_sizes_are_those_of_the_gguf_package() -> None:
    gguf = pytest.importorskip("gguf")
    for block in BLOCK_TYPES.values():
        kind = getattr(gguf.GGMLQuantizationType, block.name, None)
        if kind is not None:  # an older package knows fewer
            assert int(kind) == block.number
            assert gguf.GGML_QUANT_SIZES[kind] == (block.weights, block.nbytes)
    assert "Q4_K" in gguf.GGMLQuantizationType.__members__


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_scales_lie_where_the_table_says(name: str) -> None:
    gguf = pytest.importorskip("gguf")
    weights = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    blocks = gguf.quants.quantize(weights, gguf.GGMLQuantizationType[name]).reshape(-1, BLOCK_TYPES[name].nbytes)
    field = BLOCK_TYPES[name].fields[0]
    scales = blocks[:, field.offset : field.offset + 2].copy().view(np.float16)[:, 0].astype(np.float32)
    doubled = gguf.quants.quantize(2 * weights, gguf.GGMLQuantizationType[name]).reshape(blocks.shape)
    rest = [k for f in BLOCK_TYPES[name].fields if f.dtype != "F16" for k in range(f.offset, f.offset + f.nbytes)]
    np.testing.assert_allclose(doubled[:, :2].copy().view(np.float16)[:, 0], 2 * scales, rtol=1e-3)
    np.testing.assert_array_equal(doubled[:, rest], blocks[:, rest])


def written(path: Path, alignment: int | None = None) -> tuple[bytes, dict[str, tuple[str, np.ndarray]]]:
    gguf = pytest.importorskip("gguf")
    rng = np.random.default_rng(2)
    writer = gguf.GGUFWriter(path, "test")
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_array("tokens", ["a", "", "längere Wörter", "x" * 9000])
    writer.add_array("scores", [1.5, 2.5])
    writer.add_bool("flag", True)
    tensors = {}
    for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"):
        array = gguf.quants.quantize(rng.normal(size=(3, 2, 64)).astype(np.float32), gguf.GGMLQuantizationType[name])
        writer.add_tensor(f"quantised.{name}", array, raw_dtype=gguf.GGMLQuantizationType[name])
        tensors[f"quantised.{name}"] = name, array
    for ours, code in {"F32": "f4", "F16": "f2", "I8": "i1", "I64": "i8", "F64": "f8"}.items():
        array = rng.integers(-9, 9, (5, 7)).astype(code)
        writer.add_tensor(f"plain.{ours}", array)
        tensors[f"plain.{ours}"] = ours, array
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes(), tensors


@pytest.mark.parametrize("alignment", [None, 64])
def test_agrees_with_the_package(tmp_path: Path, alignment: int | None) -> None:
    data, tensors = written(tmp_path / "t.gguf", alignment)
    layout = layout_of(data)
    assert_sound(layout, len(data))
    assert {r.name for r in layout.regions} == tensors.keys()
    for region in layout.regions:
        dtype, array = tensors[region.name]
        assert region.dtype == dtype
        assert data[region.offset : region.offset + region.nbytes] == array.tobytes()
        assert region.shape == ((3, 2, 64) if dtype in BLOCK_TYPES else (5, 7))


def test_the_reader_of_the_package_sees_the_same_offsets(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    data, _ = written(tmp_path / "t.gguf")
    regions = {r.name: r for r in layout_of(data).regions}
    for tensor in gguf.GGUFReader(tmp_path / "t.gguf").tensors:
        region = regions[tensor.name]
        assert (region.offset, region.nbytes) == (tensor.data_offset, tensor.n_bytes)
        assert region.shape == tuple(int(n) for n in tensor.shape[::-1])


def test_unknown_types_are_gaps_and_empty_tensors_are_listed() -> None:
    data = gguf_file([("new", (32,), 99, 0), ("w", (2,), 0, 32), ("none", (0,), 1, 0)], bytes(40), [])
    layout = layout_of(data)
    assert [r.name for r in layout.regions] == ["w"]
    assert layout.empty == (("none", "F16", (0,)),)


def pair(key: str, kind: int, value: bytes) -> bytes:
    return gguf_text(key) + struct.pack("<I", kind) + value


NESTED = b"".join(struct.pack("<IQ", 9, 1) for _ in range(50)) + struct.pack("<IQ", 0, 0)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (gguf_file([("w", (3,), 0, 0)], bytes(8), []), "12 bytes"),
        (gguf_file([("w", (33,), 3, 0)], bytes(99), []), "blocks"),
        (gguf_file([("w", (1 << 40, 1 << 40), 0, 0)], bytes(8), []), "shape"),
        (gguf_file([("w", (2,), 0, 1 << 63)], bytes(8), []), "bytes"),
        (gguf_file([("w", (1,) * 9, 0, 0)], bytes(8), []), "axes"),
        (gguf_file([("w", (2,), 0, 0), ("v", (2,), 0, 4)], bytes(12), []), "overlaps"),
        (gguf_file([("w", (2,), 0, 0), ("w", (2,), 0, 8)], bytes(16), []), "called"),
        (gguf_file([], b"", [pair("general.alignment", 4, bytes(4))]), "alignment"),
        (gguf_file([], b"", [pair("general.alignment", 8, gguf_text("32"))]), "alignment"),
        (gguf_file([], b"", [pair("a", 77, bytes(4))]), "unknown type"),
        (gguf_file([], b"", [pair("a", 9, NESTED)]), "deep"),
        (gguf_file([], b"", [pair("a", 9, struct.pack("<IQ", 8, 1 << 60))]), "items"),
        (gguf_file([], b"", [pair("a", 9, struct.pack("<IQ", 10, 1 << 61))]), "bytes"),
        (gguf_file([], b"", [pair("a", 8, struct.pack("<Q", (1 << 64) - 1))]), "bytes"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "announced"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 63), "announced"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (b"GGUF", "bytes"),
    ],
)
def test_lying_files_are_one_gap_with_a_problem(data: bytes, word: str) -> None:
    layout = layout_of(data)
    assert (layout.format, layout.regions) == ("gguf", ())
    assert word in layout.problem


def test_metadata_bombs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "MAX_STRINGS", 100)
    many = pair("a", 9, struct.pack("<IQ", 8, 101) + bytes(808))
    assert "items" in layout_of(gguf_file([], b"", [many])).problem


def test_the_hand_written_seed_is_what_it_says() -> None:
    layout = layout_of(seeds()["gguf"])
    assert [(r.name, r.dtype, r.shape) for r in layout.regions] == [("q", "Q4_1", (1, 64)), ("f", "F32", (3, 2))]
