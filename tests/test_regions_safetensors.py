"""safetensors: agreement with the library, and headers that lie."""

from __future__ import annotations

import json
import time

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from attacks_regions import arrays_of, assert_sound, layout_of, safetensors_file

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def test_agrees_with_the_library_on_every_dtype_that_numpy_has() -> None:
    types = ["f8", "f4", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", ml_dtypes.bfloat16]
    rng = np.random.default_rng(1)
    state = {f"t{k}": rng.integers(0, 2, (3, 5)).astype(t) for k, t in enumerate(types)}
    state |= {"scalar": np.array(3.5, np.float32), "empty": np.zeros((0, 4), np.float16), "é.1": np.ones(7, np.int16)}
    data = safetensors.numpy.save(state, {"format": "np"})
    layout = layout_of(data)
    assert_sound(layout, len(data))
    found = arrays_of(data, layout)
    assert found.keys() == state.keys()
    for name, array in state.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
    assert layout.empty == (("empty", "F16", (0, 4)),)


@pytest.mark.parametrize(
    ("dtype", "shape", "nbytes"),
    [
        ("F8_E4M3", [5], 5), ("F8_E5M2", [5], 5), ("F8_E8M0", [5], 5), ("F8_E4M3FNUZ", [2, 2], 4),
        ("F8_E5M2FNUZ", [4], 4), ("F4", [2, 4], 4), ("F6_E2M3", [8], 6), ("F6_E3M2", [4], 3),
    ],
)  # fmt: skip
def test_narrow_dtypes(dtype: str, shape: list[int], nbytes: int) -> None:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, nbytes]}
    data = safetensors_file({"w": entry}, bytes(nbytes))
    (region,) = layout_of(data).regions
    assert (region.dtype, region.shape, region.nbytes) == (dtype, tuple(shape), nbytes)
    assert layout_of(data + b"x").regions == (region,)


def test_agrees_with_torch_on_float8() -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save

    state = {"a": torch.randn(4, 3).to(torch.float8_e4m3fn), "b": torch.randn(5).to(torch.float8_e5m2)}
    data = save(state)
    found = arrays_of(data, layout_of(data))
    for name, value in state.items():
        assert found[name].tobytes() == value.view(torch.uint8).numpy().tobytes()
        assert found[name].shape == tuple(value.shape)


def test_uncovered_bytes_and_unknown_dtypes_are_gaps() -> None:
    unknown = {"dtype": "F3_NEW", "shape": [8], "data_offsets": [16, 19]}
    late = {"dtype": "F32", "shape": [1], "data_offsets": [32, 36]}
    data = safetensors_file({"late": late, "w": ENTRY, "odd": unknown}, bytes(40))
    layout = layout_of(data)
    assert [r.name for r in layout.regions] == ["w", "late"]
    assert not layout.problem


@pytest.mark.parametrize(
    ("header", "word"),
    [
        (b'{"w": ', "JSON"),
        (b'{"w"' + b":[" * 5 + b"}", "JSON"),
        (b'{ "a":' + b"[" * 100_000, "JSON"),
        (b'{"\xff": 1}', "JSON"),
        (b'{"a":' + b"1" * 5000 + b"}", "JSON"),
        (json.dumps({"w": ENTRY})[:-1].encode() + b"," + json.dumps({"w": ENTRY})[1:].encode(), "twice"),
        (b'{"w":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', "twice"),
        ({"w": ENTRY | {"shape": [2.0]}}, "integers"),
        ({"w": ENTRY | {"shape": [True, 2]}}, "integers"),
        ({"w": ENTRY | {"shape": [-2]}}, "integers"),
        ({"w": ENTRY | {"shape": "2"}}, "integers"),
        ({"w": ENTRY | {"shape": [1 << 40, 1 << 40]}}, "shape"),
        ({"w": ENTRY | {"shape": [1] * 65}}, "shape"),
        ({"w": ENTRY | {"shape": [3]}}, "fill"),
        ({"w": ENTRY | {"data_offsets": [8, 0]}}, "outside"),
        ({"w": ENTRY | {"data_offsets": [0, 8, 8]}}, "outside"),
        ({"w": ENTRY | {"data_offsets": [4, 12]}}, "outside"),
        ({"w": ENTRY | {"data_offsets": [1 << 70, (1 << 70) + 8]}}, "outside"),
        ({"w": ENTRY | {"dtype": 3}}, "dtype"),
        ({"w": {"dtype": "F32"}}, "needed"),
        ({"w": []}, "needed"),
        ({"v": ENTRY, "w": ENTRY}, "overlaps"),
        ({"v": ENTRY, "w": ENTRY | {"shape": [1], "data_offsets": [4, 8]}}, "overlaps"),
    ],
)
def test_lying_headers_are_one_gap_with_a_problem(header: dict[str, object] | bytes, word: str) -> None:
    layout = layout_of(safetensors_file(header, bytes(8)))
    assert layout.format == "safetensors"
    assert layout.regions == ()
    assert word in layout.problem


@pytest.mark.parametrize("length", [1 << 63, 100_000_001, 3])
def test_lying_header_lengths(length: int) -> None:
    layout = layout_of(length.to_bytes(8, "little") + b'{"a": 3}')
    assert layout.format == "safetensors"
    assert layout.problem


def test_a_header_of_brackets_is_refused_before_it_is_parsed() -> None:
    start = time.perf_counter()
    layout = layout_of(safetensors_file(b'{"a":[' + b"[]," * 6_500_000 + b"[]]}"))
    assert "far more items" in layout.problem
    assert time.perf_counter() - start < 10


def test_a_hundred_thousand_tiny_tensors_are_quick() -> None:
    header: dict[str, object] = {
        f"model.layers.{k}.weight": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [8 * k, 8 * k + 8]}
        for k in range(100_000)
    }
    data = safetensors_file(header, bytes(800_000))
    start = time.perf_counter()
    layout = layout_of(data)
    seconds = time.perf_counter() - start
    assert len(layout.regions) == 100_000
    assert seconds < 15  # under 1 s on a quiet core
