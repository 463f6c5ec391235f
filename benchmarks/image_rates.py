"""Rate and distortion of the grid codec and of JPEG, JPEG 2000, WebP and AVIF on a folder of pictures.

    python benchmarks/image_rates.py PICTURES JOURNAL.jsonl --bpp 0.15 0.3 --effort balanced
    python benchmarks/image_rates.py PICTURES JOURNAL.jsonl --table > benchmarks/results/image.md

Every figure is of a file's whole length and of the pixels that it decodes to. Done pieces are in the journal: a run goes on
where the last one ended. Rivals are coded at the nearest rates below and above, and their PSNR is read off between
the two, in log rate; JPEG 2000 takes rates directly.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

RIVALS = {
    "JPEG": ("JPEG", {"optimize": True, "progressive": True}),
    "WebP": ("WEBP", {"method": 6}),
    "AVIF": ("AVIF", {"speed": 6}),
    "JPEG 2000": ("JPEG2000", {"quality_mode": "rates", "mct": 1, "irreversible": True}),
}


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((x.astype(np.float64) - y) ** 2)))


class Rival:
    """One picture under one of Pillow's coders."""

    def __init__(self, name: str, picture: Image.Image) -> None:
        self.kind, self.options = RIVALS[name]
        self.picture, self.pixels = picture, np.asarray(picture)
        self.at = cache(self._at)

    def _at(self, setting: float) -> tuple[float, float]:
        """Bits a pixel and PSNR at a quality (or, of JPEG 2000, a compression ratio)."""
        out = io.BytesIO()
        extra = {"quality_layers": [setting]} if "quality_mode" in self.options else {"quality": int(setting)}
        self.picture.save(out, self.kind, **self.options, **extra)
        decoded = np.asarray(Image.open(io.BytesIO(out.getvalue())).convert("RGB"))
        return 8 * len(out.getvalue()) / (self.picture.width * self.picture.height), psnr(self.pixels, decoded)

    def near(self, bpp: float) -> tuple[float, float]:
        if "quality_mode" in self.options:
            return self.at(24 / bpp)
        low, high = 1, 100
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.at(middle)[0] > bpp else (middle, high)
        (r0, p0), (r1, p1) = self.at(low), self.at(high)
        if r0 >= bpp or r0 == r1:
            return r0, p0
        share = np.log(bpp / r0) / np.log(r1 / r0)
        return bpp, float(p0 + share * (p1 - p0))


def ours(picture: Image.Image, bpp: float, effort: str, steps: int | None) -> dict[str, float]:
    from netweight.image import decode, encode

    pixels = np.asarray(picture)
    start = time.process_time()
    data = encode(pixels, bpp=bpp, effort=effort, steps=steps)
    encoded = time.process_time()
    decoded = decode(data)
    return {
        "bpp": 8 * len(data) / (picture.width * picture.height), "psnr": psnr(pixels, decoded),
        "encode_s": encoded - start, "decode_s": time.process_time() - encoded,
    }  # fmt: skip


