"""Bits a weight of lossy coders at equal error, on the matrices of real networks.

    python benchmarks/inputs.py --data DIR minilm-fp32.safetensors crepe-fp32.safetensors resemblyzer.pt efficientnet-lite0.pth
    python benchmarks/lossy_rates.py --data DIR --files PATH ... [--codes ...] [--name lossy]

Needs the packages of the bench extra and `pip install --no-deps nncodec`, which asks for an older numpy but runs with
ours. Set OMP_NUM_THREADS=1: everything is measured on one thread, in seconds of processor time, so that other work on the
machine changes little.

What is coded is every float32 tensor of two axes or more, without optimiser state. Error is the sum of squares of all
differences over the sum of squares of all weights, after decoding. Each rival goes through its settings once. Then the
settings of the anchor (NNCodec RDO) that come nearest to 1, 2, 3, 4 and 5 bits a weight are coded again, in turn with
netweight told to reach the same error, `--repetitions` times. Results are merged into NAME.json: what is measured again
replaces what was there of the same network and code.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import lossy_tables
import numpy as np
from lossy_bounds import differential_entropy, shannon_bound, uniform_bound
from lossy_parts import LossyPeer, Matrices, Setting
from lossy_peers import LOSSY_PEERS, OURS, Netweight, version
from run import RESULTS, machine

ANCHOR = "nncodec-rdo"
TARGETS = (1.0, 2.0, 3.0, 4.0, 5.0)
_COARSEST, _FINEST = 0.6, 5.5  # bits a weight between which points are kept
_FEW = 16  # settings that are too few to leave out some
_FILES = ("minilm-fp32.safetensors", "resemblyzer.pt", "crepe-fp32.safetensors", "efficientnet-lite0.pth")


@dataclass
class Point:
    """One code at one setting on one network. `bound` marks a rate without bytes; `problem` is "" if all went well.

    `payload_bytes` leaves out what isn't weights' code, for codes that tell it apart. Seconds are of the processor, one
    figure a repetition.
    """

    network: str
    code: str
    version: str
    setting: str
    value: Any
    weights: int
    bits_per_weight: float = 0.0
    bytes: int = 0
    payload_bytes: int | None = None
    rel_mse: float = 0.0
    encode_seconds: list[float] = field(default_factory=list)
    decode_seconds: list[float] = field(default_factory=list)
    bound: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Subject:
    """A network: its matrices, how many weights they have, and their sum of squares."""

    name: str
    matrices: Matrices
    weights: int
    energy: float

    @classmethod
    def of(cls, path: Path) -> Subject:
        """The matrices of a checkpoint. Raises SystemExit if it has none."""
        from netweight.source import FileSource
        from netweight.weights.regions import find

        with FileSource(path) as source:
            chosen = [
                r
                for r in find(source).regions
                if r.dtype == "F32" and len(r.shape) > 1 and not r.name.startswith("optimizer_state.")
            ]
        data = np.memmap(path, np.uint8, "r")
        matrices = {r.name: data[r.offset : r.offset + r.nbytes].copy().view("<f4").reshape(r.shape) for r in chosen}
        if not matrices:
            raise SystemExit(f"{path}: no float32 matrices")
        energy = sum(float(np.square(m, dtype=np.float64).sum()) for m in matrices.values())
        return cls(path.stem, matrices, sum(prod(r.shape) for r in chosen), energy)

    def rel_mse(self, decoded: Matrices) -> float:
        """||w - q||^2 / ||w||^2 over all matrices. Raises ValueError if names or shapes aren't the network's."""
        if {k: v.shape for k, v in decoded.items()} != {k: v.shape for k, v in self.matrices.items()}:
            raise ValueError("other names or shapes came back")
        noise = sum(
            float(np.square(m.astype(np.float64) - decoded[k], dtype=np.float64).sum())
            for k, m in self.matrices.items()
        )
        return noise / self.energy

    def checksum(self) -> int:
        """To tell whether a coder altered what it was given."""
        total = 0
        for m in self.matrices.values():
            total = zlib.crc32(m, total)
        return total


def processor_seconds(action: Callable[[], None]) -> float:
    """Of one call, all threads of this process together: on one thread the time that it takes on an idle machine."""
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        action()
        return time.process_time() - start
    finally:
        gc.enable()


def once(peer: LossyPeer, setting: Setting, subject: Subject, point: Point) -> None:
    """Encode, decode, compare; a coder that fails leaves its reason in the point."""
    before, blobs, back = subject.checksum(), [b""], [Matrices()]
    try:
        encode = processor_seconds(lambda: blobs.append(peer.encode(subject.matrices, setting)))
        decode = processor_seconds(lambda: back.append(peer.decode(blobs[-1])))
        error = subject.rel_mse(back[-1])
    except Exception as failure:  # noqa: BLE001  whatever a rival raises is a result
        point.problem = f"{type(failure).__name__}: {failure}"[:200]
        return
    if subject.checksum() != before:
        point.problem = "it altered its input"
    if point.encode_seconds and (point.bytes, point.rel_mse) != (len(blobs[-1]), error):
        point.problem = "a repetition gave something else"
    point.encode_seconds.append(encode)
    point.decode_seconds.append(decode)
    point.bytes, point.rel_mse = len(blobs[-1]), error
    point.bits_per_weight = 8 * len(blobs[-1]) / subject.weights
    if isinstance(peer, Netweight):
        point.payload_bytes = peer.payload(blobs[-1])


def blank(peer: LossyPeer, setting: Setting, subject: Subject) -> Point:
    return Point(subject.name, peer.name, version(peer.package), setting.label, setting.value, subject.weights)


def curve(peer: LossyPeer, subject: Subject, stride: int) -> list[Point]:
    """The points of a coder, one in `stride`, between `_COARSEST` and the first beyond `_FINEST` bits a weight; one point if it fails."""
    points, settings = [], peer.settings(subject.matrices)
    for setting in settings[:: stride if len(settings) > _FEW else 1]:
        point = blank(peer, setting, subject)
        once(peer, setting, subject, point)
        print(lossy_tables.line(asdict(point)), flush=True)
        if point.problem or point.bits_per_weight >= _COARSEST:
            points.append(point)
        if point.problem or point.bits_per_weight > _FINEST:
            break
    return points


def anchors(points: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The points of the anchor nearest to the target rates, coarse to fine; where it has none, errors 6 dB apart."""
    there = [p for p in points if not p["problem"]]
    if not there:
        return [{"rel_mse": 10 ** (db / 10)} for db in range(-6, -31, -6)]
    nearest = (min(there, key=lambda p: abs(p["bits_per_weight"] - t)) for t in TARGETS)
    return list({p["setting"]: p for p in nearest}.values())


