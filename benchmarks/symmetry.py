"""What permutation, sign and scale symmetry save: real messages, decoded and compared with the canonical network bit for bit.

    python benchmarks/symmetry.py [--klaus DIR] [--mnist-net FILE] [--smollm2 FILE] [--resnets DIR]

DIR of klaus has layer-11.png and layer-12.png (k-means indices of two fully connected layers); FILE are checkpoints of a
784-300-100-10 network (fc1 .. fc3) and of SmolLM2-135M with the names of transformers; DIR of ResNets has
resnet*_cifar10_fp32.safetensors. Without any, the network that ships with netweight is weighed. `max` beside the plain code is
netweight's best lossless archive of the same tensors, without symmetries: what a refund should be compared with.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from run import RESULTS, machine
from safetensors.numpy import save_file

from netweight.data import demo_network
from netweight.weights.archive import compress_file
from netweight.weights.archive.inputs import open_inputs
from netweight.weights.lossy.convert import arrays_of
from netweight.weights.symmetry.architecture import Group, parse
from netweight.weights.symmetry.message import canonical_of
from netweight.weights.symmetry.weigh import SymmetryWeighing, weigh_network

Tensors = dict[str, NDArray[Any]]
Case = tuple[str, Tensors, tuple[Group, ...], Callable[[Tensors, Tensors], float] | None]


def declared(*entries: dict[str, Any]) -> tuple[Group, ...]:
    return parse(json.dumps({"symmetries": list(entries)}))


def layers(state: Tensors) -> list[tuple[str, str]]:
    """Names of each layer's weight and bias."""
    return [(f"fc{k}.weight", f"fc{k}.bias") if "fc1.bias" in state else (f"{k}w", f"{k}b") for k in (1, 2, 3)]


def lenet(state: Tensors) -> tuple[Group, ...]:
    return declared(*(
        {"units": f"fc{k}", "count": len(state[bias]), "in": [f"{weight}:0", f"{bias}:0"], "out": [f"{following}:1"], "scale": True}
        for k, ((weight, bias), (following, _)) in enumerate(pairwise(layers(state)))
    ))  # fmt: skip


def lenet_difference(one: Tensors, other: Tensors) -> float:
    """Largest difference of outputs on random inputs, over the largest output."""

    def run(s: Tensors) -> NDArray[np.float64]:
        names = layers(s)
        h = np.random.Generator(np.random.PCG64(1)).random((200, s[names[0][0]].shape[1]))
        for weight, bias in names:
            h = h @ s[weight].T.astype(np.float64) + s[bias]
            h = np.maximum(h, 0) if bias != names[-1][1] else h
        return h

    a, b = run(one), run(other)
    return float(np.abs(a - b).max() / np.abs(a).max())


def smollm2(parts: str) -> tuple[Group, ...]:
    """MLP units, and with `all` key-value heads and the residual stream."""
    layer = "model.layers.{i}."
    mlp = {
        "units": "mlp {i}", "repeat": {"i": 30}, "count": 1536,
        "in": [layer + "mlp.gate_proj.weight:0", layer + "mlp.up_proj.weight:0"], "out": [layer + "mlp.down_proj.weight:1"],
    }  # fmt: skip
    if parts == "mlp":
        return declared(mlp)
    names = [f"model.layers.{i}." for i in range(30)]
    stream = {
        "units": "stream", "count": 576,
        "in": ["model.embed_tokens.weight:1", *(n + w for n in names for w in ("self_attn.o_proj.weight:0", "mlp.down_proj.weight:0"))],
        "along": ["model.norm.weight:0", *(n + w for n in names for w in (
            "input_layernorm.weight:0", "post_attention_layernorm.weight:0"))],
        "out": [n + w for n in names for w in (
            "self_attn.q_proj.weight:1", "self_attn.k_proj.weight:1", "self_attn.v_proj.weight:1", "mlp.gate_proj.weight:1",
            "mlp.up_proj.weight:1")],
    }  # fmt: skip
    heads = {
        "units": "heads {i}", "repeat": {"i": 30}, "count": 3,
        "in": [layer + f"self_attn.{w}_proj.weight:0" for w in "qkv"], "out": [layer + "self_attn.o_proj.weight:1"],
    }  # fmt: skip
    return declared(stream, heads, mlp)


