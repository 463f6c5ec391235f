"""Throw broken payloads at every compressor of vectors: a finite vector or a FormatError must come out, soon.

    python benchmarks/fuzz_comm.py --seconds 30

With atheris installed the mutations follow coverage; without it they are random. A failing input is written to
`crash-comm.bin` in the current folder: its first byte says which of the cases below it was for.
"""

from __future__ import annotations

from functools import cache

import fuzzing

LENGTHS = (7, 1000, 20_000)
SEED = 3


@cache
def cases() -> list[tuple]:
    """(compressor, length) of everything that `comm certify` tries; vectors of 20,000 take the coders of long ones."""
    from netweight.comm.certify.suite import CLAIMS, parse

    compressors = [parse(text) for text in CLAIMS]
    return [(c, d) for c in compressors for d in LENGTHS if d < 20_000 or c.name != "gaussian codebook"]


def seeds() -> list[bytes]:
    """A payload for each case, after its number."""
    import numpy as np

    x = np.random.default_rng(1).standard_normal(max(LENGTHS)).astype(np.float32)
    return [bytes([number]) + c.compress(x[:d].copy(), SEED) for number, (c, d) in enumerate(cases())]


def check(data: bytes) -> None:
    """Raises whatever is wrong with the way `data` is decoded."""
    import numpy as np

    from netweight.errors import FormatError

    if not data:
        return
    compressor, d = cases()[data[0] % len(cases())]
    try:
        decoded = compressor.decompress(data[1:], d, np.float32, SEED)
    except FormatError:
        return
    if decoded.shape != (d,) or not np.isfinite(decoded).all():
        raise AssertionError(f"{compressor} decoded to {decoded.shape}, {np.isfinite(decoded).sum()} of {d} finite")


if __name__ == "__main__":
    fuzzing.tagged(__doc__, "comm", seeds, check)
