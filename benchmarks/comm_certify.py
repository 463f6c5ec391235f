"""Compressors of vectors measured: the gap to the limit, speed, and what grows with the dimension.

    python benchmarks/comm_certify.py [--quick]

Writes benchmarks/results/comm.md, comm.json and comm.png. Bits are of payloads that were decoded again; times are of the processor, the
compressors alternated, the best of the rounds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from run import RESULTS, machine

from netweight import comm
from netweight.comm.certify import suite
from netweight.comm.certify.inputs import INPUTS, vector
from netweight.comm.certify.measure import Measurement, measure
from netweight.comm.coding import rotation
from netweight.comm.compressor import Compressor, relative_error
from netweight.report import comm_certify as report

GAPS = (
    "SignMean()", "TopK(fraction=0.1)", "TopK(fraction=0.1, values='bit')", "SparseDithering(nu=0.25)", "SparseDithering(nu=0.9)",
    "Drive(shrunk=True)", "Spherical(alpha=0.25, block=6)",
    *(f"TrellisCoded(nu={nu})" for nu in (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)),
    *(f"DitheredTrellis(nu={nu}, shrunk=True)" for nu in (0.02, 0.1, 0.25, 1.0, 3.0, 8.0)),
    "RandK(fraction=0.1)", "TernGrad()", "QSGD(s=1)", "NaturalCompression()", "InfinityNorm(bits=2)", "InfinityNorm(bits=4)",
    *(f"SparseDithering(nu={nu}, randomised=True)" for nu in (0.25, 1.0, 2.0, 4.0, 16.0)),
    *(f"SubtractiveDithering(nu={nu})" for nu in (0.02, 0.1, 0.5)),
    "Drive()", "Eden(bits=0.5)", "Eden(bits=1)", "Eden(bits=2)", "Eden(bits=4)", "Eden(bits=2, coded=True)", "Kashin(s=1)", "Kashin(s=4)",
    *(f"DitheredTrellis(nu={nu})" for nu in (0.02, 0.1, 0.25, 0.5, 1.0, 3.0, 8.0, 30.0)),
)  # fmt: skip
SLOW_AT_LENGTH = ("Spherical",)
FAST = (
    "Identity()", "Float16()", "BFloat16()", "SignMean()", "MinMax(bits=4)", "MinMax(bits=8)", "TernGrad()", "QSGD(s=3162)",
    "InfinityNorm(bits=2)", "InfinityNorm(bits=4)", "SparseDithering(nu=0.25)", "SparseDithering(nu=1.0, randomised=True)",
    "SubtractiveDithering(nu=0.1)", "TopK(fraction=0.01)", "TopK(fraction=0.01, values='bit')", "RandK(fraction=0.01)",
    "NaturalCompression()", "Drive()", "Eden(bits=2)", "Eden(bits=2, coded=True)", "Kashin(s=1)",
)  # fmt: skip
SLOW = ("DitheredTrellis(nu=0.25)", "DitheredTrellis(nu=8.0)", "TrellisCoded(nu=0.1)", "TrellisCoded(nu=0.1, states=8)")
DIMENSIONS = (100, 1_000, 10_000, 100_000, 1_000_000)
GROWING = (
    "Kashin(s=1)",
    "Kashin(s=1, redundancy=4)",
    "TernGrad()",
    "QSGD(s=1)",
    "InfinityNorm(bits=1, block=1000000)",
    "NaturalCompression()",
)


def gaps(d: int, draws: int, seeds: int) -> list[Measurement]:
    """Isotropic vectors of one length."""
    out = []
    for text in GAPS:
        if d > 10_000 and text.startswith(SLOW_AT_LENGTH):
            continue
        out.append(measure(suite.parse(text), text, "gaussian", d, draws, seeds))
        print(f"  {text} at d = {d}: {out[-1].bits_per_coordinate:.3f} bits, gap {out[-1].gap[0]:.3f}", flush=True)
    return out


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """(processor time, result)."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def speeds(texts: tuple[str, ...], d: int, rounds: int) -> list[dict[str, Any]]:
    """Compress and decompress a Gaussian vector, the compressors in turn."""
    x = vector("gaussian", d, 0)
    made: list[tuple[str, Compressor]] = [(t, suite.parse(t)) for t in texts]
    best = {t: [float("inf"), float("inf")] for t in texts}
    facts: dict[str, tuple[float, float]] = {}
    for number in range(rounds + 1):  # the first round compiles
        for text, compressor in made:
            encode, payload = seconds(lambda c=compressor, s=number: c.compress(x, s))
            decode, decoded = seconds(lambda c=compressor, p=payload, s=number: c.decompress(p, d, x.dtype, s))
            facts[text] = 8 * len(payload) / d, relative_error(x, decoded)
            if number:
                best[text] = [min(a, b) for a, b in zip(best[text], (encode, decode), strict=True)]
    out = []
    for text in texts:
        (encode, decode), (bits, error) = best[text], facts[text]
        out.append(
            {"compressor": text, "d": d, "compress_mcoord": d / encode / 1e6, "decompress_mcoord": d / decode / 1e6,
             "both_mcoord": d / (encode + decode) / 1e6, "bits": bits, "error": error}
        )  # fmt: skip
        print(f"  {text}: {out[-1]['both_mcoord']:.0f} Mcoord/s", flush=True)
    return out


