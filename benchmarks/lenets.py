"""How small a LeNet gets when it is trained for the coder: LeNet-300-100 and LeNet-5 (Caffe's) on MNIST.

    python benchmarks/lenets.py --data mnist.npz --out DIR [--net lenet-300-100|lenet-5|all]

Teachers are trained first, and answer for distorted copies of the digits. The student's weights lie on a grid, and its
loss has the price of every bit in it (after Oktay et al., "Scalable model compression by entropy penalized reparameterization",
ICLR 2020, with the coder's contexts for a prior). DIR/NET.safetensors is the result, plain float32; DIR/NET.nw
is that file compressed losslessly, its size and its error are printed. Killed, it goes on at the last epoch when started
again. One thread; about 15 minutes for the teachers, 5 and 15 for the students on a quiet core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import torch
from lenet_data import Digits, Lessons, answers, lessons, load, teachers
from lenet_files import NetworkFile, integers_of, write
from lenet_nets import PLANS, SteppedNet
from lenet_training import Recipe, Training, divergence, logits_for, wrong

import netweight as nw

RECIPES: Final = {
    "lenet-300-100": Recipe(widths=(100, 40), nats_per_bit=4e-6, epochs=80, rate=0.06),
    "lenet-5": Recipe(widths=(12, 16, 30), nats_per_bit=4e-6, epochs=80, rate=0.12),
}
TARGETS: Final = {"lenet-300-100": (8_500, 0.019), "lenet-5": (3_000, 0.010)}
COPIES, STRENGTH, TEACHERS, TEACHER_EPOCHS = 11, 0.8, 2, 12


def train(name: str, digits: Digits, learned: Lessons, told: torch.Tensor, out: Path) -> None:
    """Train `name` and write its files; `told` are the teachers' logits of the validation digits."""

    def report(epoch: int, net: SteppedNet, seconds: float) -> None:
        weights, _ = integers_of(net)
        alive = sum(int((w != 0).sum()) for w in weights)
        logits = logits_for(net, digits.validation.x)
        print(
            f"{name} epoch {epoch}/{RECIPES[name].epochs}: {alive:,} non-zero weights, validation "
            f"{wrong(logits, digits.validation.y):.2%} wrong, {divergence(logits, told):.4f} nats from the teachers, "
            f"{seconds:.0f} s",
            flush=True,
        )

    net = Training(PLANS[name], RECIPES[name], out / f"{name}.checkpoint").run(learned, report)
    write(net, PLANS[name], out / f"{name}.safetensors")


def weigh(name: str, digits: Digits, out: Path) -> None:
    """Compress the file of `name`, check that it comes back, and print its bytes and its test error."""
    path, packed, back = (out / f"{name}{ending}" for ending in (".safetensors", ".nw", ".back.safetensors"))
    nw.compress_file(path, packed, effort="max", force=True)
    nw.decompress_file(packed, back, force=True)
    if back.read_bytes() != path.read_bytes():
        raise SystemExit(f"{back} isn't {path}")
    missed = wrong(logits_for(NetworkFile(back, PLANS[name]), digits.test.x), digits.test.y)
    size, (most_bytes, most_wrong) = packed.stat().st_size, TARGETS[name]
    verdict = "met" if size <= most_bytes and missed <= most_wrong else "missed"
    print(
        f"{name}: {size:,} bytes (of {path.stat().st_size:,}), {missed:.2%} of {len(digits.test.y):,} test digits wrong; "
        f"target {most_bytes:,} bytes and {most_wrong:.1%}: {verdict}"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="MNIST: npz with x uint8 [63000, 28, 28] and y")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and results")
    parser.add_argument("--net", choices=[*PLANS, "all"], default="all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    digits = load(arguments.data)
    masters = teachers(digits, arguments.out, TEACHERS, TEACHER_EPOCHS)
    learned = lessons(digits, masters, arguments.out, COPIES, STRENGTH)
    told = answers(masters, digits.validation.x)
    for name in PLANS if arguments.net == "all" else [arguments.net]:
        train(name, digits, learned, told, arguments.out)
        weigh(name, digits, arguments.out)


if __name__ == "__main__":
    main()
