"""What the fuzz targets share: their options, and the choice between atheris and random mutations."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec

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
