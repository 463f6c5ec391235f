"""Blocks decoded side by side: each is a row of the model's batch, and all take one token a step.

A model's step costs little more for many rows than for one. What a row decodes to doesn't depend on its neighbours, so a
damaged one leaves them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np

from ...errors import FormatError
from .model_block import Decoding, Int32, Model
from .settings import Window
from .spelling import Speller
from .windows import Stretch, stretches

MOST_ROWS: Final = 32
_MOST_POSITIONS: Final = 1 << 15
"""Of all rows' caches together: with SmolLM2 some 400 MB."""
Result = bytes | FormatError
Share = Callable[[float], None]
"""share(part of all tokens that were decoded since the last call)."""


def rows_for(window: Window) -> int:
    """How many blocks to decode at once."""
    return max(1, min(MOST_ROWS, _MOST_POSITIONS // window.length))


class Row(Protocol):
    """Tokens that are decoded one by one; `take` fills in number `at` from its logits (int32 [V]) or raises FormatError."""

    tokens: Int32

    def take(self, logits: Int32, at: int) -> int: ...


def decode_blocks(
    model: Model, speller: Speller, window: Window, blocks: list[tuple[bytes, int]], share: Share
) -> list[Result]:
    """The bytes of each (payload, size), or what is wrong with it."""
    opened = [_attempt(lambda b=block: Decoding(model, *b)) for block in blocks]  # type: ignore[misc]
    rows = [d for d in opened if isinstance(d, Decoding)]
    errors = iter(take_all(model, window, rows, share))
    results: list[Result] = []
    for decoding in opened:
        if isinstance(decoding, Decoding):
            decoding = next(errors) or _attempt(lambda d=decoding: d.finish(speller))  # type: ignore[misc]
        results.append(decoding)
    return results


def _attempt(make: Callable[[], Any]) -> Any:
    """What `make` returns, or the FormatError that it raises."""
    try:
        return make()
    except FormatError as error:
        return error


def take_all(model: Model, window: Window, rows: Sequence[Row], share: Share) -> list[FormatError | None]:
    """Decode the tokens of all rows; for each what went wrong."""
    errors: list[FormatError | None] = [None] * len(rows)
    _Lockstep(model, rows, errors, share).run(window)
    return errors


class _Lockstep:
    """The rows that still go on, the longest first, and the model's state for them."""

    def __init__(self, model: Model, rows: Sequence[Row], errors: list[FormatError | None], share: Share) -> None:
        self._model, self._errors, self._share = model, errors, share
        numbered = sorted(enumerate(rows), key=lambda row: -row[1].tokens.size)
        self._rows = [row for row in numbered if row[1].tokens.size]
        self._total = sum(row.tokens.size for row in rows)
        self._state: Any = None

    def run(self, window: Window) -> None:
        """Decode all rows' tokens; errors go to the results."""
        longest = self._rows[0][1].tokens.size if self._rows else 0
        for stretch in stretches(longest, window):
            self._state = None  # the next one begins anew
            self._keep(stretch.first)
            if not self._rows:
                return
            self._state = self._model.start(len(self._rows), min(window.length, longest))
            self._show(stretch)
            for at in range(stretch.first, stretch.end):
                if not self._step(at):
                    return

    def _show(self, stretch: Stretch) -> None:
        if stretch.first > stretch.start:
            self._model.prime(self._state, self._sequence(stretch.start, stretch.first))

    def _sequence(self, start: int, end: int) -> Int32:
        """Positions [start, end) of every row: the begin token, its tokens, and anything after its end."""
        out = np.full((len(self._rows), end - start), self._model.begin, np.int32)
        skip = int(start == 0)
        for row, (_, decoding) in zip(out, self._rows, strict=True):
            own = decoding.tokens[start + skip - 1 : end - 1]
            row[skip : skip + own.size] = own
        return out

    def _step(self, at: int) -> bool:
        """Token number `at` of each row; False when no row is left."""
        if self._keep(at) and not self._rows:
            return False
        logits = self._model.step(self._state, self._sequence(at, at + 1)[:, 0])
        for (k, decoding), own in zip(self._rows, logits, strict=True):
            if at < decoding.tokens.size and self._errors[k] is None:
                try:
                    decoding.take(own, at)
                except FormatError as error:
                    self._errors[k] = error
        self._share(len(self._rows) / self._total)
        return True

    def _keep(self, at: int) -> bool:
        """Drop the rows that ended before token `at`, when that saves much; whether any went."""
        going = [i for i, (k, d) in enumerate(self._rows) if at < d.tokens.size and self._errors[k] is None]
        few = len(going) <= len(self._rows) * 3 // 4 or len(self._rows) <= 4
        if len(going) == len(self._rows) or not (few or not going):
            return False
        self._rows = [self._rows[i] for i in going]
        if going and self._state is not None:
            self._state = self._state.fork(going)
        return True
