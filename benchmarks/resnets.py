"""How many bytes a ResNet's accuracy takes: every lossy coder, real bytes, accuracy of the weights decoded from them.

    python benchmarks/resnets.py --weights DIR --cifar cifar10_jpeg_q75.npz [--networks resnet20 ...] [--codes ...]
        [--out benchmarks/results] [--plot PLOT.png]

Coders are those of lossy_peers.py and round to nearest with a scale for each output channel. They code the tensors of
two axes or more and 1,024 weights or more; all others (batch norms, biases, the first and the last layer, whose errors
cost far more accuracy than bytes) stay FP32 and are counted in full for everyone. From fine settings to coarse
ones, until the accuracy has dropped by more than 5 %. Rows of a network and a code that are run again replace the old ones.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cifar
import numpy as np
from lossy_parts import LossyPeer, Matrices, Part, Setting, pack, rms, unpack
from lossy_peers import LOSSY_PEERS, Netweight
from lossy_simple import RoundToNearest
from numpy.typing import NDArray

LEAST = 1024
NETWORKS = ("resnet20", "resnet32", "resnet44")
BUDGETS = (0.005, 0.01, 0.02)
_WORTH = (10**-2.7, 10**-0.8)  # relative errors that are looked at
_LOST = 0.05  # share of the accuracy; after two settings that are worse the code is done


class PerChannel(RoundToNearest):
    """Symmetric integers, one scale for each output channel: the usual int8 and int4."""

    name = "integers per channel"

    def settings(self, _matrices: Matrices) -> list[Setting]:
        return [Setting(f"int{bits}", bits) for bits in (3, 4, 5, 6, 7, 8)]

    def encode(self, matrices: Matrices, setting: Setting) -> bytes:
        bits: int = setting.value
        parts = [Part(k, m.shape, self._one(m, bits, m[0].size)) for k, m in matrices.items()]
        return pack([Part("", (bits,), b""), *parts])

    def decode(self, blob: bytes) -> Matrices:
        (_, (bits,), _), *parts = unpack(blob)
        return {p.name: self._back(p, bits, int(np.prod(p.shape[1:]))) for p in parts}


class FineNetweight(Netweight):
    """This package at settings closer than 3 dB; with a file of moments (cifar.py writes it) aware of the layers."""

    def __init__(self, effort: str = "balanced", calibration: Path | None = None) -> None:
        super().__init__(effort)
        self._calibration = calibration
        if calibration:
            self.name += ", calibrated"

    def settings(self, matrices: Matrices) -> list[Setting]:
        steps = [rms(matrices) * 2 ** (-k / 5) for k in range(-5, 20)]
        return [Setting(f"step {step:.4g}", step) for step in steps]

    def encode(self, matrices: Matrices, setting: Setting) -> bytes:
        return self._compress(matrices, {"step": setting.value, "calibration": self._calibration})[0]


CODES: dict[str, Callable[[Path | None], LossyPeer]] = {
    "netweight": lambda _: FineNetweight(),
    "netweight-max": lambda _: FineNetweight("max"),
    "calibrated": lambda moments: FineNetweight(calibration=moments),
    "channel": lambda _: PerChannel(),
    **{
        name: lambda _, name=name: LOSSY_PEERS[name]()
        for name in ("nncodec-rdo", "nncodec", "sz3", "codebook", "rtn", "gguf")
    },
}
"""By name, given the network's file of moments."""


@dataclass(frozen=True)
class Point:
    """One setting: `bytes` is the length of what was decoded and scored, and of the other tensors as FP32.

    `digest` is the hex SHA-256 of the coded bytes: the same ones needn't be scored twice.
    """

    network: str
    code: str
    setting: str
    bytes: int
    coded_bytes: int
    weights: int
    rel_mse: float
    accuracy: float
    images: int
    digest: str

    @property
    def bits(self) -> float:
        """Bits a coded weight."""
        return 8 * self.coded_bytes / self.weights


