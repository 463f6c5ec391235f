"""Which positions a model sees when: the same plan for an encoder, which knows all tokens, and a decoder, which doesn't.

A sequence is the begin token and the text's tokens; position i predicts token i. A *stretch* of positions shares one cache:
those from `start` to `first` were coded before and are shown again, those up to `end` are coded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .settings import Window

if TYPE_CHECKING:
    from .model_block import Model

_CHUNK: Final = 256
"""Positions whose logits are worked out at once."""


class Stretch(NamedTuple):
    """Positions [start, end) of a sequence in one cache; from `first` on they predict what is coded."""

    start: int
    first: int
    end: int


def stretches(count: int, window: Window) -> Iterator[Stretch]:
    """The stretches of a text of `count` tokens."""
    start = first = 0
    while first < count:
        end = min(start + window.length, count)
        yield Stretch(start, first, end)
        first, start = end, max(0, end - window.keep)


def feed(model: Model, window: Window, tokens: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """An encoder's side of the plan: (number of the first token, logits int32 [n, V]) for all of `tokens`, in order."""
    sequence = np.concatenate([np.array([model.begin], np.int32), tokens])[None]
    state = model.start(1, max(1, min(window.length, tokens.size)))
    for stretch in stretches(tokens.size, window):
        state.drop(0)
        if stretch.first > stretch.start:
            model.prime(state, sequence[:, stretch.start : stretch.first])
        for at in range(stretch.first, stretch.end, _CHUNK):
            yield at, model.extend(state, sequence[:, at : min(at + _CHUNK, stretch.end)])[0]
