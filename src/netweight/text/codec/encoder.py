"""Text to blocks: cut, code each block in the best of three ways, or a whole group of blocks by the byte model alone.

The byte model learns across a group, which a block of its own can't; where the language model knows the language badly
that is what is smaller, and after a few blocks the encoder knows and doesn't ask the language model any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from . import byte_model, model_block
from .container import BYTES, MODEL, MOST_BLOCK_BYTES, STORED, record
from .meter import Meter, Progress, silent
from .model_block import Model
from .settings import Effort, Window
from .spelling import Speller, looks_like_text
from .spread import Spread

GROUP_BYTES: Final = MOST_BLOCK_BYTES
_TRIAL_BLOCKS: Final = 2
_REDUNDANT: Final = 32
"""Bytes that the byte model makes so many times smaller aren't worth the time that a language model takes."""
_CUT: Final = 1 << 12

Piece = tuple[bytes, int]
"""(record, size of what it holds)."""


class Encoder:
    """Codes groups of at most GROUP_BYTES with or without a model; blocks on the workers of `spread` too, if given."""

    def __init__(
        self, effort: Effort, model: Model | None, progress: Progress | None = None, spread: Spread | None = None
    ) -> None:
        self._effort, self._model, self._tell = effort, model, progress or silent
        self._spread = spread
        self._speller = None if model is None else Speller(model.tokenizer)
        self.window: Window | None = None if model is None else effort.window.within(model.context)

    def group(self, data: bytes, model_bytes: int) -> list[Piece]:
        """The blocks of `data`; `model_bytes` is what the first use of the model costs beside them."""
        whole = _bytewise(data)
        if self._model is None or len(whole[0]) * _REDUNDANT < len(data):
            self._tell(len(data))
            return [whole]
        blocks = self._blocks(data, len(whole[0]) - model_bytes)
        return blocks if blocks is not None else [whole]

    def _blocks(self, data: bytes, alternative: int) -> list[Piece] | None:
        """Block by block; None once that is clearly longer than `alternative` bytes, or longer in the end."""
        pieces: list[Piece] = []
        spent = done = 0
        parts = list(cut(data, self._effort.block_bytes))
        if not any(looks_like_text(p) for p in parts):
            self._tell(len(data))
            return None
        for k, (part, coded) in enumerate(zip(parts, self._coded(parts), strict=True)):
            pieces.append((coded, len(part)))
            spent, done = spent + len(coded), done + len(part)
            if k + 1 >= _TRIAL_BLOCKS and spent * len(data) > alternative * done * 5 // 4:
                self._tell(len(data) - done)
                return None
        return pieces if spent < alternative else None

    def _coded(self, parts: list[bytes]) -> Iterator[bytes]:
        """The record of each block: the first ones, which tell whether the model helps at all, are coded here."""
        here = parts if self._spread is None else parts[:_TRIAL_BLOCKS]
        yield from map(self.block, here)
        if self._spread is not None and self._model is not None:
            elsewhere = parts[_TRIAL_BLOCKS:]
            coded = self._spread.coded(self._effort, self._model.digest, elsewhere)
            for part, made in zip(elsewhere, coded, strict=True):
                self._tell(len(part))
                yield made

    def block(self, data: bytes) -> bytes:
        """The shortest record of a block."""
        assert self._model is not None
        assert self._speller is not None
        assert self.window is not None
        bytewise, meter = _bytewise(data)[0], Meter(len(data), self._tell)
        prepared = model_block.prepare(self._speller, data) if looks_like_text(data) else None
        payload = None
        if prepared is not None:
            total = max(1, prepared.spelling.tokens.size)
            payload = model_block.encode(
                self._model, self.window, prepared, len(data), lambda tokens: meter.add(tokens / total)
            )
        meter.end()
        return bytewise if payload is None else min(record(MODEL, payload, data), bytewise, key=len)


def _bytewise(data: bytes) -> Piece:
    """Without a model: the byte model or, where that isn't shorter, as it is."""
    payload = byte_model.encode(np.frombuffer(data, np.uint8))
    if payload is None or len(payload) >= len(data):
        return record(STORED, data, data), len(data)
    return record(BYTES, payload, data), len(data)


def cut(data: bytes, most: int) -> Iterator[bytes]:
    """Blocks of at most `most` bytes and much the same length; cut after a line or at least between characters."""
    at = 0
    while at < len(data):
        left = len(data) - at
        end = at + -(-left // -(-left // most))
        if end < len(data):
            end = _cut_before(data, at, end)
        yield data[at:end]
        at = end


def _cut_before(data: bytes, start: int, end: int) -> int:
    line = data.rfind(b"\n", max(start, end - _CUT), end)
    if line >= 0:
        return line + 1
    for place in range(end, max(start, end - 4), -1):
        if data[place] & 0xC0 != 0x80:
            return place
    return end


def groups(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The same bytes in groups of GROUP_BYTES, the last one shorter."""
    kept = bytearray()
    for chunk in chunks:
        kept += chunk
        while len(kept) > GROUP_BYTES:
            yield bytes(kept[:GROUP_BYTES])
            del kept[:GROUP_BYTES]
    if kept:
        yield bytes(kept)
