"""Structure codes measured: the 2 x 2 rotation, orthogonal matrices, planted structure in noise, real networks.

    python benchmarks/structure.py [--rel-mse 1e-4] [FILE ...]
    python benchmarks/structure.py --trained FILE ...

Writes benchmarks/results/structure.md and .json; with --trained the table of real networks alone, at two errors, of those that
structured_nets.py trained, to structure-trained.md. Every figure is of bytes that were decoded again. FILEs are checkpoints.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from planted import PLANTED, orthogonal, random, with_noise
from run import RESULTS, machine

from netweight.spec import Spec
from netweight.weights.coders.scales import Shape
from netweight.weights.structure import block, numbers
from netweight.weights.structure.explain import explain
from netweight.weights.structure.fractions_of_a_turn import COUNT
from netweight.weights.structure.message import Whole
from netweight.weights.structure.model import Layout, Tolerance
from netweight.weights.structure.pricing import best_ways

ROTATION = np.array([[0.587785, -0.809017], [0.809017, 0.587785]], np.float32)
SIDES = (2, 4, 8, 16, 32, 64, 128, 256)
ANGLE_STEP = 2 * math.pi / 4096  # the noise of 12-bit angles, as a step of a weight
SIZES = (32, 64, 128)
NOISES = (0.0, 0.03, 0.2)


@dataclass
class Planted:
    """One planted matrix: bits with the plain code and with the cheapest."""

    kind: str
    size: int
    noise: float
    before: int
    after: int
    found: str
    seconds: float


def _ways(weights: np.ndarray, tolerance: Tolerance) -> tuple[Any, Any]:
    data = weights.reshape(-1).view(np.uint8)
    return best_ways(data, weights.reshape(-1), Spec("F32", (weights.shape,)), tolerance)


def rotation_rows() -> Iterator[str]:
    """The rotation by 54 degrees: bodies, and many rotations in one message."""
    layout = Layout((2, 2), "F32")
    exact = np.array(
        [[math.cos(0.3 * math.pi), -math.sin(0.3 * math.pi)], [math.sin(0.3 * math.pi), math.cos(0.3 * math.pi)]]
    )
    cases = (
        ("six decimals, largest error 1.2e-2", ROTATION, Tolerance(1.2e-2**2, 1.2e-2)),
        ("six decimals, largest error 4e-7", ROTATION, Tolerance(4e-7**2, 4e-7)),
        ("float32, lossless", exact.astype(np.float32), Tolerance(0.0)),
    )
    for name, weights, tolerance in cases:
        priced = block.encode(weights.reshape(-1), layout, tolerance)
        assert priced is not None
        decoded = block.decode(priced.body, Spec("F32", ((2, 2),))).view(np.float32)
        error = float(np.abs(decoded - weights.reshape(-1)).max())
        yield f"| {name} | {len(priced.body)} | {error:.2g} | {priced.text} |"
    yield _many_rotations()


def _many_rotations(count: int = 1024) -> str:
    """A message of many fractions of a turn, popped and compared."""
    chosen = np.random.default_rng(0).integers(0, COUNT, count)
    whole = Whole()
    for k in chosen:
        whole.push(int(k), 1, 7)
    data = whole.to_bytes()
    again = Whole.from_bytes(data)
    for k in reversed(chosen):
        assert again.peek(7) == k
        again.pop(int(k), 1, 7)
    return f"| {count} rotations by any of {COUNT} fractions, one message | {len(data)} ({len(data) / count:.3f} each) | float32 | |"


def _gaussian_bytes(weights: np.ndarray, noise: float) -> int:
    """Of the Gaussian-prior code (uniform steps, normal distribution of the best width) within the noise."""
    step, best, flat = math.sqrt(12 * noise), 0, weights.reshape(-1).astype(np.float64)
    for _ in range(40):
        body = numbers.uniform(flat, step)
        assert body is not None
        error = flat - numbers.decode(body, [Shape(*weights.shape, 1)])
        if float(np.square(error).mean()) <= noise:
            best = len(body)
            break
        step *= 2 ** (-1 / 32)
    assert best
    return best


def orthogonal_rows() -> Iterator[str]:
    """Bits of orthogonal matrices under three codes at one root mean square error."""
    noise = ANGLE_STEP**2 / 12
    for n in SIDES:
        weights = orthogonal(n, np.random.default_rng(n)).astype(np.float32)
        plain, best = _ways(weights, Tolerance(noise))
        gaussian = 1 + _gaussian_bytes(weights, noise)
        yield (
            f"| {n} | {8 * gaussian:,} | {8 * len(plain.payload):,} | {8 * len(best.payload):,} "
            f"| {len(best.payload) / gaussian:.3f} | {best.name or 'nothing'} |"
        )


def planted_rows(rel_mse: float) -> Iterator[Planted]:
    """Every kind at three sizes in three levels of noise."""
    for kind, make in [*PLANTED.items(), ("random", random)]:
        for size in SIZES:
            for noise in NOISES:
                rng = np.random.default_rng(zlib.crc32(f"{kind}{size}{noise}".encode()))
                weights = with_noise(make(size, rng), noise, rng)
                start = time.process_time()
                plain, best = _ways(weights, Tolerance(rel_mse * float(np.square(weights, dtype=np.float64).mean())))
                seconds = time.process_time() - start
                yield Planted(kind, size, noise, 8 * len(plain.payload), 8 * len(best.payload), best.text, seconds)


def real_rows(paths: list[Path], rel_mse: float) -> Iterator[dict[str, Any]]:
    """What `explain` finds in checkpoints."""
    for path in paths:
        wall, processor = time.perf_counter(), time.process_time()
        explanation = explain(path, rel_mse)
        yield explanation.to_dict() | {
            "file": path.name, "wall_seconds": time.perf_counter() - wall,
            "processor_seconds": time.process_time() - processor,
            "most": [t.to_dict() for t in explanation.found[:5]], "found": len(explanation.found),
        }  # fmt: skip


def _planted_table(rows: list[Planted]) -> Iterator[str]:
    yield "| planted | size | " + " | ".join(f"noise {n:g}: before -> after" for n in NOISES) + " |"
    yield "|---|---|" + "---|" * len(NOISES)
    by_place = {(r.kind, r.size, r.noise): r for r in rows}
    for kind in dict.fromkeys(r.kind for r in rows):
        for size in SIZES:
            cells = (by_place[kind, size, n] for n in NOISES)
            texts = (
                f"{r.before:,} -> {r.after:,} {r.found.split(';')[0].split(':')[0] or '**nothing**'}" for r in cells
            )
            yield f"| {kind} | {size} | " + " | ".join(texts) + " |"


def _real_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| file | weights | tensors | with structure | bytes before | after | saved | processor s |"
    yield "|---|---|---|---|---|---|---|---|"
    for r in rows:
        weights = sum(t["weights"] for t in r["tensors"])
        saved = 100 * (1 - r["bytes"] / r["plain_bytes"]) if r["plain_bytes"] else 0.0
        yield (
            f"| {r['file']} | {weights:,} | {len(r['tensors'])} | {r['found'] or 'nothing'} | {r['plain_bytes']:,} "
            f"| {r['bytes']:,} | {saved:.2f} % | {r['processor_seconds']:.0f} |"
        )
    for r in rows:
        yield from ("", f"{r['file']}, the largest savings:" if r["most"] else f"{r['file']}: nothing.", "")
        yield from (
            f"- {t['name']}: {t['text']}; {8 * t['plain_bytes']:,} -> {8 * t['bytes']:,} bits" for t in r["most"]
        )


def report(rel_mse: float, paths: list[Path]) -> str:
    """The page; figures go to the .json beside it."""
    planted, real = list(planted_rows(rel_mse)), list(real_rows(paths, rel_mse))
    figures = {"machine": machine(), "rel_mse": rel_mse, "planted": [asdict(r) for r in planted], "real": real}
    (RESULTS / "structure.json").write_text(json.dumps(figures, indent=1) + "\n")
    lines = ["# Structure codes", "", f"`python benchmarks/structure.py --rel-mse {rel_mse:g} FILES`; {_machine()}", ""]
    lines += ["Every figure is of bytes that were decoded again, within the error that is told.", ""]
    lines += [
        "## The rotation by 54 degrees",
        "",
        "| tolerance | bytes | largest error | in words |",
        "|---|---|---|---|",
    ]
    lines += [*rotation_rows(), "", "Bytes are of a block's body, in which the structure is named too.", ""]
    lines += [
        "## Orthogonal matrices",
        "",
        f"Drawn evenly (Haar), at a root mean square error of {ANGLE_STEP / math.sqrt(12):.3g} ",
    ]
    lines += ["(that of 12-bit angles). Bits of whole payloads.", ""]
    lines += [
        "| n | Gaussian-prior code | plain code | cheapest | over Gaussian | found |",
        "|---|---|---|---|---|---|",
    ]
    lines += [*orthogonal_rows(), "", "## Planted structure", ""]
    lines += [f"Bits at a relMSE of {rel_mse:g} of the tensor; noise is a share of the weights' root mean square.", ""]
    lines += [*_planted_table(planted), "", "## Real networks", "", f"At a relMSE of {rel_mse:g} of each tensor.", ""]
    return "\n".join([*lines, *_real_table(real), ""])


def trained(paths: list[Path]) -> str:
    """The page of networks that were trained for it."""
    lines = [
        "# Structure in networks trained here",
        "",
        f"`python benchmarks/structure.py --trained FILES`; {_machine()}",
        "",
    ]
    for rel_mse in (1e-4, 1e-2):
        lines += [
            f"## At a relMSE of {rel_mse:g} of each tensor",
            "",
            *_real_table(list(real_rows(paths, rel_mse))),
            "",
        ]
    return "\n".join(lines)


def _machine() -> str:
    facts = machine()
    return f"{facts['processor']}, {facts['cores']} shared cores, Python {facts['python']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--rel-mse", type=float, default=1e-4)
    parser.add_argument("--trained", action="store_true")
    arguments = parser.parse_args()
    if arguments.trained:
        (RESULTS / "structure-trained.md").write_text(trained(arguments.files))
        return
    text = report(arguments.rel_mse, arguments.files)
    (RESULTS / "structure.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
