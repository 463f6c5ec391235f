"""Throw broken files at the region finders: any exception, any broken promise of a layout, and any slow file is a bug.

    python benchmarks/fuzz_regions.py --seconds 30

With atheris installed the mutations follow coverage; without it they are random. A failing input is written to
`crash-regions.bin` in the current folder.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import fuzzing

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

SLOW_SECONDS = 5.0


def check(data: bytes) -> None:
    """Raises whatever is wrong with the way `data` is read."""
    from attacks_regions import assert_sound
    from netweight.errors import FormatError
    from netweight.source import BytesSource
    from netweight.weights.regions import external_regions, find

    start = time.perf_counter()
    assert_sound(find(BytesSource(data)), len(data))
    with suppress(FormatError):
        external_regions(BytesSource(data))
    seconds = time.perf_counter() - start
    if seconds > SLOW_SECONDS:
        raise AssertionError(f"{len(data)} bytes took {seconds:.1f} s")


def fuzz_randomly(seconds: float, seed: int) -> int:
    """Mutate the seeds until the time is over. Returns the number of inputs."""
    from attacks_regions import mutate, seeds

    random, count = Random(seed), 0
    pool = list(seeds().values())
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutate(random.choice(pool), random)
        try:
            check(data)
        except BaseException:
            Path("crash-regions.bin").write_bytes(data)
            print(f"failed after {count} inputs; wrote crash-regions.bin")
            raise
        count += 1
    return count


def fuzz_by_coverage(seconds: float, seed: int) -> None:
    """Run atheris, which ends the process itself."""
    import tempfile

    import atheris

    with atheris.instrument_imports(include=["netweight.weights.regions"]):
        import netweight.weights.regions  # noqa: F401
    from attacks_regions import seeds

    corpus = Path(tempfile.mkdtemp(prefix="fuzz-regions-"))
    for name, data in seeds().items():
        (corpus / name).write_bytes(data)
    options = [f"-max_total_time={seconds:.0f}", f"-seed={seed}", "-max_len=4096", f"-timeout={SLOW_SECONDS:.0f}"]
    atheris.Setup([sys.argv[0], *options, "-artifact_prefix=crash-regions-", str(corpus)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    fuzzing.main(__doc__, fuzz_by_coverage, fuzz_randomly)
