"""Train where the networks of `netweight.image.siren` start from, and write src/netweight/image/data.

    pip install torch scikit-image scikit-learn
    python scripts/train_siren_start.py [--widths 16 24 32] [--seconds 200]

MAML (Finn et al. 2017, arXiv 1703.03400) with a learned rate for each parameter (Meta-SGD, Li et al. 2017, arXiv
1707.09835), second order. A task is a random window of a photograph that one of the two packages ships, turned, mirrored,
brighter or darker, sometimes tinted. From the start, four steps of gradient descent, each on fresh pixels and at the
learned rates; the error at the end, and with less weight those on the way, move the start and the rates. Errors count in
relation to their size, so that no picture outweighs the others. Seeds are fixed, but training ends by the processor's
clock, so another machine gives other files.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from math import cos, pi
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from netweight.image.siren.integers import Shape
from netweight.image.siren.network import OMEGA, Picture, initial, psnr_of
from netweight.image.siren.starts import FREQUENCIES, LAYERS, pack_start

Pixels = NDArray[np.uint8]
SKIMAGE: Final = (
    "astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "motorcycle_right.png", "rocket.jpg", "camera.png",
    "coins.png", "brick.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png",
)  # fmt: skip
STEPS, TASKS = 4, 3
ROWS, COLUMNS = 36, 42
FIRST_RATE = 2e-3
START_RATE, RATE_RATE = 1e-3, 2e-2
ON_THE_WAY = 0.3
FLOOR = 0.02
CLIP = 1.0
SEED = 1
OUT = Path(__file__).resolve().parents[1] / "src" / "netweight" / "image" / "data"


def photographs() -> list[Pixels]:
    """uint8 [H, W, 3] each."""
    import skimage
    from sklearn.datasets import load_sample_images

    folder = Path(skimage.__file__).parent / "data"
    shown = [np.array(Image.open(folder / name).convert("RGB")) for name in SKIMAGE]
    return [*shown, *load_sample_images().images]


def tasks(photos: list[Pixels], rng: np.random.Generator) -> Iterator[Picture]:
    """Windows of half to all of a photograph each way."""
    while True:
        photo = photos[int(rng.integers(len(photos)))]
        height, width = (int(rng.integers(size // 2, size + 1)) for size in photo.shape[:2])
        top, left = (int(rng.integers(s - k + 1)) for s, k in zip(photo.shape[:2], (height, width), strict=True))
        window = np.rot90(photo[top : top + height, left : left + width], int(rng.integers(4)))
        if rng.integers(2):
            window = window[:, ::-1]
        tint = rng.uniform(0.75, 1.1, 3) if rng.integers(3) == 0 else np.ones(3)
        curve = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, 0.25)) * rng.uniform(0.7, 1.1) * tint
        curve = np.clip(255 * curve, 0, 255).astype(np.uint8)
        thin = window[::2, ::2] if min(window.shape[:2]) > 256 else window
        yield Picture(np.stack([curve[thin[..., k], k] for k in range(3)], axis=2), FREQUENCIES)


def batch(pictures: list[Picture], rng: np.random.Generator) -> list[Tensor]:
    """Encoded columns and rows of evenly spread pixels, and their levels, one task after the other."""
    out = []
    for p in pictures:
        rows = ((np.arange(ROWS) + rng.random()) * p.height / ROWS).astype(np.int64)
        columns = ((np.arange(COLUMNS) + rng.random()) * p.width / COLUMNS).astype(np.int64)
        out.append((p.columns[:, columns], p.rows[:, rows], p.levels[:, rows][:, :, columns].reshape(3, -1)))
    return [torch.from_numpy(np.stack(parts)) for parts in zip(*out, strict=True)]


def errors(params: list[Tensor], seen: list[Tensor]) -> Tensor:
    """Mean squared error of each task, whose parameters are [tasks, outputs, inputs]."""
    columns, rows, levels = seen
    omega, split = float(OMEGA), columns.shape[1]
    by_column = omega * params[0][:, :, :split] @ columns
    by_row = omega * (params[0][:, :, split:] @ rows + params[1])
    hidden = torch.sin(by_column[:, :, None, :] + by_row[:, :, :, None]).flatten(2)
    for k in range(1, LAYERS):
        hidden = torch.sin(omega * (params[2 * k] @ hidden + params[2 * k + 1]))
    return ((params[-2] @ hidden + params[-1] - levels) ** 2).mean((1, 2))


def lesson(
    start: list[Tensor], logs: list[Tensor], pictures: list[Picture], rng: np.random.Generator
) -> tuple[Tensor, float]:
    """(what is minimised, mean squared error after the last step)."""
    params, total = [p.expand(TASKS, *p.shape) for p in start], torch.zeros(())
    for k in range(STEPS):
        error = errors(params, batch(pictures, rng))
        if k:
            total = total + (ON_THE_WAY / STEPS * error / (error.detach() + FLOOR)).sum()
        gradients = torch.autograd.grad(error.sum(), params, create_graph=True)
        params = [p - torch.exp(rate) * g for p, rate, g in zip(params, logs, gradients, strict=True)]
    error = errors(params, batch(pictures, rng))
    return total + (error / (error.detach() + FLOOR)).sum(), float(error.detach().mean())


def train(width: int, photos: list[Pixels], seconds: float) -> bytes:
    """The file of the start of one width."""
    rng, shape = np.random.default_rng(SEED), Shape(3, width, LAYERS, FREQUENCIES)
    stream, began, seen = tasks(photos, rng), time.process_time(), list[float]()
    start = [torch.from_numpy(p).requires_grad_() for p in initial(shape, 0)]
    logs = [torch.full_like(p, float(np.log(FIRST_RATE))).requires_grad_() for p in start]
    optimiser = torch.optim.Adam([{"params": start}, {"params": logs}], betas=(0.9, 0.99))
    while (done := (time.process_time() - began) / seconds) < 1:
        for group, top in zip(optimiser.param_groups, (START_RATE, RATE_RATE), strict=True):
            group["lr"] = top * (0.5 + 0.5 * cos(pi * done))
        loss, error = lesson(start, logs, [next(stream) for _ in range(TASKS)], rng)
        optimiser.zero_grad()
        loss.backward()
        for group in (start, logs):
            torch.nn.utils.clip_grad_norm_(group, CLIP)
        optimiser.step()
        seen.append(error)
        if len(seen) == 100:
            print(
                f"width {width}, {100 * done:.0f} %: {psnr_of(float(np.mean(seen))):.2f} dB after {STEPS} steps",
                flush=True,
            )
            seen.clear()
    return pack_start(shape, [p.detach().numpy() for p in start], [np.exp(g.detach().numpy()) for g in logs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 24, 32])
    parser.add_argument("--seconds", type=float, default=200, help="processor time for each width")
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos = photographs()
    OUT.mkdir(exist_ok=True)
    for width in args.widths:
        path = OUT / f"siren-{width}.start"
        path.write_bytes(train(width, photos, args.seconds))
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
