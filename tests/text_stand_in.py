"""A language model in a few lines of integers, with the habits of real ones: a vocabulary that lacks bytes and drops them
without a word, a special token, a cache that is rewound and forked.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


def _word(seed: int) -> bytes:
    return (
        b" "
        + hashlib.sha256(seed.to_bytes(2)).hexdigest()[:8].translate(str.maketrans("0123456789", "ghijklmnop")).encode()
    )


WORDS = (*sorted({_word(seed) for seed in range(600)}), b"\r\n", "é".encode())
"""Long ones that no other model has heard of."""
MISSING = b"\x04\x06\x13\xc0\xc1\xf5\xff"
_LINKS = 1 << 12


class Words:
    """The longest piece first; a byte without a piece is dropped."""

    def __init__(self) -> None:
        self.pieces: list[bytes | None] = [None, *(bytes([b]) for b in range(256) if b not in MISSING), *WORDS]
        self._numbers = {piece: k for k, piece in enumerate(self.pieces) if piece}
        self._longest = max(map(len, self._numbers))

    def encode(self, text: str) -> list[int]:
        data, out, at = text.encode(), [], 0
        while at < len(data):
            for n in range(min(self._longest, len(data) - at), 0, -1):
                if (number := self._numbers.get(data[at : at + n])) is not None:
                    out.append(number)
                    break
            at += n
        return out


@dataclass
class Cache:
    tokens: np.ndarray
    count: int = 0

    def drop(self, count: int) -> None:
        assert 0 <= count <= self.count
        self.count = count

    def fork(self, rows: list[int]) -> Cache:
        return Cache(self.tokens[rows].copy(), self.count)


class StandIn:
    """Logits that depend on the last three tokens in the cache and the position's parity; words and letters are likely."""

    name, begin = "stand-in", 0

    def __init__(self, seed: int = 1, context: int = 64) -> None:
        self.tokenizer, self.context = Words(), context
        self.vocabulary = len(self.tokenizer.pieces)
        with np.errstate(over="ignore"):
            z = np.arange(_LINKS, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        self._links = (z >> np.uint64(40)).astype(np.int64) % (2 << 12)
        letters = [piece is not None and piece.isalpha() for piece in self.tokenizer.pieces]
        self._usual = np.where(letters, 3 << 12, 0)
        self._usual[-len(WORDS) :] = self._usual[self.tokenizer.encode(" ")] = 5 << 12
        self.digest = hashlib.sha256(self._links.tobytes()).digest()
        self.positions = 0

    def start(self, batch: int, length: int) -> Cache:
        assert 1 <= length <= self.context
        return Cache(np.zeros((batch, length), np.int32))

    def prime(self, state: Cache, tokens: np.ndarray) -> None:
        n = tokens.shape[1]
        assert state.count + n <= state.tokens.shape[1], "no room"
        state.tokens[:, state.count : state.count + n] = tokens
        state.count += n

    def extend(self, state: Cache, tokens: np.ndarray) -> np.ndarray:
        first = state.count
        self.prime(state, tokens)
        self.positions += tokens.size
        out = np.empty((*tokens.shape, self.vocabulary), np.int32)
        every = np.arange(self.vocabulary)
        for row, seen in enumerate(state.tokens.astype(np.int64)):
            for k in range(first, state.count):
                last = [int(seen[k - j]) if k >= j else 0 for j in range(3)]
                place = last[0] * 31 + last[1] * 7 + last[2] + (k & 1)
                out[row, k - first] = self._usual + self._links[(place + every * 13) % _LINKS]
        return out

    def step(self, state: Cache, tokens: np.ndarray) -> np.ndarray:
        return self.extend(state, np.asarray(tokens, np.int32).reshape(-1, 1))[:, 0]


def story(size: int, seed: int = 3) -> bytes:
    """Lines of words, nearly all of which the stand-in knows, in no order."""
    r = np.random.default_rng(seed)
    out, column = "", 0
    while len(out) < size:
        word = WORDS[int(r.integers(len(WORDS) - 2))].decode() if r.integers(25) else " café"
        column += len(word)
        out += word + ("\n" if column > 60 else "")
        column = 0 if column > 60 else column
    return out.encode()[:size].decode("utf-8", "ignore").encode()
