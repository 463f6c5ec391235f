"""Zip files: which of the formats that come as a zip it is."""

from __future__ import annotations

from ...errors import FormatError
from ...source import Source
from . import npy, pytorch
from .guard import finder, head
from .model import Layout
from .zips import members


@finder("zip")
def find(source: Source) -> Layout | None:
    """A Finder for PyTorch files and npz; another zip is unknown."""
    if head(source, 4) not in (b"PK\x03\x04", b"PK\x05\x06"):
        return None
    found = members(source)
    prefix = pytorch.archive_prefix(found)
    if prefix is None and not any(name.endswith(".npy") for name in found):
        return Layout("unknown")
    try:
        if prefix is None:
            return npy.find_members(source, found.values())
        return pytorch.find_members(source, found, prefix)
    except FormatError as error:
        return Layout("npz" if prefix is None else "pytorch", problem=str(error))