def run(args: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(1)
    done = {(r["picture"], r["codec"], r["target"]) for r in rows(args.journal)}
    codec = f"grid, {args.effort}" + (f" ({args.steps} steps)" if args.steps else "")
    with args.journal.open("a") as journal:
        for bpp in args.bpp:
            for path in sorted(args.pictures.glob("*.png")):
                picture = Image.open(path).convert("RGB")
                for name in [*([] if args.rivals else [codec]), *RIVALS]:
                    if (path.stem, name, bpp) in done:
                        continue
                    if name == codec:
                        found = ours(picture, bpp, args.effort, args.steps)
                    else:
                        found = dict(zip(("bpp", "psnr"), Rival(name, picture).near(bpp), strict=True))
                    row = {"picture": path.stem, "codec": name, "target": bpp} | found
                    print(json.dumps(row), file=journal, flush=True)
                    print(json.dumps(row), flush=True)


def rows(journal: Path) -> list[dict]:
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


def bd_rate(base: list[tuple[float, float]], other: list[tuple[float, float]]) -> float:
    """Bjontegaard: mean log-rate difference at equal PSNR, percent; piecewise linear, over the PSNR both reach."""
    if min(len(base), len(other)) < 2:
        return float("nan")
    (rb, pb), (ro, po) = (np.array(sorted(points)).T for points in (base, other))
    low, high = max(pb.min(), po.min()), min(pb.max(), po.max())
    if low >= high:
        return float("nan")
    at = np.linspace(low, high, 200)
    return float(100 * (np.exp(np.mean(np.interp(at, po, np.log(ro)) - np.interp(at, pb, np.log(rb)))) - 1))


def table(journal: Path) -> None:
    """A section for each effort: means over the pictures that it and every rival were run on, and each picture by itself."""
    done = rows(journal)
    for grid in sorted({r["codec"] for r in done} - RIVALS.keys()):
        for target in sorted({r["target"] for r in done}):
            section(
                grid,
                target,
                {
                    c: {r["picture"]: r for r in done if (r["codec"], r["target"]) == (c, target)}
                    for c in (grid, *RIVALS)
                },
            )
        lines = [f"| {name} | {line} |" for name in RIVALS if (line := differences(done, name, grid))]
        if lines:
            print(f"\nBD-rate of {grid} (negative: fewer bits), mean of the pictures that have two rates or more:\n")
            print("\n".join(["| against | BD-rate |", "|---|---|", *lines]))


def differences(done: list[dict], base: str, other: str) -> str:
    """Mean BD-rate over pictures; "" where no picture has two rates with a PSNR in common."""
    found = []
    for picture in sorted({r["picture"] for r in done}):
        points = {}
        for codec in (base, other):
            mine = [r for r in done if (r["codec"], r["picture"]) == (codec, picture)]
            points[codec] = {r["target"]: (r["bpp"], r["psnr"]) for r in mine}
        common = points[base].keys() & points[other].keys()
        rate = bd_rate(*([points[c][t] for t in common] for c in (base, other)))
        if not np.isnan(rate):
            found.append(rate)
    return f"{np.mean(found):+.1f} % ({len(found)} pictures)" if found else ""


def section(grid: str, target: float, found: dict[str, dict[str, dict]]) -> None:
    common = sorted(set.intersection(*(set(pictures) for pictures in found.values())))
    if not common:
        return
    print(f"\n## {grid}, {target:g} bits/pixel, {len(common)} pictures\n")
    print("| codec | bpp | PSNR, dB | encode, s of processor | decode, s |\n|---|---|---|---|---|")
    for name, pictures in found.items():
        mean = {
            k: np.mean([pictures[p].get(k, np.nan) for p in common]) for k in ("bpp", "psnr", "encode_s", "decode_s")
        }
        times = " | ".join("" if np.isnan(mean[k]) else f"{mean[k]:.2f}" for k in ("encode_s", "decode_s"))
        print(f"| {name} | {mean['bpp']:.4f} | {mean['psnr']:.2f} | {times} |")
    print(f"\n| PSNR, dB (bpp) | {' | '.join(found)} |\n|---|{'---|' * len(found)}")
    for p in common:
        cells = [f"{pictures[p]['psnr']:.2f} ({pictures[p]['bpp']:.3f})" for pictures in found.values()]
        print(f"| {p} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("journal", type=Path)
    parser.add_argument("--bpp", type=float, nargs="+", default=[0.15])
    parser.add_argument("--effort", default="balanced")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rivals", action="store_true", help="Only run the rivals.")
    parser.add_argument("--table", action="store_true", help="Only print the tables of the journal.")
    args = parser.parse_args()
    if args.table:
        table(args.journal)
    else:
        run(args)


if __name__ == "__main__":
    main()
