"""Networks in archives: every architecture shrunk, saved, and run by a process that knows nothing of it."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from netweight.errors import FormatError, OutputError
from netweight.shrink import LowRank, Prune, Quantize, load, save
from netweight.shrink.finish import finish
from netweight.shrink.protocol import Context
from netweight.shrink.saving import KEY, same
from netweight.shrink.structure import described, rebuilt
from netweight.shrink.tracing import doubled
from netweight.shrink.training import Training
from netweight.weights.archive import compress_file, verify_file
from shrink_nets import MAKERS, called, losses_on, traced

RUN = """
import sys, torch
from netweight.shrink import load
torch.set_num_threads(1)
for name in sys.argv[2:]:
    network, given = load(f"{sys.argv[1]}/{name}.nw"), torch.load(f"{sys.argv[1]}/{name}.pt")
    with torch.no_grad():
        out = network(**given["x"]) if isinstance(given["x"], dict) else network(given["x"])
    out = out if isinstance(out, torch.Tensor) else out["last_hidden_state"]
    assert torch.equal(out, given["y"]), name
"""


def test_ten_architectures_pruned_factored_quantised_saved_and_run_elsewhere(tmp_path: Path) -> None:
    for name in MAKERS:
        network, example = traced(name)
        args, named = doubled(example)
        context = Context(args, named, losses_on(example), None, steps=2, training=Training())
        before = context.cost(network)
        network = Prune(keep=0.6, batches=2, rounds=1).apply(network, context)
        network = LowRank(keep=0.95 if name == "lstm" else 0.85, batches=2).apply(network, context)
        assert context.record["factored"]
        network = Quantize(w=4, a=8).apply(network, context)
        network = finish(network, args, named)
        after = context.cost(network)
        assert after.macs < 0.6 * before.macs
        assert after.bitops < 0.025 * before.bitops
        receipt = save(network, tmp_path / f"{name}.nw", effort="balanced")
        assert receipt.archive_bytes == (tmp_path / f"{name}.nw").stat().st_size
        torch.save({"x": example, "y": called(network, example)}, tmp_path / f"{name}.pt")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path), *MAKERS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_archive_of_a_network_is_an_archive_like_any_other(tmp_path: Path) -> None:
    network, _ = traced("mlp")
    save(network, tmp_path / "a.nw", effort="balanced")
    verify_file(tmp_path / "a.nw")
    assert same(load(tmp_path / "a.nw"), network)
    with pytest.raises(OutputError):
        save(network, tmp_path / "a.nw", force=False)


def structure_of(name: str) -> tuple[dict, dict]:
    network, _ = traced(name)
    structure, tensors = described(network)
    return json.loads(json.dumps(structure)), tensors


def test_names_that_are_not_on_the_lists_are_refused_and_nothing_runs(tmp_path: Path) -> None:
    def refused(change, message: str, name: str = "vgg") -> None:
        structure, tensors = structure_of(name)
        change(structure)
        with pytest.raises(FormatError, match=message):
            rebuilt(structure, tensors)

    def put(structure: dict, *keys, value) -> None:
        for key in keys[:-1]:
            structure = structure[key]
        structure[keys[-1]] = value

    call = next(k for k, n in enumerate(structure_of("vgg")[0]["nodes"]) if n[0] == "f")
    refused(lambda s: put(s, "nodes", call, 1, value="os.system"), "isn't on the list of allowed functions")
    refused(lambda s: put(s, "nodes", call, 1, value="size.__import__"), "isn't on the list of allowed functions")
    refused(lambda s: put(s, "nodes", call, 1, value="from_file"), "isn't on the list of allowed functions")
    refused(lambda s: put(s, "modules", "0", 0, value="torch.hub.load"), "isn't on the list of allowed modules")
    refused(lambda s: put(s, "nodes", call, 2, 0, value={"n": 10_000}), "used before it is there")
    refused(lambda s: put(s, "nodes", call, 2, 0, value={"t": "load"}), "no dtype")
    refused(lambda s: s["modules"].update({"forward": s["modules"]["0"]}), "can't be called")
    refused(lambda s: s["modules"].update({"a.__class__": s["modules"]["0"]}), "no name of a module")
    refused(lambda s: put(s, "modules", "0", 1, 0, value=1 << 40), "not one of ours|needs torch")
    refused(lambda s: put(s, "modules", "0", 1, 0, value=5), "needs torch.float32")
    refused(lambda s: s["nodes"].pop(), "no output")
    refused(lambda s: put(s, "nodes", call, 0, value="z"), "node of kind")
    refused(lambda s: put(s, "modules", "r", 1, 3, value=1 << 30), "impossible recurrent", "lstm")
    refused(lambda s: s.pop("nodes"), "not one of ours")


def test_files_that_are_not_networks_or_were_altered_are_refused(tmp_path: Path) -> None:
    plain = tmp_path / "x.bin"
    plain.write_bytes(b"nothing of the kind" * 9)
    compress_file(plain, tmp_path / "x.nw")
    with pytest.raises(FormatError, match="no network saved"):
        load(tmp_path / "x.nw")
    network, _ = traced("mlp")
    save(network, tmp_path / "a.nw", effort="balanced")
    data = (tmp_path / "a.nw").read_bytes()
    for at in range(0, len(data), max(1, len(data) // 40)):
        (tmp_path / "b.nw").write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        with pytest.raises(FormatError):
            load(tmp_path / "b.nw")
        (tmp_path / "b.nw").write_bytes(data[:at])
        with pytest.raises(FormatError):
            load(tmp_path / "b.nw")


def test_integers_out_of_range_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from netweight.shrink.saving import write_plain

    network, example = traced("mlp")
    args, named = doubled(example)
    context = Context(args, named, losses_on(example), None, training=Training())
    network = finish(Quantize(w=3, a=8).apply(network, context), args, named)
    write_plain(network, tmp_path / "p.safetensors")
    tensors = load_file(tmp_path / "p.safetensors")
    name = next(n for n in tensors if n.endswith("integers"))
    assert tensors[name].dtype == torch.bfloat16
    tensors[name] = tensors[name] + 0.5
    with open(tmp_path / "p.safetensors", "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        note = json.loads(file.read(length))["__metadata__"][KEY]
    save_file(tensors, tmp_path / "p.safetensors", {KEY: note})
    compress_file(tmp_path / "p.safetensors", tmp_path / "p.nw")
    with pytest.raises(FormatError, match="other numbers than integers"):
        load(tmp_path / "p.nw")


def test_any_change_of_a_structure_gives_a_network_or_a_format_error() -> None:
    """Values anywhere in the JSON replaced by others; nothing but our error may come out."""
    draw = random.Random(0)
    values = [
        None,
        True,
        -1,
        0,
        3,
        1 << 40,
        2.5,
        "",
        "relu",
        "Linear",
        [],
        [1, 2],
        {},
        {"n": 0},
        {"n": -1},
        {"t": "float32"},
        {"m": {}},
    ]

    def places(value, path=()):
        yield path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            yield from places(inner, (*path, key))

    for name in ("vgg", "lstm", "gpt"):
        structure, tensors = structure_of(name)
        text, found = json.dumps(structure), list(places(structure))
        for _ in range(250):
            changed = json.loads(text)
            for path in draw.sample(found[1:], draw.choice((1, 1, 2))):
                home = changed
                try:
                    for key in path[:-1]:
                        home = home[key]
                    home[path[-1]] = draw.choice(values)
                except (KeyError, IndexError, TypeError):
                    continue
            with contextlib.suppress(FormatError):
                rebuilt(changed, tensors)
