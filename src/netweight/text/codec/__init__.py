"""Text under a language model: any bytes in, the same bytes out, on any machine.

codec.py        LanguageModelCodec
writer.py       compress_stream: a text to a file, in one pass
spread.py       Spread: the same on a cluster
reader.py       TextFile: a file to its text, some of it, or what a damaged one still holds
container.py    the file format
"""

from __future__ import annotations

from .codec import LanguageModelCodec
from .container import is_text_file
from .reader import DamagedBlocksError, TextFile
from .spread import Spread
from .writer import TextReceipt, compress_stream

__all__ = [
    "DamagedBlocksError",
    "LanguageModelCodec",
    "Spread",
    "TextFile",
    "TextReceipt",
    "compress_stream",
    "is_text_file",
]
