"""Files as typed regions and gaps: one finder per format."""

from __future__ import annotations

from typing import Final

from ...source import Source
from . import ctranslate2, gguf, npy, onnx, pytorch, safetensors, zipped
from .model import Finder, Layout, Region, View, checked
from .onnx import external_regions
from .shards import shards

__all__ = ["Layout", "Region", "View", "checked", "external_regions", "find", "shards"]

FINDERS: Final[tuple[Finder, ...]] = (
    gguf.find, zipped.find, npy.find, pytorch.find_legacy, onnx.find, ctranslate2.find, safetensors.find,
)  # fmt: skip


def find(source: Source) -> Layout:
    """The layout of `source`; Layout("unknown") if no finder knows the format.

    Content never raises: a file that looks like a format but is broken comes back without regions, with its `problem`.
    Raises only what reading the source raises.
    """
    for finder in FINDERS:
        layout = finder(source)
        if layout is not None:
            return checked(layout, source.size)
    return Layout("unknown")
