"""A network of real size, pruned, factored, quantised, saved, and run by another process: MiniLM (22 million weights).

    python benchmarks/shrink_minilm.py --weights minilm-fp32.safetensors [--steps 20] [--out benchmarks/results]

Needs transformers. Random tokens stand for texts, and the network's own outputs for labels: this asks whether everything works
at this size and how long it takes, not how good the result is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from netweight.shrink import LowRank, Prune, Quantize, shrink

RUN = """
import sys, torch
from netweight.shrink import load
torch.set_num_threads(1)
given = torch.load(sys.argv[2])
with torch.no_grad():
    out = load(sys.argv[1])(**given["x"]).last_hidden_state
print("same" if torch.equal(out, given["y"]) else "other")
"""


def minilm(weights: Path) -> nn.Module:
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    network = BertModel(config, add_pooling_layer=False)
    state = {
        k.removeprefix("bert."): v.float()
        for k, v in load_file(weights).items()
        if "pooler" not in k and "position_ids" not in k
    }
    network.load_state_dict(state, strict=False)
    return network.eval()


def tokens(seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(1000, 20_000, (4, 32), generator=draw)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    teacher = minilm(options.weights)

    def train(model: nn.Module, seed: int) -> Iterator[torch.Tensor]:
        while True:
            seed += 1
            x = tokens(seed)
            with torch.no_grad():
                wanted = teacher(**x).last_hidden_state
            yield (model(**x).last_hidden_state - wanted).square().mean()

    def evaluate(model: nn.Module) -> float:
        x = tokens(10**6)
        with torch.no_grad():
            a, b = (m(**x).last_hidden_state.flatten(0, 1) for m in (model, teacher))
        return float(torch.cosine_similarity(a, b).mean())

    started = time.process_time()
    steps = [Prune(keep=0.85, batches=4, rounds=1), LowRank(keep=0.9, batches=2), Quantize(w=6, a=8, rate=0.05)]
    result = shrink(
        teacher, tokens(0), steps, train=train, evaluate=evaluate, budget=options.steps, learning_rate=1e-4, effort="balanced",
        dynamic=dict.fromkeys(tokens(0), (0, 1)), say=lambda text: print(text, flush=True),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file, given = Path(folder) / "minilm.nw", Path(folder) / "given.pt"
        size = result.save(file).archive_bytes
        x = tokens(7)
        with torch.no_grad():
            torch.save({"x": x, "y": result.model(**x).last_hidden_state}, given)
        answer = subprocess.run(
            [sys.executable, "-c", RUN, str(file), str(given)], capture_output=True, text=True, check=True
        )
    spent = time.process_time() - started
    start, end = result.report.start, result.report.end
    text = f"""# MiniLM shrunk

Pruned to 85 % of its MACs, factored to 90 % of those, 6-bit weights and 8-bit activations, {options.steps} training steps on random
tokens. Loaded by another process, its outputs are: {answer.stdout.strip()}.

| | weights | MACs of 32 tokens | BitOps | bytes | outputs' cosine with the original |
|---|---:|---:|---:|---:|---:|
| start | {start.costs.params:,} | {start.costs.macs:.4g} | {start.costs.bitops:.4g} | {result.report.original_bytes:,} | 1 |
| end | {end.costs.params:,} | {end.costs.macs:.4g} | {end.costs.bitops:.4g} | {size:,} | {end.score:.4f} |

{spent:.0f} s of processor time in all.
"""
    (options.out / "shrink-minilm.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
