"""Models in Hugging Face directories: config.json, tokenizer.json and safetensors, of the Llama and GPT-2 families."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, NotFoundError, UnsupportedError
from .config import Config, number, whole
from .rope import llama3_factors
from .sources import Source

Json = dict[str, Any]
Floats = NDArray[np.float32]
Names = dict[str, tuple[str, ...]]
_MODEL: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_DTYPES: Final[Mapping[str, Any]] = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16}
_FAMILIES: Final = ("llama", "mistral", "qwen2", "gpt2")

_LLAMA_LAYER: Final = {
    "norm1.gain": ("input_layernorm.weight",),
    "qkv": ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
    "qkv.bias": ("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"),
    "out": ("self_attn.o_proj.weight",),
    "out.bias": ("self_attn.o_proj.bias",),
    "norm2.gain": ("post_attention_layernorm.weight",),
    "up": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "up.bias": ("mlp.gate_proj.bias", "mlp.up_proj.bias"),
    "down": ("mlp.down_proj.weight",),
    "down.bias": ("mlp.down_proj.bias",),
}
_LLAMA: Final = {"embedding": "model.embed_tokens.weight", "norm.gain": "model.norm.weight", "head": "lm_head.weight"}
_GPT2_LAYER: Final = {
    "norm1.gain": "ln_1.weight", "norm1.bias": "ln_1.bias", "norm2.gain": "ln_2.weight", "norm2.bias": "ln_2.bias",
    "qkv": "attn.c_attn.weight", "qkv.bias": "attn.c_attn.bias", "out": "attn.c_proj.weight", "out.bias": "attn.c_proj.bias",
    "up": "mlp.c_fc.weight", "up.bias": "mlp.c_fc.bias", "down": "mlp.c_proj.weight", "down.bias": "mlp.c_proj.bias",
}  # fmt: skip
_GPT2: Final = {
    "embedding": "wte.weight",
    "positions": "wpe.weight",
    "norm.gain": "ln_f.weight",
    "norm.bias": "ln_f.bias",
}


def files_of(folder: Path) -> list[Path]:
    """The files that make a model, configuration and tokenizer first. Raises NotFoundError, FormatError."""
    small = [folder / "config.json", folder / "tokenizer.json"]
    if missing := [path for path in small if not path.is_file()]:
        raise NotFoundError(f"{folder}: not a Hugging Face model: there is no {missing[0].name}")
    if (folder / _MODEL).is_file():
        return [*small, folder / _MODEL]
    if not (folder / _INDEX).is_file():
        raise NotFoundError(f"{folder}: there is no {_MODEL}; other weights than safetensors aren't read here")
    shards = _json(folder / _INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(s, str) and "/" not in s for s in shards.values()):
        raise FormatError(f"{folder / _INDEX}: has no map of weights to files beside it")
    return [*small, *(folder / name for name in sorted(set(shards.values())))]


def open_directory(folder: Path) -> Source:
    """The model in a directory. Raises NotFoundError, FormatError, UnsupportedError (another architecture)."""
    name = folder.resolve().name
    fields = _json(folder / "config.json")
    kind = fields.get("model_type")
    if kind not in _FAMILIES:
        raise UnsupportedError(f"{name}: architecture {kind!r} isn't supported; {', '.join(_FAMILIES)} are")
    weights = _Weights(files_of(folder)[2:])
    try:
        description = (folder / "tokenizer.json").read_text("utf-8")
    except ValueError:
        raise FormatError(f"{folder / 'tokenizer.json'}: not UTF-8") from None
    begin = fields.get("bos_token_id")
    config, names, tensor = (_gpt2 if kind == "gpt2" else _llama)(fields, weights, name)
    return Source(name, config, tuple(names), tensor, description, begin if isinstance(begin, int) else None)


def _json(path: Path) -> Json:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise FormatError(f"{path}: not a JSON object")
    return found


class _Weights:
    """The tensors of some safetensors files, read one at a time."""

    def __init__(self, files: list[Path]) -> None:
        self._places: dict[str, tuple[Path, int, Any, tuple[int, ...]]] = {}
        for path in files:
            self._index(path)

    def _index(self, path: Path) -> None:
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(length, size)))
            header.pop("__metadata__", None)
            for key, entry in header.items():
                start, end = entry["data_offsets"]
                shape, dtype = tuple(entry["shape"]), np.dtype(_DTYPES.get(entry["dtype"], np.uint8))
                if 8 + length + end > size or math.prod(shape) * dtype.itemsize > end - start:
                    raise FormatError(f"{path}: ends before its tensor {key!r}")
                if entry["dtype"] in _DTYPES:  # others are masks and the like
                    self._places[key] = path, 8 + length + start, dtype, shape
        except OSError as error:
            raise NotFoundError(f"{path}: can't be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(f"{path}: not a safetensors file: {error}") from None

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def read(self, key: str) -> Floats:
        if key not in self._places:
            raise FormatError(f"the model's files have no tensor {key!r} of floats")
        path, offset, dtype, shape = self._places[key]
        with path.open("rb") as file:
            file.seek(offset)
            raw = file.read(math.prod(shape) * dtype.itemsize)
        return np.frombuffer(raw, dtype).astype(np.float32).reshape(shape)


def _llama(fields: Json, weights: _Weights, name: str) -> tuple[Config, Names, Callable[[str], Floats]]:
    config = _llama_config(fields, name)
    tied = bool(fields.get("tie_word_embeddings", False)) or _LLAMA["head"] not in weights
    names: Names = {key: (part,) for key, part in _LLAMA.items() if not (tied and key == "head")}
    for i in range(config.layers):
        at = f"model.layers.{i}."
        for key, parts in _LLAMA_LAYER.items():
            if not key.endswith("proj.bias") and (not key.endswith(".bias") or at + parts[0] in weights):
                names[f"layer.{i}.{key}"] = tuple(at + part for part in parts)
    return config, names, lambda key: np.concatenate([weights.read(part) for part in names[key]])


def _llama_config(fields: Json, name: str) -> Config:
    width = whole(fields, "hidden_size", name)
    heads = whole(fields, "num_attention_heads", name)
    head_size = fields.get("head_dim") or width // max(heads, 1)
    if fields.get("hidden_act", "silu") != "silu":
        raise UnsupportedError(f"{name}: activation {fields.get('hidden_act')!r} isn't supported")
    base, factors = _rotations(fields, head_size, name)
    context = whole(fields, "max_position_embeddings", name)
    window = fields.get("sliding_window")
    if isinstance(window, int) and fields.get("use_sliding_window", True):
        context = min(context, window)  # within the window, attention is full
    return Config(
        architecture="llama",
        vocabulary=whole(fields, "vocab_size", name),
        context=context,
        layers=whole(fields, "num_hidden_layers", name),
        width=width,
        heads=heads,
        kv_heads=whole(fields, "num_key_value_heads", name, heads),
        head_size=head_size,
        hidden=whole(fields, "intermediate_size", name),
        epsilon=number(fields, "rms_norm_eps", name),
        gated=True,
        centred=False,
        rope_base=base,
        rope_factors=factors,
    ).check(name)


def _rotations(fields: Json, head_size: int, name: str) -> tuple[float, tuple[float, ...]]:
    """Base and factors; the scaling stands in one of two places, by the age of the file."""
    scaling = fields.get("rope_parameters") or fields.get("rope_scaling") or {}
    if not isinstance(scaling, dict):
        raise FormatError(f"{name}: rotations that aren't a JSON object")
    base = number({**fields, **scaling}, "rope_theta", name, 10000.0)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if number({**fields, **scaling}, "partial_rotary_factor", name, 1.0) != 1:
        raise UnsupportedError(f"{name}: rotations of a part of the head aren't supported")
    if kind == "default":
        return base, ()
    if kind != "llama3":
        raise UnsupportedError(f"{name}: rope scaling {kind!r} isn't supported")
    numbers = [Fraction(number(scaling, key, name)) for key in _LLAMA3]
    return base, llama3_factors(Fraction(base), head_size, *numbers)


_LLAMA3: Final = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


def _gpt2(fields: Json, weights: _Weights, name: str) -> tuple[Config, Names, Callable[[str], Floats]]:
    if fields.get("activation_function", "gelu_new") not in ("gelu_new", "gelu_pytorch_tanh"):
        raise UnsupportedError(f"{name}: activation {fields.get('activation_function')!r} isn't supported")
    if fields.get("scale_attn_by_inverse_layer_idx") or fields.get("scale_attn_weights", True) is not True:
        raise UnsupportedError(f"{name}: attention that is scaled another way isn't supported")
    config = _gpt2_config(fields, name)
    prefix = "transformer." if "transformer.wte.weight" in weights else ""
    names: Names = {key: (prefix + part,) for key, part in _GPT2.items()}
    for i in range(config.layers):
        names |= {f"layer.{i}.{key}": (f"{prefix}h.{i}.{part}",) for key, part in _GPT2_LAYER.items()}
    turned = ("qkv", "out", "up", "down")

    def tensor(key: str) -> Floats:
        found = weights.read(names[key][0])
        return np.ascontiguousarray(found.T) if key.rsplit(".", 1)[-1] in turned else found

    return config, names, tensor


def _gpt2_config(fields: Json, name: str) -> Config:
    width, heads = whole(fields, "n_embd", name), whole(fields, "n_head", name)
    inner = fields.get("n_inner")
    return Config(
        architecture="gpt2",
        vocabulary=whole(fields, "vocab_size", name),
        context=whole(fields, "n_positions", name),
        layers=whole(fields, "n_layer", name),
        width=width,
        heads=heads,
        kv_heads=heads,
        head_size=width // max(heads, 1),
        hidden=4 * width if inner is None else whole(fields, "n_inner", name),
        epsilon=number(fields, "layer_norm_epsilon", name, 1e-5),
        gated=False,
        centred=True,
        rope_base=0.0,
    ).check(name)