def hadamard(d: int) -> dict[str, float]:
    """Mcoord/s of a transform in the cache, of one of 2^24 coordinates, and of the rotation that EDEN uses."""
    out = {}
    for name, n, work in (
        ("in the cache, 2^14", 1 << 14, rotation.hadamard), ("2^24 coordinates", 1 << 24, rotation.hadamard),
        ("rotation in blocks (two transforms)", d, lambda y: rotation.rotate(y, rotation.key(1))),
    ):  # fmt: skip
        y = np.random.default_rng(0).standard_normal(n)
        times = []
        for _ in range(4):
            repeats = max(1, (1 << 22) // n)
            times.append(seconds(lambda w=work, v=y, r=repeats: [w(v) for _ in range(r)])[0] / repeats)
            y /= np.abs(y).max()
        out[name] = n / min(times) / 1e6
    return out


def growth(seeds: int) -> list[dict[str, Any]]:
    """Omega by dimension: the largest over the kinds of vectors."""
    out = []
    for text in GROWING:
        for d in DIMENSIONS:
            found = [measure(suite.parse(text), text, kind, d, 1, seeds) for kind in INPUTS]
            worst = max(found, key=lambda m: m.error.value)
            out.append(
                {"compressor": text, "d": d, "omega": worst.error.value, "on": worst.kind_of_input,
                 "gaussian": next(m.error.value for m in found if m.kind_of_input == "gaussian"), "claim": worst.claim.value}
            )  # fmt: skip
        print(f"  {text}: " + ", ".join(f"{r['omega']:.3g}" for r in out if r["compressor"] == text), flush=True)
    return out


def gap_table(found: list[Measurement]) -> list[str]:
    """Markdown."""
    lines = ["| compressor | claim | bits a coordinate | error | gap | 95 % |", "|---|---|---:|---:|---:|---|"]
    for m in found:
        figures = (
            f"{m.bits_per_coordinate:.4f} | {m.error.value:.4g} | **{m.gap[0]:.3f}** | {m.gap[1]:.3f} .. {m.gap[2]:.3f}"
        )
        lines.append(f"| `{m.label}` | {m.claim.kind} | {figures} |")
    return lines


def speed_table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown."""
    lines = [
        "| compressor | compress | decompress | both | bits a coordinate | error |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for r in sorted(rows, key=lambda r: -r["both_mcoord"]):
        speed = f"{r['compress_mcoord']:.0f} | {r['decompress_mcoord']:.0f} | **{r['both_mcoord']:.0f}**"
        cells = f"{speed} | {r['bits']:.3f} | {r['error']:.4g}"
        lines.append(f"| `{r['compressor']}` | {cells} |")
    return lines


def growth_table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown."""
    lines = [
        "| compressor | " + " | ".join(f"d = {d:,}" for d in DIMENSIONS) + " |",
        "|---|" + "---:|" * len(DIMENSIONS),
    ]
    for text in GROWING:
        own = {r["d"]: r for r in rows if r["compressor"] == text}
        for field, name in (("omega", "worst kind"), ("gaussian", "Gaussian"), ("claim", "claim")):
            cells = " | ".join(f"{own[d][field]:.3g}" for d in DIMENSIONS)
            lines.append(f"| `{text}`, {name} | {cells} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short vectors, to try the script")
    quick = parser.parse_args().quick
    length, long = (100_000, 100_000) if quick else (10_000_000, 1_000_000)
    small, large = gaps(1024, 4, 12), gaps(long, 1, 2)
    fast, slow = speeds(FAST, length, 3), speeds(SLOW, long, 2)
    transforms, grown = hadamard(length), growth(2 if quick else 4)
    certified = suite.certify(suite.candidates())
    Path(RESULTS / "comm.png").write_bytes(report.plot(certified))
    facts, passes = machine(), 2 * comm.Kashin().rounds + 1
    where = f"`python benchmarks/comm_certify.py` on {facts['processor']}, {facts['cores']} cores, Python {facts['python']}; one thread."
    text = [
        "# Compressors of vectors", "", where,
        "Bits are of payloads that were decoded again; `comm.png` shows them against the limit.", "",
        "## The gap to the limit", "",
        "alpha 4^(bits/d), or omega/(1+omega) 4^(bits/d) of an unbiased one, on isotropic Gaussian vectors; no compressor is under 1.", "",
        "### d = 1,024", "", *gap_table(small), "", f"### d = {long:,}", "", *gap_table(large), "",
        f"## Speed, d = {length:,}, float32", "", "Million coordinates a second of processor time.", "", *speed_table(fast), "",
        f"The trellises, at d = {long:,}:", "", *speed_table(slow), "",
        "The Hadamard transform alone (float64), which bounds DRIVE, EDEN and Kashin:", "",
        *(f"- {name}: {value:.0f}" for name, value in transforms.items()), "",
        f"Kashin transforms a frame of 2 to 4 times the coordinates, {passes} times to compress and once to decompress.", "",
        "## Omega as the dimension grows", "",
        "The mean of ||C(x) - x||^2 / ||x||^2; the worst of the kinds of vectors of `netweight comm certify`.", "",
        *growth_table(grown), "",
    ]  # fmt: skip
    Path(RESULTS / "comm.md").write_text("\n".join(text))
    told = {
        "gaps": [m.to_dict() for m in (*small, *large)],
        "speed": [*fast, *slow],
        "hadamard": transforms,
        "growth": grown,
    }
    Path(RESULTS / "comm.json").write_text(json.dumps(told, indent=1) + "\n")
    broken = [m.label for m in certified if m.problems]
    print("every claim holds" if not broken else f"broken: {', '.join(broken)}")


if __name__ == "__main__":
    main()
