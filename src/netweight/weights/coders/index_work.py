"""Where the kernels of the index coder keep what they know: places in the work array, and a block's fresh state."""

from __future__ import annotations

from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.mixing import HIGH, INPUT_AT, Work
from .mixed_work import ABOVE

Counters = NDArray[np.uint32]

# Decisions of a context ("nodes"): zero, sign, bit lengths, trees of leading bits
ZERO, SIGN, BIT_LENGTH, LEADING = 0, 1, 2, 16
NODES: Final = LEADING + 7 * 7
KINDS: Final = 8  # of decisions: zero, sign, first bit length, later ones, leading bits

# Contexts of each slot
LEVEL_CONTEXTS, COARSE_CONTEXTS, FACTOR_CONTEXTS, KERNEL_CONTEXTS, PLACE_CONTEXTS = 128, 12, 15, 128, 4096
LOCAL_CONTEXTS, DISTANCES = 24, 7
_SIZES: Final = (
    2 * LEVEL_CONTEXTS,
    FACTOR_CONTEXTS**3,
    2 * 81 * COARSE_CONTEXTS,
    2 * LOCAL_CONTEXTS**2,
    2 * KERNEL_CONTEXTS * COARSE_CONTEXTS,
    2 * 81 * COARSE_CONTEXTS,
    2 * LEVEL_CONTEXTS * DISTANCES * 4,
    2 * PLACE_CONTEXTS,
    2 * PLACE_CONTEXTS,
)
SLOTS: Final = len(_SIZES)
AGREEMENT_SLOT: Final = 6  # its context also tells whether the sign was the expected one
FIRST: Final = np.array([0, *accumulate(_SIZES[:-1])], np.int64)
"""The first context of each slot."""

INPUTS: Final = SLOTS + 3  # two experts, the slots, a constant
SET_SIZE: Final = INPUTS + 1  # weights, and how many decisions they have seen
LEVEL_SETS: Final = 64
PLACE_SETS: Final = 64
_SETS: Final = 2 * NODES + (PLACE_SETS + LEVEL_SETS) * KINDS

# Places in the work array. Levels are log2 in Q8, z and its predictions in Q10.
SLOT_AT, CONTEXT, SIGN_CONTEXT = 32, 48, 64
UNION, LEVEL, ERROR_LEVEL, SPREAD, MEAN, PRIOR, PLACE_SET, LEVEL_SET = range(80, 88)  # of this weight
GUESS, FILTER_GUESS, REGRESSION_GUESS, REGRESSION_PART = range(88, 92)
BLOCK_FACTOR, ROW_FACTOR, BLOCK_ERROR_FACTOR, ROW_ERROR_FACTOR = range(92, 96)
STATE, PLACE_IN_BLOCK, CUT = range(96, 99)  # of the path
ROW_NUMBER, KERNEL, STRIDE = range(99, 102)  # of the tensor
# Pairs of sums: of the block, of the row; the shares of both predictions
BLOCK_MASS, BLOCK_ERROR, ROW_MASS, ROW_ERROR, FILTER_SHARE, REGRESSION_SHARE = range(102, 114, 2)
FILTER_AT: Final = 128
WEIGHT_AT: Final = 160

# Rows of the array of columns' states: pairs of sums, factors, the mean of z in Q16
COLUMN_MASS, COLUMN_ERROR, MASS_FACTOR, ERROR_FACTOR, Z_MEAN = 0, 2, 4, 5, 6
COLUMN_STATES: Final = 7

Z_LIMIT: Final = 8191
_ONE: Final = 1 << 16
_CONSTANT: Final = 64
_EXPERT_WEIGHT, _SLOT_WEIGHTS = 6000, 52000  # in all; Q16


def make_state() -> tuple[Work, Counters]:
    """Fresh work array (of an encoder) and counters of a block; the counters' memory is touched where it is used."""
    work = np.zeros(WEIGHT_AT + _SETS * SET_SIZE, np.int64)
    work[HIGH], work[INPUT_AT + INPUTS - 1] = 0xFFFFFFFF, _CONSTANT
    sets = work[WEIGHT_AT:].reshape(_SETS, SET_SIZE)
    sets[:, :2], sets[:, 2 : INPUTS - 1] = _EXPERT_WEIGHT, _SLOT_WEIGHTS // SLOTS
    work[FILTER_AT + ABOVE] = _ONE >> 1
    work[FILTER_SHARE : FILTER_SHARE + 2] = 1 << 26
    work[REGRESSION_SHARE + 1] = 1 << 24
    return work, np.zeros(sum(_SIZES) * NODES, np.uint32)
