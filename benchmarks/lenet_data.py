"""MNIST for `lenets.py`: the splits, distorted copies of the training digits, and what a teacher says of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

TEST = 3_000  # the last images of the file
VALIDATION = 5_000  # the last of the training images: for choosing, never trained on
SIDE = 28
CLASSES = 10
_TEACHER_RATE = 2e-3
_BATCH = 256


@dataclass(frozen=True)
class Split:
    """Images uint8 [n, 28, 28] and labels int64 [n]."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Digits:
    """The three parts of MNIST."""

    train: Split
    validation: Split
    test: Split


@dataclass(frozen=True)
class Lessons:
    """What a student learns from: images uint8 [n, 784], a teacher's logits float32 [n, 10] and labels int64 [n]."""

    x: Tensor
    logits: Tensor
    y: Tensor


def load(path: Path) -> Digits:
    """MNIST from an npz with `x` uint8 [n, 28, 28] and `y` [n], the test images last. Raises OSError, KeyError."""
    with np.load(path) as arrays:
        x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"].astype(np.int64))
    ends = (0, len(x) - TEST - VALIDATION, len(x) - TEST, len(x))
    parts = [Split(x[a:b], y[a:b]) for a, b in pairwise(ends)]
    return Digits(*parts)


def pixels(x: Tensor) -> Tensor:
    """Images uint8 [n, ...] as float32 [n, 1, 28, 28] in [0, 1]."""
    return x.reshape(-1, 1, SIDE, SIDE).float().div_(255)


def distorted(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Copies of uint8 [n, 28, 28], each by its own affine map and smooth displacement (Simard et al., ICDAR 2003).

    At strength 1, standard deviations are about 6 degrees, 6 % of scale and shear, 0.8 pixels of shift.
    """
    n = len(x)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).clamp_(-2, 2) * strength

    angle, shear = normal(n) * 0.1, normal(n) * 0.06
    wide, high = (0.06 * normal(n)).exp(), (0.06 * normal(n)).exp()
    cos, sin = angle.cos(), angle.sin()
    rows = [wide * cos, shear - sin, 0.055 * normal(n), sin, high * cos, 0.055 * normal(n)]
    grid = F.affine_grid(torch.stack(rows, 1).reshape(n, 2, 3), [n, 1, SIDE, SIDE], align_corners=False)
    bends = F.interpolate(0.03 * normal(n, 2, 5, 5), size=(SIDE, SIDE), mode="bicubic", align_corners=True)
    moved = F.grid_sample(pixels(x), grid + bends.permute(0, 2, 3, 1), align_corners=False)
    return (moved * 255).round_().clamp_(0, 255).byte().reshape(n, SIDE, SIDE)


def _teacher() -> nn.Sequential:
    """A convolutional network, some ten times larger than LeNet-5 in work, with batch normalisation."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 5, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 25, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU()),
        *(nn.Dropout(0.3), nn.Linear(256, CLASSES)),
    )


@torch.no_grad()
def _answers(net: nn.Module, x: Tensor) -> Tensor:
    net.eval()
    return torch.cat([net(pixels(part).contiguous(memory_format=torch.channels_last)) for part in x.split(1000)])


def _train_teacher(digits: Digits, epochs: int, seed: int, distortion: float) -> nn.Module:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net: nn.Module = _teacher().to(memory_format=torch.channels_last)
    x, y = digits.train.x, digits.train.y
    steps = epochs * (len(x) // _BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), lr=_TEACHER_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _TEACHER_RATE, total_steps=steps)
    for epoch in range(epochs):
        start = time.perf_counter()
        net.train()
        order = torch.randperm(len(x), generator=generator)
        for chosen in order.split(_BATCH)[: len(x) // _BATCH]:
            images = pixels(distorted(x[chosen], distortion, generator)).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(net(images), y[chosen], label_smoothing=0.02)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        wrong = (_answers(net, digits.validation.x).argmax(1) != digits.validation.y).float().mean()
        print(f"teacher {seed} epoch {epoch + 1}/{epochs}: {wrong:.2%} wrong, {time.perf_counter() - start:.0f} s")
    return net


def lessons(digits: Digits, folder: Path, *, copies: int, strength: float, epochs: int, teachers: int) -> Lessons:
    """The training digits and `copies` distorted sets of them, with teachers' mean logits; kept in `folder`."""
    kept = folder / f"lessons-{copies}-{strength:g}.npz"
    if not kept.exists():
        generator = torch.Generator().manual_seed(99)
        x = torch.cat([digits.train.x, *(distorted(digits.train.x, strength, generator) for _ in range(copies))])
        logits: NDArray[np.float32] = np.zeros((len(x), CLASSES), np.float32)
        for seed in range(teachers):
            logits += _answers(_teacher_from(digits, folder, epochs, seed), x).numpy() / teachers
        part = kept.with_name("part-" + kept.name)
        np.savez(part, x=x.reshape(len(x), -1).numpy(), logits=logits)
        part.rename(kept)
    with np.load(kept) as arrays:
        x, told = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["logits"])
    return Lessons(x, told, digits.train.y.repeat(copies + 1))


def _teacher_from(digits: Digits, folder: Path, epochs: int, seed: int) -> nn.Module:
    kept = folder / f"teacher-{seed}.pt"
    if kept.exists():
        net: nn.Module = _teacher().to(memory_format=torch.channels_last)
        net.load_state_dict(torch.load(kept))
        return net
    net = _train_teacher(digits, epochs, seed, distortion=1.2)
    torch.save(net.state_dict(), kept)
    return net
