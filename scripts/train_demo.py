"""Train the network that `netweight demo` weighs, and write src/netweight/data.

    pip install scikit-learn
    python scripts/train_demo.py

LeNet-300-100 (three fully connected layers, ReLU) on scikit-learn's 8 x 8 handwritten digits, in plain numpy and
FP32: He initialisation, softmax cross entropy, AdamW, mini-batches. Every seed is fixed; another BLAS may round
differently, so another machine may give other last bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from netweight.data import demo_accuracy

Array = NDArray[np.float32]
State = dict[str, Array]

WIDTHS = (64, 300, 100, 10)
TEST_SAMPLES = 450
EPOCHS = 60
BATCH = 64
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
SEED = 20_240
OUT = Path(__file__).resolve().parents[1] / "src" / "netweight" / "data"


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Train inputs and labels, test inputs and labels; inputs are rows of 64 grey levels in 0..16."""
    from sklearn.datasets import load_digits as load

    bunch = load()
    order = np.random.default_rng(SEED).permutation(len(bunch.target))
    inputs, labels = bunch.data[order].astype(np.uint8), bunch.target[order].astype(np.uint8)
    return inputs[TEST_SAMPLES:], labels[TEST_SAMPLES:], inputs[:TEST_SAMPLES], labels[:TEST_SAMPLES]


def initial_state(rng: np.random.Generator) -> State:
    """He-normal weights (out, in) and zero biases."""
    state: State = {}
    for k, (fan_in, fan_out) in enumerate(pairwise(WIDTHS), 1):
        spread = np.float32(np.sqrt(2 / fan_in))
        state[f"fc{k}.weight"] = rng.standard_normal((fan_out, fan_in), dtype=np.float32) * spread
        state[f"fc{k}.bias"] = np.zeros(fan_out, np.float32)
    return state


def gradients(state: State, x: Array, labels: NDArray[np.uint8]) -> State:
    """Gradients of the mean cross entropy over a batch `x` (batch, 64)."""
    depth = len(WIDTHS) - 1
    activations = [x]
    for k in range(1, depth + 1):
        z = activations[-1] @ state[f"fc{k}.weight"].T + state[f"fc{k}.bias"]
        activations.append(np.maximum(z, 0) if k < depth else z)
    logits = activations.pop()
    likelihood = np.exp(logits - logits.max(1, keepdims=True))
    delta = likelihood / likelihood.sum(1, keepdims=True)
    delta[np.arange(len(labels)), labels] -= 1
    delta /= np.float32(len(labels))
    out: State = {}
    for k in range(depth, 0, -1):
        below = activations[k - 1]
        out[f"fc{k}.weight"], out[f"fc{k}.bias"] = delta.T @ below, delta.sum(0)
        delta = (delta @ state[f"fc{k}.weight"]) * (below > 0)
    return out


def batches(rng: np.random.Generator, count: int) -> Iterator[NDArray[np.int64]]:
    """Indices of every mini-batch of the whole training."""
    for _ in range(EPOCHS):
        order = rng.permutation(count)
        yield from (order[k : k + BATCH] for k in range(0, count, BATCH))


def train(inputs: NDArray[np.uint8], labels: NDArray[np.uint8]) -> State:
    """AdamW (Loshchilov & Hutter 2019, algorithm 2), a constant rate, no decay of biases."""
    rng = np.random.default_rng(SEED)
    state = initial_state(rng)
    first = {name: np.zeros_like(w) for name, w in state.items()}
    second = {name: np.zeros_like(w) for name, w in state.items()}
    scaled = inputs.astype(np.float32) / np.float32(16)
    for step, batch in enumerate(batches(rng, len(labels)), 1):
        rate = np.float32(LEARNING_RATE * np.sqrt(1 - BETA2**step) / (1 - BETA1**step))
        for name, gradient in gradients(state, scaled[batch], labels[batch]).items():
            first[name] += np.float32(1 - BETA1) * (gradient - first[name])
            second[name] += np.float32(1 - BETA2) * (gradient * gradient - second[name])
            if name.endswith("weight"):
                state[name] *= np.float32(1 - LEARNING_RATE * WEIGHT_DECAY)
            state[name] -= rate * first[name] / (np.sqrt(second[name]) + np.float32(EPSILON))
    return state


def main() -> None:
    train_inputs, train_labels, test_inputs, test_labels = load_digits()
    state = train(train_inputs, train_labels)
    network = OUT / "digits-lenet-300-100.safetensors"
    save_file(state, network, metadata={"format": "np", "dataset": "scikit-learn digits", "seed": str(SEED)})
    np.savez_compressed(OUT / "digits-test.npz", inputs=test_inputs, labels=test_labels)
    digest = hashlib.sha256(network.read_bytes()).hexdigest()
    print(f"{network.name}: {network.stat().st_size:,} bytes, sha256 {digest}")
    print(f"test accuracy {100 * demo_accuracy(dict(state)):.2f} % of {len(test_labels)}")


if __name__ == "__main__":
    main()
