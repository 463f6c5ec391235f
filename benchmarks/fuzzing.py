"""What the fuzz targets share: their options, and the choice between atheris and random mutations."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

SLOW_SECONDS = 5.0
_BATCH = 200

Fuzz = Callable[[float, int], object]
"""fuzz(seconds, seed)"""


def main(description: str | None, by_coverage: Fuzz, randomly: Fuzz) -> None:
    """Run `by_coverage` where atheris is installed, else `randomly`, which returns the number of inputs."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", action="store_true", help="random mutations even if atheris is installed")
    options = parser.parse_args()
    if not options.random and find_spec("atheris"):
        by_coverage(options.seconds, options.seed)
        return
    if not options.random:
        print("atheris isn't installed: random mutations")
    print(f"{randomly(options.seconds, options.seed)} inputs, no failure")


def tagged(
    description: str | None, name: str, seeds: Callable[[], list[bytes]], check: Callable[[bytes], None]
) -> None:
    """`main` for inputs whose first byte says which decoder they are for, and isn't mutated at random.

    `check` raises whatever is wrong. A failing input is written to crash-NAME.bin in the current folder.
    """

    def timed(data: bytes) -> None:
        start = time.perf_counter()
        check(data)
        if time.perf_counter() - start > SLOW_SECONDS:
            raise AssertionError(f"{len(data)} bytes took {time.perf_counter() - start:.1f} s")

    def randomly(seconds: float, seed: int) -> int:
        from contract import mutations

        random, count, pool = Random(seed), 0, seeds()
        for body in pool:
            check(body)  # compiles
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            body = random.choice(pool)
            for damaged in mutations(body[1:] + random.randbytes(1), _BATCH):
                try:
                    timed(body[:1] + damaged)
                except BaseException:
                    Path(f"crash-{name}.bin").write_bytes(body[:1] + damaged)
                    print(f"failed after {count} inputs; wrote crash-{name}.bin")
                    raise
                count += 1
                if time.monotonic() > end:
                    break
        return count

    def by_coverage(seconds: float, seed: int) -> None:
        """Run atheris, which ends the process itself."""
        import atheris

        corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
        for number, body in enumerate(seeds()):
            check(body)
            (corpus / str(number)).write_bytes(body)
        options = [f"-max_total_time={seconds:.0f}", f"-seed={seed}", "-max_len=8192", f"-timeout={SLOW_SECONDS:.0f}"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix=crash-{name}-", str(corpus)], timed)
        atheris.Fuzz()

    main(description, by_coverage, randomly)
