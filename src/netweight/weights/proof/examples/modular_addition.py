"""(a + b) mod 31, by a hidden layer of 48 ReLUs on the sum of two embeddings (float32 [31, 48], unembedding [48, 31]).

Trained on 80 % of the pairs with weight decay, so that it finds waves (Nanda et al. 2023, "Progress measures for grokking
via mechanistic interpretability"); on the pairs that it never saw it isn't always right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = Any  # int64: inputs [n, 2], answers [n]; numpy types what a method like max gives as Any

MODULUS = 31


def inputs() -> Ints:
    """All 31^2 = 961 pairs."""
    return np.indices((MODULUS, MODULUS)).reshape(2, -1).T


def task(inputs: Ints) -> Ints:
    return inputs.sum(axis=1) % MODULUS


def network(state: Mapping[str, NDArray[Any]], inputs: Ints) -> NDArray[np.float32]:
    """Scores [n, 31]."""
    hidden = np.maximum(state["embed"][inputs].sum(axis=1), 0)
    outputs: NDArray[np.float32] = hidden @ state["unembed"]
    return outputs


def program_first(inputs: Ints) -> Ints:
    return inputs[:, 0]


def program_without_carry(inputs: Ints) -> Ints:
    """Right where the sum stays below the modulus."""
    return np.minimum(inputs.sum(1), 30)


def program_exact(inputs: Ints) -> Ints:
    return inputs.sum(1) % 31


def program_one_wave_of_seven_levels(inputs: Ints) -> Ints:
    """How well each answer's angle fits the sum's, at one of the network's frequencies: coarsely, so many look alike."""
    return np.round(3 * np.cos((inputs.sum(1)[:, None] - np.arange(31)) * 9 * 6.2832 / 31)).argmax(1)


def program_two_waves_of_three_levels(inputs: Ints) -> Ints:
    phase = (inputs.sum(1)[:, None] - np.arange(31)) * 6.2832 / 31
    return sum(np.round(np.cos(phase * k)) for k in (14, 12)).argmax(1)


def program_two_waves_of_seven_levels(inputs: Ints) -> Ints:
    """A second frequency tells apart what one leaves alike: what the network's weights do."""
    phase = (inputs.sum(1)[:, None] - np.arange(31)) * 6.2832 / 31
    return sum(np.round(3 * np.cos(phase * k)) for k in (9, 14)).argmax(1)
