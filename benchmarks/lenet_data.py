"""MNIST for `lenets.py`: the splits, distorted copies of the training digits, and what a teacher says of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

TEST = 3_000  # the last images of the file
VALIDATION = 5_000  # the last of the training images: for choosing, never trained on
SIDE = 28
CLASSES = 10
_TEACHER_RATE = 2e-3
_TEACHER_STRENGTH = 1.2
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
    """What a student learns from: images uint8 [n, 784], of which the first `plain` aren't distorted, and the teachers'
    mean logits float32 [n, 10].
    """

    x: Tensor
    logits: Tensor
    plain: int


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


def _teacher() -> nn.Module:
    """A convolutional network, some ten times larger than LeNet-5 in work, with batch normalisation."""
    net = nn.Sequential(
        *(nn.Conv2d(1, 32, 5, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 25, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU()),
        *(nn.Dropout(0.3), nn.Linear(256, CLASSES)),
    )
    return net.to(memory_format=torch.channels_last)


@torch.no_grad()
def answers(masters: list[nn.Module], x: Tensor) -> Tensor:
    """Mean logits float32 [n, 10] of the teachers `masters` for images uint8 [n, ...]."""
    found = [torch.cat([master.eval()(_dense(pixels(part))) for part in x.split(1000)]) for master in masters]
    return torch.stack(found).mean(0)


def _dense(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _train_teacher(digits: Digits, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = _teacher()
    x, y = digits.train.x, digits.train.y
    steps = epochs * (len(x) // _BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), lr=_TEACHER_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _TEACHER_RATE, total_steps=steps)
    for epoch in range(epochs):
        start = time.perf_counter()
        net.train()
        order = torch.randperm(len(x), generator=generator)
        for chosen in order.split(_BATCH)[: len(x) // _BATCH]:
            images = _dense(pixels(distorted(x[chosen], _TEACHER_STRENGTH, generator)))
            loss = F.cross_entropy(net(images), y[chosen], label_smoothing=0.02)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        wrong = (answers([net], digits.validation.x).argmax(1) != digits.validation.y).float().mean()
        print(f"teacher {seed} epoch {epoch + 1}/{epochs}: {wrong:.2%} wrong, {time.perf_counter() - start:.0f} s")
    return net


def teachers(digits: Digits, folder: Path, count: int, epochs: int) -> list[nn.Module]:
    """`count` networks trained on distorted digits; kept in `folder`."""
    masters = []
    for seed in range(count):
        kept = folder / f"teacher-{seed}.pt"
        if kept.exists():
            net = _teacher()
            net.load_state_dict(torch.load(kept, weights_only=True))
        else:
            net = _train_teacher(digits, epochs, seed)
            torch.save(net.state_dict(), part := kept.with_suffix(".part"))
            part.rename(kept)
        masters.append(net)
    return masters


def lessons(digits: Digits, masters: list[nn.Module], folder: Path, copies: int, strength: float) -> Lessons:
    """The training digits and `copies` distorted sets of them, with the teachers' logits; kept in `folder`, mapped."""
    x_path, logits_path = folder / "lessons-x.npy", folder / "lessons-logits.npy"
    if not logits_path.exists():
        generator = torch.Generator().manual_seed(99)
        x = torch.cat([digits.train.x, *(distorted(digits.train.x, strength, generator) for _ in range(copies))])
        np.save(x_path, x.reshape(len(x), -1).numpy())
        np.save(part := folder / "part.npy", answers(masters, x).numpy())
        part.rename(logits_path)
    x, told = (torch.from_numpy(np.load(path, mmap_mode="c")) for path in (x_path, logits_path))
    return Lessons(x, told, len(digits.train.x))
