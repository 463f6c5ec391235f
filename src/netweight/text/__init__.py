"""Compression with networks: texts under a language model, and distances between texts by compression.

model/   exact language models: integer logits, the same on every machine
codec/   text under a model, as files that decode everywhere; rank coding; the ladder of a text
ncd/     distances, classifiers, studies

    from netweight.text import LanguageModelCodec, NcdClassifier
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._lazy import exporter

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

__getattr__ = exporter(__name__, _HOME_OF)
