"""Arrays to the plain bytes that codecs work on, and back. The one place that knows numpy's dtypes."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .errors import UnsupportedError
from .spec import Spec, dtype

_NATIVE: Final = {
    "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8",
    "BOOL": "?", "F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<c8", "C128": "<c16",
}  # fmt: skip
_ML: Final = {
    "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip

if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("netweight reads tensors in place and so far supports little-endian machines only")


@lru_cache
def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of a dtype name; packed 4- and 6-bit floats come as their bytes (uint8)."""
    if name in _NATIVE:
        return np.dtype(_NATIVE[name])
    if name in _ML:
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _ML[name]))
        return found
    return np.dtype(np.uint8)


@lru_cache
def dtype_name(numpy_type: np.dtype[Any]) -> str:
    """The dtype name of a numpy dtype. Raises UnsupportedError."""
    for name, code in _NATIVE.items():
        if np.dtype(code) == numpy_type.newbyteorder("<"):
            return name
    for name, attribute in _ML.items():
        if numpy_type.name == attribute:
            return name
    raise UnsupportedError(f"arrays of dtype {numpy_type} have no place in a checkpoint: cast them to numbers first")


def to_bytes(thing: Any) -> tuple[NDArray[np.uint8], Spec]:
    """A thing (bytes-like, or anything numpy can see as an array) as flat little-endian bytes and their spec.

    The result may share memory with `thing` and must not be written to.
    """
    if isinstance(thing, (bytes, bytearray, memoryview)):
        view = memoryview(thing)
        flat = np.frombuffer(view if view.c_contiguous else view.tobytes(), np.uint8)
        return flat, Spec.raw(flat.size)
    array = np.asarray(thing)
    name = dtype_name(array.dtype)
    contiguous = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    flat = contiguous.reshape(-1).view(np.uint8)
    return flat, Spec(name, (array.shape,))


def to_array(data: NDArray[np.uint8], spec: Spec) -> NDArray[Any]:
    """Bytes as an array of the spec's shape; several shapes or a packed dtype give a flat one."""
    if spec.dtype not in _NATIVE and spec.dtype not in _ML:
        return data
    flat = data.view(numpy_dtype(spec.dtype))
    return flat.reshape(spec.shapes[0]) if len(spec.shapes) == 1 else flat


def to_numbers(data: NDArray[np.uint8], spec: Spec) -> NDArray[Any]:
    """Bytes as a flat array to calculate with: floats as float64, complex numbers as pairs, integers as they are.

    Truth values and packed dtypes come as their bytes.
    """
    kind = dtype(spec.dtype).kind
    if kind in ("bool", "packed"):
        return data
    flat = data.view(numpy_dtype(spec.dtype))
    if kind == "complex":
        flat = flat.view(f"f{flat.itemsize // 2}")
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return flat if kind in ("int", "uint") else flat.astype(np.float64)
