"""A language model whose logits are integers: the same on every machine, however its positions are grouped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from .cache import State
from .config import Config
from .forward import Forward
from .linear import Linear
from .network import Network
from .pool import Threads
from .tokenizer import Tokenizer

Int32 = NDArray[np.int32]
_ROWS: Final = 512
"""Rows of positions that go through the layers together, at most: bounds the memory of a chunk."""


class LanguageModel:
    """A causal transformer in integer arithmetic.

    `vocabulary`: tokens V. `context`: the longest sequence. `begin`: the token before the first one. `digest`: SHA-256 of
    all that determines logits and the bytes of tokens. Logits are int32 in Q12 natural-log units.
    `step` and `extend` give the same numbers, bit for bit, in any grouping, on any number of threads, by every kernel.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        network: Network,
        tokenizer: Tokenizer,
        digest: bytes,
        linear: Linear,
        threads: int,
    ) -> None:
        self.name, self.config, self.tokenizer, self.digest = name, config, tokenizer, digest
        self.vocabulary, self.context, self.begin = config.vocabulary, config.positions, tokenizer.begin
        self.kernel = linear.name
        self._threads = Threads(threads, linear.torch)
        self._forward = Forward(network, linear, self._threads)

    def start(self, batch: int = 1, length: int | None = None) -> State:
        """`batch` empty sequences with room for `length` positions (the context if None). Raises InputError."""
        return State(self.config, batch, self.context if length is None else length)

    def step(self, state: State, tokens: Int32 | Sequence[int]) -> Int32:
        """Appends one token to each sequence (int32 [batch]); the logits of what follows: int32 [batch, V]."""
        column = np.asarray(tokens, np.int32).reshape(-1, 1)
        return self.extend(state, column)[:, 0]

    def extend(self, state: State, tokens: Int32) -> Int32:
        """Appends int32 [batch, n]; the logits after each token: int32 [batch, n, V]. Raises InputError.

        That is n * V * 4 bytes a sequence: take a long text in chunks of some hundred tokens.
        """
        checked = self._checked(state, tokens)
        out = np.empty((*checked.shape, self.vocabulary), np.int32)
        with self._threads.limited():
            for at, chunk in self._chunks(checked):
                self._forward.logits(state, self._forward.run(state, chunk), at, out)
        return out

    def prime(self, state: State, tokens: Int32) -> None:
        """Appends int32 [batch, n] without working out logits. Raises InputError."""
        with self._threads.limited():
            for _, chunk in self._chunks(self._checked(state, tokens)):
                self._forward.run(state, chunk)

    def drop(self, state: State, count: int) -> None:
        """Forget positions after the first `count`."""
        state.drop(count)

    def _checked(self, state: State, tokens: Int32) -> Int32:
        array = np.ascontiguousarray(tokens, np.int32)
        if array.ndim != 2 or len(array) != state.batch:
            raise InputError(f"tokens of shape {array.shape} for {state.batch} sequences")
        if array.shape[1] > state.length - state.count:
            raise InputError(f"no room for {array.shape[1]} tokens after {state.count} of {state.length} positions")
        if array.size and not 0 <= int(array.min()) <= int(array.max()) < self.vocabulary:
            raise InputError(f"tokens must be in 0..{self.vocabulary - 1}")
        return array

    def _chunks(self, tokens: Int32) -> Iterator[tuple[int, Int32]]:
        """(first column, columns from there) of int32 [batch, n], such that a chunk has few rows in all."""
        step = max(1, _ROWS // len(tokens))
        for at in range(0, tokens.shape[1], step):
            yield at, np.ascontiguousarray(tokens[:, at : at + step])
