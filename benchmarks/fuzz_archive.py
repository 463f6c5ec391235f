"""Throw broken archives, indexes and block payloads at the readers: an exception that isn't ours, a wrong length, wrong
bytes or a slow answer is a bug.

    python benchmarks/fuzz_archive.py --seconds 30

With atheris installed the mutations follow coverage; without it they are random. A failing input is written to
`crash-archive.bin` in the current folder. NUMBA_BOUNDSCHECK=1 (and a NUMBA_CACHE_DIR of its own) makes numba's kernels
tell what they read or write out of bounds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import fuzzing

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

SLOW_SECONDS = 5.0


@lru_cache
def block_seeds() -> list[tuple[Any, bytes, bytes | None]]:
    """(spec, payload, reference) of blocks that every method has coded."""
    from attacks_blocks import coded_blocks

    return coded_blocks()


@lru_cache
def archive_seeds() -> list[tuple[bytes, Path | None, dict[str, bytes]]]:
    """(archive, base, files)."""
    from attacks_archive import archive_of, decode_all, samples

    made = []
    for sample in samples().values():
        blob, base = archive_of(sample, Path(tempfile.mkdtemp(prefix="fuzz-archive-")))
        made.append((blob, base, decode_all(blob, base)))
    return made


def check_block(number: int, payload: bytes) -> None:
    """A payload under the spec of block seed `number`."""
    import numpy as np

    from netweight.errors import FormatError
    from netweight.weights.methods import decode_block

    spec, _, reference = block_seeds()[number % len(block_seeds())]
    known = None if reference is None else np.frombuffer(reference, np.uint8)
    try:
        out = decode_block(payload, spec, known)
    except FormatError:
        return
    if out.size != spec.nbytes or out.dtype != np.uint8:
        raise AssertionError(f"{out.size} bytes of {out.dtype} came out, {spec.nbytes} were expected")


def check_index(number: int, raw: bytes) -> None:
    """`raw` as the index of archive seed `number`, with right checksums."""
    from attacks_archive import decode_all, tensors_of, with_raw_index
    from netweight.errors import BaseMismatchError, FormatError

    blob, base, files = archive_seeds()[number % len(archive_seeds())]
    damaged = with_raw_index(blob, raw)
    try:
        found = decode_all(damaged, base)
        tensors_of(damaged, base)
    except (FormatError, BaseMismatchError):
        return
    if sorted(found.values()) != sorted(files.values()):
        raise AssertionError("other bytes came out")


def check(data: bytes) -> None:
    """The first byte says what the others are."""
    start = time.perf_counter()
    if len(data) > 1:
        (check_index if data[0] & 1 else check_block)(data[0] >> 1, data[1:])
    if time.perf_counter() - start > SLOW_SECONDS:
        raise AssertionError(f"{len(data)} bytes took {time.perf_counter() - start:.1f} s")


def seeds() -> list[bytes]:
    from netweight.source import BytesSource
    from netweight.weights.archive.container import read_index
    from netweight.weights.archive.index_wire import encode_index

    blocks = [bytes([k << 1 & 0xFF]) + payload for k, (_, payload, _) in enumerate(block_seeds()) if k < 128]
    indexes = [encode_index(read_index(BytesSource(blob)))[0] for blob, _, _ in archive_seeds()]
    return blocks + [bytes([k << 1 | 1]) + raw for k, raw in enumerate(indexes)]


def warm_seeds() -> list[bytes]:
    """The seeds, all decoded once, so that every kernel is compiled."""
    pool = seeds()
    for data in pool:
        (check_index if data[0] & 1 else check_block)(data[0] >> 1, data[1:])
    return pool


def fuzz_randomly(seconds: float, seed: int) -> int:
    """Mutate the seeds until the time is over. Returns the number of inputs."""
    from attacks_regions import mutate

    random, count = Random(seed), 0
    pool = warm_seeds()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = random.choice(pool)
        data = data[:1] + mutate(data[1:], random)
        try:
            check(data)
        except BaseException:
            Path("crash-archive.bin").write_bytes(data)
            print(f"failed after {count} inputs; wrote crash-archive.bin")
            raise
        count += 1
    return count


def fuzz_by_coverage(seconds: float, seed: int) -> None:
    """Run atheris, which ends the process itself."""
    import atheris

    with atheris.instrument_imports(include=["netweight.weights"]):
        import netweight.weights.archive
        import netweight.weights.methods  # noqa: F401

    corpus = Path(tempfile.mkdtemp(prefix="fuzz-archive-corpus-"))
    for k, data in enumerate(warm_seeds()):
        (corpus / str(k)).write_bytes(data)
    options = [f"-max_total_time={seconds:.0f}", f"-seed={seed}", "-max_len=8192", f"-timeout={SLOW_SECONDS:.0f}"]
    atheris.Setup([sys.argv[0], *options, "-artifact_prefix=crash-archive-", str(corpus)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    fuzzing.main(__doc__, fuzz_by_coverage, fuzz_randomly)
