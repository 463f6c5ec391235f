"""Train the networks that the grid codec starts from, on a folder of pictures.

    python scripts/train_grid_start.py PICTURES CHECKPOINT.pt --steps 6000 --export src/netweight/image/data/grid-start.bin

PICTURES holds *.npy arrays (uint8 [h, w, 3]) or image files. Continues from CHECKPOINT.pt if that exists. The loss is
the rate-distortion one of a learned codec, bits + lambda * squared error, at a random lambda for every crop: uniform
noise for the rate, rounding with a straight-through gradient for the pixels (Minnen and Singh, ICIP 2020).
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from netweight.image.grid import analysis, haar, model, quantise, start


def load(folder: Path, least: int) -> list[np.ndarray]:
    out = []
    for path in sorted(folder.iterdir()):
        a = np.load(path) if path.suffix == ".npy" else np.asarray(Image.open(path).convert("RGB"))
        if min(a.shape[:2]) >= least:
            out.append(a)
    return out


def crops(
    pictures: list[np.ndarray], weights: np.ndarray, count: int, side: int, rng: np.random.Generator
) -> torch.Tensor:
    """float [count, 3, side, side], flipped and turned at random."""
    out = []
    for i in rng.choice(len(pictures), count, p=weights):
        a = pictures[i]
        y, x = (int(rng.integers(0, n - side + 1)) for n in a.shape[:2])
        a = a[y : y + side, x : x + side]
        if rng.random() < 0.5:
            a = a[:, ::-1]
        if rng.random() < 0.2:
            a = a.transpose(1, 0, 2)
        out.append(np.ascontiguousarray(a.transpose(2, 0, 1)))
    return torch.from_numpy(np.stack(out)).float().contiguous(memory_format=torch.channels_last)


def losses(decoder: model.Weights, encoder: model.Weights, pixels: torch.Tensor, quality: torch.Tensor):
    """Bits a pixel and mean squared error of each crop."""
    latents = analysis.analyse(encoder, decoder, pixels, quality)
    rounded = [y + (y.round() - y).detach() for y in latents]
    got = model.synthesise(decoder, rounded, quality, *pixels.shape[2:])
    area = pixels.shape[2] * pixels.shape[3]
    rate = sum(
        model.bits(y + torch.rand_like(y) - 0.5, m, s).sum((1, 2, 3)) / area
        for y, m, s in zip(latents, got.locations, got.scales, strict=True)
    )
    return rate, (got.pixels - pixels).square().mean((1, 2, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", type=Path, help="Where to write the networks as integers, as they are shipped.")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pictures = load(args.pictures, args.side)
    areas = np.array([a.shape[0] * a.shape[1] for a in pictures]) ** 0.5
    rng = np.random.default_rng(args.seed)
    decoder, encoder, first, state = haar.decoder(args.seed), haar.encoder(args.seed + 1), 0, None
    if args.checkpoint.exists():
        saved = torch.load(args.checkpoint)
        decoder, encoder, first, state = saved["decoder"], saved["encoder"], saved["step"], saved["optimiser"]
    parameters = [p.requires_grad_() for p in (*decoder.values(), *encoder.values())]
    optimiser = torch.optim.Adam(parameters, lr=args.rate, betas=(0.9, 0.99))
    if state:  # of the same parameters, perhaps at another rate
        optimiser.load_state_dict(state)
    shown = np.zeros(3)
    for step in range(first, args.steps):
        rate = (
            args.rate * min(1.0, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        )
        optimiser.param_groups[0]["lr"] = rate
        pixels = crops(pictures, areas / areas.sum(), args.batch, args.side, rng)
        quality = torch.from_numpy(rng.uniform(12, 52, (args.batch, 1, 1, 1))).float()
        bits, error = losses(decoder, encoder, pixels, quality)
        worth = torch.exp2(quality.flatten() / 8 - 12)
        # both terms grow with lambda: divided by its root, every quality counts alike
        loss = ((bits + worth * error) / worth.sqrt()).mean() / 10
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        optimiser.step()
        shown = 0.98 * shown + 0.02 * np.array(
            [bits.mean().item(), (10 * torch.log10(65025 / error)).mean().item(), loss.item()]
        )
        if (step + 1) % 100 == 0:
            scale = 1 - 0.98 ** (step + 1 - first)
            print(step + 1, *(f"{v / scale:.3f}" for v in shown), f"{time.process_time():.0f} s", flush=True)
        if (step + 1) % 500 == 0 or step + 1 == args.steps:
            detached = [{k: v.detach() for k, v in w.items()} for w in (decoder, encoder)]
            new = args.checkpoint.with_suffix(".new")
            torch.save(
                {"decoder": detached[0], "encoder": detached[1], "step": step + 1, "optimiser": optimiser.state_dict()},
                new,
            )
            os.replace(new, args.checkpoint)
    if args.export:
        args.export.write_bytes(exported(decoder, encoder))


def exported(decoder: model.Weights, encoder: model.Weights) -> bytes:
    """The shipped file of trained weights."""
    floats = [{name: w.detach().numpy() for name, w in weights.items()} for weights in (decoder, encoder)]
    return start.write(quantise.integers(floats[0]), quantise.integers(floats[1]))


if __name__ == "__main__":
    main()
