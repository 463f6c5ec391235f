"""Pictures as SIRENs against COIN and JPEG, what each stage is worth, and what the shipped start saves.

    python benchmarks/image_siren.py --images DIR [--only kodim01 ...] [--width 24] [--steps 2000] [--aware 300]
        [--wide 48] [--journal FILE] [--out benchmarks/results]

Every rate is 8 x the bytes of a whole file over its pixels (the container's frame counted), every PSNR that of what the
file decodes to. COIN (five sine layers of 30, half-precision floats) and our networks are trained for the same number of
steps on the same lattices of pixels. A journal keeps what is measured: a run that was ended goes on where it was. Files
of ablations have the size of the whole pipeline's or less, but "no entropy coding", which codes the same multiples in
as many bits as the tensor's range needs. "from random" trains from SIREN's own initialisation.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from math import ceil, log2
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from run import RESULTS, machine

from netweight.frame import checksum
from netweight.image import decode, encode
from netweight.image.container import Header, write
from netweight.image.metrics import ms_ssim, psnr
from netweight.image.rivals import rival
from netweight.image.siren import decode as decode_payload
from netweight.image.siren import encoder, payload
from netweight.image.siren.integers import Shape
from netweight.image.siren.network import Network, Picture, initial
from netweight.image.siren.optimiser import Adam
from netweight.image.siren.starts import FREQUENCIES, LAYERS, load_start
from netweight.image.siren.training import lattices

Pixels = NDArray[np.uint8]
Row = dict[str, Any]
COIN_BPP = 0.16  # five sine layers of 30
JPEG_BPP = 0.2
MARKS = (1, 2, 3, 6, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400, 600)


def measured(pixels: Pixels, data: bytes, decoded: Pixels, seconds: float) -> Row:
    size = pixels.shape[0] * pixels.shape[1]
    return {
        "bytes": len(data), "bpp": 8 * len(data) / size, "psnr": psnr(pixels, decoded), "ms_ssim": ms_ssim(pixels, decoded),
        "cpu_seconds": seconds,
    }  # fmt: skip


def framed(pixels: Pixels, coded: bytes, seconds: float) -> Row:
    """A SIREN's payload in the container's frame, decoded from that."""
    header = Header("siren", *pixels.shape)
    data = write(header, coded, checksum(decode_payload(coded, *pixels.shape).reshape(-1)))
    return measured(pixels, data, decode(data), seconds)


def fixed_width(network: payload.Quantised) -> bytes:
    """The multiples in as many bits as each tensor's range needs: what there is without an entropy coder."""
    out = (
        bytes([network.shape.width, network.shape.layers, network.shape.frequencies])
        + network.start
        + bytes(network.levels)
    )
    for k in network.multiples:
        low, width = int(k.min()), max(1, ceil(log2(int(k.max()) - int(k.min()) + 1)))
        bits = ((k.reshape(-1, 1) - low) >> np.arange(width)) & 1
        out += low.to_bytes(4, "little", signed=True) + bytes([width]) + np.packbits(bits.astype(np.uint8)).tobytes()
    return out


