"""Rivals and netweight on real weights, in one run.

    python benchmarks/inputs.py --data DIR
    python benchmarks/run.py --data DIR [--files ...] [--codecs ...] [--modes file,memory] [--threads 1,2]

Two things are timed, each for every coder alike:

- mode "file": one call in this process that reads a file and writes a file, both on a file system in memory (--scratch,
  /dev/shm by default), so that no disk is in the figures: what a user of the tool gets;
- mode "memory", one thread: from a buffer to buffers of code and back, what the coder itself does. Tools without such
  an interface are left out; netweight codes each tensor with the codec of its effort.

Everything decoded is compared with the original. Coders take turns within a repetition, and figures are medians over
the repetitions. Coders that compile or load on first use are called once, unmeasured, beforehand. MB is 10^6 bytes of
the original file.
"""

from __future__ import annotations

import argparse
import filecmp
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tables
from peers import DEFAULT, PEERS, Peer, Segment, version

PREFIX = "netweight-bench-"  # a killed run leaves its folder; this tells whose it is
DIFFERS = "other bytes came back"
RESULTS = Path(__file__).parent / "results"


@dataclass
class Record:
    """Raw figures of one coder on one file with one number of threads. `problem` is "" if every byte came back."""

    file: str
    codec: str
    version: str
    mode: str
    threads: int
    original_bytes: int
    archive_bytes: int = 0
    encode_seconds: list[float] = field(default_factory=list)
    decode_seconds: list[float] = field(default_factory=list)
    problem: str = ""

    @property
    def spent(self) -> float:
        return sum(self.encode_seconds) + sum(self.decode_seconds)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: raw times and their medians."""
        both = ("encode_seconds", "decode_seconds")
        medians = {f"median_{k}": statistics.median(v) for k in both if (v := getattr(self, k))}
        return asdict(self) | medians


@dataclass(frozen=True)
class Job:
    """One input: its copy in memory, where outputs go, its bytes, its tensors."""

    copy: Path
    scratch: Path
    data: bytes
    segments: list[Segment]


def find_segments(path: Path) -> list[Segment]:
    """The tensors of a checkpoint in file order. Blocks of quantised weights are plain bytes for rivals."""
    from netweight.source import FileSource
    from netweight.spec import DTYPES
    from netweight.weights.regions import find

    with FileSource(path) as source:
        regions = find(source).regions
    return [
        Segment(r.dtype, r.offset, r.nbytes, r.shape)
        if r.dtype in DTYPES
        else Segment("U8", r.offset, r.nbytes, (r.nbytes,))
        for r in regions
    ]


def timed(action: Callable[[], None]) -> float:
    """Seconds of wall clock of one call, with the garbage collector at rest."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        action()
        return time.perf_counter() - start
    finally:
        gc.enable()


def once_file(peer: Peer, record: Record, job: Job) -> None:
    """One repetition from file to file: encode, decode, compare."""
    archive, back = job.scratch / "archive", job.scratch / f"back{job.copy.suffix}"
    for path in (archive, back):
        path.unlink(missing_ok=True)
    record.encode_seconds.append(timed(lambda: peer.compress(job.copy, archive, job.segments, record.threads)))
    record.archive_bytes = archive.stat().st_size
    record.decode_seconds.append(timed(lambda: peer.decompress(archive, back, record.threads)))
    if not filecmp.cmp(job.copy, back, shallow=False):
        record.problem = DIFFERS


def once_memory(peer: Peer, record: Record, job: Job) -> None:
    """One repetition from buffer to buffers. A coder may alter its input, so each gets a copy, which isn't timed."""
    data, parts, back = bytearray(job.data), [], []
    record.encode_seconds.append(timed(lambda: parts.extend(peer.encode_all(data, job.segments, record.threads))))
    record.archive_bytes = sum(p.stored for p in parts)
    record.decode_seconds.append(timed(lambda: back.extend(peer.decode_all(parts, record.threads))))
    view = memoryview(job.data)
    coded = [p.segment for p in parts if p.blob is not None]
    if any(view[s.offset : s.offset + s.nbytes] != memoryview(b).cast("B") for s, b in zip(coded, back, strict=True)):
        record.problem = DIFFERS