def bounds(subject: Subject, rel_mse: float, entropies: np.ndarray) -> list[Point]:
    """Both bounds at one error."""
    counts = np.array([m.size for m in subject.matrices.values()])
    noise = rel_mse * subject.energy
    rates = {
        "bound: uniform, order-0 entropy": uniform_bound(subject.matrices, noise),
        "bound: Shannon, i.i.d.": shannon_bound(entropies, counts, noise),
    }
    label = f"{10 * np.log10(rel_mse):.2f} dB"
    return [
        Point(subject.name, name, "", label, rel_mse, subject.weights, rate, rel_mse=rel_mse, bound=True)
        for name, rate in rates.items()
    ]


def duel(subject: Subject, codes: list[str], at: list[dict[str, Any]], repetitions: int) -> list[Point]:
    """Netweight and the anchor in turn at each of the anchor's settings. Finding our step for that error isn't timed."""
    ours, theirs = [Netweight(OURS[name]) for name in codes], LOSSY_PEERS[ANCHOR]()
    out: list[Point] = []
    for place in at:
        runs: list[tuple[LossyPeer, Setting]] = [(peer, peer.aim(subject.matrices, place["rel_mse"])) for peer in ours]
        if "setting" in place:
            runs.append((theirs, Setting(place["setting"], place["value"])))
        fought = [(peer, setting, blank(peer, setting, subject)) for peer, setting in runs]
        for _ in range(repetitions):
            for peer, setting, point in fought:
                if not point.problem:
                    once(peer, setting, subject, point)
        for _, _, point in fought:
            print(lossy_tables.line(asdict(point)), flush=True)
            out.append(point)
    return out


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`new` in place of what `old` has of the same networks and codes; networks stay in their order."""
    fresh = {(p["network"], p["code"]) for p in new}
    kept = [p for p in old if (p["network"], p["code"]) not in fresh] + new
    order = list(dict.fromkeys(p["network"] for p in [*old, *new]))
    return sorted(kept, key=lambda p: (order.index(p["network"]), p["code"]))


def with_duel(points: list[dict[str, Any]], fought: list[Point]) -> list[dict[str, Any]]:
    """Our points replaced; the anchor's replaced where they were measured again."""
    anchor = LOSSY_PEERS[ANCHOR]().name
    again = {(p.network, p.setting) for p in fought if p.code == anchor}
    mine = {(p.network, p.code) for p in fought if p.code != anchor}
    kept = [
        p
        for p in points
        if (p["network"], p["code"]) not in mine and not (p["code"] == anchor and (p["network"], p["setting"]) in again)
    ]
    return kept + [asdict(p) for p in fought]


def measure(path: Path, options: argparse.Namespace, points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`points` with this network's measured again for the chosen codes."""
    subject, codes = Subject.of(path), options.codes
    new = [p for name in codes if name not in OURS for p in curve(LOSSY_PEERS[name](), subject, options.stride)]
    points = merged(points, [asdict(p) for p in new])
    anchor = LOSSY_PEERS[ANCHOR]().name
    at = anchors(p for p in points if (p["network"], p["code"]) == (subject.name, anchor))
    if ours := [c for c in codes if c in OURS]:
        points = with_duel(points, duel(subject, ours, at, options.repetitions))
    entropies = np.array([differential_entropy(m) for m in subject.matrices.values()])
    ideal = [b for p in at for b in bounds(subject, p["rel_mse"], entropies)]
    return merged(points, [asdict(b) for b in ideal])


def load(path: Path) -> dict[str, Any]:
    """The results that are there already."""
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"machine": {}, "points": []}
    return report


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that benchmarks/inputs.py filled")
    parser.add_argument("--files", nargs="*", default=list(_FILES), help="names in DATA, or paths")
    parser.add_argument("--codes", nargs="*", default=list(LOSSY_PEERS), choices=list(LOSSY_PEERS), metavar="CODE")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--stride", type=int, default=1, help="take one in so many of a fine row of settings")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--name", default="lossy", help="stem of the two result files")
    return parser.parse_args()


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"{options.name}.json"
    for name in options.files:
        path = p if (p := Path(name)).is_file() else options.data / name
        report = load(target)
        report["points"] = measure(path, options, report["points"])
        command = " ".join(["python", "benchmarks/lossy_rates.py", *sys.argv[1:]])
        report["machine"] = machine() | {"command": command}
        report["commands"] = list(dict.fromkeys([*report.get("commands", []), command]))
        for p in report["points"]:
            both = ("encode_seconds", "decode_seconds")
            p |= {f"median_{k}": statistics.median(p[k]) for k in both if p[k]}
        target.write_text(json.dumps(report, indent=1) + "\n")
        target.with_suffix(".md").write_text(lossy_tables.markdown(report))


if __name__ == "__main__":
    main()
