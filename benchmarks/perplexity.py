"""How well a causal language model predicts fixed text, to set it against its compressed copies.

    python benchmarks/inputs.py --data DIR smollm2-q4_1.gguf
    python benchmarks/smollm2.py DIR/smollm2-q4_1.gguf FOLDER
    python benchmarks/calibration.py FOLDER H.safetensors --text OTHER...
    python benchmarks/perplexity.py --gguf DIR/smollm2-q4_1.gguf --model FOLDER --text FILE... --scratch DIR SUBJECT...

Windows of --length tokens are spread evenly over each text; all tokens of a window but the first are predicted. Loss is in
nats a token; its standard error is that of the windows' means. Copies are compared with the original on the same windows:
the error of the difference is far smaller than that of either loss. All copies are evaluated by this one program, in
float32 on the CPU.

Subjects are  original  |  llama.cpp:RECIPE  |  PEER:SETTING[/PEER:SETTING]  |  netweight:ARGUMENTS  |
archive:FILE. PEER is a coder of
lossy_peers.py or ggml, ggml-imatrix (which needs --moments); its part behind "/" codes the embedding, which is else left
as it is. netweight's ARGUMENTS are those of `netweight compress` for model.safetensors ("--bits 3"); archive:FILE is one made before.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lm_rivals import Copy, GgmlBlocks, coded, from_gguf, linear_layers, quantise_gguf
from lossy_parts import LossyPeer, Setting
from lossy_peers import LOSSY_PEERS
from numpy.typing import NDArray
from smollm2 import State, read_gguf

RESULTS = Path(__file__).parent / "results"
ORIGINAL = "original"

Losses = NDArray[np.float64]
"""Mean loss of each window, nats a token."""


def windows(tokenizer: Any, texts: Sequence[Path], count: int, length: int) -> NDArray[np.int64]:
    """`count` windows of token numbers [count, length], an equal part from each text. Raises ValueError if one is too short."""
    if count % len(texts):
        raise ValueError(f"{count} windows can't be shared equally by {len(texts)} texts")
    each, out = count // len(texts), []
    for path in texts:
        ids = np.array(tokenizer(path.read_text("utf-8", errors="replace"))["input_ids"], np.int64)
        if ids.size < each * length:
            raise ValueError(f"{path}: {ids.size} tokens, too few for {each} windows of {length}")
        starts = np.linspace(0, ids.size - length, each).astype(np.int64)
        out += [ids[s : s + length] for s in starts]
    return np.stack(out)


def log_losses(model: Any, batch: NDArray[np.int64]) -> Losses:
    """The mean loss of each window [windows, length] under `model`, one window at a time, in its dtype; sums in float64."""
    import torch

    losses = np.empty(len(batch))
    with torch.inference_mode():
        for k, row in enumerate(torch.from_numpy(batch)):
            logits = model(row[None]).logits[0, :-1].float()
            each = torch.nn.functional.cross_entropy(logits, row[1:], reduction="none")
            losses[k] = each.double().mean().item()
    return losses


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean loss minus that of a reference, and its standard error over windows (nats a token)."""

    mean: float
    error: float


def standard_error(values: Losses) -> float:
    """Of the mean of independent values; 0 for a single one."""
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else 0.0


def difference(losses: Losses, reference: Losses) -> Difference:
    """Paired over the same windows."""
    d = losses - reference
    return Difference(float(d.mean()), standard_error(d))


def perplexity(losses: Losses) -> float:
    """exp of the mean loss."""
    return float(np.exp(losses.mean()))


