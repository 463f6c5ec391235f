"""Networks in which training leaves structure: over-wide ones of MNIST with dead and similar units, modular addition.

    python benchmarks/structured_nets.py OUT [--mnist FILE.npz] [--only NAME ...]

Writes OUT/NAME.safetensors. FILE has x uint8 [63000, 28, 28] and y, the last 3,000 for testing.

wide        784-512-512-10, ReLU, Adam with a group lasso on what makes each hidden unit (Scardapane et al., "Group sparse
            regularization for deep neural networks", Neurocomputing 2017), which kills units
condensed   784-1024-10, ReLU, without biases, from small weights: units gather in few directions (Luo et al., "Phase diagram for
            two-layer ReLU neural networks", JMLR 2021)
lenet       784-300-100-10, ReLU, Adam
addition    (a + b) mod 113, 128 wide embedding, 512 ReLUs, full batches, weight decay 1 (Nanda et al., "Progress measures for
            grokking via mechanistic interpretability", ICLR 2023, without attention)
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

TEST = 3_000
BATCH = 128
MODULUS, EMBEDDING, HIDDEN = 113, 128, 512
State = dict[str, Tensor]


def digits(path: Path) -> tuple[Tensor, Tensor]:
    """Images float32 [n, 784] in [0, 1], labels int64 [n]."""
    with np.load(path) as arrays:
        return torch.from_numpy(arrays["x"]).float().div(255).flatten(1), torch.from_numpy(arrays["y"].astype(np.int64))


def logits(state: State, x: Tensor) -> Tensor:
    """Of a network of ReLU layers fc1, fc2, ..., with biases where it has them."""
    layers = sorted(name.removesuffix(".weight") for name in state if name.endswith(".weight"))
    for layer in layers:
        x = F.linear(x, state[f"{layer}.weight"], state.get(f"{layer}.bias"))
        x = x.relu() if layer != layers[-1] else x
    return x


def accuracy(state: State, x: Tensor, y: Tensor) -> float:
    """On the test images."""
    with torch.no_grad():
        return float((logits(state, x[-TEST:]).argmax(1) == y[-TEST:]).float().mean())


def layers(sizes: list[int], spread: float, *, biases: bool) -> State:
    """Weights N(0, spread^2 2 / fan-in), biases of 0."""
    state: State = {}
    for k, (i, o) in enumerate(pairwise(sizes), 1):
        state[f"fc{k}.weight"] = (torch.randn(o, i) * spread * (2 / i) ** 0.5).requires_grad_()
        if biases:
            state[f"fc{k}.bias"] = torch.zeros(o, requires_grad=True)
    return state


@torch.no_grad()
def shrink(state: State, by: float) -> None:
    """One proximal step of the group lasso: the weights and bias of each hidden unit, `by` nearer to 0."""
    hidden = [name.removesuffix(".weight") for name in state if name.endswith(".weight")][:-1]
    for layer in hidden:
        weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
        keep = (1 - by / (weight.square().sum(1) + bias.square()).sqrt().clamp_min(1e-12)).clamp_min(0)
        weight *= keep[:, None]
        bias *= keep


def train(state: State, x: Tensor, y: Tensor, epochs: int, rate: float, penalty: float, lasso: float = 0.0) -> State:
    """Adam on cross-entropy + penalty / 2 |w|^2 + lasso x the lengths of units, the rate falling to 0."""
    count = len(x) - TEST
    optimiser = torch.optim.Adam(state.values(), rate, weight_decay=penalty)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * (count // BATCH))
    for epoch in range(epochs):
        start = time.perf_counter()
        for chosen in torch.randperm(count).split(BATCH)[: count // BATCH]:
            loss = F.cross_entropy(logits(state, x[chosen]), y[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if lasso:
                shrink(state, lasso * schedule.get_last_lr()[0])
            schedule.step()
        norms = {name: float((w.detach().norm(dim=1) < 1e-3).sum()) for name, w in state.items() if w.ndim == 2}
        print(
            f"epoch {epoch + 1}: {accuracy(state, x, y):.4f}, dead {norms}, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return state


def addition_logits(state: State, pairs: Tensor) -> Tensor:
    """Logits [n, MODULUS] of pairs int64 [n, 2]."""
    hidden = F.linear(state["embed"][pairs].sum(1), state["hidden"]).relu()
    return F.linear(hidden, state["unembed"])


def addition(steps: int = 4000) -> State:
    """Trained on 60 % of all pairs."""
    shapes = {"embed": (MODULUS, EMBEDDING), "hidden": (HIDDEN, EMBEDDING), "unembed": (MODULUS, HIDDEN)}
    state = {n: (torch.randn(s) * (1 / s[1]) ** 0.5).requires_grad_() for n, s in shapes.items()}
    pairs = torch.cartesian_prod(torch.arange(MODULUS), torch.arange(MODULUS))
    right = pairs.sum(1) % MODULUS
    seen = torch.randperm(len(pairs))[: int(0.6 * len(pairs))]
    optimiser = torch.optim.AdamW(state.values(), 2e-3, betas=(0.9, 0.98), weight_decay=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        loss = F.cross_entropy(addition_logits(state, pairs[seen]), right[seen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 200 == 199:
            with torch.no_grad():
                share = float((addition_logits(state, pairs).argmax(1) == right).float().mean())
            print(f"step {step + 1}: loss {float(loss.detach()):.2e}, {share:.4f} of all pairs right", flush=True)
    return state


def made(name: str, mnist: Path | None) -> State:
    """The trained network of that name."""
    if name == "addition":
        return addition()
    if mnist is None:
        raise SystemExit(f"{name} needs --mnist")
    x, y = digits(mnist)
    if name == "wide":
        return train(layers([784, 512, 512, 10], 1.0, biases=True), x, y, 6, 1e-3, 1e-5, lasso=2.0)
    if name == "condensed":
        return train(layers([784, 1024, 10], 0.02, biases=False), x, y, 15, 1e-3, 1e-5)
    return train(layers([784, 300, 100, 10], 1.0, biases=True), x, y, 8, 2e-3, 1e-5)


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--only", nargs="+", default=["lenet", "addition", "wide", "condensed"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        torch.manual_seed(0)
        print(name, flush=True)
        state = made(name, arguments.mnist)
        save_file({k: v.detach().contiguous() for k, v in state.items()}, arguments.out / f"{name}.safetensors")


if __name__ == "__main__":
    main()
