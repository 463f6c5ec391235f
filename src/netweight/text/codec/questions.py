"""Is the next token this candidate? One question at a time, answered by mixed counters (numba kernels).

The prior is the language model's share of what is left; a counter for each thing known of the candidate corrects it: the
0, 1, 2, 3 or 5 tokens before it, the match that it continues, and how sure the model is. A counter that was never used
begins as the prior.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy.fixedpoint import SQUASH, STRETCH, STRETCH_LIMIT
from ...entropy.mixing import adapted_up_to
from ...entropy.range_coder import code_bit
from .decisions import learn, mix, mixed, stretch
from .history import LONGEST, ORDERS

_COUNTERS: Final = 7
_INPUTS: Final = _COUNTERS + 2
_SETS: Final = 64 + 128 + 64
_PRIOR_UPDATES: Final = 4
_UPDATES: Final = 255
_RATE: Final = 2
_BIAS: Final = 256
_FIRST_WEIGHTS: Final = (26000, *[6000] * _COUNTERS, 0)

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


class Questions(NamedTuple):
    """What was learnt, and room to work."""

    counters: NDArray[np.uint32]
    weights: NDArray[np.int64]
    inputs: NDArray[np.int64]
    slots: NDArray[np.int64]


def make_questions(length: int) -> Questions:
    """For a text of at most `length` tokens."""
    counters = np.zeros(1 << max(10, min(22, (16 * length).bit_length())), np.uint32)
    weights = np.tile(np.array(_FIRST_WEIGHTS, np.int64), _SETS)
    return Questions(counters, weights, np.zeros(_INPUTS, np.int64), np.zeros(_COUNTERS, np.int64))


@_kernel
def _match_of(seen, longest):  # type: ignore[no-untyped-def]
    """The length of the match that a candidate continues."""
    if seen >> 3:
        return longest
    return 3 if seen & 4 else 2 if seen & 2 else seen


@_kernel
def _choose_slots(slots, hashes, token, x, seen, match, rank, mask):  # type: ignore[no-untyped-def]
    for k in range(len(ORDERS) + 1):
        slots[k] = mix(mix(hashes[k] + k, token + 1), k) & mask
    sure = (x + STRETCH_LIMIT) >> 7
    slots[5] = mix(mix(777, match * 64 + sure), 6) & mask
    slots[6] = mix(mix(778, (seen * 64 + sure) * 4 + min(rank, 3)), 7) & mask


@_kernel
def _read(counters, slots, x, inputs):  # type: ignore[no-untyped-def]
    """Inputs of the mixer: the prior, the counters (fresh ones begin as the prior), a constant."""
    prior = SQUASH[x + STRETCH_LIMIT] << 16 | _PRIOR_UPDATES
    inputs[0], inputs[_INPUTS - 1] = x, _BIAS
    for k in range(_COUNTERS):
        if counters[slots[k]] == 0:
            counters[slots[k]] = prior
        inputs[1 + k] = STRETCH[counters[slots[k]] >> 20]


@_kernel
def _experience(counters, slots):  # type: ignore[no-untyped-def]
    """Which of 64: how often the contexts of 1, 2 and 3 tokens were asked for this candidate."""
    out = 0
    for k in range(1, 4):
        asked = (np.int64(counters[slots[k]]) & 1023) - _PRIOR_UPDATES
        out = out * 4 + min(max(asked, 0), 3)
    return out


@_kernel
def ask(questions, coder, buffer, hashes, token, part, total, seen, longest, rank, likeliest, answer):  # type: ignore[no-untyped-def]
    """Code whether the next token is `token`, whose prior is part / total; in decoding `answer` isn't looked at."""
    counters, weights, inputs, slots = questions
    x = stretch(part, total)
    match = min(_match_of(seen, longest), LONGEST)
    _choose_slots(slots, hashes, token, x, seen, match, rank, np.int64(counters.size - 1))
    _read(counters, slots, x, inputs)
    a = (seen * 4 + min(rank, 3)) * _INPUTS
    b = (64 + match * 4 + (2 if likeliest else 0)) * _INPUTS
    c = (192 + _experience(counters, slots)) * _INPUTS
    y, z, w = mixed(weights, a, inputs), mixed(weights, b, inputs), mixed(weights, c, inputs)
    bit = code_bit(coder, buffer, SQUASH[(y + z + w) // 3 + STRETCH_LIMIT], answer)
    learn(weights, a, inputs, y, bit, _RATE)
    learn(weights, b, inputs, z, bit, _RATE)
    learn(weights, c, inputs, w, bit, _RATE)
    for k in range(_COUNTERS):
        counters[slots[k]] = adapted_up_to(np.int64(counters[slots[k]]), bit, _UPDATES)
    return bit
