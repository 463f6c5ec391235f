"""Compression with networks: texts under a language model, and distances between texts by compression.

model/   exact language models: integer logits, the same on every machine
codec/   text under a model, as files that decode everywhere; rank coding; the ladder of a text
ncd/     distances, classifiers, studies

    from netweight.text import LanguageModelCodec, NcdClassifier
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .codec import LanguageModelCodec, TextFile, compress_stream
    from .model import LanguageModel, load
    from .ncd.classifier import NcdClassifier

_HOME_OF: Final = {
    "LanguageModel": "model",
    "LanguageModelCodec": "codec",
    "NcdClassifier": "ncd.classifier",
    "TextFile": "codec",
    "compress_stream": "codec",
    "load": "model",
}

__all__ = ["LanguageModel", "LanguageModelCodec", "NcdClassifier", "TextFile", "compress_stream", "load"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value
