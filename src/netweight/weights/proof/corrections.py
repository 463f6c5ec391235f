"""Answers given guesses: where they differ, and what is right there.

    corrections := method(1) | payload          the shorter of
    method 0: adaptive, in the order of the inputs: whether the answer differs from the guess (given whether the one
              before did), and if so, which of the other answers it is. Counts are Krichevsky and Trofimov's (1981).
    method 1: brotli of (answer - guess) mod classes, uint16 [n], low bytes first, then high ones

With guesses of zero this is a code of a whole table of answers. A payload, without a checksum: bytes that were altered
are refused or are those of other answers.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy.general import Brotli
from ...entropy.range_coder import DECODING, finish, make_decoder, make_encoder, narrow, target
from ...errors import FormatError
from ...spec import Spec
from ...wire import Reader

Ints = NDArray[np.int64]

MOST_ANSWERS: Final = 1 << 20
MOST_CLASSES: Final = 4096

_ADAPTIVE, _BROTLI = b"\x00", b"\x01"
_LEVEL: Final = 11
_BYTES_EACH: Final = 8  # a flag takes at most log2(2 n + 2) bits, an answer log2(2 n + classes): below 24 each

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def _code_flag(coder, buffer, counts, flag):  # type: ignore[no-untyped-def]
    """Code `flag`, or decode and return one, with counts int64 [2], which learn it."""
    total = counts[0] + counts[1]
    if coder[DECODING]:
        flag = np.int64(target(coder, total) >= counts[0])
    narrow(coder, buffer, counts[0] if flag else 0, counts[flag], total)
    counts[flag] += 2
    return flag


@_kernel
def _code_other(coder, buffer, counts, guess, answer):  # type: ignore[no-untyped-def]
    """Code an answer that isn't `guess`, or decode and return one, with counts int64 [classes], which learn it."""
    hidden = counts[guess]
    counts[guess] = 0
    total = counts.sum()
    start = np.int64(0)
    if coder[DECODING]:
        sought, answer = target(coder, total), np.int64(0)
        while start + counts[answer] <= sought:
            start += counts[answer]
            answer += 1
    else:
        start = counts[:answer].sum()
    narrow(coder, buffer, start, counts[answer], total)
    counts[guess] = hidden
    counts[answer] += 2
    return answer


@_kernel
def _code(coder, buffer, guesses, answers, classes):  # type: ignore[no-untyped-def]
    """Code `answers`, or decode into them."""
    flags, counts = np.ones((2, 2), np.int64), np.ones(classes, np.int64)
    before = np.int64(0)
    for i in range(guesses.size):
        guess = guesses[i]
        before = _code_flag(coder, buffer, flags[before], np.int64(answers[i] != guess))
        answers[i] = _code_other(coder, buffer, counts, guess, answers[i]) if before else guess


def encode(answers: Ints, guesses: Ints, classes: int) -> bytes:
    """Answers given guesses, both int64 [n] in [0, classes); n up to MOST_ANSWERS, 2 to MOST_CLASSES classes."""
    return min(_ADAPTIVE + _adaptive(answers, guesses, classes), _BROTLI + _brotli(answers, guesses, classes), key=len)


def _adaptive(answers: Ints, guesses: Ints, classes: int) -> bytes:
    coder, buffer = make_encoder(), np.zeros(_BYTES_EACH * (answers.size + 8), np.uint8)
    _code(coder, buffer, guesses, answers.copy(), classes)
    data = finish(coder, buffer)
    assert data is not None
    return data


def _brotli(answers: Ints, guesses: Ints, classes: int) -> bytes:
    planes = ((answers - guesses) % classes).astype("<u2").view(np.uint8).reshape(-1, 2).T.reshape(-1)
    return Brotli(_LEVEL).encode(planes, Spec.raw(planes.size))


def decode(data: bytes | memoryview, guesses: Ints, classes: int) -> Ints:
    """The answers, int64 [n]. Raises FormatError."""
    source = Reader(data, "corrections")
    method, payload = bytes(source.raw(1)), source.raw(source.remaining)
    if method == _ADAPTIVE:
        return _from_adaptive(np.frombuffer(payload, np.uint8).copy(), guesses, classes)
    if method == _BROTLI:
        return _from_brotli(payload, guesses, classes)
    raise FormatError(f"corrections: unknown method {method[0]}")


def _from_adaptive(payload: NDArray[np.uint8], guesses: Ints, classes: int) -> Ints:
    coder, answers = make_decoder(payload), np.zeros(guesses.size, np.int64)
    _code(coder, payload, guesses, answers, classes)
    if _adaptive(answers, guesses, classes) != payload.tobytes():  # a cut payload reads on as zeros
        raise FormatError("corrections: not a payload that says answers")
    return answers


def _from_brotli(payload: memoryview, guesses: Ints, classes: int) -> Ints:
    planes = Brotli(_LEVEL).decode(payload, Spec.raw(2 * guesses.size))
    differences = planes.reshape(2, -1).T.copy().view("<u2").reshape(-1).astype(np.int64)
    if bool((differences >= classes).any()):
        raise FormatError(f"corrections: an answer that isn't one of {classes}")
    return (guesses + differences) % classes
