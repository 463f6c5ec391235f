"""Codec id to class, as strings: nothing is imported before it is used. Plug-ins add theirs by entry point.

A package adds a codec with, in its pyproject.toml:

    [project.entry-points."netweight.codecs"]
    "my.codec" = "my_package:MyCodec"
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from .codec import Codec
from .errors import FormatError, NetweightError, NotFoundError, UnsupportedError

ENTRY_POINT_GROUP: Final = "netweight.codecs"
_GENERAL: Final = "netweight.entropy.general"
_LOSSY: Final = "netweight.weights.lossy.codes"
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
    "netweight.lossy.trellis": f"{_LOSSY}.trellis:Trellis",
    "netweight.lossy.rtn": f"{_LOSSY}.rtn:RoundToNearest",
    "netweight.lossy.uniform": f"{_LOSSY}.uniform:Uniform",
    "netweight.lossy.kmeans": f"{_LOSSY}.kmeans:KMeans",
    "netweight.lossy.product": f"{_LOSSY}.product:Product",
    "netweight.lossy.residual": f"{_LOSSY}.residual:Residual",
    "netweight.lossy.pruned": f"{_LOSSY}.pruned:Pruned",
    "netweight.lossy.prior": f"{_LOSSY}.prior:UnderPrior",
    "netweight.lossy.structure": "netweight.weights.structure.codec:Structure",
    "netweight.text.lm": "netweight.text.codec.codec:LanguageModelCodec",
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


def _factory(codec_id: str) -> Callable[..., Codec]:
    target = _target(codec_id)
    try:
        return EntryPoint(codec_id, target, ENTRY_POINT_GROUP).load()  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        if codec_id in _BUILTIN:
            raise
        raise UnsupportedError(f"codec {codec_id!r}: its plug-in {target} can't be loaded: {error}") from error


def create(codec_id: str, config: dict[str, Any] | None = None) -> Codec:
    """The codec `codec_id` with `config`.

    Raises NotFoundError; FormatError for a config that it refuses; UnsupportedError for a plug-in that can't be loaded.
    """
    factory = _factory(codec_id)
    try:
        codec: Codec = factory(**(config or {}))
    except NetweightError:
        raise
    except (TypeError, ValueError) as error:
        raise FormatError(f"codec {codec_id}: bad config {config}: {error}") from None
    return codec
