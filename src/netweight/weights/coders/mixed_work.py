"""Where the kernels of `max` keep what they know: places in the work array, and a block's fresh state."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...entropy.mixing import SLOTS, USER_AT, Work, make_work

Counters = NDArray[np.uint32]

# Kinds of decisions ("nodes"). Exponents: is it >= k (0), >= k + 1.. (1-8), >= k - 1.. (9-16); then mantissa trees by
# exponent - k; sign; zero.
NODES: Final = 152
MANTISSA, SIGN, ZERO = 17, 150, 151
STEPS: Final = 8  # further exponents are escapes
REACH: Final = 9  # mantissa trees for exponents so far from k
CONTEXTS: Final = 768  # of each slot of the mixer
SECOND_SETS: Final = 512  # weight sets by place in the matrix and kind of decision
TOP: Final = 3  # mantissa bits that are modelled
ABOVE, LEFT = 6, 12  # neighbours that predict
FEATURES: Final = ABOVE + LEFT + 4
FAR: Final = 9000  # beyond the survival table
FIRST_OFFSET: Final = -1024  # "far below its scale": what a missing neighbour is taken for


class Fields(NamedTuple):
    """What the numbers are: `exponents` (how many values), `mantissa` bits (floats), and flags 0/1.

    `integer`: magnitudes are integers whose exponent is their bit length. `signed`: signs vary (else all are
    `negative`).
    `sparse`: zeros have a decision of their own. `together`: so has "this many low mantissa bits are 0" (none for 0).
    """

    exponents: int
    mantissa: int
    integer: int
    signed: int
    negative: int
    sparse: int
    together: int


# Places in the work array. Scales are log2 in Q8, in Q16 where they are accumulated; z is in Q10.
RAW: Final = 8  # registers of the plain bits
BASE: Final = USER_AT  # each slot's first counter
EXPONENTS, MANTISSA_BITS, INTEGER, SIGNED, NEGATIVE, SPARSE, TOGETHER = range(USER_AT + 8, USER_AT + 15)  # Fields
SCALE, SPREAD, K, MEAN, SIDED_MEAN, SECOND, LOWEST, CLASS, FRACTION, GUESS = range(
    USER_AT + 16, USER_AT + 26
)  # this decision
CONTEXT: Final = USER_AT + 26  # contexts of the four slots after the first
ALL_SCALE, ALL_SPREAD = USER_AT + 30, USER_AT + 31  # of the block
ROW, ROW_MEAN, ROW_SPREAD, ROW_NUMBER, LEFT_OFFSET = range(USER_AT + 32, USER_AT + 37)
PREDICTOR: Final = USER_AT + 40  # weights of the linear prediction, Q16

FLAGS: Final = SLOTS * CONTEXTS * NODES  # counters after those of the mixer: escapes' tree, then two kinds of flags
_ESCAPE_FLAGS: Final = 4096
TAIL_FLAG, LAST_TAIL, ZERO_SIGN_FLAG = (FLAGS + _ESCAPE_FLAGS + i for i in (0, 2, 3))


def make_state(fields: Fields, level: int) -> tuple[Work, Counters]:
    """Fresh work array and counters for a block of such numbers; `level` is the exponent of a typical weight."""
    work = make_work(NODES + SECOND_SETS)
    work[EXPONENTS : TOGETHER + 1] = fields
    work[PREDICTOR + ABOVE] = 1 << 15
    work[ALL_SCALE] = (2 * level + 1) << 15
    return work, np.zeros(FLAGS + _ESCAPE_FLAGS + 4, np.uint32)