class Scorer:
    """The accuracy of a network on the test images, with some of its tensors replaced."""

    def __init__(self, network: Path, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        from safetensors.numpy import load_file

        self.state = load_file(network)
        self.matrices = {k: v for k, v in self.state.items() if v.ndim >= 2 and v.size >= LEAST}
        self.others = sum(v.nbytes for k, v in self.state.items() if k not in self.matrices)
        self.inputs, self.labels = cifar.batches(pixels), labels
        self.weights = sum(m.size for m in self.matrices.values())
        self.energy = sum(float(np.square(m, dtype=np.float64).sum()) for m in self.matrices.values())

    def rel_mse(self, decoded: Matrices) -> float:
        """Raises ValueError if other tensors came back."""
        if {k: v.shape for k, v in decoded.items()} != {k: v.shape for k, v in self.matrices.items()}:
            raise ValueError("other tensors came back")
        pairs = ((decoded[k], m) for k, m in self.matrices.items())
        return sum(float(np.square(d - m, dtype=np.float64).sum()) for d, m in pairs) / self.energy

    def accuracy(self, decoded: Matrices) -> float:
        return cifar.accuracy({**self.state, **decoded}, self.inputs, self.labels)


def points(name: str, peer: LossyPeer, scorer: Scorer, old: list[Point]) -> Iterator[Point]:
    """Settings from fine to coarse, as far as the accuracy bears it; accuracies of `old` points aren't measured again."""
    known = {p.digest: p.accuracy for p in old if p.network == name and p.images == len(scorer.labels)}
    original, lost = scorer.accuracy({}), 0
    for setting in reversed(peer.settings(scorer.matrices)):
        blob = peer.encode({k: m.copy() for k, m in scorer.matrices.items()}, setting)
        decoded = peer.decode(blob)
        error = scorer.rel_mse(decoded)
        if not _WORTH[0] <= error <= _WORTH[1] and not (error < _WORTH[0] and setting.label.startswith("int")):
            continue
        digest = hashlib.sha256(blob).hexdigest()
        point = Point(
            network=name,
            code=peer.name,
            setting=setting.label,
            bytes=len(blob) + scorer.others,
            coded_bytes=len(blob),
            weights=scorer.weights,
            rel_mse=error,
            accuracy=known[digest] if digest in known else scorer.accuracy(decoded),
            images=len(scorer.labels),
            digest=digest,
        )
        yield point
        lost = lost + 1 if point.accuracy < (1 - _LOST) * original else 0
        if lost == 2:
            return


def merged(old: list[Point], new: list[Point]) -> list[Point]:
    """All points; those of a network and a code that were measured again are the new ones alone."""
    again = {(p.network, p.code) for p in new}
    kept = [p for p in old if (p.network, p.code) not in again]
    return sorted([*kept, *new], key=lambda p: (NETWORKS.index(p.network), p.code, -p.bytes))


def smallest(found: list[Point], floor: float) -> Point | None:
    """The point of fewest bytes whose own accuracy is at least `floor`."""
    return min((p for p in found if p.accuracy >= floor - 1e-12), key=lambda p: p.bytes, default=None)


def fitted(found: list[Point], original: float, drop: float) -> float | None:
    """Bytes at which the accuracy has dropped by `drop`, from a curve through all points of one code; None without three.

    The drop is taken as exp(a - c bytes), by least squares: what one throw of quantisation noise does to the accuracy
    is as large as the drops of interest.
    """
    if len(found) < 3:
        return None
    x = np.array([p.bytes for p in found], float)
    y = original - np.array([p.accuracy for p in found])
    best: tuple[float, float, float] | None = None
    for c in np.geomspace(1, 100, 400) / x.mean():
        g = np.exp(-c * (x - x.mean()))
        height = max(float(g @ y) / float(g @ g), 0.0)
        loss = float(np.square(y - height * g).sum())
        if height > 0 and (best is None or loss < best[0]):
            best = (loss, height, float(c))
    return None if best is None else float(x.mean() + np.log(best[1] / drop) / best[2])


_ABOUT = """\
CIFAR-10 as JPEG, {images} test images; accuracy of the weights that were decoded from the bytes counted. Tensors of
two axes or more and 1,024 weights or more are coded; the others (batch norms, biases, first and last layer) stay FP32
and count in full for every code, and so do names, shapes and scales. Drops are shares of the original accuracy.

One throw of quantisation noise moves the accuracy by some tenths of a point, as much as the drops of interest. So each
cell gives the bytes at which a curve through all settings of the code (drop = exp(a - c bytes), least squares) has that
drop, and in parentheses the smallest setting that was measured to keep it.
"""


def markdown(originals: dict[str, dict[str, Any]], found: list[Point]) -> str:
    """Bytes at each allowed drop, then every point."""
    images = max(p.images for p in found)
    out = ["# Accuracy against bytes: ResNets on CIFAR-10", _ABOUT.format(images=images).strip()]
    for network in dict.fromkeys(p.network for p in found):
        here, original = [p for p in found if p.network == network], originals[network]
        out.append(
            f"## {network}: {100 * original['accuracy']:.2f} % in {original['bytes']:,} bytes of FP32 "
            f"({original['others']:,} of them not coded)"
        )
        rows = [f"| drop at most | {' | '.join(f'{100 * b:g} %' for b in BUDGETS)} |", "|---|" + "---:|" * len(BUDGETS)]
        for code in dict.fromkeys(p.code for p in here):
            own = [p for p in here if p.code == code]
            rows.append(f"| {code} | {' | '.join(_cell(own, original['accuracy'], b) for b in BUDGETS)} |")
        out.append("\n".join(rows))
    out += ["## Every setting", _curve(found)]
    return "\n\n".join(out) + "\n"


def _cell(own: list[Point], original: float, budget: float) -> str:
    curve, lucky = fitted(own, original, budget * original), smallest(own, original * (1 - budget))
    return f"{'-' if curve is None else f'{curve:,.0f}'} ({'none' if lucky is None else f'{lucky.bytes:,}'})"


def _curve(found: list[Point]) -> str:
    rows = ["| network | code | setting | bytes | b/w | relMSE dB | top-1 % |", "|---|---|---|---:|---:|---:|---:|"]
    rows += [
        f"| {p.network} | {p.code} | {p.setting} | {p.bytes:,} | {p.bits:.3f} | {10 * np.log10(p.rel_mse):.2f} | "
        f"{100 * p.accuracy:.2f} |"
        for p in found
    ]
    return "\n".join(rows)


def plot(path: Path, originals: dict[str, dict[str, Any]], found: list[Point]) -> None:
    """One panel a network: accuracy against bytes, a line a code."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    networks = list(dict.fromkeys(p.network for p in found))
    figure, axes = plt.subplots(1, len(networks), figsize=(6 * len(networks), 5), squeeze=False)
    for axis, network in zip(axes[0], networks, strict=True):
        for code in dict.fromkeys(p.code for p in found):
            line = [p for p in found if (p.network, p.code) == (network, code)]
            axis.plot([p.bytes / 1e3 for p in line], [100 * p.accuracy for p in line], ".-", label=code)
        top = 100 * originals[network]["accuracy"]
        axis.axhline(top, color="grey", linewidth=0.8)
        axis.set(title=network, xlabel="kB", ylabel="top-1 %", xscale="log", ylim=(0.9 * top, top + 1))
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def write(file: Path, originals: dict[str, dict[str, Any]], found: list[Point]) -> None:
    file.write_text(json.dumps({"originals": originals, "points": [asdict(p) for p in found]}, indent=1) + "\n")


def _moments(options: argparse.Namespace, network: str) -> Path | None:
    return options.moments / f"{network}.safetensors" if options.moments else None


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, required=True, help="folder of resnetN_cifar10_fp32.safetensors")
    parser.add_argument("--cifar", type=Path, required=True, help="cifar10_jpeg_q75.npz")
    parser.add_argument("--moments", type=Path, help="folder of NETWORK.safetensors, for the calibrated code")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument(
        "--codes", nargs="*", choices=CODES, default=list(CODES), help="none: only write the table again"
    )
    parser.add_argument("--count", type=int, default=10_000, help="test images")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if "calibrated" in options.codes and options.moments is None:
        options.codes.remove("calibrated")
    torch.set_num_threads(1)
    file = options.out / "resnets.json"
    stored = json.loads(file.read_text()) if file.exists() else {"originals": {}, "points": []}
    originals, found = stored["originals"], [Point(**p) for p in stored["points"]]
    pixels, labels = cifar.images(options.cifar, "test", options.count)
    for network in options.networks if options.codes else []:
        scorer = Scorer(options.weights / f"{network}_cifar10_fp32.safetensors", pixels, labels)
        size = scorer.others + 4 * scorer.weights
        originals[network] = {"accuracy": scorer.accuracy({}), "bytes": size, "others": scorer.others}
        for code in options.codes:
            new: list[Point] = []
            for point in points(network, CODES[code](_moments(options, network)), scorer, found):
                new.append(point)
                print(f"{network} {point.code} {point.setting}: {point.bytes:,} B {point.accuracy:.4f}", flush=True)
                write(file, originals, merged(found, new))  # a run that is ended early loses nothing
            found = merged(found, new)
            write(file, originals, found)
    file.with_suffix(".md").write_text(markdown(originals, found))
    if options.plot:
        plot(options.plot, originals, found)


if __name__ == "__main__":
    main()
