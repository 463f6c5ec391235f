"""What followed the same tokens before: candidates for the next one (numba kernels).

For each order k the text's positions whose last k tokens hash alike are linked, the newest first. Links are checked
against the text itself, so a collision costs time and nothing else.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .decisions import mix

ORDERS: Final = (1, 2, 3, 5)
DEPTHS: Final = (3, 3, 2, 1)
MOST: Final = 9
"""Candidates at most, without the model's own."""
LONGEST: Final = 31
"""Match lengths aren't told apart beyond."""

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")
_ORDERS: Final = np.array(ORDERS, np.int64)
_DEPTHS: Final = np.array(DEPTHS, np.int64)


class History(NamedTuple):
    """Of a text of at most n tokens. `heads` and `links` hold positions plus one; zero is none."""

    tokens: NDArray[np.int32]
    """[n]"""
    heads: NDArray[np.int32]
    """[orders, 2^b]"""
    links: NDArray[np.int32]
    """[orders, n]"""
    hashes: NDArray[np.int64]
    """[1 + orders]: of the newest 0, 1, 2, 3 and 5 tokens."""


def make_history(length: int) -> History:
    """For at most `length` tokens."""
    slots = 1 << max(8, min(20, (2 * length).bit_length()))
    n, k = max(length, 1), len(ORDERS)
    return History(
        np.zeros(n, np.int32), np.zeros((k, slots), np.int32), np.zeros((k, n), np.int32), np.zeros(k + 1, np.int64)
    )


@_kernel
def append(history, count, token):  # type: ignore[no-untyped-def]
    """The text's token number `count` is `token`."""
    tokens, heads, links, hashes = history
    tokens[count] = token
    slots, h, k = heads.shape[1], np.int64(0), 0
    for order in range(1, _ORDERS[-1] + 1):
        if order > count + 1:
            break
        h = mix(h, np.int64(tokens[count + 1 - order]) + 1)
        if order == _ORDERS[k]:
            hashes[k + 1] = h
            slot = h & (slots - 1)
            links[k, count] = heads[k, slot]
            heads[k, slot] = count + 1
            k += 1


@_kernel
def _agrees(tokens, count, place, order):  # type: ignore[no-untyped-def]
    """Whether the `order` tokens that end before `place` are the newest ones."""
    if place < order:
        return False
    for j in range(1, order + 1):  # noqa: SIM110  numba has no all()
        if tokens[place - j] != tokens[count - j]:
            return False
    return True


@_kernel
def _match_length(tokens, count, place, order):  # type: ignore[no-untyped-def]
    """How many tokens before `place` are the newest ones, given that `order` are."""
    length = order
    while length < LONGEST and place > length and tokens[place - length - 1] == tokens[count - length - 1]:
        length += 1
    return length


@_kernel
def _add(token, found, seen, n, flag):  # type: ignore[no-untyped-def]
    """Put a token on the list unless it is there, and note `flag`; the new length."""
    j = 0
    while j < n and found[j] != token:
        j += 1
    if j == found.size:
        return n
    if j == n:
        found[n], seen[n] = token, 0
    seen[j] |= flag
    return max(n, j + 1)


@_kernel
def candidates(history, count, found, seen):  # type: ignore[no-untyped-def]
    """Fill `found` (int64) with tokens that followed the newest ones before, `seen` with the orders that they were last at.

    Returns (how many, length of the longest match); bit k of `seen` is ORDERS[k].
    """
    tokens, _, links, _ = history
    n, longest = 0, 0
    for k in range(_ORDERS.size - 1, -1, -1):
        order, flag = _ORDERS[k], 1 << k
        place = np.int64(links[k, count - 1]) if count > order else 0
        for _ in range(_DEPTHS[k]):
            while place and not _agrees(tokens, count, place, order):
                place = np.int64(links[k, place - 1])
            if not place:
                break
            if not longest:
                longest = _match_length(tokens, count, place, order)
            n = _add(np.int64(tokens[place]), found, seen, n, flag)
            flag = 0
            place = np.int64(links[k, place - 1])
    return n, longest
