"""npy, npz and the zip directory: agreement with numpy, and archives that lie."""

from __future__ import annotations

import io
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from attacks_regions import arrays_of, assert_sound, layout_of, torch_zip
from netweight.weights.regions import zips


def npy(array: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


def npz(deflate: bool = False, **arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if deflate else np.savez)(out, **arrays)
    return out.getvalue()


def header(text: str, data: bytes = b"", version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode() + data


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("code", ["f8", "f4", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16"])
def test_npy_agrees_with_numpy(code: str, order: str) -> None:
    array = np.array(np.random.default_rng(1).integers(0, 2, (2, 3, 4)), dtype=code, order=order)
    data = npy(array)
    layout = layout_of(data)
    assert_sound(layout, len(data))
    found = arrays_of(data, layout)["array"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, np.load(io.BytesIO(data)))
    assert layout.regions[0].shape == (array.shape if order == "C" else array.shape[::-1])
    assert bool(layout.views) == (order == "F")


def test_npy_of_odd_shapes() -> None:
    for shape in ((), (5,), (1, 1), (3, 0)):
        data = npy(np.ones(shape))
        assert arrays_of(data, layout_of(data))["array"].shape == shape
    square = np.asfortranarray(np.arange(9.0).reshape(3, 3))
    np.testing.assert_array_equal(arrays_of(npy(square), layout_of(npy(square)))["array"], square)


def test_npy_bfloat16_and_what_stays_a_gap() -> None:
    data = npy(np.ones(3, ml_dtypes.bfloat16))
    assert arrays_of(data, layout_of(data))["array"].dtype == ml_dtypes.bfloat16
    objects = npy(np.array([{}, None]), allow_pickle=True)
    structured = npy(np.zeros(2, [("a", "f4"), ("b", "i2")]))
    for gap in (npy(np.ones(3, ">f4")), objects, structured, npy(np.array(["text"]))):
        layout = layout_of(gap)
        assert (layout.format, layout.regions, layout.problem) == ("npy", (), "")


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"


@pytest.mark.parametrize("version", [1, 2, 3])
def test_npy_versions(version: int) -> None:
    assert layout_of(header(GOOD, bytes(8), version)).regions[0].nbytes == 8


@pytest.mark.parametrize(
    "data",
    [
        header(GOOD, bytes(7)),
        header(GOOD, bytes(8), version=4),
        header(GOOD.replace("2", "9" * 20), bytes(8)),
        header(GOOD.replace("2", "4611686018427387904, 4"), bytes(8)),
        header(GOOD.replace("2", "-2"), bytes(8)),
        header(GOOD.replace("2,", "1," * 65), bytes(8)),
        header(GOOD.replace("2", "__import__('os').system('true')"), bytes(8)),
        header("{'descr': '<f4', 'descr': '<f4', 'shape': (2,), }", bytes(8)),
        header("[" * 9000),
        header(" " * 9000),
        header(""),
        header(GOOD)[:40],
        b"\x93NUMPY\x01\x00\xff\xff",
    ],
)
def test_lying_npy_is_one_gap_with_a_problem(data: bytes) -> None:
    layout = layout_of(data)
    assert (layout.format, layout.regions) == ("npy", ())
    assert layout.problem


def test_npz_agrees_with_numpy() -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    arrays = {"w": matrix, "f": np.asfortranarray(matrix), "e": np.zeros((0, 2))}
    data = npz(**arrays)
    layout = layout_of(data)
    assert_sound(layout, len(data))
    assert layout.format == "npz"
    found = arrays_of(data, layout)
    assert found.keys() == arrays.keys()
    for name, array in np.load(io.BytesIO(data)).items():
        np.testing.assert_array_equal(found[name], array)
    assert layout_of(npz(deflate=True, **arrays)).regions == ()


def test_zip64_archives() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("w.npy", "w", force_zip64=True) as member:
        member.write(npy(np.arange(4.0)))
    data = out.getvalue()
    np.testing.assert_array_equal(arrays_of(data, layout_of(data))["w"], np.arange(4.0))
    wide = to_zip64(npz(w=np.arange(4.0)))
    np.testing.assert_array_equal(np.load(io.BytesIO(wide))["w"], np.arange(4.0))
    np.testing.assert_array_equal(arrays_of(wide, layout_of(wide))["w"], np.arange(4.0))


def to_zip64(data: bytes) -> bytes:
    """The same one-member archive with its directory's sizes and offsets in zip64 fields, as past 4 GiB."""
    end = data.rindex(b"PK\x05\x06")
    nbytes, offset = struct.unpack_from("<LL", data, end + 12)
    entry = bytearray(data[offset : offset + nbytes])
    packed, unpacked, name, extra = struct.unpack_from("<LLHH", entry, 20)
    field = struct.pack("<HHQQQ", 1, 24, unpacked, packed, 0)
    struct.pack_into("<LL", entry, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, len(field))
    struct.pack_into("<L", entry, 42, 0xFFFFFFFF)
    directory = bytes(entry[: 46 + name]) + field + bytes(entry[46 + name + extra :])
    at = offset + len(directory)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, len(directory), offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    last = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:offset] + directory + end64 + locator + last


def patched(data: bytes, at: int, code: str, value: int) -> bytes:
    out = bytearray(data)
    struct.pack_into(code, out, at, value)
    return bytes(out)


def test_archives_that_lie() -> None:
    data = npz(x=np.arange(4.0), y=np.arange(4.0))
    end, entry = data.rindex(b"PK\x05\x06"), data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", entry + 1)
    lies = {
        "announced": [patched(data, end + 10, "<H", 60_000), patched(data, end + 16, "<L", len(data))],
        "entry": [patched(data, end + 16, "<L", 3)],
        "local header": [patched(data, entry + 42, "<L", 7)],
        "bytes": [patched(data, entry + 20, "<L", 1 << 30), data[:-30]],
        "overlaps": [patched(data, second + 42, "<L", 0)],
        "long": [patched(data, entry + 24, "<L", 5)],
        "twice": [data.replace(b"y.npy", b"x.npy")],
        "npy header": [data.replace(b"\x93NUMPY", b"\x93MUMPY")],
        "no zip directory": [data[: end - 1], b"PK\x03\x04"],
    }
    for word, files in lies.items():
        for file in files:
            layout = layout_of(file)
            assert layout.regions == ()
            assert word in layout.problem or (word == "bytes" and layout.problem), (word, layout.problem)


def test_encrypted_members_are_gaps() -> None:
    data = npz(x=np.arange(4.0))
    layout = layout_of(patched(data, data.index(b"PK\x01\x02") + 8, "<H", 1))
    assert (layout.regions, layout.problem) == ((), "")


def test_members_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "MAX_MEMBERS", 1)
    assert "at most 1" in layout_of(npz(x=np.ones(1), y=np.ones(1))).problem


def test_other_zips_are_unknown() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert layout_of(out.getvalue()).format == "unknown"
    assert layout_of(torch_zip(b"", {})).format == "pytorch"
