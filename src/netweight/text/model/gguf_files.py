"""Models of the Llama family in GGUF files, read by the `gguf` package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, MissingExtraError, NetweightError, UnsupportedError
from .config import Config, number, whole
from .gguf_tokenizer import Fields, described
from .sources import Source

Floats = NDArray[np.float32]
_FAMILY: Final = ("llama", "qwen2")
_INTERLEAVED: Final = ("llama",)
_LAYER: Final = {
    "norm1.gain": ("attn_norm.weight",),
    "qkv": ("attn_q.weight", "attn_k.weight", "attn_v.weight"),
    "qkv.bias": ("attn_q.bias", "attn_k.bias", "attn_v.bias"),
    "out": ("attn_output.weight",),
    "norm2.gain": ("ffn_norm.weight",),
    "up": ("ffn_gate.weight", "ffn_up.weight"),
    "down": ("ffn_down.weight",),
}
_WHOLE: Final = {"embedding": "token_embd.weight", "norm.gain": "output_norm.weight", "head": "output.weight"}


def open_gguf(path: Path) -> Source:
    """The model in a GGUF file. Raises FormatError, UnsupportedError (another architecture), MissingExtraError."""
    try:
        import gguf
        import gguf.quants
    except ImportError:
        raise MissingExtraError("gguf", "lm") from None
    try:
        reader = gguf.GGUFReader(path)
        tensors = {t.name: t for t in reader.tensors}
        return _source(Fields(reader, path.name), tensors, lambda key: _read(gguf.quants, tensors, key, path.name))
    except NetweightError:
        raise
    except Exception as error:  # a damaged file makes the reader raise anything
        raise FormatError(f"{path}: not a whole GGUF file: {error}") from error


def _read(quants: Any, tensors: dict[str, Any], key: str, name: str) -> Floats:
    try:
        found = tensors[key]
        shape = tuple(int(n) for n in reversed(found.shape))
        values = quants.dequantize(found.data, found.tensor_type)
        return np.ascontiguousarray(values, np.float32).reshape(shape)
    except NotImplementedError as error:
        raise UnsupportedError(f"{name}: {key!r} has a type that isn't read here: {error}") from None
    except (KeyError, ValueError) as error:
        raise FormatError(f"{name}: {key!r} is missing or has an impossible shape: {error}") from None


def _source(fields: Fields, tensors: dict[str, Any], read: Callable[[str], Floats]) -> Source:
    kind = fields.text("general.architecture")
    if kind not in _FAMILY or fields.numbers.get(f"{kind}.expert_count", 0):
        raise UnsupportedError(f"{fields.name}: architecture {kind!r} isn't supported; {', '.join(_FAMILY)} are")
    factors = read("rope_freqs.weight") if "rope_freqs.weight" in tensors else np.ones(0, np.float32)
    config = _config(fields, kind, tuple(float(f) for f in factors.reshape(-1)))
    names: dict[str, tuple[str, ...]] = {k: (n,) for k, n in _WHOLE.items() if n in tensors or k != "head"}
    for i in range(config.layers):
        for key, parts in _LAYER.items():
            if key != "qkv.bias" or f"blk.{i}.{parts[0]}" in tensors:
                names[f"layer.{i}.{key}"] = tuple(f"blk.{i}.{part}" for part in parts)

    def tensor(key: str) -> Floats:
        parts = [read(name) for name in names[key]]
        if kind in _INTERLEAVED and key.endswith((".qkv", ".qkv.bias")):
            parts[:2] = [_halves(part, config.head_size) for part in parts[:2]]
        return np.concatenate(parts)

    begin = fields.numbers.get("tokenizer.ggml.bos_token_id")
    return Source(fields.name, config, tuple(names), tensor, described(fields), begin)


def _halves(array: Floats, head_size: int) -> Floats:
    """llama.cpp interleaves the two halves of a head in the rows of queries and keys: the rows half by half."""
    pairs = array.reshape(-1, head_size // 2, 2, *array.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(array.shape)


def _config(fields: Fields, kind: str, factors: tuple[float, ...]) -> Config:
    name, numbers = fields.name, fields.numbers
    width = whole(numbers, f"{kind}.embedding_length", name)
    heads = whole(numbers, f"{kind}.attention.head_count", name)
    head_size = whole(numbers, f"{kind}.attention.key_length", name, width // max(heads, 1))
    scaling = fields.texts.get(f"{kind}.rope.scaling.type", "none")
    if scaling != "none" or whole(numbers, f"{kind}.rope.dimension_count", name, head_size) != head_size:
        raise UnsupportedError(f"{name}: rotations of a part of the head, or scaled ({scaling}), aren't supported")
    context = whole(numbers, f"{kind}.context_length", name)
    window = whole(numbers, f"{kind}.attention.sliding_window", name, 0)
    return Config(
        architecture="llama",
        vocabulary=len(fields.array("tokenizer.ggml.tokens")),
        context=min(context, window or context),  # within the window, attention is full
        layers=whole(numbers, f"{kind}.block_count", name),
        width=width,
        heads=heads,
        kv_heads=whole(numbers, f"{kind}.attention.head_count_kv", name, heads),
        head_size=head_size,
        hidden=whole(numbers, f"{kind}.feed_forward_length", name),
        epsilon=number(numbers, f"{kind}.attention.layer_norm_rms_epsilon", name),
        gated=True,
        centred=False,
        rope_base=number(numbers, f"{kind}.rope.freq_base", name, 10000.0),
        rope_factors=factors,
    ).check(name)
