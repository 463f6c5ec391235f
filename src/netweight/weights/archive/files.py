"""One file of an archive, alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import BombError
from .reader import Archive


def file_bytes(archive: Archive, number: int, most: int | None = None) -> NDArray[np.uint8]:
    """The bytes of file `number`, uint8 [size]; only the blocks that hold them are decoded.

    Raises BombError for more than `most` bytes or an absurd expansion, FormatError and its kin, BaseMismatchError.
    """
    file = archive.files[number]
    if most is not None and file.size > most:
        raise BombError(f"{archive.source.name}: {file.path} claims {file.size} bytes, more than {most}")
    out, at = np.empty(archive.refuse_bomb(file.size), np.uint8), 0
    for k in range(*file.segments):
        size = archive.index.segments[k].nbytes
        out[at : at + size] = archive._segment_bytes(k, 0, size)  # noqa: SLF001  the reader, told to read a file
        at += size
    return out
