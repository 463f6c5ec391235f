"""What each linear or convolutional layer of a network sees: the second moments of its inputs, by forward hooks.

With inputs X [samples, in] a change D of a weight [out, in] changes the outputs by trace(D H D^T) in squared norm, where
H = X^T X / samples. A coder that knows H spends its error where the layer doesn't look (GPTQ: Frantar et al. 2022,
arXiv:2210.17323, eq. 1).

    python benchmarks/calibration.py FOLDER OUT.safetensors --text FILE... [--windows 32] [--length 512]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Moments = dict[str, NDArray[np.float32]]
"""Weight name -> H, float32 [in, in], symmetric: the mean of x x^T over all inputs x of the layer."""


def second_moments(model: Any, batches: Iterable[Any]) -> Moments:
    """H for every Linear and Conv2d of `model` that `model(batch)` reaches, by the weight's name in the state dict.

    A convolution's inputs are the patches that its kernel is laid on, each a sample: its H is [in kh kw, in kh kw], in
    the order of `weight.flatten(1)`. Layers that were given the very same tensor (q, k and v; gate and up) get the same
    array. Sums are float32 within a batch and float64 over batches. Raises ValueError for convolutions in groups or
    whose padding isn't zeros.
    """
    import torch

    sums: dict[str, tuple[Any, int]] = {}
    last: dict[str, Any] = {"input": None, "patch": None, "product": None}

    def hook(name: str) -> Any:
        def see(module: Any, inputs: tuple[Any, ...]) -> None:
            patch = _patch(module)
            if inputs[0] is not last["input"] or patch != last["patch"]:
                x = _samples(inputs[0].detach().float(), patch)
                last.update(input=inputs[0], patch=patch, product=((x.T @ x).double(), len(x)))
            product, count = last["product"]
            before = sums.get(name)
            sums[name] = (product, count) if before is None else (before[0] + product, before[1] + count)

        return see

    hooks = [
        module.register_forward_pre_hook(hook(f"{name}.weight"))
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))
    ]
    try:
        with torch.inference_mode():
            for batch in batches:
                model(batch)
    finally:
        for handle in hooks:
            handle.remove()
    return {name: (total / count).float().numpy() for name, (total, count) in sums.items()}


def _patch(layer: Any) -> tuple[Any, ...]:
    """Kernel, dilation, padding and stride of a convolution; () for a linear layer."""
    if not hasattr(layer, "kernel_size"):
        return ()
    if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise ValueError(f"second moments of {layer} aren't known here")
    return layer.kernel_size, layer.dilation, layer.padding, layer.stride


def _samples(x: Any, patch: tuple[Any, ...]) -> Any:
    """What a layer sees as rows: [samples, in] of x [..., in], or [images x positions, in kh kw] of x [n, in, h, w]."""
    from torch.nn.functional import unfold

    return unfold(x, *patch).transpose(1, 2).flatten(0, 1) if patch else x.reshape(-1, x.shape[-1])


def main() -> None:
    import torch
    from perplexity import windows
    from safetensors.numpy import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a Hugging Face model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--text", type=Path, nargs="+", required=True)
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = AutoModelForCausalLM.from_pretrained(options.folder, dtype=torch.float32).eval()
    model.lm_head = torch.nn.Identity()  # its weight is most often the embedding, which isn't a layer
    ids = windows(AutoTokenizer.from_pretrained(options.folder), options.text, options.windows, options.length)
    moments = second_moments(model, [row[None] for row in torch.from_numpy(ids)])
    save_file(moments, options.out)
    print(f"{options.out}: {len(moments)} layers, {ids.size} tokens")


if __name__ == "__main__":
    main()
