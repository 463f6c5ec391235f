"""Bytes as a model's tokens, and as they are where no token says them.

A vocabulary may lack bytes (SmolLM2's lacks 21 and drops them without a word), and bytes needn't be UTF-8. Such bytes are
*literals*: they stand between tokens, unseen by the model. What is spelt is always checked against the pieces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ...wire import Reader, Writer

_LITERAL_SHARE: Final = 8  # of a block's bytes one in so many may be literal
_CONTROL_SHARE: Final = 32
_CONTROLS: Final = bytes(c for c in range(32) if c not in (9, 10, 12, 13))


class Tokenizer(Protocol):
    """What is asked of a model's tokenizer."""

    pieces: list[bytes | None]

    def encode(self, text: str) -> list[int]: ...


@dataclass(frozen=True)
class Spelling:
    """`tokens`: int32 [n]. `literals`: (tokens before it, bytes), by place. `lead`: bytes that each run has too many."""

    tokens: NDArray[np.int32]
    literals: tuple[tuple[int, bytes], ...]
    lead: int


def looks_like_text(data: bytes) -> bool:
    """Whether most of it is UTF-8 without control characters."""
    if not data:
        return False
    invalid = sum("\udc80" <= c <= "\udcff" for c in data.decode("utf-8", "surrogateescape")) if not _valid(data) else 0
    controls = len(data) - len(data.translate(None, _CONTROLS))
    return invalid * _LITERAL_SHARE <= len(data) and controls * _CONTROL_SHARE <= len(data)


def _valid(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Speller:
    """Spells with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._pieces = tokenizer, tokenizer.pieces
        self._bytes = {p[0] for p in self._pieces if p is not None and len(p) == 1}
        self._sayable: dict[str, bool] = {}

    def spell(self, data: bytes) -> Spelling | None:
        """The tokens of `data`; None if they don't say it, or if too much of it would be literal."""
        text = data.decode("utf-8", "surrogateescape")
        runs = self._runs(text)
        spelt = [self._tokenizer.encode(run) if said else [] for said, run in runs]
        lead = self._lead(runs, spelt)
        tokens: list[int] = []
        literals: list[tuple[int, bytes]] = []
        for (said, run), ids in zip(runs, spelt, strict=True):
            if said:
                tokens += ids
            else:
                literals.append((len(tokens), run.encode("utf-8", "surrogateescape")))
        made = Spelling(np.array(tokens, np.int32), tuple(literals), lead)
        if sum(len(b) for _, b in literals) * _LITERAL_SHARE > len(data):
            return None
        return made if self._says(made, data) else None

    def say(self, spelling: Spelling) -> bytes:
        """The bytes of a spelling. Raises FormatError for tokens that stand for nothing, or literals out of place."""
        pieces, tokens, parts, at = self._pieces, spelling.tokens.tolist(), [], 0
        for place, literal in (*spelling.literals, (len(tokens), b"")):
            if not at <= place <= len(tokens):
                raise FormatError(f"text block: a literal after {place} of {len(tokens)} tokens")
            run = [pieces[t] for t in tokens[at:place]]
            said = b"".join(p for p in run if p is not None)
            if None in run or (run and len(said) < spelling.lead):
                raise FormatError("text block: a token that stands for no text")
            parts += [said[spelling.lead :], literal]
            at = place
        return b"".join(parts)

    def _says(self, spelling: Spelling, data: bytes) -> bool:
        try:
            return self.say(spelling) == data
        except FormatError:
            return False

    def _runs(self, text: str) -> list[tuple[bool, str]]:
        """Alternating (sayable, characters)."""
        unsaid = "".join(sorted(c for c in set(text) if not self._can_say(c)))
        if not unsaid:
            return [(True, text)] if text else []
        parts = re.split(f"([{re.escape(unsaid)}]+)", text)
        return [(k % 2 == 0, part) for k, part in enumerate(parts) if part]

    def _can_say(self, c: str) -> bool:
        if c not in self._sayable:
            code = c.encode("utf-8", "surrogateescape")
            self._sayable[c] = not "\udc80" <= c <= "\udcff" and (set(code) <= self._bytes or self._echoes(c, code))
        return self._sayable[c]

    def _echoes(self, c: str, code: bytes) -> bool:
        return self._joined(self._tokenizer.encode(c)).endswith(code)

    def _joined(self, ids: list[int]) -> bytes:
        return b"".join(self._pieces[t] or b"" for t in ids)

    def _lead(self, runs: list[tuple[bool, str]], spelt: list[list[int]]) -> int:
        """1 for a tokenizer that puts a space before what it spells."""
        first = next(((run, ids) for (said, run), ids in zip(runs, spelt, strict=True) if said), None)
        return 0 if first is None else int(self._joined(first[1]) == b" " + first[0].encode())


def write_literals(out: Writer, spelling: Spelling) -> None:
    """Their number, and for each the tokens since the one before and the bytes."""
    out.varint(len(spelling.literals))
    at = 0
    for place, literal in spelling.literals:
        out.varint(place - at).blob(literal)
        at = place


def read_literals(source: Reader, tokens: int) -> tuple[tuple[int, bytes], ...]:
    """The inverse. Raises FormatError."""
    literals, at = [], 0
    for _ in range(source.varint(limit=source.remaining)):
        at += source.varint(limit=tokens - at)
        literals.append((at, bytes(source.blob())))
    return tuple(literals)
