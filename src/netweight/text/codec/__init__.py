"""Text under a language model: any bytes in, the same bytes out, on any machine.

codec.py        LanguageModelCodec
writer.py       compress_stream: a text to a file, in one pass
spread.py       Spread: the same on a cluster
reader.py       TextFile: a file to its text, some of it, or what a damaged one still holds
container.py    the file format

Importing this loads nothing; each name loads what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..._lazy import exporter

if TYPE_CHECKING:
    from .codec import LanguageModelCodec
    from .container import is_text_file
    from .reader import DamagedBlocksError, TextFile
    from .spread import Spread
    from .writer import TextReceipt, compress_stream

_HOME_OF: Final = {
    "DamagedBlocksError": "reader",
    "LanguageModelCodec": "codec",
    "Spread": "spread",
    "TextFile": "reader",
    "TextReceipt": "writer",
    "compress_stream": "writer",
    "is_text_file": "container",
}

__all__ = [
    "DamagedBlocksError",
    "LanguageModelCodec",
    "Spread",
    "TextFile",
    "TextReceipt",
    "compress_stream",
    "is_text_file",
]

__getattr__ = exporter(__name__, _HOME_OF)
