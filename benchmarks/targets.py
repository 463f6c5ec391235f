"""What netweight promises beside size: start-up, memory, random access, speed per core, scaling. Prints a table.

    python benchmarks/targets.py [--gigabytes 2] [--only startup memory access scaling] [--efforts fast balanced]

Inputs are made on the fly: BF16 matrices with a scale for each row, no two alike. Every figure is of a process of
its own. This one imports nothing large: a child's peak memory is never reported below that of its parent.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

PREFIX = "netweight-bench-"  # a killed run leaves its folder; this tells whose it is
MEGABYTE, GIGABYTE = 10**6, 10**9
ROWS, COLUMNS = 4096, 2048
CHILD = "--child"
PROBE = "probe.weight"


@dataclass(frozen=True)
class Row:
    """One line of the table; `ok` compares `measured` with `target` in the direction that `better` names."""

    what: str
    unit: str
    target: float
    measured: float
    better: str

    @property
    def ok(self) -> bool:
        return self.measured <= self.target if self.better == "less" else self.measured >= self.target


def run(*command: str | os.PathLike[str]) -> tuple[float, float, str]:
    """Seconds, peak resident MB and standard output of a process. Raises CalledProcessError if it fails."""
    start = time.perf_counter()
    process = subprocess.Popen([os.fspath(c) for c in command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / MEGABYTE, output


def netweight(*arguments: str | os.PathLike[str]) -> tuple[float, float, str]:
    """`run` of the command line that is installed beside this Python."""
    return run(Path(sys.executable).with_name("netweight"), *arguments)


def child(name: str, *arguments: str | os.PathLike[str]) -> str:
    """The output of one of the functions of `CHILDREN` in a process of its own."""
    return run(sys.executable, __file__, CHILD, name, *arguments)[2]


def startup(scratch: Path) -> Iterator[Row]:
    """`--help`, and compressing a file of 1 MB when everything compiled is in the cache."""
    times = [netweight("--help")[0] for _ in range(8)][1:]
    yield Row("netweight --help", "s", 0.3, statistics.median(times), "less")
    source, archive = scratch / "small.safetensors", scratch / "small.nw"
    child("make", source, str(MEGABYTE))
    for effort in ("fast", "balanced"):
        command = ("compress", source, "-o", archive, "--effort", effort, "--force")
        times = [netweight(*command)[0] for _ in range(6)][1:]
        yield Row(f"second compress of a 1 MB file, {effort}", "s", 1.0, statistics.median(times), "less")


def memory(large: Path, efforts: list[str]) -> Iterator[Row]:
    """Peak resident memory of both ways, all threads."""
    archive, back = large.with_suffix(".nw"), large.with_suffix(".back")
    size = f"{large.stat().st_size / GIGABYTE:.2g} GB"
    for effort in efforts:
        peak = netweight("compress", large, "-o", archive, "--effort", effort, "--force")[1]
        yield Row(f"peak memory, compress {size}, {effort}", "MB", 300, peak, "less")
        peak = netweight("decompress", archive, "-o", back, "--force")[1]
        yield Row(f"peak memory, decompress {size}, {effort}", "MB", 300, peak, "less")
        if not _same(large, back):
            raise SystemExit(f"{effort}: other bytes came back")


def access(large: Path) -> Iterator[Row]:
    """Opening an archive and reading one tensor of 16 elements, so that nearly all of the time is finding it."""
    archive = large.with_suffix(".nw")
    netweight("compress", large, "-o", archive, "--effort", "fast", "--force")
    times = [float(child("read", archive, PROBE)) for _ in range(5)]
    size = f"{archive.stat().st_size / GIGABYTE:.2g} GB"
    yield Row(
        f"open an archive of {size} and read a tensor of 32 bytes", "ms", 50, 1e3 * statistics.median(times), "less"
    )


def scaling(scratch: Path, efforts: list[str]) -> Iterator[Row]:
    """Speed on one thread and on two, taking turns, files in memory."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=_memory_folder(scratch)) as folder:
        source = Path(folder) / "middle.safetensors"
        child("make", source, str(256 * MEGABYTE))
        for effort in efforts:
            speeds = json.loads(child("speeds", source, effort))
            for way, target in (("compress", 200), ("decompress", 200)):
                one, two = speeds[way]
                if effort == "balanced":
                    yield Row(f"{way}, BF16, {effort}, one thread", "MB/s", target, one, "more")
                yield Row(f"{way}, {effort}, two threads against one", "x", 1.8, two / one, "more")


