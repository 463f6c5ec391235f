"""Throw broken bytes at the image decoders: pixels of the announced size or a FormatError must come out, soon.

    python benchmarks/fuzz_image.py --seconds 30

The methods' payloads are damaged, behind the file's checksums. With atheris installed the mutations follow coverage; without it they
are random. A failing input is written to `crash-image.bin` in the current folder: its first byte says which golden
file it was made from.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import fuzzing

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden_image"


@cache
def files() -> list:
    """The golden files, taken apart."""
    from netweight.image import container

    return [container.parse(path.read_bytes()) for path in sorted(GOLDEN.glob("*.nw"))]


def seeds() -> list[bytes]:
    """The payload of each file, after its number."""
    return [bytes([number]) + bytes(file.payload) for number, file in enumerate(files())]


def check(data: bytes) -> None:
    """Raises whatever is wrong with the way `data` is decoded."""
    from netweight.errors import NetweightError
    from netweight.image import methods

    if not data:
        return
    header = files()[data[0] % len(files())].header
    try:
        pixels = methods.decoder_of(header.method)(memoryview(data[1:]), header.height, header.width, header.channels)
    except NetweightError:
        return
    wanted = (header.height, header.width) if header.channels == 1 else (header.height, header.width, 3)
    if pixels.shape != wanted:
        raise AssertionError(f"{header.method} decoded to {pixels.shape}, not {wanted}")


if __name__ == "__main__":
    fuzzing.tagged(__doc__, "image", seeds, check)
