"""Trained networks of `lenets.py` as files: whole tensors on grids, units in the order that a coder likes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from lenet_nets import Plan, SteppedNet, logits_of
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

Integers = NDArray[np.int64]


def integers_of(net: SteppedNet) -> tuple[list[Integers], list[Integers]]:
    """Weights and biases in whole steps."""
    weights, biases = ([u.detach().round().long().numpy() for u in us] for us in (net.u, net.bias_u))
    return weights, biases


def arranged(weights: list[Integers], biases: list[Integers]) -> tuple[list[Integers], list[Integers]]:
    """The same network, its hidden units in order of falling numbers of inputs; a unit without effect loses them all."""
    weights, biases = [w.copy() for w in weights], [b.copy() for b in biases]
    for i in range(len(weights) - 1, 0, -1):
        used = weights[i].reshape(len(weights[i]), len(biases[i - 1]), -1).any((0, 2))
        weights[i - 1][~used] = biases[i - 1][~used] = 0
    for i in range(len(weights) - 1):
        order = np.argsort(-np.count_nonzero(weights[i].reshape(len(weights[i]), -1), 1), kind="stable")
        weights[i], biases[i] = weights[i][order], biases[i][order]
        by_unit = weights[i + 1].reshape(len(weights[i + 1]), len(order), -1)
        weights[i + 1] = by_unit[:, order].reshape(weights[i + 1].shape)
    return weights, biases


def widened(tensor: Integers, shape: tuple[int, ...]) -> Integers:
    """`tensor` in the first corner of zeros of a larger `shape`."""
    wide = np.zeros(shape, np.int64)
    wide[tuple(slice(n) for n in tensor.shape)] = tensor
    return wide


def short_step(log_step: Tensor) -> np.float32:
    """A step of eight significant bits: so small multiples of it are exact in float32."""
    return np.float32(log_step.detach().exp().bfloat16().float().item())


def write(net: SteppedNet, plan: Plan, path: Path) -> None:
    """Write `path` (safetensors, float32, the plan's full shapes) and, beside it, the integers and steps as npz."""
    weights, biases = arranged(*integers_of(net))
    integers: dict[str, Integers] = {}
    steps: dict[str, np.float32] = {}
    parts = zip(plan.shapes.items(), weights, biases, net.log_steps, net.log_bias_steps, strict=True)
    for (name, shape), w, b, step, bias_step in parts:
        bias_name = name.replace("w", "b")
        integers[name], integers[bias_name] = widened(w, shape), widened(b, shape[:1])
        steps[name], steps[bias_name] = short_step(step), short_step(bias_step)
    save_file({name: k.astype(np.float32) * steps[name] for name, k in integers.items()}, path)
    np.savez(path.with_suffix(".npz"), steps=np.array(list(steps.values())), **integers)


class NetworkFile:
    """A network that runs with the tensors of a safetensors file. Raises KeyError if it lacks one."""

    def __init__(self, path: Path, plan: Plan) -> None:
        tensors = load_file(path)
        self.weights = [torch.from_numpy(tensors[name]) for name in plan.shapes]
        self.biases = [torch.from_numpy(tensors[name.replace("w", "b")]) for name in plan.shapes]

    def __call__(self, images: Tensor) -> Tensor:
        return logits_of(self.weights, self.biases, images)
