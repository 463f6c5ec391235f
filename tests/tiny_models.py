"""Small random language models, the same on every machine, as Hugging Face directories and GGUF files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from netweight.text.model.tokenizer import _byte_letters

Floats = NDArray[np.float32]
END = "<|endoftext|>"
MERGES = [("h", "e"), ("t", "he"), ("Ġ", "the"), ("i", "n"), ("Ġ", "a")]
MISSING = (0x04, 0xC0, 0xFF)  # bytes that the vocabulary lacks, as SmolLM2's does
SIZES = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 6}
LLAMA: dict[str, Any] = {
    **SIZES, "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 96, "rms_norm_eps": 2.0**-17, "rope_theta": 10000.0, "tie_word_embeddings": True,
    "hidden_act": "silu", "bos_token_id": 0,
}  # fmt: skip
GPT2: dict[str, Any] = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 48, "n_head": 4, "n_layer": 2,
    "n_positions": 96, "layer_norm_epsilon": 2.0**-17, "activation_function": "gelu_new", "bos_token_id": 0,
}  # fmt: skip


def tokens() -> list[str]:
    letters = sorted(_byte_letters().items(), key=lambda pair: pair[1])
    return [END, *(letter for letter, byte in letters if byte not in MISSING), *(a + b for a, b in MERGES)]


def noise(name: str, *shape: int, scale: float = 0.25, around: float = 0.0) -> Floats:
    """Uniform numbers from a hash of the name."""
    count = int(np.prod(shape))
    raw = np.frombuffer(hashlib.shake_256(name.encode()).digest(4 * count), "<i4")
    return (around + raw.reshape(shape) * (scale / 2**31)).astype(np.float32)


def llama_weights(config: dict[str, Any], *, biases: bool = False) -> dict[str, Floats]:
    d, inner = config["hidden_size"], config["intermediate_size"]
    q, kv = (config[n] * config["head_dim"] for n in ("num_attention_heads", "num_key_value_heads"))
    shapes = {
        "self_attn.q_proj": (q, d), "self_attn.k_proj": (kv, d), "self_attn.v_proj": (kv, d), "self_attn.o_proj": (d, q),
        "mlp.gate_proj": (inner, d), "mlp.up_proj": (inner, d), "mlp.down_proj": (d, inner),
    }  # fmt: skip
    out = {
        "model.embed_tokens.weight": noise("embed", len(tokens()), d),
        "model.norm.weight": noise("norm", d, around=1),
    }
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            out[f"{at}{norm}.weight"] = noise(f"{norm}{i}", d, around=1)
        for name, shape in shapes.items():
            out[f"{at}{name}.weight"] = noise(f"{name}{i}", *shape)
            if biases and name[-6] in "qkv":
                out[f"{at}{name}.bias"] = noise(f"{name}{i}b", shape[0])
    return out


def gpt2_weights(config: dict[str, Any]) -> dict[str, Floats]:
    d = config["n_embd"]
    out = {
        "wte.weight": noise("wte", len(tokens()), d),
        "wpe.weight": noise("wpe", config["n_positions"], d, scale=0.1),
    }
    shapes = {"attn.c_attn": (d, 3 * d), "attn.c_proj": (d, d), "mlp.c_fc": (d, 4 * d), "mlp.c_proj": (4 * d, d)}
    norms = ["ln_f", *(f"h.{i}.{n}" for i in range(config["n_layer"]) for n in ("ln_1", "ln_2"))]
    for norm in norms:
        out |= {f"{norm}.weight": noise(norm, d, around=1), f"{norm}.bias": noise(norm + "b", d, scale=0.1)}
    for i in range(config["n_layer"]):
        for name, shape in shapes.items():
            out[f"h.{i}.{name}.weight"] = noise(f"{name}{i}", *shape)
            out[f"h.{i}.{name}.bias"] = noise(f"{name}{i}b", shape[1], scale=0.1)
    return out


def tokenizer_json() -> dict[str, Any]:
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [{"id": 0, "content": END, "special": True, **flags}],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, level]},
        "decoder": level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens())}, "merges": [list(pair) for pair in MERGES],
        },
    }  # fmt: skip


def write_directory(folder: Path, config: dict[str, Any], weights: dict[str, Floats], **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": len(tokens()), **more}))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    save_file(weights, folder / "model.safetensors")
    return folder


def llama(folder: Path, *, biases: bool = False, **more: Any) -> Path:
    return write_directory(folder, LLAMA, llama_weights({**LLAMA, **more}, biases=biases), **more)


def gpt2(folder: Path) -> Path:
    return write_directory(folder, GPT2, gpt2_weights(GPT2))


_GGUF_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "model.layers": "blk", "model.embed_tokens": "token_embd", "model.norm": "output_norm",
}  # fmt: skip


def llama_gguf(path: Path, architecture: str = "llama") -> Path:
    """The model of `llama` as llama.cpp keeps it: other names, halves of heads interleaved."""
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(LLAMA["max_position_embeddings"])
    writer.add_embedding_length(LLAMA["hidden_size"])
    writer.add_block_count(LLAMA["num_hidden_layers"])
    writer.add_feed_forward_length(LLAMA["intermediate_size"])
    writer.add_head_count(LLAMA["num_attention_heads"])
    writer.add_head_count_kv(LLAMA["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(LLAMA["rms_norm_eps"])
    writer.add_rope_freq_base(LLAMA["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens())
    writer.add_token_types([3, *[1] * (len(tokens()) - 1)])
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    writer.add_bos_token_id(0)
    for name, array in llama_weights(LLAMA).items():
        if "q_proj" in name or "k_proj" in name:
            array = np.ascontiguousarray(array.reshape(-1, 2, LLAMA["head_dim"] // 2, array.shape[1]).swapaxes(1, 2))
            array = array.reshape(-1, LLAMA["hidden_size"])
        for ours, theirs in _GGUF_NAMES.items():
            name = name.replace(ours, theirs)
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