def _memory_folder(scratch: Path) -> Path:
    shared = Path("/dev/shm")  # noqa: S108
    return shared if shared.is_dir() else scratch


def _same(a: Path, b: Path) -> bool:
    with a.open("rb") as x, b.open("rb") as y:
        while block := x.read(1 << 20):
            if block != y.read(1 << 20):
                return False
        return not y.read(1)


def make(target: str, nbytes: str) -> None:
    """Write a safetensors file of about `nbytes` bytes: BF16 matrices, and a tiny vector in the middle."""
    import ml_dtypes
    import numpy as np

    rows = min(ROWS, max(1, int(nbytes) // (2 * COLUMNS)))
    count = max(1, round(int(nbytes) / (2 * rows * COLUMNS)))
    shapes = {f"layers.{k}.weight": [rows, COLUMNS] for k in range(count)}
    names = [*list(shapes)[: count // 2], PROBE, *list(shapes)[count // 2 :]]
    shapes[PROBE] = [16]
    header, at = {}, 0
    for name in names:
        end = at + 2 * int(np.prod(shapes[name]))
        header[name], at = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [at, end]}, end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(7)
    with open(target, "wb") as sink:
        sink.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            shape = shapes[name]
            scale = 0.02 * np.exp(0.5 * rng.standard_normal((*shape[:-1], 1), dtype=np.float32))
            sink.write((rng.standard_normal(shape, dtype=np.float32) * scale).astype(ml_dtypes.bfloat16).tobytes())


def read(archive: str, name: str) -> None:
    """Print the seconds to open `archive` and read the tensor `name`, imports not counted."""
    import netweight as nw

    with tempfile.TemporaryDirectory() as folder:  # compiles or loads what decoding needs
        source = Path(folder) / "warm.safetensors"
        make(os.fspath(source), str(MEGABYTE))
        nw.compress_file(source, source.with_suffix(".nw"), effort="fast")
        with nw.open(source.with_suffix(".nw")) as f:
            f.tensor(name)
    start = time.perf_counter()
    with nw.open(archive) as f:
        f.tensor(name)
    print(time.perf_counter() - start)


def speeds(path: str, effort: str) -> None:
    """Print MB/s of both ways on one and on two threads, medians of three."""
    import netweight as nw

    source = Path(path)
    archive, back = source.with_suffix(".nw"), source.with_suffix(".back")
    taken: dict[tuple[str, int], list[float]] = {}
    for repetition in range(4):
        for threads in (1, 2):
            start = time.perf_counter()
            nw.compress_file(source, archive, effort=effort, threads=threads, force=True)
            middle = time.perf_counter()
            nw.decompress_file(archive, back, threads=threads, force=True)
            end = time.perf_counter()
            if repetition:  # the first one compiles
                taken.setdefault(("compress", threads), []).append(middle - start)
                taken.setdefault(("decompress", threads), []).append(end - middle)
    size = source.stat().st_size / MEGABYTE
    rates = {way: [size / statistics.median(taken[way, t]) for t in (1, 2)] for way in ("compress", "decompress")}
    print(json.dumps(rates))


CHILDREN = {"make": make, "read": read, "speeds": speeds}
PARTS = ("startup", "scaling", "memory", "access")


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Every part that was asked for; the large file is made once."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=options.scratch) as folder:
        scratch = Path(folder)
        if "startup" in options.only:
            yield from startup(scratch)
        if "scaling" in options.only:
            yield from scaling(scratch, options.efforts)
        large = scratch / "large.safetensors"
        if {"memory", "access"} & set(options.only):
            child("make", large, str(int(options.gigabytes * GIGABYTE)))
        if "memory" in options.only:
            yield from memory(large, options.efforts)
        if "access" in options.only:
            yield from access(large)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--efforts", nargs="+", default=["fast", "balanced"])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--scratch", type=Path, help="a folder with room for three such files (default: the system's)")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    print("| | target | measured | |\n|---|---:|---:|---|", flush=True)
    done = []
    for row in rows(options):
        sign = "≤" if row.better == "less" else "≥"
        figures = f"{sign} {row.target:g} {row.unit} | {row.measured:.3g} {row.unit}"
        print(f"| {row.what} | {figures} | {'met' if row.ok else '**missed**'} |", flush=True)
        done.append(asdict(row) | {"met": row.ok})
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(done, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        CHILDREN[sys.argv[2]](*sys.argv[3:])
    else:
        main()
