"""Arrays to bytes and back."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netweight.errors import UnsupportedError
from netweight.spec import DTYPES, Spec
from netweight.tensors import dtype_name, numpy_dtype, to_array, to_bytes, to_numbers

UNPACKED = [n for n, d in DTYPES.items() if d.kind != "packed"]


@pytest.mark.parametrize("name", UNPACKED)
def test_dtypes_map_both_ways(name: str) -> None:
    kind = numpy_dtype(name)
    assert dtype_name(kind) == name
    assert kind.itemsize * 8 == DTYPES[name].bits


@pytest.mark.parametrize("name", UNPACKED)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4), (2, 0, 3), (2, 3, 4)])
def test_arrays_come_back_bit_for_bit(name: str, shape: tuple[int, ...]) -> None:
    spec = Spec(name, (shape,))
    data = np.random.default_rng(1).integers(0, 256, spec.nbytes, dtype=np.uint8)
    array = to_array(data, spec)
    assert (array.shape, array.dtype) == (shape, numpy_dtype(name))
    flat, found = to_bytes(array)
    assert found == spec
    assert flat.dtype == np.uint8
    assert np.array_equal(flat, data)


@pytest.mark.parametrize("thing", [b"", b"abc", bytearray(b"abc"), memoryview(b"abcd"), memoryview(b"abcdef")[::2]])
def test_bytes_are_bytes(thing: Any) -> None:
    flat, spec = to_bytes(thing)
    assert flat.tobytes() == bytes(thing)
    assert spec == Spec.raw(len(bytes(thing)))


@pytest.mark.parametrize("kind", [">f4", ">i8", ">u2", ">f8", ">c8"])
def test_big_endian_becomes_little(kind: str) -> None:
    array = np.arange(12).astype(kind).reshape(3, 4)
    flat, spec = to_bytes(array)
    assert np.array_equal(to_array(flat, spec), array)
    assert flat.tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


def test_strided_and_frozen_arrays() -> None:
    base = np.arange(60, dtype=np.int16).reshape(5, 12)
    base.flags.writeable = False
    for view in (base.T, base[::2], base[:, ::-1], np.broadcast_to(base[0], (3, 12)), base[1:2, 3:4]):
        flat, spec = to_bytes(view)
        assert np.array_equal(to_array(flat, spec), view)


def test_contiguous_arrays_are_not_copied() -> None:
    array = np.zeros(10, np.float32)
    assert np.shares_memory(to_bytes(array)[0], array)


@pytest.mark.parametrize("thing", [1.5, [1, 2, 3], True, np.float32(2), [[1.0], [2.0]]])
def test_what_numpy_sees_as_numbers(thing: Any) -> None:
    flat, spec = to_bytes(thing)
    assert np.array_equal(to_array(flat, spec), np.asarray(thing))


@pytest.mark.parametrize("thing", ["text", np.zeros(2, object), np.zeros(2, "M8[s]"), np.zeros(2, [("a", "f4")]), None])
def test_what_has_no_place_in_a_checkpoint(thing: Any) -> None:
    with pytest.raises(UnsupportedError, match="cast"):
        to_bytes(thing)


def test_several_shapes_and_packed_dtypes_are_flat() -> None:
    assert to_array(np.zeros(24, np.uint8), Spec("F32", ((2, 2), (2,)))).shape == (6,)
    assert to_array(np.zeros(4, np.uint8), Spec("F4", ((2, 4),))).dtype == np.uint8


@settings(deadline=None)
@given(st.sampled_from(list(DTYPES)), st.integers(0, 20), st.randoms(use_true_random=False))
def test_numbers_of_any_bits(name: str, count: int, random: Any) -> None:
    spec = Spec(name, ((count,),))
    numbers = to_numbers(np.frombuffer(random.randbytes(spec.nbytes), np.uint8), spec)
    assert numbers.ndim == 1
    assert numbers.dtype.kind in "iuf"
    assert numbers.size == {"complex": 2 * count, "packed": spec.nbytes}.get(DTYPES[name].kind, count)


def test_numbers_are_values() -> None:
    data, spec = to_bytes(np.array([[1 + 2j, 3 - 4j]], np.complex64))
    assert to_numbers(data, spec).tolist() == [1, 2, 3, -4]
    data, spec = to_bytes(np.array([1.5, -2], ml_dtypes.bfloat16))
    assert to_numbers(data, spec).tolist() == [1.5, -2]
    assert to_numbers(np.array([0, 1, 2, 255], np.uint8), Spec("BOOL", ((4,),))).tolist() == [0, 1, 2, 255]
