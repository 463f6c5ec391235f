"""Archives of one file without and with its symmetries, for the ladder of `weigh --symmetries`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..archive.api import compress_file, verify_file
from .compress import compress_symmetric
from .weigh import SymmetryRow

PathLike = str | os.PathLike[str]


def archive_rows(
    path: PathLike, architecture: PathLike, efforts: tuple[str, ...] = ("balanced",)
) -> Iterator[SymmetryRow]:
    """Each effort's lossless archive, and the one that `compress --symmetries` makes; both are decoded and compared.

    Raises InputError and its kin.
    """
    with tempfile.TemporaryDirectory(prefix="netweight-") as folder:
        for effort in efforts:
            plain, own = Path(folder) / f"{effort}.nw", Path(folder) / f"{effort}-symmetries.nw"
            start = time.process_time()
            without = compress_file(path, plain, effort=effort).archive_bytes
            middle = time.process_time()
            verify_file(plain, against=path)
            yield SymmetryRow(
                f"best lossless archive ({effort}), no symmetry", without, 0, 0, 0, 0.0, middle - start,
                time.process_time() - middle, check="decoded, the same file",
            )  # fmt: skip
            start = time.process_time()
            made = compress_symmetric(path, own, architecture, effort=effort)
            middle = time.process_time()
            verify_file(own, against=path, symmetries=architecture)
            same = "function" if made.groups else "file"
            yield SymmetryRow(
                f"... and any order of units ({made.groups} of {made.groups + len(made.left)} groups)", made.archive_bytes, 0, 0,
                8 * (without - made.archive_bytes), made.order_bits, middle - start, time.process_time() - middle,
                check=f"decoded, the same {same}",
            )  # fmt: skip
