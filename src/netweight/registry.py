"""Codec id to class, as strings: nothing is imported before it is used. Plug-ins add theirs by entry point.

A package adds a codec with, in its pyproject.toml:

    [project.entry-points."netweight.codecs"]
    "my.codec" = "my_package:MyCodec"
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from .codec import Codec
from .errors import FormatError, NetweightError, NotFoundError

ENTRY_POINT_GROUP: Final = "netweight.codecs"
_GENERAL: Final = "netweight.entropy.general"
_BUILTIN: Final[dict[str, str]] = {
    "raw": f"{_GENERAL}:Raw",
    "zip": f"{_GENERAL}:Zip",
    "gzip": f"{_GENERAL}:Gzip",
    "bzip2": f"{_GENERAL}:Bzip2",
    "xz": f"{_GENERAL}:Xz",
    "zstd": f"{_GENERAL}:Zstd",
    "brotli": f"{_GENERAL}:Brotli",
    "png": "netweight.entropy.png:Png",
    "netweight.fast": "netweight.weights.lossless:Fast",
    "netweight.balanced": "netweight.weights.lossless:Balanced",
    "netweight.max": "netweight.weights.lossless:Max",
}


def names() -> list[str]:
    """Every known codec id, the built-in ones first."""
    plugins = {e.name for e in entry_points(group=ENTRY_POINT_GROUP)}
    return [*_BUILTIN, *sorted(plugins - _BUILTIN.keys())]


def _target(codec_id: str) -> str:
    if codec_id in _BUILTIN:
        return _BUILTIN[codec_id]
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == codec_id:
            return entry.value
    raise NotFoundError(f"no codec {codec_id!r}; known are {', '.join(names())}")


def create(codec_id: str, config: dict[str, Any] | None = None) -> Codec:
    """The codec `codec_id` with `config`. Raises NotFoundError, or FormatError for a config that it refuses."""
    module, _, attribute = _target(codec_id).partition(":")
    factory = getattr(import_module(module), attribute)
    try:
        codec: Codec = factory(**(config or {}))
    except NetweightError:
        raise
    except (TypeError, ValueError) as error:
        raise FormatError(f"codec {codec_id}: bad config {config}: {error}") from None
    return codec
