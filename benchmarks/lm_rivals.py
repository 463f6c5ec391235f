"""A language model's weights under other people's quantisers: real bytes, and the floats that come out of them.

llama.cpp as it is: its own file, made by `llama_model_quantize`. Its K-quants need rows of a multiple of 256 weights;
SmolLM2's have 576, so it falls back to Q4_0 and Q5_0 for most of them, and its "Q2_K" has over 4 bits a weight.

ggml's kernels on rows laid end to end: what Q2_K and Q3_K would cost and do if they could (four rows of 576 are nine blocks
of 256). With the mean square of each input they are what llama.cpp does with an imatrix.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lossy_parts import Floats, LossyPeer, Matrices, Part, Setting, pack, unpack
from numpy.typing import NDArray
from smollm2 import State, read_gguf

EMBEDDING = "model.embed_tokens.weight"
SUPER_BLOCK = 256

Importance = Mapping[str, NDArray[np.float32]]
"""Weight name -> mean square of each input, float32 [in]."""


@dataclass(frozen=True)
class Copy:
    """A whole model decoded from `bytes` bytes, of which `linear_bytes` are those of the linear layers' matrices.

    Where only these were coded, and all else is the original's, `bytes` is None.
    """

    state: State
    linear_bytes: int
    bytes: int | None = None


def linear_layers(state: State) -> Matrices:
    """The matrices of the linear layers; the embedding, which is tied to the output, is none."""
    return {name: array for name, array in state.items() if array.ndim == 2 and name != EMBEDDING}


def coded(state: State, peer: LossyPeer, setting: Setting, embedding: tuple[LossyPeer, Setting] | None = None) -> Copy:
    """The linear layers through `peer`. With `embedding`, the embedding through that one and vectors as float32."""
    blob = peer.encode(linear_layers(state), setting)
    out = state | peer.decode(blob)
    if embedding is None:
        return Copy(out, len(blob))
    other, chosen = embedding
    second = other.encode({EMBEDDING: state[EMBEDDING]}, chosen)
    vectors = sum(array.nbytes for array in state.values() if array.ndim < 2)
    return Copy(out | other.decode(second), len(blob), len(blob) + len(second) + vectors)


def quantise_gguf(source: Path, target: Path, recipe: str) -> None:
    """Write `target` as llama.cpp's `recipe` ("Q3_K_S") makes it. Raises RuntimeError if it fails."""
    from llama_cpp import llama_cpp as lib

    lib.llama_backend_init()
    how = lib.llama_model_quantize_default_params()
    how.nthread, how.allow_requantize, how.ftype = 1, True, getattr(lib, f"LLAMA_FTYPE_MOSTLY_{recipe}")
    if lib.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(how)):
        raise RuntimeError(f"llama.cpp can't quantise {source} to {recipe}")


def from_gguf(path: Path) -> Copy:
    """A GGUF file. Its bytes are those of its tensors: no copy here counts the tokenizer."""
    from gguf import GGUFReader

    sizes = {t.name: int(t.n_bytes) for t in GGUFReader(path).tensors}
    linear = sum(n for name, n in sizes.items() if name.startswith("blk.") and "norm" not in name)
    return Copy(read_gguf(path), linear, sum(sizes.values()))


class GgmlBlocks:
    """ggml's own quantisers (in llama_cpp's library) on rows laid end to end; gguf-py decodes their blocks.

    `importance`, mean squares of the inputs by matrix, is for the encoder alone. A setting's value is ggml's name of a type.
    """

    name, package = "ggml", "llama_cpp_python"

    def __init__(self, importance: Importance | None = None) -> None:
        self._importance = importance or {}

    def settings(self, _matrices: Matrices) -> list[Setting]:
        return [self.at(kind) for kind in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")]

    @staticmethod
    def at(kind: str) -> Setting:
        return Setting(kind, kind)

    def encode(self, matrices: Matrices, setting: Setting) -> bytes:
        from gguf import GGMLQuantizationType

        number = int(GGMLQuantizationType[setting.value])
        blocks = [Part(k, m.shape, self._blocks(m, number, self._importance.get(k))) for k, m in matrices.items()]
        return pack([Part("", (number,), b""), *blocks])

    @staticmethod
    def _blocks(matrix: Floats, number: int, importance: Floats | None) -> bytes:
        """Raises ValueError if the rows can't be joined to whole blocks."""
        rows, columns = matrix.shape
        joined = SUPER_BLOCK // math.gcd(SUPER_BLOCK, columns)
        if rows % joined:
            raise ValueError(f"{rows} rows of {columns} weights aren't whole blocks of {SUPER_BLOCK}")
        floats = ctypes.POINTER(ctypes.c_float)
        source, out = np.ascontiguousarray(matrix), np.empty(matrix.nbytes, np.uint8)
        weights = None if importance is None else np.ascontiguousarray(np.tile(importance, joined), np.float32)
        size = _quantise_chunk()(
            number,
            source.ctypes.data_as(floats),
            out.ctypes.data,
            0,
            rows // joined,
            columns * joined,
            None if weights is None else weights.ctypes.data_as(floats),
        )
        return out[:size].tobytes()

    def decode(self, blob: bytes) -> Matrices:
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        (_, (number,), _), *parts = unpack(blob)
        kind, out = GGMLQuantizationType(number), {}
        for part in parts:
            rows, columns = part.shape
            data = np.frombuffer(part.blob, np.uint8).reshape(rows * columns // SUPER_BLOCK, -1)
            out[part.name] = np.asarray(dequantize(data, kind), np.float32).reshape(part.shape)
        return out


def _quantise_chunk() -> Any:
    """ggml_quantize_chunk(type, source, target, start, rows, columns, importance) -> bytes written."""
    import llama_cpp

    function = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so")).ggml_quantize_chunk
    floats, long = ctypes.POINTER(ctypes.c_float), ctypes.c_int64
    function.argtypes = [ctypes.c_int, floats, ctypes.c_void_p, long, long, long, floats]
    function.restype = ctypes.c_size_t
    return function
