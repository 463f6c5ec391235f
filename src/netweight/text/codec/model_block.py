"""One block of text under a language model.

payload  := flags(1) | tokens varint | literals, if flags say so | coded
flags    := 1: every line end was CR LF; 2: paragraphs are unwrapped; 4: there are literals; 8: a run has a space too many
literals := number varint, for each: tokens since the last one varint, length varint, bytes
coded    := a range coder's bytes: the tokens (token_model.py), then, if unwrapped, the line ends (line_breaks.py)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ...entropy import range_coder
from ...errors import FormatError
from ...wire import Reader, Writer
from . import line_breaks
from .settings import Window
from .softmax import POINT
from .spelling import Speller, Spelling, read_literals, write_literals
from .token_model import code_tokens, make_token_model
from .windows import feed

Int32 = NDArray[np.int32]
Advance = Callable[[int], None]
"""advance(tokens done since the last call)."""

WINDOWS_ENDS, UNWRAPPED, LITERALS, LEAD = 1, 2, 4, 8
MOST_TOKENS_A_BYTE: Final = 64
"""Tokens to a byte of payload; a block that would have more isn't coded like this, so a short payload can't keep a decoder
busy."""


class Model(Protocol):
    """What is asked of a language model (netweight.text.model.LanguageModel)."""

    name: str
    digest: bytes
    vocabulary: int
    context: int
    begin: int
    tokenizer: Any

    def start(self, batch: int, length: int) -> Any: ...

    def step(self, state: Any, tokens: Int32) -> Int32: ...

    def extend(self, state: Any, tokens: Int32) -> Int32: ...

    def prime(self, state: Any, tokens: Int32) -> None: ...


@dataclass(frozen=True)
class Prepared:
    """A block's bytes as the model gets them."""

    flags: int
    text: bytes
    ends: NDArray[np.uint8]
    spelling: Spelling


def prepare(speller: Speller, data: bytes) -> Prepared | None:
    """None for bytes that the model has no tokens for."""
    flags, text = 0, data
    if line_breaks.has_windows_ends(text):
        flags, text = WINDOWS_ENDS, text.replace(b"\r\n", b"\n")
    unwrapped, ends = line_breaks.unwrap(text)
    if line_breaks.worth_unwrapping(unwrapped, ends):
        flags, text = flags | UNWRAPPED, unwrapped
    spelling = speller.spell(text)
    if spelling is None:
        return None
    flags |= (LITERALS if spelling.literals else 0) | (LEAD if spelling.lead else 0)
    return Prepared(flags, text, ends, spelling)


def encode(model: Model, window: Window, prepared: Prepared, most: int, advance: Advance) -> bytes | None:
    """The payload; None if it would be longer than `most` bytes, or too short for a decoder to trust."""
    tokens = prepared.spelling.tokens
    coder, buffer = range_coder.make_encoder(), np.empty(most, np.uint8)
    shift, learnt = logit_shift(), make_token_model(model.vocabulary, tokens.size)
    for at, logits in feed(model, window, tokens):
        code_tokens(learnt, coder, buffer, logits, shift, tokens[at : at + len(logits)].copy())
        advance(len(logits))
    if prepared.flags & UNWRAPPED:
        line_breaks.encode(coder, buffer, prepared.text, prepared.ends)
    coded = range_coder.finish(coder, buffer)
    if coded is None:
        return None
    out = Writer().raw(bytes([prepared.flags])).varint(tokens.size)
    if prepared.flags & LITERALS:
        write_literals(out, prepared.spelling)
    payload = out.raw(coded).bytes()
    return payload if len(payload) <= most and tokens.size <= _most_tokens(coded) else None


def _most_tokens(coded: bytes | memoryview | NDArray[np.uint8]) -> int:
    return MOST_TOKENS_A_BYTE * (len(coded) + 1)


def logit_shift() -> int:
    """How far logits are shifted left to have POINT fractional bits."""
    from ..model import LOGIT_BITS

    return POINT - LOGIT_BITS


class Decoding:
    """A block on its way back. Raises FormatError."""

    def __init__(self, model: Model, payload: bytes | memoryview, size: int) -> None:
        source = Reader(payload, "text block")
        self.size, self.flags = size, source.byte()
        if self.flags >> 4:
            raise FormatError(f"text block: unknown flags {self.flags:#x}")
        # bytes that a run has too many belong to no text, so there is a run for each literal and one more
        count = source.varint(limit=2 * size)
        self.literals = read_literals(source, count) if self.flags & LITERALS else ()
        self._coded = np.frombuffer(source.raw(source.remaining), np.uint8).copy()
        if count > _most_tokens(self._coded):
            raise FormatError(f"text block: {count} tokens announced in {self._coded.size} bytes")
        self.tokens = np.zeros(count, np.int32)
        self._coder = range_coder.make_decoder(self._coded)
        self._learnt = make_token_model(model.vocabulary, count)
        self._shift = logit_shift()

    def take(self, logits: Int32, at: int) -> int:
        """Decode token number `at` under its logits, int32 [V]."""
        code_tokens(self._learnt, self._coder, self._coded, logits[None], self._shift, self.tokens[at : at + 1])
        if range_coder.overrun(self._coder, self._coded):
            raise FormatError("text block: its code ends early")
        return int(self.tokens[at])

    def finish(self, speller: Speller) -> bytes:
        """The bytes, once all tokens were taken."""
        text = speller.say(Spelling(self.tokens, self.literals, int(self.flags & LEAD > 0)))
        if len(text) > self.size:
            raise FormatError(f"text block: {len(text)} bytes, {self.size} were announced")
        if self.flags & UNWRAPPED:
            text = line_breaks.decode(self._coder, self._coded, text)
        if self.flags & WINDOWS_ENDS:
            text = text.replace(b"\n", b"\r\n")
        if not range_coder.ends(self._coder, self._coded) or len(text) != self.size:
            raise FormatError("text block: doesn't end where it should")
        return text