class Bench:
    """One model on one set of windows, and how each subject is made from it."""

    def __init__(self, options: argparse.Namespace) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.options = options
        self.state: State = read_gguf(options.gguf)
        self.model = AutoModelForCausalLM.from_pretrained(options.model, dtype="float32").eval()
        self.windows = windows(
            AutoTokenizer.from_pretrained(options.model), options.text, options.windows, options.length
        )

    def copy(self, subject: str) -> Copy:
        """Raises ValueError for a subject that isn't one."""
        name, _, rest = subject.partition(":")
        if subject == ORIGINAL:
            return from_gguf(self.options.gguf)
        if name == "llama.cpp":
            target = self.options.scratch / f"{self.options.gguf.stem}-{rest}.gguf"
            if not target.exists():
                quantise_gguf(self.options.gguf, target, rest)
            return from_gguf(target)
        if name == "netweight":
            return self._archive(self._compressed(shlex.split(rest)))
        if name == "archive":
            return self._archive(Path(rest))
        linear, _, embedding = subject.partition("/")
        return coded(self.state, *self._peer(linear), self._peer(embedding) if embedding else None)

    def _peer(self, subject: str) -> tuple[LossyPeer, Setting]:
        name, _, label = subject.partition(":")
        if name.startswith("ggml"):
            from safetensors.numpy import load_file

            moments = load_file(self.options.moments) if name == "ggml-imatrix" else {}
            return GgmlBlocks({k: h.diagonal() for k, h in moments.items()}), GgmlBlocks.at(label)
        if name not in LOSSY_PEERS:
            raise ValueError(f"no subject {subject!r}")
        peer = LOSSY_PEERS[name]()
        settings = {s.label: s for s in peer.settings(linear_layers(self.state))}
        return peer, settings[label]

    def _compressed(self, arguments: list[str]) -> Path:
        archive: Path = self.options.scratch / "copy.nw"
        command = [Path(sys.executable).with_name("netweight"), "compress", self.options.model / "model.safetensors"]
        subprocess.run([*command, "-o", archive, "--force", *arguments], check=True)
        return archive

    def _archive(self, path: Path) -> Copy:
        import netweight as nw

        linear = linear_layers(self.state).keys()
        with nw.open(path) as opened:
            size = sum(info.bytes for info in opened.tensors() if info.name in linear)
        return Copy(nw.load_file(path), round(size), path.stat().st_size)

    def record(self, subject: str) -> dict[str, Any]:
        """Code, decode, evaluate: raw figures for JSON."""
        import torch

        start = time.perf_counter()
        copy = self.copy(subject)
        coded_at = time.perf_counter()
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(torch.from_numpy(np.asarray(copy.state[name], np.float32)))
        losses = log_losses(self.model, self.windows)
        linear = sum(a.size for a in linear_layers(self.state).values())
        total = sum(a.size for a in self.state.values())
        return {
            "subject": subject,
            "linear_bytes": copy.linear_bytes,
            "linear_bits": 8 * copy.linear_bytes / linear,
            "bytes": copy.bytes,
            "bits": None if copy.bytes is None else 8 * copy.bytes / total,
            "losses": losses.tolist(),
            "coding_seconds": coded_at - start,
            "evaluation_seconds": time.perf_counter() - coded_at,
        }


def markdown(report: dict[str, Any]) -> str:
    """The report as one table."""
    records = report["records"]
    reference = np.array(records[ORIGINAL]["losses"])
    rows = [
        f"# {report['model']}: perplexity against bytes",
        report["about"],
        "| copy | linear layers, bits/weight | whole model, bytes | bits/weight | perplexity | loss - original's (nats/token) |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for record in sorted(records.values(), key=lambda r: (r["bytes"] is None, -r["linear_bits"])):
        losses = np.array(record["losses"])
        d = difference(losses, reference)
        whole = ("", "") if record["bytes"] is None else (f"{record['bytes']:,}", f"{record['bits']:.3f}")
        delta = "" if record["subject"] == ORIGINAL else f"{d.mean:+.4f} +- {d.error:.4f}"
        rows.append(
            f"| {record['subject']} | {record['linear_bits']:.3f} | {whole[0]} | {whole[1]} | {perplexity(losses):.2f} "
            f"| {delta} |"
        )
    return "\n\n".join(rows[:2]) + "\n\n" + "\n".join(rows[2:]) + "\n"


def _report(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What is there from earlier runs. Raises ValueError if it was measured on other windows."""
    texts = ", ".join(p.name for p in options.text)
    about = (
        f"{options.windows} windows of {options.length} tokens from {texts}; float32, one program for all. Where no bytes of "
        "the whole model stand, the linear layers alone were coded and all else is the original's."
    )
    if not path.exists():
        return {"model": options.gguf.name, "about": about, "records": {}}
    report: dict[str, Any] = json.loads(path.read_text())
    if report["about"] != about:
        raise ValueError(f"{path} was measured on other text: {report['about']}")
    return report


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="its Hugging Face folder, by smollm2.py")
    parser.add_argument("--text", type=Path, nargs="+", required=True)
    parser.add_argument("--scratch", type=Path, required=True, help="where copies go")
    parser.add_argument("--moments", type=Path, help="by calibration.py")
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "perplexity.json")
    parser.add_argument("subjects", nargs="+")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report, bench = _report(options.out, options), Bench(options)
    for subject in options.subjects:
        report["records"][subject] = bench.record(subject)
        options.out.write_text(json.dumps(report, indent=1) + "\n")
        options.out.with_suffix(".md").write_text(markdown(report)) if ORIGINAL in report["records"] else None
        r = report["records"][subject]
        print(f"{subject:40} {r['linear_bits']:.3f} {r['bytes']} {perplexity(np.array(r['losses'])):.3f}", flush=True)


if __name__ == "__main__":
    main()
