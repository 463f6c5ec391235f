"""Ideal lengths of texts under a language model: what arithmetic coding with its probabilities comes to.

C(xy) is C(x) + C(y | x): y's tokens follow x's (with a separator; the two are tokenised apart, so that x's keys and
values are worked out once for all y). Lengths are sums of -log2 p over integer logits, rounded to 2^-20 bits a token, so
that they are the same wherever they are computed. They are a bound: no bytes are made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...errors import InputError
from ..codec.softmax import POINT, UNIT_SCALE, masses
from ..codec.spelling import Speller
from .lengths import MODEL, SEPARATOR, Bits, Indices, Lengths, Suffixes, every

_POSITIONS: Final = 1024
"""Logits are made for at most so many positions at once (of a vocabulary of 49,152: 200 MB)."""
_WINDOW: Final = 2048
"""Tokens that a prediction may look back at, at most."""
_PARTS: Final = 4
"""A text goes through the window in parts of a quarter of it, so a prediction looks back at three quarters or more."""
_ESCAPED_BITS: Final = 16
"""What a byte takes that the tokenizer can't carry: the byte, and as much to say so."""
_STEP: Final = 1 << 20  # a bit in the units that lengths are rounded to

Tokens = NDArray[np.int32]


class Model(Protocol):
    """What is asked of a language model: see `netweight.text.model.LanguageModel`."""

    vocabulary: int
    context: int
    begin: int
    name: str
    digest: bytes
    tokenizer: Any

    def start(self, batch: int, length: int) -> Any: ...

    def extend(self, state: Any, tokens: Tokens) -> NDArray[np.int32]: ...

    def prime(self, state: Any, tokens: Tokens) -> None: ...


@dataclass(frozen=True)
class Said:
    """A text as tokens (int32), and how many of its bytes no token carries; these are left out and counted apart."""

    tokens: Tokens
    escaped: int


def said(speller: Speller, text: bytes) -> Said:
    """`text` as the text codec spells it; what is mostly not text is counted as bytes throughout."""
    spelling = speller.spell(text)
    if spelling is None:
        return Said(np.empty(0, np.int32), len(text))
    return Said(spelling.tokens, sum(len(literal) for _, literal in spelling.literals))


class SaidSuffixes(Suffixes):
    """Texts with their tokens."""

    def __init__(self, texts: Sequence[bytes], speller: Speller) -> None:
        super().__init__(texts)
        self.said = [said(speller, text) for text in self.texts]


