"""All finders: every truncation and flipped bit of a small file, random changes, and what is read at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from attacks_regions import assert_sound, layout_of, mutate, seeds, truncations
from netweight.errors import InputChangedError
from netweight.source import BytesSource, FileSource
from netweight.weights.regions import Layout, Region, View, checked, find

SEEDS = seeds()
NAMES = pytest.mark.parametrize("name", list(SEEDS))


class CountingSource(BytesSource):
    """Counts the bytes that are read; raises when `fails`."""

    def __init__(self, data: bytes, fails: bool = False) -> None:
        super().__init__(data)
        self.count, self.fails = 0, fails

    def read(self, offset: int, length: int) -> NDArray[np.uint8]:
        if self.fails:
            raise InputChangedError("changed")
        self.count += length
        return super().read(offset, length)


@NAMES
def test_every_truncation(name: str) -> None:
    for data in truncations(SEEDS[name]):
        assert_sound(layout_of(data), len(data))


@NAMES
def test_every_flipped_bit(name: str) -> None:
    for at in range(len(SEEDS[name])):
        for bit in range(8):
            data = bytearray(SEEDS[name])
            data[at] ^= 1 << bit
            assert_sound(layout_of(bytes(data)), len(data))


@NAMES
def test_random_changes(name: str) -> None:
    random = Random(name)
    for _ in range(1500):
        data = mutate(SEEDS[name], random)
        assert_sound(layout_of(data), len(data))


@settings(deadline=None)
@given(st.binary(max_size=64), st.sampled_from([b"", *(data[:12] for data in SEEDS.values())]))
def test_any_bytes(tail: bytes, start: bytes) -> None:
    assert_sound(layout_of(start + tail), len(start + tail))


@NAMES
def test_seeds_are_found_whole(name: str) -> None:
    layout = layout_of(SEEDS[name])
    assert layout.problem == ""
    assert layout.regions


@pytest.mark.parametrize("data", [b"", b"\x00", b"hello", bytes(1000), bytes(range(256)) * 4])
def test_unknown_files(data: bytes) -> None:
    assert layout_of(data) == Layout("unknown")


def test_errors_of_the_source_are_not_swallowed() -> None:
    with pytest.raises(InputChangedError):
        find(CountingSource(SEEDS["safetensors"], fails=True))


@NAMES
def test_tensors_are_not_read(name: str, tmp_path: Path) -> None:
    source = CountingSource(SEEDS[name] + bytes(0))
    find(source)
    assert source.count < 12 * len(SEEDS[name])
    path = tmp_path / "file"
    path.write_bytes(SEEDS[name])
    with FileSource(path) as file:
        assert find(file) == layout_of(SEEDS[name])


def test_only_the_header_of_a_large_file_is_read() -> None:
    header = b'{"w":{"dtype":"U8","shape":[8000000],"data_offsets":[0,8000000]}}'
    source = CountingSource(len(header).to_bytes(8, "little") + header + bytes(8_000_000))
    assert find(source).regions[0].nbytes == 8_000_000
    assert source.count < 1000


W = Region("w", "F32", (2,), 0, 8)


@pytest.mark.parametrize(
    "layout",
    [
        Layout("t", (W, W)),
        Layout("t", (W, Region("w", "F32", (2,), 8, 8))),
        Layout("t", (Region("w", "F32", (2,), 90, 8),), ()),
        Layout("t", (Region("w", "F32", (2,), -1, 8),)),
        Layout("t", (Region("w", "F32", (0,), 0, 0),)),
        Layout("t", (Region("v", "F32", (2,), 8, 8), W)),
        Layout("t", (W,), empty=(("w", "F32", (0,)),)),
        Layout("t", (W,), (View("a", 0, (2,), 0, (1,)), View("a", 0, (2,), 0, (1,)))),
        Layout("t", (W,), (View("a", 1, (2,), 0, (1,)),)),
        Layout("t", (W,), (View("a", -1, (2,), 0, (1,)),)),
        Layout("t", (W,), (View("a", 0, (2,), 1, (1,)),)),
        Layout("t", (W,), (View("a", 0, (2,), 0, (2,)),)),
        Layout("t", (W,), (View("a", 0, (2,), 1, (-1,)),)),
        Layout("t", (W,), (View("a", 0, (2,), 0, ()),)),
        Layout("t", (W,), (View("a", 0, (0,), 0, (1,)),)),
    ],
)
def test_checked_refuses_broken_layouts(layout: Layout) -> None:
    result = checked(layout, 90)
    assert result.problem
    assert (result.regions, result.views, result.empty) == ((), (), ())


def test_checked_passes_sound_layouts() -> None:
    layout = Layout("t", (W, Region("v", "F32", (2,), 8, 8)), (View("a", 1, (2,), 0, (1,)), View("b", 1, (), 1, ())))
    assert checked(layout, 16) is layout
    assert checked(layout, 15).problem


def test_finding_imports_no_framework() -> None:
    heavy = "{'torch', 'onnx', 'gguf', 'safetensors', 'numba'}"
    code = f"import sys, netweight.weights.regions; print({heavy} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
