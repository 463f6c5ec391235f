"""Bits-back with widths from the empirical Fisher information, on a ResNet of CIFAR-10.

    python benchmarks/fisher.py RESNET.safetensors --cifar cifar10_jpeg_q75.npz [--examples 400 --test 1000]

The gradients are of single training images. Every message is decoded and compared; accuracy is that of the weights that came out.
Writes benchmarks/results/fisher.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from cifar import accuracy, batches, images, resnet, without_prefix
from run import RESULTS, machine
from safetensors.numpy import load_file

from netweight.weights.bits_back.fisher import laplace, of_torch
from netweight.weights.labels.story import ways

TRAINED_ON = 50_000
_LEAST = 1000  # weights of a tensor


def loss(network: torch.nn.Module, example: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Nats of one image's label."""
    return torch.nn.functional.cross_entropy(network(example[0]), example[1])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=400)
    parser.add_argument("--test", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    state = {name: t.numpy() for name, t in without_prefix(load_file(options.network)).items()}
    chosen = {name: a for name, a in state.items() if a.size >= _LEAST and a.ndim > 1}
    network = resnet(state)
    pixels, labels = images(options.cifar, "train", options.examples)
    examples = zip(batches(pixels, 1), torch.from_numpy(labels.astype(np.int64)).split(1), strict=True)
    start = time.process_time()
    squares = of_torch(network, loss, examples, chosen)
    seconds = time.process_time() - start
    test, right = images(options.cifar, "test", options.test)
    inputs, before = batches(test), 0.0
    before = accuracy(state, inputs, right)
    lines = [
        "# Widths from the empirical Fisher information", "",
        f"`python benchmarks/fisher.py {options.network.name} --examples {options.examples} --test {options.test}`", "",
        (f"{options.network.name}: {sum(a.size for a in chosen.values()):,} weights of {len(chosen)} convolutions and matrices, "
        f"{TRAINED_ON:,} training images; F from {options.examples} of them ({seconds:.0f} processor s). Prior N(0, 1) of weights in "
        f"units of each tensor's root mean square. The network as it is names {before:.1%} of {options.test} test images rightly."),
        "", ("Bits are 8 x the length of messages that were decoded again (bits-back: what a message grew by, and gave back); *KL* is a "
        "bound. `examples x` is N as a multiple of the images: a Laplace approximation is too wide where the loss isn't a "
        "quadratic, and a larger N narrows it."), "",
        "| examples x | code | receiver knows, beside prior and scales | bits/weight | KL | over KL | accuracy |",
        "|---:|---|---|---:|---:|---:|---:|",
    ]  # fmt: skip
    for multiple in (1, 10, 100):
        made = laplace(chosen, squares.mean(), TRAINED_ON * multiple)
        count = made.posterior.means.size
        bound = float(made.posterior.divergences().sum()) / count
        for row, weights in ways(made.posterior):
            score = accuracy(state | made.tensors(weights), inputs, right)
            rate = row.weight_bits / count
            lines.append(
                f"| {multiple} | {row.code} | {row.knowledge} | {rate:.3f} | {bound:.3f} | {rate / bound - 1:+.2%} | {score:.1%} |"
            )
            print(lines[-1], flush=True)
    lines += ["", f"Machine: {machine()['processor']}, one thread.", ""]
    (RESULTS / "fisher.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
