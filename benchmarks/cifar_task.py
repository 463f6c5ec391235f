"""A task for --task: top-1 accuracy in 0..1 of a CIFAR-10 ResNet on JPEG test images.

    CIFAR_NPZ=DIR/images/cifar10_jpeg_q75.npz netweight compress resnet20.safetensors --task benchmarks/cifar_task.py \\
        --max-drop 0.5%

CIFAR_COUNT says how many test images are shown (default: all 10,000). One thread of torch.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import cifar
import torch

framework = "torch"


@cache
def _test_set() -> tuple[list[torch.Tensor], Any]:
    if "CIFAR_NPZ" not in os.environ:
        raise SystemExit("set CIFAR_NPZ to the path of cifar10_jpeg_q75.npz")
    pixels, labels = cifar.images(Path(os.environ["CIFAR_NPZ"]), "test", int(os.environ.get("CIFAR_COUNT", "10000")))
    return cifar.batches(pixels), labels


def score(state_dict: dict[str, torch.Tensor]) -> float:
    """Share of test images named rightly."""
    torch.set_num_threads(1)
    inputs, labels = _test_set()
    return cifar.accuracy(state_dict, inputs, labels)
