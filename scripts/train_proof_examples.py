"""Train the networks that `netweight prove --example` interprets, and write src/netweight/weights/proof/examples.

    pip install 'netweight[torch]'
    python scripts/train_proof_examples.py

Seconds on one core. Every seed is fixed; another build of torch may round differently, so another machine may give
other last bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from netweight.weights.proof.examples import example, max_of_k, modular_addition

SEED = 0
MAX_WIDTH, MAX_STEPS, MAX_BATCH, MAX_RATE = 8, 200, 2048, 0.05
SUM_WIDTH, SUM_STEPS, SUM_RATE, SUM_DECAY, SUM_SHARE = 48, 3000, 0.01, 1.0, 0.8

Forward = Callable[[dict[str, Tensor], Tensor], Tensor]


def attention(state: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """`max_of_k.network` in torch."""
    embedded = state["embed"][inputs]
    weights = torch.softmax(embedded @ state["query"], 1)
    return (weights[..., None] * embedded).sum(1) @ state["unembed"]


def relus(state: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """`modular_addition.network` in torch."""
    return torch.relu(state["embed"][inputs].sum(1)) @ state["unembed"]


def normal(spread: float, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """Parameters N(0, spread^2)."""
    return {name: (spread * torch.randn(shape)).requires_grad_() for name, shape in shapes.items()}


def fit(
    forward: Forward, state: dict[str, Tensor], optimiser: torch.optim.Optimizer, batches: list[tuple[Tensor, Tensor]]
) -> None:
    for inputs, right in batches:
        loss = torch.nn.functional.cross_entropy(forward(state, inputs), right)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def train_max() -> dict[str, Tensor]:
    inputs = torch.from_numpy(max_of_k.inputs())
    right = inputs.max(1).values
    state = normal(0.5, embed=(max_of_k.NUMBERS, MAX_WIDTH), query=(MAX_WIDTH,), unembed=(MAX_WIDTH, max_of_k.NUMBERS))
    chosen = [torch.randint(len(inputs), (MAX_BATCH,)) for _ in range(MAX_STEPS)]
    fit(attention, state, torch.optim.Adam(state.values(), MAX_RATE), [(inputs[i], right[i]) for i in chosen])
    return state


def train_sum() -> dict[str, Tensor]:
    inputs = torch.from_numpy(modular_addition.inputs())
    right = inputs.sum(1) % modular_addition.MODULUS
    state = normal(0.3, embed=(modular_addition.MODULUS, SUM_WIDTH), unembed=(SUM_WIDTH, modular_addition.MODULUS))
    seen = torch.randperm(len(inputs))[: int(SUM_SHARE * len(inputs))]
    optimiser = torch.optim.AdamW(state.values(), SUM_RATE, betas=(0.9, 0.98), weight_decay=SUM_DECAY)
    fit(relus, state, optimiser, [(inputs[seen], right[seen])] * SUM_STEPS)
    return state


def main() -> None:
    torch.set_num_threads(1)
    for name, train, module in (("max-of-k", train_max, max_of_k), ("modular-addition", train_sum, modular_addition)):
        torch.manual_seed(SEED)
        state = {key: value.detach().numpy() for key, value in train().items()}
        save_file(state, example(name)[1])
        inputs = module.inputs()
        right = module.network(state, inputs).argmax(1) == module.task(inputs)
        print(f"{name}: {right.sum()} of {len(inputs)} right, {np.mean(right):.4f}")


if __name__ == "__main__":
    main()