def attempt(peer: Peer, record: Record, job: Job) -> None:
    """One repetition; a coder that fails is left out from then on, with its reason in the record."""
    try:
        (once_memory if record.mode == "memory" else once_file)(peer, record, job)
    except Exception as error:  # noqa: BLE001  whatever a rival raises is a result
        record.problem = f"{type(error).__name__}: {error}"[:200]


def measure(file: Path, peers: list[Peer], mode: str, threads: int, options: argparse.Namespace) -> list[Record]:
    """All coders on one file, taking turns until each has had its repetitions or its seconds."""
    records = {}
    with prepared(file, options.scratch) as job:
        for peer in peers:
            record = Record(file.name, peer.name, version(peer.package), mode, threads, file.stat().st_size)
            records[peer.name] = record
            if peer.warm:
                attempt(peer, record, job)
                record.encode_seconds.clear()
                record.decode_seconds.clear()
        for repetition in range(options.repetitions):
            for peer in peers:
                record = records[peer.name]
                if not record.problem and (repetition == 0 or record.spent * (1 + 1 / repetition) <= options.seconds):
                    attempt(peer, record, job)
    return list(records.values())


@contextmanager
def prepared(file: Path, scratch: Path) -> Iterator[Job]:
    """A copy of the file in memory, under its own name, and an empty folder for outputs."""
    data = file.read_bytes()
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=scratch) as folder:
        copy = Path(folder) / file.name
        copy.write_bytes(data)
        outputs = Path(folder) / "out"
        outputs.mkdir()
        yield Job(copy, outputs, data, find_segments(file))


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "command": " ".join(["python", "benchmarks/run.py", *sys.argv[1:]]),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that benchmarks/inputs.py filled")
    parser.add_argument("--files", nargs="*", help="names in DATA, or paths (default: every file of DATA)")
    parser.add_argument(
        "--codecs", nargs="*", default=DEFAULT, choices=list(PEERS), metavar="CODEC", help=", ".join(PEERS)
    )
    parser.add_argument("--threads", default=f"1,{os.cpu_count()}", help="numbers of threads, for example 1,2")
    parser.add_argument("--modes", default="file,memory", help="file, memory or both")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20, help="stop repeating a coder on a file after this long")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--name", default="lossless", help="stem of the two result files")
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp"))  # noqa: S108
    return parser.parse_args()


def main() -> None:
    options = parse()
    names = options.files or sorted(p.name for p in options.data.iterdir() if p.suffix in _SUFFIXES)
    files = [p if (p := Path(name)).is_file() else options.data / name for name in names]
    report: dict[str, Any] = {"machine": machine(), "records": []}
    options.out.mkdir(parents=True, exist_ok=True)
    for mode, threads in runs(options):
        peers = [PEERS[name]() for name in options.codecs]
        peers = [p for p in peers if (threads == 1 or p.many) and (mode == "file" or p.memory)]
        for file in files:
            records = [r.to_dict() for r in measure(file, peers, mode, threads, options)]
            report["records"] += records
            for r in records:
                print(tables.line(r), flush=True)
            (options.out / f"{options.name}.json").write_text(json.dumps(report, indent=1) + "\n")
            (options.out / f"{options.name}.md").write_text(tables.markdown(report))


def runs(options: argparse.Namespace) -> list[tuple[str, int]]:
    """Each mode with each number of threads; memory mode has one thread."""
    threads = list(dict.fromkeys(int(t) for t in options.threads.split(",")))
    modes = options.modes.split(",")
    return [("file", t) for t in threads if "file" in modes] + [("memory", 1)] * ("memory" in modes)


_SUFFIXES = {".safetensors", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".npz"}

if __name__ == "__main__":
    main()
