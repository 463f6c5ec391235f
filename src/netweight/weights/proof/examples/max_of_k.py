"""The largest of four numbers in 0..15, by one head of attention.

Each number is embedded (float32 [16, 8]), a query [8] scores the embeddings, their average, weighted by the softmax of
the scores, is unembedded [8, 16]. It learns to look at large numbers and to copy what it sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = Any  # int64: inputs [n, 4], answers [n]; numpy types what a method like max gives as Any

NUMBERS = 16
POSITIONS = 4


def inputs() -> Ints:
    """All 16^4 = 65,536 inputs."""
    return np.indices((NUMBERS,) * POSITIONS).reshape(POSITIONS, -1).T


def task(inputs: Ints) -> Ints:
    return inputs.max(axis=1)


def network(state: Mapping[str, NDArray[Any]], inputs: Ints) -> NDArray[np.float32]:
    """Scores [n, 16]."""
    embedded = state["embed"][inputs]
    scores = embedded @ state["query"]
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    outputs: NDArray[np.float32] = np.einsum("np,npd->nd", weights, embedded) @ state["unembed"]
    return outputs


def program_most_frequent(inputs: Ints) -> Ints:
    """Looks at nothing."""
    return np.full(len(inputs), 15)


def program_last(inputs: Ints) -> Ints:
    """The number at the end, whatever the others are."""
    return inputs[:, -1]


def program_max_of_two(inputs: Ints) -> Ints:
    return inputs[:, :2].max(1)


def program_max_of_three(inputs: Ints) -> Ints:
    return inputs[:, :3].max(1)


def program_max(inputs: Ints) -> Ints:
    return inputs.max(1)


def program_max_at_least_two(inputs: Ints) -> Ints:
    """The network never learned to say 0 or 1."""
    return inputs.max(1, initial=2)
