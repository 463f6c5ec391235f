"""Trellis-coded quantisation: two sets of points, and a state machine that says which one each coordinate takes.

Set 0 has the even, set 1 the odd whole numbers of steps, so each is twice as coarse as the step and costs a bit less; the parity
of the index in its set drives the machine (Marcellin and Fischer, "Trellis coded quantization of memoryless and Gauss-Markov
sources", IEEE Trans. Commun. 1990; the unions of cosets are those of JPEG 2000 part 2). The sender looks for the best path by the
Viterbi algorithm.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy.viterbi import survivors, trace
from .compact import Trellis

SEGMENT: Final = 1 << 14
"""Coordinates whose survivors are kept before one is followed back; the path goes on from its last state."""
_LIFTED: Final = {4: (2, 3), 8: (5, 12), 16: (150, 252), 32: (58650, 15265), 64: (2590417805, 2036126232)}
"""For a number of states: bit j says the set, and whether parities change places, of lower state j and of its upper twin."""
STATES: Final = tuple(_LIFTED)
F32 = np.float32


@lru_cache(maxsize=len(_LIFTED))
def machine(states: int) -> Trellis:
    """The machine with 4, 8, ... states; it starts in state 0. Found by search for the least squared error."""
    union, twist = _LIFTED[states]
    half = states // 2
    lower = [s % half for s in range(states)]
    following = [[2 * j + (p ^ twist >> j & 1 ^ s // half) for p in (0, 1)] for s, j in enumerate(lower)]
    return Trellis(np.array([union >> j & 1 for j in lower], np.uint8), np.array(following, np.int64))


@njit(nogil=True, cache=True)
def follow(costs, picks, union, twist, state, work, choices, out):  # type: ignore[no-untyped-def]
    """The picks of the cheapest path from `state` into `out` [n <= SEGMENT]; the state in which it ends.

    costs (float32) and picks (int32) are [n, 4]: of set 0 with even, with odd index, of set 1 with even, with odd index.
    """
    old, new = work[0], work[1]
    old[:] = F32(1e30)
    old[state] = F32(0)
    n = out.size
    last = np.int64(np.argmin(survivors(costs[:n], union, twist, old, new, choices)))
    trace(last, picks, choices, union, twist, out)
    return last


@lru_cache(maxsize=len(_LIFTED))
def lower(states: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(union, twist) of the lower states, as `follow` takes them."""
    union, twist = _LIFTED[states]
    places = range(states // 2)
    return np.array([bool(union >> j & 1) for j in places]), np.array([bool(twist >> j & 1) for j in places])