class ModelLengths(Lengths):
    """Lengths under the model called `code`: a name or path for `netweight.text.model.load`, or the model itself.

    The window is 2,048 tokens (or the model's context): of a prefix of more than 1,536 the end is used.
    """

    unit = MODEL
    threaded = True

    def __init__(self, code: str | os.PathLike[str] | Model, separator: bytes = SEPARATOR, threads: int = 0) -> None:
        super().__init__(separator)
        self._model = code if not isinstance(code, str | os.PathLike) else None
        self._code = os.fspath(code) if isinstance(code, str | os.PathLike) else None
        self.name = self._code if self._code is not None else self.model.name
        self.threads = threads
        self._pairs: dict[tuple[bytes, bytes], float] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """By name: whoever unpickles it loads the model. Raises InputError for a model that was given as an object."""
        if self._code is None:
            raise InputError("a language model that is to be used on other machines must be given by name or path")
        return type(self), (self._code, self.separator, self.threads)

    @property
    def model(self) -> Model:
        """The model, loaded when first used."""
        if self._model is None:
            from ..model import load

            self._model = load(self._code, threads=self.threads)
        return self._model

    @property
    def identity(self) -> str:
        return f"{self.name} {self.model.digest.hex()} {self.window}"

    @cached_property
    def speller(self) -> Speller:
        return Speller(self.model.tokenizer)

    @property
    def window(self) -> int:
        return min(_WINDOW, self.model.context)

    def prepare(self, texts: Sequence[bytes]) -> Suffixes:
        return SaidSuffixes([self.separator + text for text in texts], self.speller)

    def _one(self, text: bytes) -> float:
        return float(self._many([text])[0])

    def _many(self, texts: Sequence[bytes]) -> Bits:
        begin = np.array([self.model.begin], np.int32)
        return self._bits(begin, [said(self.speller, text) for text in texts])

    def each(self, texts: Sequence[bytes]) -> Bits:
        new = [text for text in dict.fromkeys(texts) if text not in self._alone]
        self._alone.update(zip(new, self._many(new).tolist(), strict=True))
        return super().each(texts)

    def joined(
        self,
        prefix: bytes,
        suffixes: Suffixes,
        wanted: Indices | None = None,
        limits: Bits | None = None,  # noqa: ARG002
    ) -> Bits:
        return self.alone(prefix) + self.given(prefix, suffixes, wanted)

    def given(self, prefix: bytes, suffixes: Suffixes, wanted: Indices | None = None) -> Bits:
        """C(separator + text | prefix) for each text, remembered: float64 [wanted]."""
        assert isinstance(suffixes, SaidSuffixes)
        chosen = every(suffixes, wanted)
        pairs = [(prefix, suffixes.texts[k]) for k in chosen]
        new = {pair: suffixes.said[k] for pair, k in zip(pairs, chosen, strict=True) if pair not in self._pairs}
        if new:
            before = said(self.speller, prefix).tokens
            history = np.concatenate([[self.model.begin], before]).astype(np.int32)
            self._pairs.update(zip(new, self._bits(history, list(new.values())).tolist(), strict=True))
        return np.array([self._pairs[pair] for pair in pairs], np.float64)

    def _bits(self, history: Tokens, texts: Sequence[Said]) -> Bits:
        """What each text takes after `history` (at least the begin token), whatever the other texts are."""
        out = np.array([float(_ESCAPED_BITS * text.escaped) for text in texts])
        part = self.window // _PARTS
        room = self.window - part
        out += self._after(history[-room:], [text.tokens[:part] for text in texts])
        for n, text in enumerate(texts):
            for at in range(part, len(text.tokens), part):
                before = np.concatenate([history, text.tokens[:at]])[-room:]
                out[n] += self._after(before, [text.tokens[at : at + part]])[0]
        return out

    def _after(self, history: Tokens, texts: Sequence[Tokens]) -> Bits:
        """The same where history and text fit into the window: the history is worked out once, texts go in batches."""
        out = np.zeros(len(texts))
        primed = self.model.start(1, len(history))
        if len(history) > 1:
            self.model.prime(primed, history[None, :-1])
        for rows in _batches([len(text) for text in texts]):
            width = len(texts[rows[-1]])
            inputs, targets = np.zeros((2, len(rows), width), np.int32)
            for row, n in enumerate(rows):
                size = len(texts[n])
                inputs[row, 0], inputs[row, 1:size], targets[row, :size] = history[-1], texts[n][:-1], texts[n]
            state = primed.fork([0] * len(rows), len(history) - 1 + width)
            logits = self.model.extend(state, inputs)
            for row, n in enumerate(rows):
                size = len(texts[n])
                out[n] = text_steps(logits[row, :size], targets[row, :size], _shift()) / _STEP
        return out


def _shift() -> int:
    from ..model import LOGIT_BITS

    return POINT - LOGIT_BITS


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of non-empty texts in groups of similar length, each of no more positions than logits are made for."""
    group: list[int] = []
    for n in sorted((n for n, length in enumerate(lengths) if length), key=lengths.__getitem__):
        if group and lengths[n] * (len(group) + 1) > _POSITIONS:
            yield group
            group = []
        group.append(n)
    if group:
        yield group


@njit(nogil=True, cache=True)
def text_steps(logits, tokens, shift):  # type: ignore[no-untyped-def]
    """Sum of -log2 p(token) in units of 2^-20 bits, each rounded: logits int32 [n, V], tokens int32 [n]."""
    mass, bias = np.empty(logits.shape[1], np.int64), np.zeros(logits.shape[1], np.int32)
    total = np.int64(0)
    for n in range(len(tokens)):
        whole, _ = masses(logits[n], bias, shift, UNIT_SCALE, mass)
        total += np.int64(np.round(np.log2(whole / mass[tokens[n]]) * _STEP))
    return total
