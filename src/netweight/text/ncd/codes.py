"""Codes by name: "gzip", "zstd:3", "ppmd:8", "smollm2", a .gguf file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ...errors import NotFoundError
from .compressors import COMPRESSORS, Compressed, Zstd
from .deflate import CONTAINERS, Deflate
from .lengths import SEPARATOR, Lengths

NAMES: Final = (*CONTAINERS, *COMPRESSORS, "smollm2")


def lengths_of(code: str | Lengths, separator: bytes = SEPARATOR, threads: int | None = None) -> Lengths:
    """The code called NAME or NAME:LEVEL; "smollm2", a .gguf file or a model's folder for a language model.

    `threads` are a model's own, None for all cores. Raises NotFoundError, InputError for a level that it hasn't got,
    MissingExtraError.
    """
    if isinstance(code, Lengths):
        return code
    name, _, rest = code.partition(":")
    level = int(rest) if rest.isdecimal() else None
    if not rest or level is not None:
        if name in CONTAINERS:
            return Deflate(name, level, separator)
        if name == "zstd":
            return Zstd(level, separator)
        if name in COMPRESSORS:
            return Compressed(name, level, separator)
    if code == "smollm2" or Path(code).exists():
        from .model_lengths import ModelLengths

        return ModelLengths(code, separator, threads or 0)
    raise NotFoundError(f"no code {code!r}; known are {', '.join(NAMES)} (with :LEVEL), a .gguf file, a model's folder")
