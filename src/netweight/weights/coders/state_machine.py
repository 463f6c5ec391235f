"""Trellises of trellis-coded quantisation as machines that are driven by the parity of the indices.

A weight is quantised to one of the cosets D0 = 4Z, D2 = 4Z + 2 (together the union quantiser 0) or D3 = 4Z - 1, D1 = 4Z + 1
(the union quantiser 1) of a grid of unit step. The state tells the union, the index k names a point of it, 2k in union 0
and 2k - 1 in union 1, and the parity of k, which tells the coset, moves the state.

Codes: Ungerboeck, "Channel coding with multilevel/phase signals", 1982, table I, for amplitude modulation; Marcellin and
Fischer, "Trellis coded quantization of memoryless and Gauss-Markov sources", 1990; entropy-coded with union
codebooks: Marcellin, "On entropy-constrained trellis coded quantization", 1994.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

_CHECKS: Final = {
    4: (0o5, 0o2), 8: (0o13, 0o4), 16: (0o23, 0o4), 32: (0o45, 0o10), 64: (0o103, 0o24), 128: (0o235, 0o126),
    256: (0o515, 0o362),
}  # fmt: skip
"""Parity checks (h0, h1) of the code with so many states; h1 has neither its lowest nor its highest term."""

STATES: Final = (1, *_CHECKS)


@dataclass(frozen=True)
class StateMachine:
    """`next_state` (uint8 [states, 2]) by state and parity of the index; `union_of` (uint8 [states], 0 or 1) of a state.

    It begins in state 0. One state is the plain scalar quantiser, all in union 0.
    """

    next_state: NDArray[np.uint8]
    union_of: NDArray[np.uint8]

    @property
    def states(self) -> int:
        return int(self.union_of.size)


def _parity(value: int) -> int:
    return value.bit_count() & 1


def branches(states: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(union, twist) of each state, uint8 [states]: the input bit that leaves it is parity of the index XOR twist.

    The state is a shift register of the last input bits, newest lowest. States j and j + states / 2 have the same
    union and opposite twists, and both lead to 2j and 2j + 1.
    """
    checks = _CHECKS[states]
    union = [_parity(s & checks[1] >> 1) for s in range(states)]
    twist = [_parity(s & checks[0] >> 1) for s in range(states)]
    return np.array(union, np.uint8), np.array(twist, np.uint8)


@lru_cache
def lower_branches(states: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """`branches` of the lower half of the states, as the searches take them; nothing for the scalar quantiser."""
    if states == 1:
        return np.zeros(0, np.bool_), np.zeros(0, np.bool_)
    union, twist = (b[: states // 2].astype(np.bool_) for b in branches(states))
    return union, twist


@lru_cache
def machine(states: int) -> StateMachine:
    """The machine of so many states, one of STATES."""
    if states == 1:
        return StateMachine(np.zeros((1, 2), np.uint8), np.zeros(1, np.uint8))
    union, twist = branches(states)
    moves = [[(s << 1 | (p ^ int(twist[s]))) & (states - 1) for p in (0, 1)] for s in range(states)]
    return StateMachine(np.array(moves, np.uint8), union)
