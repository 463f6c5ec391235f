"""netweight's `fast` blocks against zipnn, one thread, in one run: sizes and MB/s both ways.

    pip install zipnn==0.5.4
    python benchmarks/fast_vs_zipnn.py model.safetensors [--rounds 9]

Takes all F32 tensors of the file, casts them to BF16 and FP16, and times three ways in turn, so that a noisy machine is
noisy for all; medians are printed. Everything is decoded and compared.

    zipnn      one buffer in, one buffer out, as its API has it (it changes its input, so it gets a fresh copy, untimed)
    one buffer our blocks joined to one bytes object; decoded into one array allocated within the time
    blocks     as an archive works: one bytes object a block, decoded into memory that is there already

MB are 10^6 bytes of raw weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, Final

import ml_dtypes
import numpy as np
import zipnn
from numpy.typing import NDArray
from safetensors.numpy import load_file

from netweight.spec import Spec
from netweight.weights.coders.fast import decode_block, encode_block

Bytes = NDArray[np.uint8]

BLOCK: Final = 1 << 20
CASTS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("BF16", "bfloat16", ml_dtypes.bfloat16),
    ("F16", "float16", np.float16),
    ("F32", "float32", np.float32),
)


class Ours:
    """The raw bytes cut in blocks of BLOCK words."""

    def __init__(self, raw: Bytes, name: str) -> None:
        width = {"BF16": 2, "F16": 2, "F32": 4}[name]
        step = BLOCK * width
        self.parts = [raw[at : at + step] for at in range(0, raw.size, step)]
        self.specs = [Spec(name, ((part.size // width,),)) for part in self.parts]
        self.total, self.step = raw.size, step

    def encode(self) -> list[bytes]:
        coded = [encode_block(p, s) for p, s in zip(self.parts, self.specs, strict=True)]
        return [p.tobytes() if c is None else c for c, p in zip(coded, self.parts, strict=True)]

    def decode(self, blocks: list[bytes], out: Bytes) -> Bytes:
        for k, (block, spec) in enumerate(zip(blocks, self.specs, strict=True)):
            place = out[k * self.step : (k + 1) * self.step]
            if len(block) == spec.nbytes:
                place[:] = np.frombuffer(block, np.uint8)
            else:
                decode_block(block, spec, out=place)
        return out


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def measure(raw: Bytes, name: str, zipnn_name: str, rounds: int) -> tuple[dict[str, tuple[float, float]], int, int]:
    """Median MB/s (encode, decode) of each way, our bytes, zipnn's bytes."""
    ours, rival = Ours(raw, name), zipnn.ZipNN(input_format="byte", bytearray_dtype=zipnn_name, threads=1)
    seconds: dict[str, list[tuple[float, float]]] = {"zipnn": [], "one buffer": [], "blocks": []}
    place, our_size, rival_size = np.zeros(raw.size, np.uint8), 0, 0
    for _ in range(rounds):
        fresh = bytearray(raw.tobytes())
        there, packed = timed(lambda data=fresh: rival.compress(data))
        back, restored = timed(lambda data=packed: rival.decompress(data))
        seconds["zipnn"].append((there, back))
        if not np.array_equal(np.frombuffer(restored, np.uint8), raw):
            raise SystemExit("zipnn gave other bytes back")
        rival_size = len(packed)
        del fresh, restored, packed

        there, joined = timed(lambda: b"".join(ours.encode()))
        blocks = ours.encode()
        back, restored = timed(lambda data=blocks: ours.decode(data, np.empty(raw.size, np.uint8)))
        seconds["one buffer"].append((there, back))
        our_size = len(joined)
        del joined, restored, blocks

        there, blocks = timed(ours.encode)
        back, restored = timed(lambda data=blocks: ours.decode(data, place))
        seconds["blocks"].append((there, back))
        if not np.array_equal(restored, raw):
            raise SystemExit("netweight gave other bytes back")
        place[:] = 0
    rates = {way: np.median(np.array(pairs), axis=0) for way, pairs in seconds.items()}
    return {way: (raw.size / e / 1e6, raw.size / d / 1e6) for way, (e, d) in rates.items()}, our_size, rival_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="a safetensors file with F32 tensors")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    tensors = [t.ravel() for t in load_file(options.file).values() if t.dtype == np.float32]
    weights = np.concatenate(tensors)
    warm = weights[:1000].astype(ml_dtypes.bfloat16).view(np.uint8)
    spec = Spec("BF16", ((warm.size // 2,),))
    decode_block(encode_block(warm, spec) or b"", spec)
    print(
        f"{options.file}: {weights.size:,} weights; medians of {options.rounds} rounds, one thread; MB/s of raw bytes\n"
    )
    print(f"{'':5}{'way':12}{'bytes':>12}{'saved %':>9}{'encode':>9}{'decode':>9}{'ratio enc':>11}{'ratio dec':>11}")
    for name, zipnn_name, kind in CASTS:
        raw = weights.astype(kind).view(np.uint8)
        rates, our_size, rival_size = measure(raw, name, zipnn_name, options.rounds)
        base = rates["zipnn"]
        for way, (encode, decode) in rates.items():
            size = rival_size if way == "zipnn" else our_size
            saved, ratios = 100 * (1 - size / raw.size), f"{encode / base[0]:11.2f}{decode / base[1]:11.2f}"
            print(f"{name:5}{way:12}{size:12,}{saved:9.3f}{encode:9.0f}{decode:9.0f}{ratios}")


if __name__ == "__main__":
    main()
