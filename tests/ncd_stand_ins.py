"""A tiny language model in integers, whose predictions depend on all that came before."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BEGIN = 128
MISSING = "~"
"""A character that the tokenizer drops, as real ones drop some bytes."""


class LetterTokenizer:
    """ASCII characters are tokens; what it doesn't know it leaves out without a word."""

    pieces: list[bytes | None] = [*(None if chr(b) == MISSING else bytes([b]) for b in range(128)), None]  # noqa: RUF012

    def encode(self, text: str) -> list[int]:
        return [ord(c) for c in text if c.isascii() and c != MISSING]


@dataclass
class LetterState:
    rows: list[list[int]]
    length: int = 64
    asked: list[int] = field(default_factory=list)

    def fork(self, rows: list[int], length: int | None = None) -> LetterState:
        return LetterState([list(self.rows[r]) for r in rows], length or self.length)


class LetterModel:
    """Likes the letters that came before, the more the more often they did."""

    vocabulary, begin, name, digest = 129, BEGIN, "letters", bytes(32)

    def __init__(self, context: int = 4096) -> None:
        self.context = context
        self.tokenizer = LetterTokenizer()
        self.longest = 0
        self.positions = 0

    def start(self, batch: int, length: int) -> LetterState:
        return LetterState([[] for _ in range(batch)], length)

    def prime(self, state: LetterState, tokens: NDArray[np.int32]) -> None:
        self.positions += tokens.size
        for row, new in zip(state.rows, tokens.tolist(), strict=True):
            row += new
            self.longest = max(self.longest, len(row))

    def extend(self, state: LetterState, tokens: NDArray[np.int32]) -> NDArray[np.int32]:
        self.positions += tokens.size
        out = np.zeros((*tokens.shape, self.vocabulary), np.int32)
        for r, (row, new) in enumerate(zip(state.rows, tokens.tolist(), strict=True)):
            for n, token in enumerate(new):
                row.append(token)
                out[r, n] = np.minimum(np.bincount(row, minlength=self.vocabulary), 12) << 11
            self.longest = max(self.longest, len(row))
        return out
