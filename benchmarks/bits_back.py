"""Bits-back against a fixed step, and labels under three codes: every figure is bytes that were decoded again.

    python benchmarks/bits_back.py [--mnist mnist.npz] [--labels N] [--parts synthetic digits mnist]

`mnist.npz` has x uint8 [n, 28, 28] and y; the first N (60,000) labels are coded. Labels are decoded by another process from
the pictures alone. A part that was run before keeps its figures in results/bits-back.json, from which
results/bits-back.md is written. The MNIST part trains twice, to encode and to decode: some four minutes each on a quiet core.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from run import RESULTS, machine

from netweight.report.labels import demo_labels, demo_story
from netweight.weights.bits_back import relative
from netweight.weights.bits_back.mlp import Recipe
from netweight.weights.labels.data import read_labelled
from netweight.weights.labels.story import StoryRow, spread, ways, widths_case
from netweight.weights.labels.study import weigh_labels

WEIGHTS, SEARCHED = 100_000, 5_000
CASES = {"equal, 0.1": (0.1, 0.1), "log-uniform, 0.01 to 0.95": (0.01, 0.95)}
MNIST_RECIPE = Recipe(hidden=16, sigma=0.3, first_log_width=-3.5, steps=40_000, batch=64, rate=0.01)
STORE = RESULTS / "bits-back.json"


def synthetic() -> list[dict[str, Any]]:
    """One row a case and code."""
    found = []
    for case, widths in CASES.items():
        posterior = widths_case(WEIGHTS, widths)
        bound = float(posterior.divergences().sum())
        found += [
            _synthetic_row(case, row, spread(posterior, weights), bound, WEIGHTS) for row, weights in ways(posterior)
        ]
        part = widths_case(SEARCHED, widths)
        data = relative.encode(*relative.choose(part, 1))
        z = (relative.decode(data, 1, 1.0) - part.means) / part.widths
        row = StoryRow("relative entropy code", "a seed", 8 * len(data), 0, None)
        found.append(_synthetic_row(case, row, float(z.std()), float(part.divergences().sum()), SEARCHED))
    return found


def _synthetic_row(case: str, row: StoryRow, spread: float, bound: float, count: int) -> dict[str, Any]:
    return {
        "case": case, "code": row.code, "receiver": row.knowledge, "weights": count, "bits": row.weight_bits / count,
        "divergence": bound / count, "spread": spread, "prior": row.prior_bits, "refund": row.refund_bits,
        "initial": row.initial_bits,
    }  # fmt: skip


def digits() -> dict[str, Any]:
    """The story and the labels of the digits that ship with netweight."""
    return {"story": demo_story().to_dict(), "labels": demo_labels(()).to_dict()}


def mnist(path: Path, count: int) -> dict[str, Any]:
    """Labels of MNIST."""
    pictures, labels = read_labelled(path, count)
    carried = np.random.Generator(np.random.PCG64(0)).bytes(60_000)

    def tell(code: str, done: int, total: int) -> None:
        if done >= tell.next:  # type: ignore[attr-defined]
            tell.next = 2 * done  # type: ignore[attr-defined]
            print(f"{code}: {done:,} of {total:,}", flush=True)

    tell.next = 1000  # type: ignore[attr-defined]
    return weigh_labels(
        pictures, labels, name=f"MNIST, {len(labels):,} labels", recipe=MNIST_RECIPE, carried=carried, progress=tell
    ).to_dict()


def _number(value: float | None, places: int = 0) -> str:
    return "-" if value is None else f"{value:,.{places}f}"


def _synthetic_lines(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## Weights at the price of what is known of them", "",
        ("Posteriors N(mean, width^2) under the prior N(0, 1), means drawn so that the prior is right on average. Bits a weight. "
        "*KL* is a bound. The fixed step harms a quadratic loss as much as sampling does; *spread* is the standard deviation of "
        "(weight - mean) / width: 1 for a fair sample, and by construction about 1 in the mean square for steps."), "",
        "| widths | code | receiver knows, beside the prior | bits/weight | KL | over KL | spread | initial bits |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    lines += [
        f"| {r['case']} | {r['code']} | {r['receiver']} | {r['bits']:.3f} | {r['divergence']:.3f} | "
        f"{r['bits'] / r['divergence'] - 1:+.2%} | {r['spread']:.3f} | {_number(r['initial'])} |"
        for r in rows
    ]
    return lines


def _story_lines(story: dict[str, Any]) -> list[str]:
    lines = [
        f"## The story on a network of {story['weights']} weights and {story['count']} digits", "",
        f"The labels alone take {story['uniform_bits']:,.0f} bits (a bound).", "",
        "| code | receiver knows, beside the prior | prior cost | refund | weights, bits | KL (bound) | labels, bits | total |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    lines += [
        f"| {r['code']} | {r['knowledge']} | {_number(r['prior_bits'])} | {_number(r['refund_bits'])} | "
        f"{r['weight_bits']:,} | {_number(r['bound_bits'])} | {r['label_bits']:,} | {r['total_bits']:,} |"
        for r in story["rows"]
    ]
    return lines


def _label_lines(study: dict[str, Any]) -> list[str]:
    lines = [
        f"## {study['name']}", "",
        (f"{study['count']:,} labels of {study['classes']} classes: {study['uniform_bits']:,.0f} bits if nothing is known (a "
        "bound). Each file was decoded by a fresh process. Initial bits come out of other data that the joint file carries and "
        "gives back, and which isn't counted."), "",
        "| code | bits | bits/label | network | KL (bound) | initial bits | enc, processor s | dec, wall s | the receiver must have |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]  # fmt: skip
    lines += [
        f"| {r['code']} | {8 * r['bytes']:,} | {8 * r['bytes'] / study['count']:.4f} | {_number(r['weight_bits'] or None)} | "
        f"{_number(r['divergence_bits'])} | {_number(r['initial_bits'] or None)} | {r['encode_seconds']:.1f} | "
        f"{r['decode_seconds']:.1f} | {r['knowledge']} |"
        for r in study["rows"]
    ]
    return lines


def page(found: dict[str, Any]) -> str:
    """All parts that were run, as Markdown."""
    lines = ["# Bits-back and labels: measured", ""]
    if "synthetic" in found:
        lines += [*_synthetic_lines(found["synthetic"]), ""]
    if "digits" in found:
        lines += [*_story_lines(found["digits"]["story"]), "", *_label_lines(found["digits"]["labels"]), ""]
    if "mnist" in found:
        lines += [*_label_lines(found["mnist"]), "", f"The recipes: `{found['recipe']}`, and the default schedule.", ""]
    return "\n".join([*lines, f"Machine: {found['machine']['processor']}, shared; times are a rough guide.", ""])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="npz with x uint8 [n, 28, 28] and y")
    parser.add_argument("--labels", type=int, default=60_000, help="of MNIST, how many labels")
    parser.add_argument(
        "--parts", nargs="+", choices=["synthetic", "digits", "mnist"], default=["synthetic", "digits", "mnist"]
    )
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part == "mnist" and arguments.mnist is None:
            continue
        figures = mnist(arguments.mnist, arguments.labels) if part == "mnist" else globals()[part]()
        found = json.loads(STORE.read_text()) if STORE.exists() else {}
        found |= {"machine": machine(), "recipe": json.dumps(asdict(MNIST_RECIPE)), part: figures}
        STORE.write_text(json.dumps(found, indent=1) + "\n")
        STORE.with_suffix(".md").write_text(page(found))
    print(STORE.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
