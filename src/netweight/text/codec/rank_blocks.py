"""Blocks of text as ranks (ranks.py) and back.

payload := blocks varint, for each: size varint, flags(1), tokens varint, literals if there are any
           | length of the ranks' bytes varint | coded ranks
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ...errors import FormatError
from ...wire import Reader, Writer
from .lockstep import Share, take_all
from .model_block import LEAD, LITERALS, Model
from .ranks import Int32, decode_bytes, encode_bytes, from_bytes, ranks_of, to_bytes, token_at
from .settings import Window
from .spelling import Speller, Spelling, read_literals, write_literals
from .windows import feed

_MOST_BLOCK_BYTES: Final = 1 << 22


@dataclass(frozen=True)
class Ranked:
    """A block: the size of its bytes, how they are spelt, and the ranks of its tokens (int32 [n])."""

    size: int
    spelling: Spelling
    ranks: Int32


def ranked(model: Model, window: Window, blocks: Sequence[bytes], share: Share) -> list[Ranked] | None:
    """Rank each block's tokens; None if the model has no tokens for one."""
    speller, out = Speller(model.tokenizer), []
    spellings = [speller.spell(block) for block in blocks]
    total = sum(s.tokens.size for s in spellings if s is not None)
    for block, spelling in zip(blocks, spellings, strict=True):
        if spelling is None:
            return None
        ranks = np.empty_like(spelling.tokens)
        for at, logits in feed(model, window, spelling.tokens):
            end = at + len(logits)
            ranks_of(logits, spelling.tokens[at:end], ranks[at:end])
            share(len(logits) / total)
        out.append(Ranked(len(block), spelling, ranks))
    return out


def encode(blocks: Sequence[Ranked], back_end: str) -> bytes:
    """The payload."""
    out = Writer().varint(len(blocks))
    for block in blocks:
        flags = (LITERALS if block.spelling.literals else 0) | (LEAD if block.spelling.lead else 0)
        out.varint(block.size).raw(bytes([flags])).varint(block.ranks.size)
        if block.spelling.literals:
            write_literals(out, block.spelling)
    data = to_bytes(np.concatenate([b.ranks for b in blocks]) if blocks else np.zeros(0, np.int32))
    return out.varint(data.size).raw(encode_bytes(back_end, data)).bytes()


class _Unranking:
    """A row of a lockstep whose tokens follow from ranks."""

    def __init__(self, size: int, literals: tuple[tuple[int, bytes], ...], lead: int, ranks: Int32) -> None:
        self.size, self.literals, self.lead, self.ranks = size, literals, lead, ranks
        self.tokens = np.zeros(ranks.size, np.int32)

    def agrees(self, other: _Unranking) -> bool:
        """Whether the other will decode to the same bytes."""
        mine, its = ((u.size, u.literals, u.lead, u.ranks.tobytes()) for u in (self, other))
        return mine == its

    def take(self, logits: Int32, at: int) -> int:
        self.tokens[at] = token_at(logits, int(self.ranks[at]))
        return int(self.tokens[at])

    def finish(self, speller: Speller) -> bytes:
        text = speller.say(Spelling(self.tokens, self.literals, self.lead))
        if len(text) != self.size:
            raise FormatError(f"rank code: {len(text)} bytes, {self.size} were announced")
        return text


def read_ranks(payload: bytes | memoryview, back_end: str) -> list[_Unranking]:
    """All of a payload but the model's part. Raises FormatError."""
    source = Reader(payload, "rank code")
    heads = []
    for _ in range(source.varint(limit=source.remaining)):
        size, flags = source.varint(limit=_MOST_BLOCK_BYTES), source.byte()
        if flags & ~(LITERALS | LEAD):
            raise FormatError(f"rank code: unknown flags {flags:#x}")
        count = source.varint(limit=2 * size)
        heads.append((size, read_literals(source, count) if flags & LITERALS else (), int(flags & LEAD > 0), count))
    total = sum(count for *_, count in heads)
    length = source.varint(limit=5 * total)
    ranks = from_bytes(decode_bytes(back_end, source.raw(source.remaining), length), total)
    ends = np.cumsum([count for *_, count in heads])[:-1]
    parts = np.split(ranks, ends) if heads else []
    return [_Unranking(*head[:3], part) for head, part in zip(heads, parts, strict=True)]


def same(payload: bytes, back_end: str, other: bytes, other_back_end: str) -> bool:
    """Whether two payloads of the same blocks, decoded up to the model's part, agree. Raises FormatError."""
    rows, others = read_ranks(payload, back_end), read_ranks(other, other_back_end)
    return len(rows) == len(others) and all(a.agrees(b) for a, b in zip(rows, others, strict=True))


def decode(model: Model, window: Window, payload: bytes | memoryview, back_end: str, share: Share) -> bytes:
    """The bytes of all blocks. Raises FormatError."""
    rows, speller = read_ranks(payload, back_end), Speller(model.tokenizer)
    for error in take_all(model, window, rows, share):
        if error is not None:
            raise error
    return b"".join(row.finish(speller) for row in rows)