def from_fixed_width(data: bytes, shape: Shape, started: bool) -> list[NDArray[np.int32]]:
    at, out = 3 + 4 * started + len(shape.sizes), []
    for rows, columns in shape.sizes:
        low, width = int.from_bytes(data[at : at + 4], "little", signed=True), data[at + 4]
        count = -(-rows * columns * width // 8)
        bits = np.unpackbits(np.frombuffer(data, np.uint8, count, at + 5))[: rows * columns * width].reshape(-1, width)
        out.append((bits.astype(np.int64) @ (1 << np.arange(width)) + low).astype(np.int32).reshape(rows, columns))
        at += 5 + count
    assert at == len(data)
    return out


def coin(pixels: Pixels, steps: int) -> Row:
    encoder.EFFORTS["fast"] = (steps, 0)
    began = time.process_time()
    data = encode(pixels, "coin", bpp=COIN_BPP, effort="fast")
    return measured(pixels, data, decode(data), time.process_time() - began)


def pipeline(pixels: Pixels, settings: encoder.Settings, size: float) -> dict[str, Row]:
    """The whole pipeline and each of its parts left out, from one training; and the training from a random start."""
    began = time.process_time()
    trained = encoder.train(pixels, settings)
    fitted = time.process_time() - began
    variants = {
        "ours": settings,
        "no QAT": replace(settings, aware_steps=0),
        "no AdaRound": replace(settings, adaround=False),
        "neither": replace(settings, aware_steps=0, adaround=False),
    }
    out = {}
    for name, variant in variants.items():
        began = time.process_time()
        coded = encoder.quantise(trained, size, variant)
        out[name] = framed(pixels, coded, fitted + time.process_time() - began)
        if name == "ours":
            out["no entropy coding"] = uncoded(pixels, coded, settings)
    began = time.process_time()
    random = encoder.train(pixels, replace(settings, start=False))
    coded = encoder.quantise(random, size, replace(settings, start=False))
    out["from random"] = framed(pixels, coded, time.process_time() - began)
    return out


def uncoded(pixels: Pixels, coded: bytes, settings: encoder.Settings) -> Row:
    shape = Shape(pixels.shape[2], settings.width, settings.layers, settings.frequencies)
    network = payload.open_siren(coded, pixels.shape[2])
    data = fixed_width(network)
    assert all(map(np.array_equal, from_fixed_width(data, shape, bool(network.start)), network.multiples))
    return measured(
        pixels, write(Header("siren", *pixels.shape), data, bytes(4)), decode_payload(coded, *pixels.shape), 0.0
    )


def race(pixels: Pixels, width: int) -> Row:
    """PSNR (of floats, on every 16th pixel) after few steps: from the start at its learned rates, and from random by Adam."""
    shape = Shape(3, width, LAYERS, FREQUENCIES)
    network, picture, start = Network(shape), Picture(pixels, FREQUENCIES), load_start(shape)
    assert start is not None
    grid = (slice(1, None, 4), slice(1, None, 4))
    steps = max(MARKS)

    def look(params: Any) -> float:
        return -10 * float(np.log10(network.error(params, picture, *grid) / 4))

    params, ours = [p.copy() for p in start.parameters], {}
    for k, seen in enumerate(lattices(picture, 10, 1), 1):
        _, gradients = network.gradients(params, picture, *seen)
        params = [p - r * g for p, r, g in zip(params, start.rates, gradients, strict=True)]
        ours[k] = look(params)
    theirs: dict[str, dict[int, float]] = {}
    for rate in (1e-3, 2e-3):
        params, optimiser, found = initial(shape, 0), None, {}
        optimiser = Adam(params)
        for k, seen in enumerate(lattices(picture, steps, 1), 1):
            _, gradients = network.gradients(params, picture, *seen)
            optimiser.step(params, gradients, rate)
            if k in MARKS:
                found[k] = look(params)
            if k in MARKS and found[k] > max(ours.values()):
                break
        theirs[f"{rate:g}"] = found
    return {"start": ours, "random": theirs}


def wide(pixels: Pixels, settings: encoder.Settings) -> Row:
    """A wider network for a picture on which the small one is below JPEG at `JPEG_BPP`."""
    began = time.process_time()
    coded = encoder.quantise(encoder.train(pixels, settings), rate_of(settings) / 8, settings)
    return framed(pixels, coded, time.process_time() - began)


def rate_of(settings: encoder.Settings) -> float:
    """Bits in all."""
    return encoder.BITS_A_PARAMETER * Shape(3, settings.width, settings.layers, settings.frequencies).count


def jpeg(pixels: Pixels) -> Row:
    coded = rival("JPEG").at_rate(pixels, JPEG_BPP)
    return measured(pixels, coded.data, coded.pixels, coded.encode_seconds)


def one(pixels: Pixels, args: argparse.Namespace, found: Row, keep: Any) -> None:
    """What is still to be measured of one picture."""
    settings = encoder.Settings(args.width, args.steps, args.aware)
    work = {
        "jpeg": lambda: jpeg(pixels),
        "coin": lambda: coin(pixels, args.steps + args.aware),
        "pipeline": lambda: pipeline(pixels, settings, rate_of(settings) / 8),
        "race": lambda: race(pixels, args.width),
    }
    for name, measure in work.items():
        if name not in found:
            found[name] = measure()
            keep()
    if found["pipeline"]["ours"]["psnr"] < found["jpeg"]["psnr"] and args.wide and "wide" not in found:
        found["wide"] = {"width": args.wide} | wide(pixels, replace(settings, width=args.wide))
        keep()


def speedup(race_found: Row) -> tuple[float, float, int]:
    """(PSNR after three steps from the start, factor of steps that random needs for it, those steps) at random's best rate."""
    reached = {int(k): v for k, v in race_found["start"].items()}
    needed = []
    for found in race_found["random"].values():
        enough = [int(k) for k, v in found.items() if v >= reached[3]]
        needed.append(min(enough, default=max(MARKS)))
    return reached[3], min(needed) / 3, min(needed)


def markdown(result: Row) -> str:
    done = {name: found for name, found in result["images"].items() if "race" in found}
    s = result["settings"]
    told = (
        f"{result['machine']['processor']}. {s['width']} units, {LAYERS} sine layers, {s['steps']} steps of fitting and "
        f"{s['aware']} with the rounding; COIN {s['steps'] + s['aware']} steps. bpp of whole files / PSNR of what they decode to. Where "
        "this network is below JPEG's best file of at most 0.2 bpp, a wider one from a random start stands in the last column, "
        "if it was trained."
    )
    head = "| | COIN | ours | COIN's bits | gain dB | JPEG <= 0.2 | ours above JPEG |"
    lines = ["# Pictures as SIRENs", "", told, "", head, "|---|---|---|---|---|---|---|"]
    for name, found in done.items():
        c, o, j = found["coin"], found["pipeline"]["ours"], found["jpeg"]
        best = max([o, *([found["wide"]] if "wide" in found else [])], key=lambda r: r["psnr"])
        lines.append(
            f"| {name} | {_point(c)} | {_point(o)} | {c['bpp'] / o['bpp']:.2f}x | {o['psnr'] - c['psnr']:+.2f} | "
            f"{_point(j)} | {_point(best)} ({best['psnr'] - j['psnr']:+.2f}) |"
        )
    if not done:
        return "\n".join(lines)
    rows = [f["pipeline"] for f in done.values()]
    means = {n: (_mean(r[n]["bpp"] for r in rows), _mean(r[n]["psnr"] for r in rows)) for n in rows[0]}
    coin_mean = _mean(f["coin"]["bpp"] for f in done.values()), _mean(f["coin"]["psnr"] for f in done.values())
    lines += ["", f"Means over {len(done)} pictures:", "", "| | bpp | PSNR | against the whole |", "|---|---|---|---|",
              f"| COIN | {coin_mean[0]:.4f} | {coin_mean[1]:.2f} | |"]  # fmt: skip
    whole = means["ours"]
    for name, (bpp, decibels) in means.items():
        lines.append(
            f"| {name} | {bpp:.4f} | {decibels:.2f} | {bpp / whole[0]:.2f}x the bits, {decibels - whole[1]:+.2f} dB |"
        )
    told = (
        "Three steps from the shipped start at its learned rates, and what Adam needs from a random one (the better of two "
        "rates) for the same PSNR of floats:"
    )
    lines += ["", told, "", "| | PSNR | steps | factor |", "|---|---|---|---|"]
    for name, found in done.items():
        reached, factor, steps = speedup(found["race"])
        lines.append(f"| {name} | {reached:.2f} | {steps} | {factor:.0f}x |")
    return "\n".join(lines) + "\n"


def _point(row: Row) -> str:
    return f"{row['bpp']:.4f} / {row['psnr']:.2f}"


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--aware", type=int, default=300)
    parser.add_argument("--wide", type=int, default=48, help="0 trains no wider network")
    parser.add_argument("--journal", type=Path, default=Path("image-siren-journal.json"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    told = {k: getattr(args, k) for k in ("width", "steps", "aware")}
    result: Row = {"machine": machine(), "settings": told, "images": {}}
    if args.journal.exists():
        kept = json.loads(args.journal.read_text())
        if kept["settings"] != told:
            raise SystemExit(f"{args.journal} is of other settings: {kept['settings']}")
        result["images"] = kept["images"]
    for path in sorted(args.images.glob("*.png")):
        if args.only and path.stem not in args.only:
            continue
        pixels = np.array(Image.open(path).convert("RGB"))
        one(
            pixels,
            args,
            result["images"].setdefault(path.stem, {}),
            lambda: args.journal.write_text(json.dumps(result)),
        )
        args.out.mkdir(exist_ok=True)
        (args.out / "image-siren.json").write_text(json.dumps(result, indent=1) + "\n")
        (args.out / "image-siren.md").write_text(markdown(result))
        print(markdown(result), flush=True)


if __name__ == "__main__":
    main()