def resnet(state: Tensors) -> tuple[Group, ...]:
    """The inner channels of each block (what a shortcut adds to is tied over blocks and, with option A, padded: left)."""
    blocks = sorted({name.rsplit(".conv1", 1)[0] for name in state if ".conv1.weight" in name and "layer" in name})
    return declared(*(
        {"units": b, "count": len(state[f"{b}.conv1.weight"]), "in": [f"{b}.conv1.weight:0"],
         "along": [f"{b}.bn1.{p}:0" for p in ("weight", "bias", "running_mean", "running_var")], "out": [f"{b}.conv2.weight:1"]}
        for b in blocks
    ))  # fmt: skip


def tensors_at(path: Path) -> Tensors:
    with open_inputs(path) as inputs:
        return arrays_of(inputs)


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    shipped = tensors_at(demo_network())
    yield "LeNet-300-100 on 8 x 8 digits (shipped)", shipped, lenet(shipped), lenet_difference
    if arguments.mnist_net:
        state = tensors_at(arguments.mnist_net)
        yield "LeNet-300-100 on MNIST", state, lenet(state), lenet_difference
    if arguments.klaus:
        from PIL import Image

        indices = {f"layer-{k}": np.array(Image.open(arguments.klaus / f"layer-{k}.png")) for k in (11, 12)}
        groups = declared({"units": "hidden", "count": 2048, "in": ["layer-11:0"], "out": ["layer-12:1"]})
        yield "klaus, layers 11 and 12 (indices)", indices, groups, None
    if arguments.resnets:
        for path in sorted(arguments.resnets.glob("resnet*_cifar10_fp32.safetensors")):
            state = tensors_at(path)
            yield path.stem, state, resnet(state), None
    if arguments.smollm2:
        state = tensors_at(arguments.smollm2)
        yield "SmolLM2-135M, MLP units", state, smollm2("mlp"), None
        yield "SmolLM2-135M, MLP units, heads, stream", state, smollm2("all"), None


def archive_bytes(state: Tensors) -> int:
    """netweight's best lossless archive of the tensors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        save_file({n: np.ascontiguousarray(a) for n, a in state.items()}, path)
        return compress_file(path, path.with_suffix(".nw"), effort="max").archive_bytes


def row(found: SymmetryWeighing, archive: int | None, difference: float | None) -> str:
    plain = found.rows[0]
    parts = [
        f"| {found.name} | {found.units:,} | {plain.bytes:,} | {'-' if archive is None else f'{archive:,}'} | {r.label} | "
        f"{r.bytes:,} | {r.saved_bits:,} | {'-' if r.bound_bits is None else f'{r.bound_bits:,.0f}'} | "
        f"{'-' if not r.bound_bits else f'{r.saved_bits / r.bound_bits - 1:+.2%}'} | {8 * r.initial_bytes} | "
        f"{'-' if difference is None else f'{difference:.0e}'} | {r.encode_seconds:.1f} | {r.decode_seconds:.1f} |"
        for r in found.rows[1:]
    ]
    return "\n".join(parts)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--klaus", type=Path)
    parser.add_argument("--mnist-net", type=Path)
    parser.add_argument("--smollm2", type=Path)
    parser.add_argument("--resnets", type=Path)
    arguments = parser.parse_args()
    lines = [
        "# What symmetries save: measured", "",
        ("Bytes of real messages, each decoded and compared bit for bit with the canonical network. The receiver has the "
        "architecture file and the tensors' names, dtypes and shapes. Saved is against the plain code, which is the same code "
        "without symmetries; the bound is log2 of how many orders of the units differ (n! if no two are equal), by counting. "
        "*differs*: outputs of the decoded network against the original's on random inputs, relative: rounding of sums in "
        "another order."), "",
        ("| network | units | plain, bytes | `max` archive | symmetries | bytes | saved, bits | bound | off | initial bits | differs | "
        "enc s | dec s |"),
        "|---|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for name, state, groups, difference in cases(arguments):
        found = weigh_network(state, groups, name=name)
        differs = difference(state, canonical_of(state, groups)) if difference else None
        archive = archive_bytes(state) if found.weights < 10_000_000 else None
        lines.append(row(found, archive, differs))
        print(lines[-1], flush=True)
    lines += ["", f"Machine: {machine()['processor']}, one thread, processor seconds.", ""]
    (RESULTS / "symmetry.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
