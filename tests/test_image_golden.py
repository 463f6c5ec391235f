"""Golden images: what was written decodes to the same pixels for ever, compiled or interpreted.

scripts/write_image_golden.py writes them; nothing here does.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from scripts.write_image_golden import CASES, GOLDEN, PIXELS

from netweight.image import decode, parse
from netweight.image.metrics import psnr

HASHES = {name: digest for digest, name in (line.split() for line in PIXELS.read_text().splitlines())}
_DECODE = (
    "import sys, hashlib; sys.modules['torch'] = None; from netweight.image import decode; "
    "print(hashlib.sha256(decode(open(sys.argv[1], 'rb').read()).tobytes()).hexdigest())"
)


def test_every_file_is_there_and_no_other() -> None:
    assert {p.stem for p in GOLDEN.glob("*.nw")} == set(CASES) == set(HASHES)


@pytest.mark.parametrize("case", CASES)
def test_decodes_to_the_pinned_pixels(case: str) -> None:
    pixels = decode((GOLDEN / f"{case}.nw").read_bytes())
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == HASHES[case]
    assert pixels.shape == CASES[case][0]().shape


@pytest.mark.parametrize("case", ["colour", "fine", "alpha"])
def test_looks_like_the_input(case: str) -> None:
    """Against a code that ignored its input: twice as near as the mean colour, at least."""
    picture = CASES[case][0]()
    mean = np.broadcast_to(picture.mean((0, 1)), picture.shape).astype(np.uint8)
    assert psnr(decode((GOLDEN / f"{case}.nw").read_bytes()), picture) > psnr(mean, picture) + 6


def test_all_ways_to_code_tiles_are_pinned() -> None:
    """Every method; networks as shipped and adapted, one tile and two, grey and colour, alpha."""
    files = {case: parse((GOLDEN / f"{case}.nw").read_bytes()) for case in CASES}
    assert {f.header.method for f in files.values()} == {"grid", "flat", "siren", "coin"}
    assert {f.header.channels for f in files.values()} == {1, 3}
    assert files["alpha"].header.alpha is not None
    assert files["adapted"].payload[3] == 1
    assert files["colour"].payload[3] == 0


def test_the_interpreter_agrees_with_the_compiler() -> None:
    """The kernels as plain Python over numpy scalars: no vector instructions, no reordering, the same pixels."""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", _DECODE, str(GOLDEN / "grey.nw")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == HASHES["grey"]


def test_threads_do_not_matter() -> None:
    """Many decoders at once, and processes that may use one thread or two."""
    from concurrent.futures import ThreadPoolExecutor

    data = (GOLDEN / "colour.nw").read_bytes()
    with ThreadPoolExecutor(4) as pool:
        found = {hashlib.sha256(p.tobytes()).hexdigest() for p in pool.map(decode, [data] * 8)}
    for threads in ("1", "2"):
        environment = os.environ | {"NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-c", _DECODE, str(GOLDEN / "colour.nw")]
        found.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())
    assert found == {HASHES["colour"]}


def test_the_worked_example_of_the_format_page_is_true() -> None:
    page = (GOLDEN.parents[1] / "docs" / "format-image.md").read_text()
    assert f"\n{(GOLDEN / 'flat.nw').read_bytes().hex(' ')}\n" in page
