"""Checkpoints of other formats as safetensors files, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import tensors
from ...errors import MissingExtraError, UnsupportedError
from ...ggml import BLOCK_TYPES
from ...spec import Spec
from ..archive.index import REGION, Segment
from ..archive.inputs import InputFile, Inputs
from ..archive.lossy_wire import header_of

_CHUNK: int = 1 << 24


def needs_conversion(file: InputFile) -> bool:
    """Whether a file holds tensors, but not as safetensors does."""
    return bool(file.layout.regions or file.layout.empty) and file.layout.format != "safetensors"


def write_safetensors(file: InputFile, target: Path) -> None:
    """The tensors of `file` as a safetensors file: views as tensors of their own, GGUF's quantised blocks as F32.

    Raises MissingExtraError for GGUF blocks without the package gguf, UnsupportedError for dtypes that safetensors lacks.
    """
    specs = [_spec_of(file, name, dtype, shape) for name, dtype, shape in _listed(file)]
    segments = [Segment(REGION, Spec(d, (s,)).nbytes, n, d, s) for n, d, s in specs]
    with target.open("wb") as out:
        out.write(header_of(segments))
        for array in _arrays(file):
            data, _ = tensors.to_bytes(array)
            for at in range(0, data.size, _CHUNK):
                out.write(data[at : at + _CHUNK].data)


def arrays_of(inputs: Inputs) -> dict[str, NDArray[Any]]:
    """Every tensor of the inputs by its name, as arrays of their own. GGUF's blocks come as float32."""
    out: dict[str, NDArray[Any]] = {}
    several = len(inputs.files) > 1
    for file in inputs.files:
        names = [name for name, _, _ in _listed(file)]
        for name, array in zip(names, _arrays(file), strict=True):
            out[f"{file.path}:{name}" if several and name in out else name] = np.array(array)
        out.update((n, np.empty(s, tensors.numpy_dtype(d))) for n, d, s in file.layout.empty)
    return out


def _listed(file: InputFile) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    layout = file.layout
    for view in layout.views:
        yield view.name, layout.regions[view.region].dtype, view.shape
    if not layout.views:
        yield from ((r.name, r.dtype, r.shape) for r in layout.regions)


def _spec_of(file: InputFile, name: str, dtype: str, shape: tuple[int, ...]) -> tuple[str, str, tuple[int, ...]]:
    if dtype in BLOCK_TYPES:
        return name, "F32", shape
    if tensors.numpy_dtype(dtype) == np.uint8 and dtype != "U8":
        raise UnsupportedError(f"{file.path}: tensor {name!r} of {dtype} can't be written as safetensors")
    return name, dtype, shape


def _arrays(file: InputFile) -> Iterator[NDArray[Any]]:
    layout = file.layout
    for view in layout.views:
        region = layout.regions[view.region]
        flat = file.source.read(region.offset, region.nbytes).view(tensors.numpy_dtype(region.dtype))
        strides = [s * flat.itemsize for s in view.strides]
        yield np.lib.stride_tricks.as_strided(flat[view.start :], view.shape, strides, writeable=False)
    if layout.views:
        return
    for region in layout.regions:
        data = file.source.read(region.offset, region.nbytes)
        if region.dtype in BLOCK_TYPES:
            yield _dequantised(data, region.dtype, region.shape)
        else:
            yield tensors.to_array(data, Spec(region.dtype, (region.shape,)))


def _dequantised(data: NDArray[np.uint8], name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    try:
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize
    except ImportError:
        raise MissingExtraError("gguf", "gguf") from None
    rows = data.reshape(*shape[:-1], -1)
    out: NDArray[np.float32] = dequantize(rows, GGMLQuantizationType(BLOCK_TYPES[name].number)).astype(np.float32)
    return out.reshape(shape)
